"""Whatever people change or delete on MLflow's pages: each command gives a result or one clear sentence."""

import io
import json
import logging
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from rich.console import Console

from nightune.tasks.compare_sweeps import compare_sweeps
from nightune.tasks.doctor import examine
from nightune.tasks.measure_candidate import champion_contender
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.reporting.night.page import Context, draw_page
from nightune.tasks.reporting.night.read_night import read_night
from nightune.tasks.reporting.night.tables import summary
from nightune.tasks.reporting.read_report import read_report
from nightune.tasks.tracking.registry import registry
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.errors import StoreError
from nightune.tasks.tracking.store.records import read_file, warn_of_damage
from nightune.tasks.tracking.store.store import Store, client, open_store
from nightune.tasks.tracking.sweeps import verdicts
from nightune.tasks.tracking.sweeps.confirmations import write_confirmation
from nightune.tasks.tracking.sweeps.find_sweeps import find_complete_sweep, find_sweep
from nightune.tasks.tracking.sweeps.importances import write_importance
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep, open_sweep, parse_content
from nightune.tasks.tracking.trials.costs import record_costs
from nightune.tasks.tracking.trials.prune import prune
from nightune.tasks.tracking.trials.rungs import rung_results
from nightune.tasks.tracking.trials.runs import unfinished_runs
from nightune.tasks.tracking.trials.snapshots import kept_runs
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.analysis.confirmation import Confirmation, ConfirmedFinalist, Finalist
from nightune.tuning.analysis.importance import Importance, WhatMattered
from nightune.tuning.analysis.paired_gain import Gain
from nightune.tuning.analysis.promotion_gate import Candidate, Decision, Guard, Verdict
from nightune.tuning.trial import Trial
from tests.tasks.conftest import SmallStudy, result_of

VALUES = ("", "many", "-1", "1.5", "null", "[]", "{}", "²", "9" * 30, '{"a": [1]}', "gone-7")
QUICK, SEED = 3, 20261129  # the nightly tests make every change


@dataclass
class Place:
    """A store with two complete sweeps, the first with a promoted version."""

    store: Store
    study: SmallStudy
    sweeps: list[Sweep]
    trials: list[str]
    replicates: list[str]


@dataclass(frozen=True)
class Change:
    """One thing that a person changes, and how it is undone."""

    name: str
    do: Callable[[], object]
    undo: Callable[[], object]


@pytest.fixture(scope="module")
def place(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("changed")
    shutil.copytree(empty_store, folder / "mlruns")
    path = folder / "flowers.toml"
    path.write_text("question = 'Which rate is best?'\n")
    search = {"method": "random", "trials": 2, "epochs": 2}
    content = {"seed": 7, "search": search, "objective": {"metric": "val_loss"}, "space": {}, "data": {}}
    made = Place(open_store(folder / "mlruns"), SmallStudy(path, content=content), [], [], [])
    for _ in range(2):
        write_sweep(made, folder)
    register(made, folder)
    return made


def write_sweep(place: Place, folder: Path) -> None:
    store = place.store
    sweep = open_sweep(store, place.study, "data-1", fresh=True, planned_trials=2)  # type: ignore[arg-type]
    data = PreparedData(folder, "data-1", "multiclass", (0, 1), (4,), 2, {"train": 6}, ())
    checkpoint = folder / "model.keras"
    checkpoint.write_bytes(b"weights")
    for number in range(2):
        trial = Trial(number, {"optimizer": "adam", "learning_rate.peak": 0.1 + number}, number, f"{number:016x}")
        place.trials.append(write_trial(store, sweep, trial, data, checkpoint))
    again = replace(trial, key="f" * 16, replicate=1, replicate_of=place.trials[-1])
    place.replicates.append(write_trial(store, sweep, again, data, checkpoint))
    finalist = Finalist(1, trial.key, place.trials[-1], 0.25, (0.25, 0.3), 10, 1.0)
    confirmed = ConfirmedFinalist(finalist, 0.1, 0.2, 0.3, 1.0, True)
    write_confirmation(store, sweep, Confirmation((confirmed,), confirmed, 0.95, "parameters"))
    write_importance(store, sweep, WhatMattered((Importance("optimizer", 0.5, 0.5, 2),), ()))
    verdicts.record_test_read(store, sweep, "gate")
    place.sweeps.append(finish_sweep(store, sweep, "rank\n", [{"rank": 1}]))


def write_trial(store: Store, sweep: Sweep, trial: Trial, data: PreparedData, checkpoint: Path) -> str:
    log = TrialLog(store, sweep, trial, {}, data)
    for epoch in (1, 2):
        log.log_epoch(epoch, {"loss": 0.5, "val_loss": 0.5, "updates": 1.0 * epoch, "examples": 6.0 * epoch})
    return log.finish(result_of(trial), checkpoint)


def register(place: Place, folder: Path) -> None:
    store, sweep, run_id = place.store, place.sweeps[0], place.replicates[0]
    candidate = Candidate("flowers", sweep.id, "data-1", 1, "f" * 16, run_id, 0.25, 0.25)
    gain, guard = Gain(0.1, 0.05, 0.15, 0.95, 0.2, 0.3, 2, 1, 40, 0.01), Guard("size", True, "small")
    verdict = Verdict(candidate, Decision.PROMOTED, "better", "loss", 0.0, None, gain, gain, (guard,), False)
    verdicts.write_verdict(store, sweep, verdict, "question")
    (folder / "model").mkdir()
    (folder / "model" / "MLmodel").write_text("flavors: {}\n")
    ours = {names.SWEEP: sweep.id, names.TRIAL_KEY: "f" * 16, names.SIBLINGS: json.dumps([place.trials[0]])}
    version = registry.register(
        store, "flowers", sweep, run_id, folder / "model", {**verdicts.verdict_tags(verdict), **ours}
    )
    registry.set_tags(store, version, registry.extended_history(version, "promoted", "better"))
    registry.set_alias(store, "flowers", "champion", 1)


def changes(place: Place) -> Iterator[Change]:
    """Every change of every object, one at a time."""
    runs = [
        place.sweeps[0].run_id,
        place.sweeps[1].run_id,
        *place.trials[-2:],
        place.replicates[-1],
        place.replicates[0],
    ]
    for run_id in runs:
        yield from run_changes(place.store, run_id)
    yield from version_changes(place.store)
    mlflow_client, experiment = client(place.store), place.sweeps[0].experiment_id
    yield Change(
        "the experiment is deleted",
        lambda: mlflow_client.delete_experiment(experiment),
        lambda: mlflow_client.restore_experiment(experiment),
    )
    yield Change(
        "the experiment is renamed",
        lambda: mlflow_client.rename_experiment(experiment, "other"),
        lambda: rename_back(place.store, experiment),
    )


def rename_back(store: Store, experiment: str) -> None:
    made = client(store).get_experiment_by_name("flowers")
    if made is not None:  # a sweep was started meanwhile
        client(store).rename_experiment(made.experiment_id, f"made {made.experiment_id}")
    client(store).rename_experiment(experiment, "flowers")


def run_changes(store: Store, run_id: str) -> Iterator[Change]:
    mlflow_client = client(store)
    run = mlflow_client.get_run(run_id)
    kind = run.data.tags[names.KIND]
    yield Change(f"{kind} deleted", lambda: mlflow_client.delete_run(run_id), lambda: mlflow_client.restore_run(run_id))
    for state in ("RUNNING", "KILLED", "FAILED", "SCHEDULED"):
        yield Change(
            f"{kind} is {state}",
            lambda state=state: mlflow_client.update_run(run_id, status=state),
            lambda: mlflow_client.set_terminated(run_id, "FINISHED"),
        )
    for name, text in run.data.tags.items():
        back = lambda name=name, text=text: mlflow_client.set_tag(run_id, name, text)  # noqa: E731
        yield Change(f"{kind} without {name}", lambda name=name: mlflow_client.delete_tag(run_id, name), back)
        for value in VALUES:
            yield Change(
                f"{kind} with {name} = {value!r}",
                lambda name=name, value=value: mlflow_client.set_tag(run_id, name, value),
                back,
            )
    for metric, number in run.data.metrics.items():
        for value in (float("nan"), -1.0, 0.5, 1e300):
            yield Change(
                f"{kind} with {metric} = {value}",
                lambda metric=metric, value=value: mlflow_client.log_metric(run_id, metric, value, step=2),
                lambda metric=metric, number=number: mlflow_client.log_metric(run_id, metric, number, step=2),
            )
    yield from file_changes(Path(run.info.artifact_uri.removeprefix("file://")), kind)


def file_changes(folder: Path, owner: str) -> Iterator[Change]:
    aside = folder.with_name(f"{folder.name}-aside")
    yield Change(f"{owner} without files", lambda: folder.rename(aside), lambda: move_back(aside, folder))
    for file in sorted(each for each in folder.rglob("*") if each.is_file()):
        held = file.read_bytes()
        back = lambda file=file, held=held: file.write_bytes(held)  # noqa: E731
        yield Change(f"{owner} without {file.name}", file.unlink, back)
        for text in ("", "[]", "{}", '{"finalists": [1], "winner": 3}', "\udcff"):
            yield Change(
                f"{owner} with {file.name} = {text!r}",
                lambda file=file, text=text: file.write_text(text, errors="surrogateescape"),
                back,
            )


def move_back(aside: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def version_changes(store: Store) -> Iterator[Change]:
    mlflow_client = client(store)
    version = mlflow_client.get_model_version("flowers", "1")
    for name, text in version.tags.items():
        back = lambda name=name, text=text: mlflow_client.set_model_version_tag("flowers", "1", name, text)  # noqa: E731
        yield Change(
            f"version without {name}",
            lambda name=name: mlflow_client.delete_model_version_tag("flowers", "1", name),
            back,
        )
        for value in VALUES:
            yield Change(
                f"version with {name} = {value!r}",
                lambda name=name, value=value: mlflow_client.set_model_version_tag("flowers", "1", name, value),
                back,
            )
    yield Change(
        "no alias",
        lambda: registry.delete_alias(store, "flowers", "champion"),
        lambda: registry.set_alias(store, "flowers", "champion", 1),
    )
    yield from file_changes(Path(version.source.removeprefix("file://")), "version")


def commands(place: Place) -> dict[str, Callable[[], object]]:
    """What each command calls in a store."""
    from nightune.flows.commands.leaderboard_table import print_leaderboard
    from nightune.flows.commands.tables import print_confirmation, print_importance, print_versions

    store, console = place.store, Console(file=io.StringIO(), width=160)

    def show() -> None:
        for sweep_id in (None, "flowers-0"):
            report = read_report(store, "flowers", find_sweep(store, "flowers", sweep_id))
            for part in (print_leaderboard, print_confirmation, print_importance):
                part(console, report)
            json.dumps([report.summary(), report.rows()])

    def resume() -> None:
        sweep = open_sweep(store, place.study, "data-1", fresh=False, planned_trials=2)  # type: ignore[arg-type]
        try:
            rung_results(store, sweep, 2)
            rung_results(store, sweep, 1)
            unfinished_runs(store, sweep)
            kept_runs(store, sweep)
        finally:
            if sweep.run_id not in {each.run_id for each in place.sweeps}:
                client(store).delete_run(sweep.run_id)

    def promote() -> None:
        sweep = find_complete_sweep(store, "flowers", "flowers-0")
        read_file(store, sweep.run_id, names.STUDY_CONTENT, parse_content)
        finished_trials(store, sweep, "replicate")
        verdicts.test_reads(store, sweep)
        verdicts.read_verdict(store, sweep)
        champion = registry.champion(store, "flowers")
        registry.registered(store, "flowers", place.replicates[0])
        if champion is not None:
            champion_contender(store, champion, store.root / "fetched" / str(random.random()))
            registry.extended_history(champion, "promoted", "again")

    def report() -> None:
        for sweep_id in (None, "flowers-0"):
            night = read_night(store, "flowers", find_sweep(store, "flowers", sweep_id))
            draw_page(night, Context("flowers.toml", "sqlite:///mlruns/mlflow.db"))
            json.dumps(summary(night), allow_nan=False)

    return {
        "show": show,
        "report": report,
        "compare": lambda: compare_sweeps(store, "flowers").as_json(),
        "models": lambda: print_versions(
            console, [version for name in registry.models(store) for version in registry.versions(store, name)]
        ),
        "prune": lambda: prune(store, "flowers", keep=1, is_dry=True),
        "costs": lambda: [record_costs(store, sweep) for sweep in place.sweeps[1:]],
        "promote": promote,
        "tune": resume,
    }


def try_change(place: Place, change: Change, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Make a change, call what each command calls, and return what went wrong; `doctor` must find what is left out."""
    caplog.clear()
    warn_of_damage.cache_clear()
    called = commands(place)
    tune = called.pop("tune")  # last: it restores experiments
    change.do()
    try:
        wrong = [failure_of(name, command) for name, command in called.items()]
        findings = [finding.text for finding in examine(place.store) if not finding.is_well]
        wrong.append(failure_of("tune", tune))
    except Exception as error:
        wrong = [f"doctor raised {error!r}"]
    finally:
        change.undo()
    if any("left out" in message for message in caplog.messages) and not any(wrong) and not findings:
        wrong = [f"doctor does not find: {caplog.messages}"]
    return [f"{change.name}: {each}" for each in wrong if each]


def failure_of(name: str, command: Callable[[], object]) -> str:
    """Return what a command raised, if it is anything else than a StoreError with its sentence."""
    try:
        command()
    except StoreError as error:
        return "" if len(str(error)) > 20 else f"{name} says {str(error)!r}"
    except Exception as error:
        return f"{name} raised {error!r}"
    return ""


def test_the_unchanged_store_is_whole(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    for command in commands(place).values():
        command()
    assert [finding.text for finding in examine(place.store) if not finding.is_well] == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_random_change_of_the_store_ends_no_command_with_a_traceback(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = random.Random(SEED).sample(list(changes(place)), QUICK)
    assert [failure for change in chosen for failure in try_change(place, change, caplog)] == []


@pytest.mark.nights
def test_no_change_of_the_store_ends_a_command_with_a_traceback(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    assert [failure for change in changes(place) for failure in try_change(place, change, caplog)] == []


@pytest.mark.parametrize("name", [names.SEED, names.PARAMS, names.TRIAL_NUMBER, names.STATUS, names.TRIAL_KEY])
def test_a_damaged_trial_is_left_out_by_name_once_and_found_by_doctor(
    place: Place, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    store, run_id, sweep = place.store, place.trials[-1], place.sweeps[-1]
    held = client(store).get_run(run_id).data.tags[name]
    client(store).delete_tag(run_id, name)
    try:
        assert len(finished_trials(store, sweep)) == len(finished_trials(store, sweep)) == 1
        (warning,) = [record.message for record in caplog.records if "left out" in record.message]
        assert run_id in warning
        assert name in warning
        assert any(run_id in finding.text for finding in examine(store) if not finding.is_well)
    finally:
        client(store).set_tag(run_id, name, held)
