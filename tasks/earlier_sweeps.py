"""Read what earlier sweeps of a study found: the points that a new sweep begins with, and what a model learns from."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from nightune.models.recipe.params import silent_defaults
from nightune.tasks.setting import Setting
from nightune.tasks.step import step
from nightune.tasks.tracking.registry.registry import champion
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import optional_file
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep, all_sweeps, parse_content
from nightune.tasks.tracking.trials.known_trials import KnownTrials
from nightune.tasks.tracking.trials.runs import as_trial, unfinished_runs
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.search.earlier import agreement, as_earlier, best_points, point_of
from nightune.tuning.search.observations import Observation, observed
from nightune.tuning.study.rounds import as_settled
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.study.space_content import question_of
from nightune.tuning.study.study import Study
from nightune.tuning.trial import Params, TrialResult, Value

logger = logging.getLogger("nightune")

OF_RUNGS = ("method", "smallest_epochs", "reduction_factor")  # keys of [search]
LAST_SWEEPS = 5  # that a model learns from

Content = Mapping[str, Any]  # of a study


@dataclass(frozen=True)
class Earlier:
    """What a search learns from: trials of earlier sweeps of the same data, and of other data, oldest first."""

    same_data: tuple[Observation, ...] = ()
    other_data: tuple[Observation, ...] = ()


def uses_history(setting: Setting) -> bool:
    """Return whether the sweep's search uses earlier ones: as it began, or as the command says of a new one.

    None does that trains every point of its space.
    """
    store, sweep, study = setting.store, setting.sweep, setting.study
    if names.BEGAN_FROM in client(store).get_run(sweep.run_id).data.tags:
        return True
    has_all = study.point_count is not None and study.point_count <= study.trial_count
    has_begun = finished_trials(store, sweep) or unfinished_runs(store, sweep)
    return setting.uses_history and not has_all and not has_begun


@step
def begin_with_best(setting: Setting) -> list[dict[str, Value]]:
    """Return the champion's point and the best ones of the last sweep, with which a new sweep begins; record which one.

    None without an earlier sweep of the same space, objective, epochs and limits of models.
    """
    store, sweep, study = setting.store, setting.sweep, setting.study
    last = next((each for each, _ in alike_sweeps(store, study, sweep)), None)
    if last is None:
        return []
    client(store).set_tag(sweep.run_id, names.BEGAN_FROM, last.id)
    results = [_with_defaults(each) for each in finished_trials(store, last).values()]
    of_champion = _champion_params(store, study)
    first, whose = ([], "") if of_champion is None else ([of_champion], " and the champion's")
    points = best_points(study.space, results, sweep.direction, first)
    if points:
        count = min(len(points), study.brackets[0].trials)
        logger.info("begins with %d points that were best: of %s%s", count, last.id, whose)
    return points


def read_earlier(setting: Setting) -> Earlier:
    """Read the trials of the last sweeps that answer the study's question; nothing where no model learns.

    With several objectives none of other data: how far its losses lie from today's is known of the first one alone.
    """
    store, sweep, study = setting.store, setting.sweep, setting.study
    if study.search.row.proposer is None:
        return Earlier()
    same: list[Observation] = []
    other: list[Observation] = []
    for earlier, content in reversed(list(islice(alike_sweeps(store, study, sweep), LAST_SWEEPS))):
        is_same = earlier.data_version == sweep.data_version
        if is_same or not sweep.further:
            found = same if is_same else other
            found += _observed(store, earlier, _as_trained(content, study, earlier), _rungs(content, study))
    return Earlier(tuple(same), tuple(other))


def learned(study: Study, earlier: Earlier, since: Sequence[Observation]) -> list[Observation]:
    """Return the observations that a model learns from: those since the sweep's start, after the earlier ones.

    Those of other data count only if they predict the ranks of what was found since, by their model.
    """
    kept = as_earlier(earlier.same_data)
    if earlier.other_data and (agreed := agreement(study.space, earlier.other_data, since)) is not None:
        verb = "agree" if agreed.is_enough else "do not agree"
        logger.info("trials of earlier data %s with those since (rank correlation %.2f)", verb, agreed.correlation)
        if agreed.is_enough:
            kept = as_earlier([*earlier.other_data, *earlier.same_data], agreed.shift)
    return [*kept, *since]


def alike_sweeps(store: Store, study: Study, sweep: Sweep) -> Iterator[tuple[Sweep, Content]]:
    """Yield the complete sweeps before this one of the same space, objective, epochs and limits with their content.

    The newest is first.
    """
    wanted = question_of(study.content)
    for each in reversed(all_sweeps(store, study.name)):
        if each.is_complete and each.number < sweep.number:
            content = optional_file(store, each.run_id, names.STUDY_CONTENT, parse_content)
            if content is not None and question_of(content) == wanted:
                yield each, content


def _as_trained(content: Content, study: Study, sweep: Sweep) -> Study:
    """Return the study with the search of a sweep: its rounds and rungs depend on the number of its trials."""
    search = SearchSection.model_validate_json(json.dumps(content["search"]))
    return study.model_copy(update={"search": search, **sweep.layout})


def _rungs(content: Content, study: Study) -> list[int]:
    """Return the epochs at which a sweep's trials compare with the study's: its rungs, or the end for other rungs."""
    if any(content["search"].get(key) != study.content["search"].get(key) for key in OF_RUNGS):
        return [study.search.epochs]
    return sorted({rung.epochs for bracket in study.brackets for rung in bracket.rungs})


def _observed(store: Store, sweep: Sweep, study: Study, rungs: Sequence[int]) -> Iterator[Observation]:
    """Yield what the trials of a sweep of this study were observed to reach at these epochs, by number."""
    shortest = {
        bracket.first + place: bracket.rungs[0].epochs
        for bracket in as_settled(study.brackets, dict(sweep.first_rungs))
        for place in range(bracket.trials)
    }
    held = KnownTrials(store, sweep)
    found = {epochs: map(_with_defaults, held.results_at(epochs).values()) for epochs in rungs}
    # A trial without a rung at these epochs is read as it ended.
    ended = [
        (epochs, [each for each in results if epochs >= shortest.get(each.trial.number, epochs)])
        for epochs, results in found.items()
    ]
    trials = {each.trial.number: each.trial for _, results in ended for each in results}
    points = {number: point_of(study.space, trial.params) for number, trial in trials.items()}
    known = [replace(trials[number], point=point) for number, point in points.items() if point is not None]
    yield from observed(known, ended, sweep.direction, sweep.further)


def _with_defaults(result: TrialResult) -> TrialResult:
    """Add the params that a run leaves out, since they have their defaults."""
    return replace(result, trial=replace(result.trial, params={**silent_defaults(), **result.trial.params}))


def _champion_params(store: Store, study: Study) -> Params | None:
    """Return the params of the champion; None without one that Nightune registered."""
    version = champion(store, study.name)
    if version is None or not version.is_ours:
        return None
    return {**silent_defaults(), **as_trial(client(store).get_run(version.run_id)).params}
