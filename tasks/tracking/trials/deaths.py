"""Count the deaths of workers on the run of the trial that they were training, whatever machine they were on."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.attempts import Attempt, run_of_trial
from nightune.tasks.tracking.trials.runs import finish_halted, is_finished
from nightune.tuning.trial import Trial

MAX_DEATHS = 3
REASON_CHARACTERS = 1000


@dataclass(frozen=True)
class Deaths:
    """The deaths that a trial's run counts, and the reason of the last one. A final one is not followed by another."""

    count: int = 0
    reason: str = ""
    is_final: bool = False


def deaths_of(run: Any) -> Deaths:
    """Return the deaths that a run counts; none where its tag is missing or was changed into something else."""
    try:
        values = json.loads(run.data.tags.get(names.DEATHS, "{}"))
        return Deaths(int(values["count"]), str(values["reason"]), bool(values["is_final"]))
    except (ValueError, KeyError, TypeError):
        return Deaths()


def trial_in_training(store: Store, sweep: Sweep, trials: Sequence[Trial], attempt: Attempt) -> Trial | None:
    """Return the trial that a lost attempt was training: the last, in the order of training, whose run it holds open.

    The run before it may still be open, too: it is written while the next one trains.
    """
    for trial in reversed(trials):
        run = run_of_trial(store, sweep, trial.key)
        if run is not None and _is_held(run, attempt):
            return trial
    return None


def count_death(store: Store, sweep: Sweep, trial: Trial, death: Deaths, next_attempt: Attempt) -> Deaths | None:
    """Add a death to those of the trial's run, and close it for the next attempt; None without an unfinished run.

    The lost attempt, if it still trains behind a cut network, finds another token than its own, and abandons the run.
    """
    run = run_of_trial(store, sweep, trial.key)
    if run is None or is_finished(run) or finish_halted(store, run):
        return None
    count = deaths_of(run).count + death.count
    deaths = Deaths(count, death.reason[:REASON_CHARACTERS], death.is_final or count >= MAX_DEATHS)
    mlflow_client, run_id = client(store), run.info.run_id
    mlflow_client.set_tag(run_id, names.ATTEMPT_TOKEN, next_attempt.token)
    mlflow_client.set_tag(run_id, names.DEATHS, json.dumps(asdict(deaths)))
    mlflow_client.set_tag(run_id, names.STATUS, "interrupted")
    mlflow_client.set_terminated(run_id, "KILLED")
    return deaths


def _is_held(run: Any, attempt: Attempt) -> bool:
    return bool(run.info.status == "RUNNING" and run.data.tags.get(names.ATTEMPT_TOKEN) == attempt.token)
