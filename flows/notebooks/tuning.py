"""Tune a study, and open a sweep: the functions of `import nightune`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nightune.flows.notebooks.child_command import run_command
from nightune.flows.notebooks.written_study import write_study
from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.models.errors import InputError
from nightune.tasks.sweep_results import SweepResults, read_sweep
from nightune.tasks.tracking.store.errors import SweepNotFoundError
from nightune.tasks.tracking.store.store import open_existing_store


def tune(  # noqa: PLR0913 - as the command has options
    study: str | Path | Mapping[str, Any],
    *,
    data: Any = None,
    trials: int | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    hours: float | None = None,
    until: str | None = None,
    engine: str = "auto",
    fresh: bool = False,
    retry_failed: bool = False,
    workers: int | None = None,
) -> SweepResults:
    """Tune a study as `nightune tune` does, and return its sweep: resumed, complete, or a new one.

    `study` is a file, or a dictionary with the content of one, its `name` included: that is written to NAME.toml in
    the working folder, so that each command finds it. `data`, for a dictionary without `data.source`, is a DataFrame,
    a tuple of arrays (x, y) or (x, y, weight), or a dictionary of arrays; it is written beside the study. The other
    arguments are the options of the command. The sweep runs in a process of its own, in the store of the command
    line: `mlruns` in the working folder, or NIGHTUNE_STORE.

    InputError if a dictionary or data cannot be written; CommandError with the command's message if it fails;
    KeyboardInterrupt if it is stopped, and then the same call resumes the sweep.
    """
    if isinstance(study, Mapping):
        file = write_study(study, data, Path.cwd())
    elif data is not None:
        raise InputError("data", "given beside a study file, which names its own; give the study as a dictionary")
    else:
        file = Path(study)
    options = {"trials": trials, "epochs": epochs, "seed": seed, "hours": hours, "until": until, "engine": engine}
    options["workers"] = workers
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    flags = ["--fresh"] * fresh + ["--retry-failed"] * retry_failed
    said = json.loads(run_command(["tune", str(file), "--json", *given, *flags]))
    return read_sweep(open_existing_store(store_root(), tracking_uri()), said["study"], said["sweep_id"], file)


def open_sweep(name: str) -> SweepResults:
    """Open the last sweep of a study by its name, "digits", or a sweep by its ID, such as "digits-1".

    StoreError if there is no store; SweepNotFoundError lists the sweeps that exist.
    """
    store = open_existing_store(store_root(), tracking_uri())
    study, _, number = name.rpartition("-")
    try:
        return read_sweep(store, name)
    except SweepNotFoundError:
        if not study or not number.isdecimal():
            raise
    return read_sweep(store, study, name)
