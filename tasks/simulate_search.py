"""Replay search methods on the trials of finished sweeps, which MLflow has: no model is trained."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nightune.models.errors import InputError
from nightune.models.recipe.params import silent_defaults
from nightune.tasks.load_study import load_study, missing_sampler
from nightune.tasks.program_structures import structure_of
from nightune.tasks.recorded_start import recorded_start
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import SweepNotFoundError
from nightune.tasks.tracking.store.records import optional_file, whole_records
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.find_sweeps import find_complete_sweep
from nightune.tasks.tracking.sweeps.profiles import read_profile
from nightune.tasks.tracking.sweeps.sweeps import Sweep, all_sweeps, parse_content
from nightune.tasks.tracking.trials.runs import finished_runs, read_result
from nightune.tasks.tracking.trials.trials import read_curve
from nightune.tuning.recorded_search import (
    METHODS,
    Mark,
    Pool,
    Recording,
    Start,
    compare,
    default_epochs,
    fits,
    left_out,
    limits_of,
    said_of_start,
)
from nightune.tuning.search.earlier import point_of
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.study.population import POPULATION
from nightune.tuning.study.space_content import question_of, space_of
from nightune.tuning.trial import Status, TrialResult
from nightune.vocabulary import counted, listing

FEWEST_TRIALS = 2
SEVERAL = "several objectives: the methods are compared, and propose, by the first one alone"


@dataclass(frozen=True)
class Question:
    """What recorded trials have in common, so that they can be compared: space, objective, epochs, limits, data.

    `needs_all`: the study needs trials that are trained in full, so that its `auto` has no rungs.
    """

    space: SearchSpace
    direction: str
    metric: str
    epochs: int
    key: str
    needs_all: bool = False


@dataclass(frozen=True)
class Replay:
    """What each method would have found among the trials of these sweeps; `limits` says what they cannot tell."""

    sweeps: tuple[str, ...]
    trials: int
    metric: str
    best: float
    seeds: int
    limits: tuple[str, ...]
    methods: dict[str, list[Mark]]

    def as_json(self) -> dict[str, object]:
        """Return the fields as plain values; NaN is null."""
        return {
            **asdict(self),
            "best": _known(self.best),
            "methods": {
                name: [{key: _known(value) for key, value in asdict(mark).items()} for mark in marks]
                for name, marks in self.methods.items()
            },
        }


@dataclass(frozen=True)
class Asked:
    """A study of which the sweeps are asked for, or a single sweep of it."""

    study: str
    sweep_id: str | None = None


def read_asked(text: str) -> Asked:
    """Read a study's file, or the id of a sweep, which is the study's name and a number; StudyError for a bad file."""
    if text.endswith(".toml"):
        return Asked(load_study(Path(text)).name)
    return Asked(text.rpartition("-")[0] or text, text)


def simulate_search(
    store: Store, asked: Sequence[Asked], methods: Sequence[str], epochs: Sequence[int], seeds: int
) -> list[Replay]:
    """Replay methods on the sweeps that are asked for; a replay for each question that they answer.

    Of a study it is the question of its last complete sweep, and all its complete sweeps with the same one. No `epochs`
    are an eighth, a quarter and a half of those recorded. InputError for an unknown method or too few trials;
    SweepNotFoundError for a sweep that does not exist or is not complete.
    """
    if POPULATION in methods:
        raise InputError("--methods", f"{POPULATION!r} is not replayed: recorded curves do not branch; leave it out")
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise InputError("--methods", f"unknown {unknown[0]!r} ({listing(METHODS)})")
    if missing := next(filter(None, map(missing_sampler, methods)), ""):
        raise InputError("--methods", f"{missing}, or leave it out")
    grouped: dict[str, tuple[Question, dict[str, Sweep]]] = {}
    for each in asked:
        for question, sweep in _sweeps(store, each):
            grouped.setdefault(question.key, (question, {}))[1][sweep.id] = sweep
    return [
        _replay(store, question, list(sweeps.values()), methods, epochs, seeds) for question, sweeps in grouped.values()
    ]


def read_pool(store: Store, question: Question, sweeps: Sequence[Sweep], start: Start | None = None) -> Pool:
    """Read the trials of sweeps with their curves; continuations and points outside the question's space are counted.

    A trial that a sweep reused is one recording, with the trial that it was copied from. `start` is what `auto` begins
    with.
    """
    trained: list[Any] = []  # runs
    copied: list[Any] = []
    for sweep in sweeps:
        for run in finished_runs(store, sweep):
            (copied if names.REUSED_FROM in run.data.tags else trained).append(run)
    results = list(whole_records(trained, read_result))
    copies = {(each.trial.key, each.status): each for each in whole_records(copied, read_result)}
    known = {(each.trial.key, each.status) for each in results}
    results += [each for identity, each in copies.items() if identity not in known]
    from_start = [each for each in results if each.trial.parent is None]
    recordings = tuple(_recordings(store, question, from_start))
    return Pool(
        question.space,
        question.direction,
        question.epochs,
        recordings,
        continuations=len(results) - len(from_start),
        outside=len(from_start) - len(recordings),
        structure=structure_of(question.space),
        start=start,
        needs_all=question.needs_all,
    )


def _replay(
    store: Store,
    question: Question,
    sweeps: Sequence[Sweep],
    methods: Sequence[str],
    epochs: Sequence[int],
    seeds: int,
) -> Replay:
    start = _start(store, question, sweeps) if "auto" in methods else None
    pool, ids = read_pool(store, question, sweeps, start), tuple(each.id for each in sweeps)
    ranked = sum(math.isfinite(pool.objective(several[0].point)) for several in pool.by_point.values())
    if ranked < FEWEST_TRIALS:
        problem = (
            f"{counted(ranked, 'recorded point')} with an objective, which is too few (needed: {FEWEST_TRIALS} or more)"
        )
        told = "; ".join([problem, *left_out(pool)])
        raise InputError(", ".join(ids), f"{told}; train more trials, or name more sweeps of the study")
    fitting = [name for name in methods if fits(pool, name)]
    short = [name for name in methods if name not in fitting]
    limits = [
        *limits_of(pool),
        *([SEVERAL] if sweeps[-1].further else []),
        *([said_of_start(pool)] if "auto" in fitting else []),
        *([f"too few epochs for rungs: {', '.join(short)} left out"] if short else []),
    ]
    marks = sorted(epochs) or default_epochs(pool)
    found = {name: compare(pool, name, marks, seeds) for name in fitting}
    return Replay(ids, len(pool.recordings), question.metric, pool.best, seeds, tuple(limits), found)


def _sweeps(store: Store, asked: Asked) -> Iterator[tuple[Question, Sweep]]:
    """Yield the sweep of an id, or those of a study that answer the question of its last complete one."""
    last_sweep = find_complete_sweep(store, asked.study, asked.sweep_id)
    last = _question(store, last_sweep)
    if asked.sweep_id is not None:
        yield last, last_sweep
        return
    for sweep in all_sweeps(store, asked.study):
        if sweep.is_complete and (question := _question(store, sweep)).key == last.key:
            yield question, sweep


def _question(store: Store, sweep: Sweep) -> Question:
    content = optional_file(store, sweep.run_id, names.STUDY_CONTENT, parse_content)
    space = None if content is None else space_of(content)
    if content is None or space is None:
        raise SweepNotFoundError(f"{sweep.id}: its study is not recorded as it was; name another sweep")
    epochs, key = int(content["search"]["epochs"]), f"{question_of(content)} {sweep.data_version}"
    needs_all = bool(sweep.further or content["search"].get("reuse"))
    return Question(space, sweep.direction, sweep.metric, epochs, key, needs_all)


def _start(store: Store, question: Question, sweeps: Sequence[Sweep]) -> Start | None:
    """Return what `auto` begins with for the question of sweeps; None if none has the task of their data."""
    for sweep in reversed(sweeps):
        if profile := read_profile(store, sweep):
            return recorded_start(question.space, profile.task, not sweep.further, sweep.id)
    return None


def _recordings(store: Store, question: Question, results: Iterable[TrialResult]) -> Iterator[Recording]:
    for result in results:
        point = point_of(question.space, {**silent_defaults(), **result.trial.params})
        if point is not None:
            is_whole = result.status is Status.COMPLETED
            is_dropped = result.status is Status.NOT_PROMOTED
            yield Recording(point, _curve(store, question.metric, result), result.seconds, is_whole, is_dropped)


def _curve(store: Store, metric: str, result: TrialResult) -> tuple[float, ...]:
    """Return the objective by epoch; NaN throughout for a trial that is not ranked.

    A run without this curve has its objective, in its best epoch.
    """
    unknown = (math.nan,) * result.epochs
    if not result.is_ranked:
        return unknown
    curve = read_curve(store, result.run_id, metric)
    return tuple(curve) or (*unknown[: result.best_epoch - 1], result.objective, *unknown[result.best_epoch :])


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
