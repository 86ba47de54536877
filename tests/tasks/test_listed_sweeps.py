"""The sweeps of a store, newest first, with numbers that equal those of their trials."""

import io
import math
from dataclasses import replace

from rich.console import Console

from nightune.flows.commands.listing import print_sweeps
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.reporting.ledger_keeper import command_clock, ledger_kept, sweep_ledger
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.confirmations import write_confirmation
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep, interrupt_sweep
from nightune.tasks.tracking.trials.known_trials import KnownTrials
from nightune.tasks.tracking.trials.results import listed_sweeps, record_results
from nightune.tasks.tracking.trials.trials import finished_trials
from nightune.tuning.trial import Status
from tests.tasks.conftest import SmallStudy
from tests.tasks.nights import confirmation, log_trial

LOSSES = ([0.5, 0.4], [0.3, 0.2])


def test_an_unfinished_sweep_is_listed_by_its_trials(store: Store, sweep: Sweep, data: PreparedData) -> None:
    for number, losses in enumerate(LOSSES):
        log_trial(store, sweep, data, number, losses)
    log_trial(store, sweep, data, 2, [], status=Status.FAILED, objective=math.nan)
    interrupt_sweep(store, sweep)
    (listed,) = listed_sweeps(store)
    assert (listed.study, listed.sweep.id, listed.finished) == ("flowers", "flowers-0", 3)
    assert (listed.best_objective, listed.best_trial) == (0.2, 1)
    assert listed.as_json()["status"] == "interrupted"


def test_a_complete_sweep_has_its_numbers_on_its_run(store: Store, sweep: Sweep, data: PreparedData) -> None:
    for number, losses in enumerate(LOSSES):
        log_trial(store, sweep, data, number, losses)
    record_results(store, sweep, list(finished_trials(store, sweep).values()))
    write_confirmation(store, sweep, confirmation(0.31, 0.36, direction="minimize"))
    finish_sweep(store, sweep, "", [])
    run = client(store).get_run(sweep.run_id).data
    assert run.metrics[names.BEST_OBJECTIVE] == 0.2
    assert run.metrics[names.FINISHED_TRIALS] == 2
    assert run.tags[names.BEST_TRIAL] == "1"
    (listed,) = listed_sweeps(store)
    assert (listed.finished, listed.best_objective, listed.best_trial) == (2, 0.2, 1)
    assert listed.confirmed_objective == run.metrics[names.CONFIRMED_OBJECTIVE] == 0.31
    console = Console(record=True, width=80, file=io.StringIO())
    print_sweeps(console, [listed])
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert max(map(len, lines)) <= 80
    assert {"flowers-0", "complete", "0.31"} <= set("\n".join(lines).split())


def test_the_best_trial_so_far_is_named_on_the_run_of_a_sweep_that_runs(
    store: Store, sweep: Sweep, data: PreparedData, study: SmallStudy
) -> None:
    """A trial whose record is still to be written has no run to name."""
    setting = Setting(store, sweep, study, data, known=KnownTrials(store, sweep))  # type: ignore[arg-type]
    assert setting.known is not None
    with command_clock(), ledger_kept(setting, "tune", is_cluster=True):
        ledger = sweep_ledger()
        assert ledger is not None
        for number, (losses, expected) in enumerate(zip(([0.5, 0.4], [0.3, 0.2], [0.6]), (0, 1, 1), strict=True)):
            log_trial(store, sweep, data, number, losses)
            results = finished_trials(store, sweep).values()
            result = next(each for each in results if each.trial.number == number)
            setting.known.add(result)
            best_to_write = replace(result.trial, number=9, key="to write")
            setting.known.add(replace(result, trial=best_to_write, objective=0.01, run_id=""))
            ledger.write()
            run = client(store).get_run(sweep.run_id).data
            named = client(store).get_run(run.tags[names.BEST_RUN]).data
            assert named.tags[names.TRIAL_NUMBER] == run.tags[names.BEST_TRIAL] == str(expected)
            assert run.metrics[names.BEST_OBJECTIVE] == named.metrics[names.OBJECTIVE]


def test_a_sweep_without_a_result_has_no_best_trial(store: Store, sweep: Sweep) -> None:
    record_results(store, sweep, [])
    finish_sweep(store, sweep, "", [])
    (listed,) = listed_sweeps(store)
    assert (listed.finished, listed.best_objective, listed.best_trial) == (0, None, None)
    client(store).set_tag(sweep.run_id, names.PLANNED_TRIALS, "many")  # damaged: left out with a warning
    assert listed_sweeps(store) == []
