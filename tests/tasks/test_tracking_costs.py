"""A sweep's run records the costs of the sweep."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from nightune.models.training.engine import Compilation
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.compilation import add_compilation
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.costs import record_costs, work_span
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tasks.tracking.trials.trials import copy_as_reused
from nightune.tuning.trial import Trial, TrialResult
from tests.tasks.conftest import result_of


def train(store: Store, sweep: Sweep, trial: Trial, data: PreparedData, peak: float) -> TrialResult:
    log = TrialLog(store, sweep, trial, {"nightune.device": "cpu:0"}, data)
    log.log_epoch(1, {"loss": 1.0})
    log.add_metrics({"peak_memory_mib": peak})
    result = replace(result_of(trial), epochs=1, best_epoch=0)
    return replace(result, run_id=log.finish(result, None))


def test_a_sweep_records_its_pace_peak_and_device(store: Store, sweep: Sweep, data: PreparedData, trial: Trial) -> None:
    trials = [replace(trial, number=number, key=f"key-{number}") for number in range(3)]
    runs = [train(store, sweep, each, data, peak) for each, peak in zip(trials, (10.0, 30.0, 20.0), strict=True)]
    record_costs(store, sweep)
    kept = client(store).get_run(sweep.run_id)
    infos = [client(store).get_run(run.run_id).info for run in runs]
    seconds = (max(info.end_time for info in infos) - min(info.start_time for info in infos)) / 1000
    assert kept.data.metrics["trials_per_hour"] == pytest.approx(
        3 * 3600 / seconds, rel=1e-4
    )  # times since 1970, in seconds
    assert kept.data.metrics["peak_memory_mib"] == 30.0
    assert "device_peak_memory_mib" not in kept.data.metrics
    assert kept.data.tags["nightune.device"] == "cpu:0"


def test_a_sweep_counts_what_all_its_processes_compile(store: Store, sweep: Sweep) -> None:
    for added in (Compilation(2, 1.5), Compilation(0, 0.0), Compilation(1, 0.25)):
        add_compilation(store, sweep, added)
    tags = client(store).get_run(sweep.run_id).data.tags
    assert (tags[names.COMPILED_FUNCTIONS], float(tags[names.COMPILE_SECONDS])) == ("3", pytest.approx(1.75, abs=0.06))


@pytest.mark.parametrize("text", ["many", "nan", ""])
def test_a_count_that_was_changed_by_hand_ends_no_sweep(text: str, store: Store, sweep: Sweep) -> None:
    for name in (names.COMPILED_FUNCTIONS, names.COMPILE_SECONDS):
        client(store).set_tag(sweep.run_id, name, text)
    add_compilation(store, sweep, Compilation(2, 1.5))
    tags = client(store).get_run(sweep.run_id).data.tags
    assert (tags[names.COMPILED_FUNCTIONS], tags[names.COMPILE_SECONDS]) == ("2", "1.5")


def test_a_reused_trial_costs_nothing_and_has_no_peak(
    store: Store, sweep: Sweep, data: PreparedData, trial: Trial
) -> None:
    earlier = train(store, sweep, trial, data, 40.0)
    copied = copy_as_reused(store, sweep, replace(trial, number=1, key="copy"), earlier, data)
    assert "peak_memory_mib" not in client(store).get_run(copied.run_id).data.metrics
    client(store).delete_run(earlier.run_id)
    record_costs(store, sweep)
    assert client(store).get_run(sweep.run_id).data.metrics == {}


def test_an_outage_during_a_trial_is_not_counted_as_work() -> None:
    info = SimpleNamespace(start_time=0, end_time=3_620_000)
    run = SimpleNamespace(info=info, data=SimpleNamespace(metrics={"seconds": 20.0}))
    assert work_span(run) == (3600.0, 3620.0)
