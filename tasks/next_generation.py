"""Choose the trials of the next generation of a population: continuations of the best replace the worst."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from nightune.tasks.propose_trials import make_trial
from nightune.tasks.setting import Setting
from nightune.tasks.step import step
from nightune.tasks.tracking.sweeps.members import read_members, write_members
from nightune.tasks.tracking.trials.rungs import value_at
from nightune.tuning.analysis.beliefs import continuation
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.population import Member, NewMember, changes_of, next_members
from nightune.tuning.study.generations import rules_of
from nightune.tuning.study.population import POPULATION
from nightune.tuning.trial import Bracket, Parent, Trial, TrialResult
from nightune.vocabulary import sign_of

logger = logging.getLogger("nightune")

Choose = Callable[[Bracket, Sequence[Observation]], tuple[Bracket, list[Trial]]]


def member_chooser(setting: Setting, begin: Choose, results: Mapping[str, TrialResult]) -> Choose:
    """Return a function that chooses the trials of a bracket as `begin` does, and those of a generation by results.

    A generation continues trials of the bracket before; all its members are returned, in their order. `results` are the
    latest ones by key when the function is called. New members are recorded before they are trained, and chosen once.
    """
    is_continuing = any(bracket.continued for bracket in setting.study.brackets)
    recorded = dict(read_members(setting.store, setting.sweep)) if is_continuing else {}
    members: list[Trial] = []

    def choose(planned: Bracket, history: Sequence[Observation]) -> tuple[Bracket, list[Trial]]:
        nonlocal members
        if not planned.continued:
            bracket, members = begin(planned, history)
            return bracket, members
        if len(recorded.get(planned.first, ())) != planned.trials:
            recorded[planned.first] = choose_members(setting, planned, members, results)
            write_members(setting.store, setting.sweep, recorded)
        chosen = recorded[planned.first]
        trials = made(setting, planned, chosen, members, results)
        new = {member.replaced: trial for member, trial in zip(chosen, trials, strict=True)}
        members = [new.get(trial.number, trial) for trial in members]
        return planned, members

    return choose


@step
def choose_members(
    setting: Setting, planned: Bracket, members: Sequence[Trial], results: Mapping[str, TrialResult]
) -> list[NewMember]:
    """Return the members that begin with a generation, by the members' values of the objective after the last one."""
    study, seed = setting.study, setting.study.sweep_seed(setting.sweep.number)
    scored = [Member(trial.number, trial.point, _loss(setting, results[trial.key], planned.begin)) for trial in members]
    return next_members(study.space, scored, rules_of(study.search), planned.begin, planned.first, seed)


def _loss(setting: Setting, result: TrialResult, epoch: int) -> float:
    """Return the objective in an epoch, lower is better; NaN for a trial without a rank, or that ended before."""
    sweep = setting.sweep
    value = value_at(setting.store, result.run_id, sweep.metric, epoch) if result.is_ranked else math.nan
    return sign_of(sweep.direction) * value


def made(
    setting: Setting,
    planned: Bracket,
    chosen: Sequence[NewMember],
    members: Sequence[Trial],
    results: Mapping[str, TrialResult],
) -> list[Trial]:
    """Return the trials of new members; a continuation has the seed of its parent.

    Say what each continues, if it has no result yet.
    """
    known, found = {trial.number: trial for trial in members}, []
    ended = {result.trial.key for result in setting.finished()}
    for place, member in enumerate(chosen):
        number, parent = planned.first + place, None if member.parent is None else known[member.parent]
        seed = None if parent is None else parent.seed
        trial = make_trial(setting.study, setting.sweep.number, setting.data, number, member.point, seed)
        if parent is not None:
            sign = sign_of(setting.sweep.direction)
            value, replaced = (
                each if each is None else sign * each for each in (member.parent_loss, member.replaced_loss)
            )
            run_id = results[parent.key].run_id
            origin = Parent(parent.number, planned.begin, member.replaced, value, replaced, run_id)
            trial = replace(trial, proposed_by=POPULATION, parent=origin)
        if trial.key not in ended:
            logger.info(replacement_line(trial, member, planned.begin))
        found.append(replace(trial, proposed_by=trial.proposed_by or "random"))
    return found


def replacement_line(trial: Trial, member: NewMember, epoch: int) -> str:
    """Return `trial 12 · continues trial 7 after epoch 4 (0.91), replaced trial 3 (0.62) · model.dropout 0.2`."""
    if trial.parent is None:
        return f"trial {trial.number} · replaces trial {member.replaced} after epoch {epoch} · a new point"
    said = continuation(trial.parent, lambda value: f"{value:.4f}")
    changes = changes_of(trial.point)
    last = changes[max(changes, key=int)]
    return f"trial {trial.number} · {said} · {', '.join(f'{name} {value:g}' for name, value in last.items())}"
