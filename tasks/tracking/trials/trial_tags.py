"""The tags and the name of a trial's run: what it is, where it is trained, and how it ended."""

import json
import os
import socket
from dataclasses import asdict
from typing import Any

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.provenance import installed_packages
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.trial import Status, Trial, TrialResult

DESCRIBED = "Best epoch"  # the first words of a trial's description


def run_name(trial: Trial) -> str:
    """Return `trial 3`, `trial 3 replicate 2`, `trial 3 to the end`, or `ablation step 2 replicate 1`."""
    if trial.is_audit:
        return f"trial {trial.number} to the end"
    if trial.step is not None:
        return f"ablation step {trial.step} replicate {trial.replicate}"
    return f"trial {trial.number}" + (f" replicate {trial.replicate}" if trial.replicate else "")


def kind_of(trial: Trial) -> str:
    """Return the kind of a trial's run."""
    if trial.is_audit:
        return names.AUDIT
    if trial.step is not None:
        return names.ABLATION
    return "replicate" if trial.replicate else "trial"


def identity_tags(trial: Trial, sweep: Sweep, token: str) -> dict[str, str]:
    """Return the tags that a trial's run has from its start; `token` is that of the attempt that writes it."""
    replicate = {names.REPLICATE: str(trial.replicate)}
    return {
        names.MLFLOW_PARENT: trial.replicate_of or sweep.run_id,
        names.KIND: kind_of(trial),
        **(replicate if trial.replicate else {}),
        **({} if trial.step is None else {names.ABLATION_STEP: str(trial.step)}),
        names.SWEEP: sweep.id,
        names.TRIAL_KEY: trial.key,
        names.TRIAL_NUMBER: str(trial.number),
        names.SEED: str(trial.seed),
        names.PARAMS: json.dumps(trial.params, ensure_ascii=False),
        names.STATUS: "running",
        **(_reason(trial) if trial.is_searched else {}),
        names.HOST: socket.gethostname(),
        names.PROCESS: str(os.getpid()),
        names.ATTEMPT_TOKEN: token,
    }


def final_tags(result: TrialResult) -> dict[str, str]:
    """Return the tags that a trial's run has from its end."""
    tags = {names.STATUS: str(result.status)}
    if result.status is Status.NOT_PROMOTED:
        tags[names.RUNG] = str(result.epochs)  # completely logged up to here
    if result.status is Status.FAILED:
        tags[names.PACKAGES] = installed_packages()
    return tags | ({names.MESSAGE: result.message[: names.TAG_LENGTH]} if result.message else {})


def description(result: TrialResult, metric: str) -> dict[str, str]:
    """Return what MLflow's page of the run says: which epoch its numbers are of."""
    if not result.best_epoch:
        return {}
    best = f"{DESCRIBED} {result.best_epoch} of {result.epochs}: {metric} {result.objective:.5g}, which is `objective`."
    return {names.MLFLOW_NOTE: f"{best} Where MLflow shows one number of a curve, it is that of the last epoch."}


def attempts_of(run: Any) -> int:
    """Return the number of attempts so far; 1 if the tag was changed, since it only informs."""
    text = run.data.tags.get(names.ATTEMPT, "1")
    return int(text) if text.isascii() and text.isdigit() else 1


def _reason(trial: Trial) -> dict[str, str]:
    """Return the tags that say why a trial was proposed, as far as that is known."""
    by, expected, parent = trial.proposed_by, trial.expected, trial.parent
    continues = {} if parent is None else {name: each for name, each in asdict(parent).items() if name != "run_id"}
    return (
        ({names.PROPOSED_BY: by} if by else {})
        | ({} if expected is None else {names.EXPECTED: json.dumps(asdict(expected))})
        | ({names.CONTINUES: json.dumps(continues)} if continues else {})
    )
