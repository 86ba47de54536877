"""Store sweeps in MLflow: one parent run for each execution of a study."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.provenance import commit_tags, environment
from nightune.tasks.tracking.store.records import read_file, run_record, whole_records
from nightune.tasks.tracking.store.store import Store, client, study_experiment
from nightune.tasks.tracking.sweeps.first_rungs import read_first_rungs
from nightune.tasks.tracking.sweeps.numbers import keep_number, next_number
from nightune.tasks.tracking.sweeps.objectives import further_tags, read_further
from nightune.tasks.tracking.sweeps.tables import add_table
from nightune.tuning.study.ends import MAY_CHANGE
from nightune.tuning.study.population import POPULATION
from nightune.vocabulary import DIRECTIONS

if TYPE_CHECKING:
    from nightune.tuning.study.study import Study
    from nightune.tuning.trial import Value

BLOCKS, BUCKETS = "blocks", "buckets"  # the values of BATCH_LAYOUT
UNRECORDED_FIRST_ROUND = 16  # trials


class SweepStatus(StrEnum):
    """Whether all trials of a sweep are finished. The same command resumes a sweep unless it is COMPLETE."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Sweep:
    """One execution of a study. `id` is the study's name and the sweep's number, counted from 0."""

    id: str
    number: int
    run_id: str
    experiment_id: str
    status: SweepStatus
    study_digest: str
    data_version: str
    metric: str
    direction: str
    planned_trials: int
    engine: str = ""  # chosen once, before the first trial
    accumulates_blocks: bool = False  # chosen with the engine: how JAX adds up batches, which rounds differently
    asked_trials: int = 0  # the study's number: more than planned where the space has fewer points
    earlier_lengths: tuple[int, ...] = ()  # the asked numbers of trials before each extension
    is_without_repeats: bool = False  # False: continuous ranges, or begun by a version that repeated points
    is_settled: bool = False  # a winner is confirmed, or was judged: its trials stay as they are
    confirming: tuple[int, int] | None = None  # finalists and seeds that its confirmation began with, if it has begun
    verdict: str = ""  # the decision of the promotion gate, if it judged the winner
    method: str = ""
    points: int | None = None  # of the space, if they can be counted; at least as many as trials if there are more
    is_reusing: bool = False  # reads earlier results of the same params
    has_folds: bool = False  # each trial trains on folds, and keeps the model of the last one
    further: tuple[tuple[str, str], ...] = ()  # names and directions of the objectives after the first
    ended_by: str = ""  # what ended the search before its last trial: hours = 8
    first_rungs: tuple[tuple[int, int], ...] = ()  # of rounds that adapt them: first trial, epochs
    first_round: int = UNRECORDED_FIRST_ROUND  # trials, where the first round has a size of its own

    @property
    def is_complete(self) -> bool:
        """True if no trial is left to train."""
        return self.status is SweepStatus.COMPLETE

    @property
    def lengths(self) -> tuple[int, ...]:
        """The numbers of trials that it was asked for, the last one included."""
        return (*self.earlier_lengths, self.asked_trials)

    @property
    def layout(self) -> dict[str, Any]:
        """The fields of a study that depend on the version that opened the sweep, and on how it was extended."""
        return {
            "repeats_points": not self.is_without_repeats,
            "first_round": self.first_round,
            "earlier_lengths": self.earlier_lengths,
        }

    @property
    def is_population(self) -> bool:
        """True if a trial that did not train to the end was a member of a population, which another one replaced."""
        return self.method == POPULATION

    @property
    def has_all_points(self) -> bool:
        """True if another sweep of the study has no other points: this one is a grid, or has each of few points."""
        return self.method == "grid" or (self.points is not None and self.points <= self.planned_trials)


def open_sweep(
    store: Store,
    study: "Study",
    data_version: str,
    fresh: bool,
    planned_trials: int,
    tags: Mapping[str, str] = MappingProxyType({}),
    *,
    resumes: bool = True,
) -> Sweep:
    """Return the study's last sweep of this content and data, or create the next one, with these additional tags.

    An unfinished sweep is resumed even if `fresh` asks for the next one: comparisons would lose its trials. Not if
    `resumes` is False: it cannot be completed any more.
    """
    experiment_id = study_experiment(store, study.name)
    latest = latest_sweep(store, study, data_version)
    if latest is not None and not latest.is_complete and resumes:
        _describe(store, latest.run_id, study)
        return _mark(store, latest, SweepStatus.RUNNING)
    if latest is not None and not fresh:
        return latest
    number = next_number(store, experiment_id, study.name)
    tags = {**tags, names.PLANNED_TRIALS: str(planned_trials)}
    return _new_sweep(store, experiment_id, study, data_version, number, tags)


def latest_sweep(store: Store, study: "Study", data_version: str) -> Sweep | None:
    """Return the study's last sweep of this content and data, or None."""
    same = [
        sweep
        for sweep in all_sweeps(store, study.name)
        if (sweep.study_digest, sweep.data_version) == (study.digest, data_version)
    ]
    return same[-1] if same else None


def finish_sweep(store: Store, sweep: Sweep, leaderboard_csv: str, rows: Sequence[Mapping[str, "Value"]]) -> Sweep:
    """Write the leaderboard to the sweep's run, as a file and as a table, and mark the sweep complete."""
    mlflow_client = client(store)
    mlflow_client.log_text(sweep.run_id, leaderboard_csv, names.LEADERBOARD_CSV)
    if rows:
        add_table(store, sweep.run_id, rows, names.LEADERBOARD_TABLE)
    return _mark(store, sweep, SweepStatus.COMPLETE)


def fetch_study(store: Store, sweep: Sweep, folder: Path) -> None:
    """Download the study's file and content as of the sweep's start into the subfolder `study` of a folder."""
    client(store).download_artifacts(sweep.run_id, names.STUDY_FOLDER, str(folder))


def sweep_content(store: Store, sweep: Sweep) -> dict[str, Any]:
    """Return `Study.content` as of the sweep's start, overrides of the command line included."""
    return read_file(store, sweep.run_id, names.STUDY_CONTENT, parse_content)


def parse_content(text: str) -> dict[str, Any]:
    """Read `Study.content` from the text of its file; ValueError or KeyError if it is damaged."""
    from nightune.tuning.study.objective import Objective  # noqa: PLC0415 - pydantic takes a moment
    from nightune.tuning.study.search_section import SearchSection  # noqa: PLC0415 - pydantic takes a moment

    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("expected: an object")
    int(content["seed"])
    SearchSection.model_validate_json(json.dumps(content["search"]))
    Objective.model_validate_json(json.dumps(content["objective"]))
    return content


def interrupt_sweep(store: Store, sweep: Sweep) -> Sweep:
    """Mark a sweep as interrupted; the same command resumes it."""
    return _mark(store, sweep, SweepStatus.INTERRUPTED)


def reopen_sweep(store: Store, sweep: Sweep) -> Sweep:
    """Mark a complete sweep as running: some of its trials are trained again, or more are added."""
    return _mark(store, sweep, SweepStatus.RUNNING)


def all_sweeps(store: Store, study_name: str) -> list[Sweep]:
    """Return the sweeps of a study, oldest first; empty if there is no such study."""
    experiment = client(store).get_experiment_by_name(study_name)
    return _sweeps(store, experiment.experiment_id) if experiment else []


def sweep_facts(store: Store, sweep: Sweep) -> dict[str, str]:
    """Return a sweep's provenance by name: data, engine, commit, and the packages that affect results."""
    tags = client(store).get_run(sweep.run_id).data.tags
    held = read_file(store, sweep.run_id, names.ENVIRONMENT, read_environment)
    facts = {
        "data version": sweep.data_version,
        "engine": sweep.engine,
        "commit": tags.get(names.MLFLOW_COMMIT, ""),
        "files differ from the commit": tags.get(names.GIT_CHANGED, ""),
    }
    return facts | held


def read_environment(text: str) -> dict[str, str]:
    """Read the packages that affect results from the text of their file; ValueError or KeyError if it is damaged."""
    held = json.loads(text)
    facts = {"python": str(held["python"]), "keras backend": str(held["keras_backend"])}
    return facts | {f"package {name}": str(version) for name, version in held["packages"].items()}


def _sweeps(store: Store, experiment_id: str) -> list[Sweep]:
    """Return the sweeps of an experiment by number; of sweeps with the same number, the newest is last."""
    runs = client(store).search_runs([experiment_id], names.tag_equals(names.KIND, "sweep"), max_results=10_000)
    sweeps = list(whole_records(runs, read_sweep))
    sweeps.reverse()  # MLflow returns the newest first
    return sorted(sweeps, key=lambda sweep: sweep.number)


def read_sweep(run: Any) -> Sweep:
    """Read a sweep from its run; DamagedRecordError names the field that is damaged."""
    record = run_record(run)
    planned = record.integer(names.PLANNED_TRIALS)
    sweep = Sweep(
        id=record.text(names.SWEEP),
        number=record.integer(names.SWEEP_NUMBER),
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        status=SweepStatus(record.choice(names.STATUS, tuple(SweepStatus))),
        study_digest=record.text(names.STUDY_DIGEST).removesuffix(names.OWN_ROUNDS),
        data_version=record.text(names.DATA_VERSION),
        metric=record.text(names.METRIC),
        direction=record.choice(names.DIRECTION, DIRECTIONS),
        planned_trials=planned,
        engine=record.tags.get(names.ENGINE, ""),
        accumulates_blocks=names.BATCH_LAYOUT in record.tags
        and record.choice(names.BATCH_LAYOUT, (BLOCKS, BUCKETS)) == BLOCKS,
        asked_trials=record.integer(names.ASKED_TRIALS, default=planned),
        earlier_lengths=tuple(record.integers(names.EARLIER_LENGTHS)),
        is_without_repeats=names.POINTS in record.tags,
        is_settled=record.tags.get(names.CONFIRMED_TRIAL, "none") != "none" or names.VERDICT in record.tags,
        confirming=_confirming(record.integers(names.CONFIRMING)),
        verdict=record.tags.get(names.VERDICT, ""),
        method=run.data.params.get("method", ""),
        points=_points(record.tags.get(names.POINTS, "")),
        is_reusing=run.data.params.get("reuse") == "True",
        has_folds=names.FOLDS in record.tags,
        further=read_further(record),
        ended_by=record.tags.get(names.ENDED_BY, ""),
        first_rungs=read_first_rungs(record.tags.get(names.FIRST_RUNGS, "")),
        first_round=record.integer(names.FIRST_ROUND, default=UNRECORDED_FIRST_ROUND),
    )
    if not sweep.id.endswith(f"-{sweep.number}"):
        record.refuse(names.SWEEP, sweep.id, f"a name that ends with -{sweep.number}, the sweep's number")
    return sweep


def _confirming(counts: list[int]) -> tuple[int, int] | None:
    return (counts[0], counts[1]) if len(counts) == 2 else None


def _points(text: str) -> int | None:
    """The number of points in a tag; None without one, or if it was changed to something else."""
    return int(text) if re.fullmatch("[0-9]{1,15}", text) else None


def _new_sweep(
    store: Store, experiment_id: str, study: "Study", data_version: str, number: int, more: Mapping[str, str]
) -> Sweep:
    tags = {
        **dict.fromkeys(names.FOR_READERS, names.NOT_KNOWN),
        **more,
        names.KIND: "sweep",
        names.SWEEP: f"{study.name}-{number}",
        names.SWEEP_NUMBER: str(number),
        names.STATUS: str(SweepStatus.RUNNING),
        names.STUDY_DIGEST: study.digest,
        names.DATA_VERSION: data_version,
        names.METRIC: study.objective.name,
        names.DIRECTION: study.objective.direction,
        **further_tags(study.objective),
        names.MLFLOW_NOTE: study.question,
    }
    mlflow_client = client(store)
    keep_number(store, experiment_id, number)
    run = mlflow_client.create_run(
        experiment_id, tags=tags | commit_tags(study.path.parent), run_name=f"sweep {number} · {study.question}"[:250]
    )
    _describe(store, run.info.run_id, study)
    return read_sweep(mlflow_client.get_run(run.info.run_id))


def _describe(store: Store, run_id: str, study: "Study") -> None:
    """Write study and environment to a sweep's run unless they are there; the environment is written last."""
    mlflow_client = client(store)
    if any(file.path == names.ENVIRONMENT for file in mlflow_client.list_artifacts(run_id)):
        return
    for name, value in {"seed": study.seed, **study.search.model_dump(mode="json")}.items():
        if name not in MAY_CHANGE:  # a run's param cannot
            mlflow_client.log_param(run_id, name, value)
    # Named by the study: MLflow cannot download a file with a name such as "a #1.toml".
    mlflow_client.log_text(run_id, study.path.read_text(encoding="utf-8"), f"{names.STUDY_FOLDER}/{study.name}.toml")
    mlflow_client.log_dict(run_id, study.content, names.STUDY_CONTENT)
    mlflow_client.log_dict(run_id, environment(), names.ENVIRONMENT)


def _mark(store: Store, sweep: Sweep, status: SweepStatus) -> Sweep:
    mlflow_client = client(store)
    mlflow_client.set_tag(sweep.run_id, names.STATUS, str(status))
    states = {SweepStatus.INTERRUPTED: "KILLED", SweepStatus.COMPLETE: "FINISHED"}
    if status is SweepStatus.RUNNING:
        mlflow_client.update_run(sweep.run_id, status="RUNNING")
    else:
        mlflow_client.set_terminated(sweep.run_id, states[status])
    return replace(sweep, status=status)
