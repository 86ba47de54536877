"""Rungs read back: each trial as of the rung's end, not as of its run now."""

from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.rungs import objectives_at, rung_results
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tuning.trial import Status, Trial
from tests.tasks.conftest import result_of


def test_a_rung_is_read_back_unchanged_and_is_none_where_the_trial_had_no_rung(
    store: Store, sweep: Sweep, data: PreparedData, trial: Trial
) -> None:
    for epochs, objective, status in ((4, 0.5, Status.NOT_PROMOTED), (8, 0.25, Status.COMPLETED)):
        log = TrialLog(store, sweep, trial, {}, data)
        for epoch in range(1, epochs + 1):
            log.log_epoch(epoch, {"loss": 1.0, "val_loss": 0.5, "updates": 3.0 * epoch, "examples": 6.0 * epoch})
        log.finish(result_of(trial, status=status, objective=objective, epochs=epochs, best_epoch=epochs), None)
    assert rung_results(store, sweep, 2) == {}
    halted, whole = rung_results(store, sweep, 4)[trial.key], rung_results(store, sweep, 8)[trial.key]
    assert (halted.status, halted.objective, halted.epochs, halted.updates) == (Status.NOT_PROMOTED, 0.5, 4, 12)
    assert (whole.status, whole.objective, whole.epochs, whole.updates) == (Status.COMPLETED, 0.25, 8, 24)
    assert [objectives_at(store, [whole], epochs) for epochs in (3, 4, 8)] == [{}, {0: 0.5}, {0: 0.25}]
