"""Check a store after any number of kills: it must equal the store of a night without a kill."""

import json
import sqlite3
import zipfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil

RunKey = tuple[str, str]  # trial key, number of the replicate

TAKEN = ("seconds", "peak_memory_mib", "device_peak_memory_mib")  # differ between any two trainings


@dataclass(frozen=True)
class Expected:
    """The results of a store: those of every run, which trial became champion, and why."""

    runs: dict[RunKey, dict[str, object]]
    champion: dict[str, object]


def read_store(store: Path) -> Expected:
    """Read all results that must not depend on kills; raise RuntimeError for a duplicate trial."""
    runs: dict[RunKey, dict[str, object]] = {}
    with closing(sqlite3.connect(store / "mlflow.db")) as database:
        keys = database.execute("select run_uuid, value from tags where key = 'nightune.trial_key'").fetchall()
        for run, key in keys:
            tags = dict(database.execute("select key, value from tags where run_uuid = ?", (run,)))
            name = (str(key), str(tags.get("nightune.replicate", "0")))
            if name in runs:
                raise RuntimeError(f"trial {name} exists twice")
            points = f"select key, step, value from metrics where run_uuid = ? and key not in {TAKEN} order by 1, 2"
            runs[name] = {
                "number": tags["nightune.trial_number"],
                "status": tags["nightune.status"],
                "params": dict(database.execute("select key, value from params where run_uuid = ?", (run,))),
                "inputs": database.execute("select count(*) from inputs where destination_id = ?", (run,)).fetchone(),
                "points": database.execute(points, (run,)).fetchall(),
            }
        return Expected(runs, _champion(database))


def _champion(database: sqlite3.Connection) -> dict[str, object]:
    aliases = database.execute("select alias, version from registered_model_aliases order by alias").fetchall()
    versions = database.execute("select count(*) from model_versions").fetchone()[0]
    compared = ("nightune.trial_key", "nightune.verdict", "nightune.reason", "nightune.gain")
    question = "select key, value from model_version_tags order by key"
    tags = {key: value for key, value in database.execute(question) if key in compared}
    return {"aliases": aliases, "versions": versions, **tags}


def differences(store: Path, expected: Expected) -> list[str]:
    """Return the differences between a store with kills and the uninterrupted one."""
    try:
        got = read_store(store)
    except RuntimeError as error:
        return [str(error)]
    problems = []
    if got.runs.keys() != expected.runs.keys():
        missing, new = len(expected.runs.keys() - got.runs.keys()), len(got.runs.keys() - expected.runs.keys())
        problems.append(f"{missing} trials are missing, {new} are new")
    same = expected.runs.keys() & got.runs.keys()
    problems += [f"trial {name} differs" for name in sorted(same) if got.runs[name] != expected.runs[name]]
    if got.champion != expected.champion:
        problems.append(f"the champion differs: {got.champion} and not {expected.champion}")
    return problems + _records(store) + _broken_models(store)


def _records(store: Path) -> list[str]:
    """Return what MLflow and Prefect hold open, or report differently."""
    with closing(sqlite3.connect(store / "mlflow.db")) as database:
        open_runs = database.execute("select count(*) from runs where status = 'RUNNING'").fetchone()[0]
        complete = "select count(*) from tags where key = 'nightune.status' and value = 'complete'"
        sweeps = database.execute(complete).fetchone()[0]
    with closing(sqlite3.connect(store / "prefect" / "prefect.db")) as database:
        flow = "substr(name, 1, instr(name || ' ', ' ') - 1)"  # "tune kill_storm"
        question = f"select {flow}, state_type, count(*) from flow_run group by 1, 2"
        flows = {(flow, state): count for flow, state, count in database.execute(question)}
    problems = [f"{open_runs} runs are left open"] if open_runs else []
    if sweeps != 1 or not flows.get(("tune", "COMPLETED")):
        problems.append(f"MLflow has {sweeps} complete sweeps, and Prefect {flows}")
    left = {name: count for name, count in flows.items() if name[1] in ("RUNNING", "PENDING", "CANCELLING")}
    return problems + ([f"Prefect holds open {left}"] if left else [])


def _broken_models(store: Path) -> list[str]:
    """Return checkpoints and versions that do not load, such as incomplete files."""
    import keras

    problems = []
    for path in store.glob("artifacts/*/*/artifacts/checkpoint/[!.]*"):  # MLflow copies to a hidden name first
        try:
            if zipfile.ZipFile(path).testzip() is not None:
                raise ValueError("a part of it is broken")
            keras.saving.load_model(path)
        except Exception as error:
            problems.append(f"{path} does not load: {error}")
    return problems + _broken_champion(store)


def _broken_champion(store: Path) -> list[str]:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{(store / 'mlflow.db').resolve()}")
    with closing(sqlite3.connect(store / "mlflow.db")) as database:
        names = database.execute("select name from registered_model_aliases where alias = 'champion'").fetchall()
    if len(names) != 1:
        return [f"there are {len(names)} champions"]
    try:
        model = mlflow.pyfunc.load_model(f"models:/{names[0][0]}@champion")
        model.predict(model.input_example)
    except Exception as error:
        return [f"the champion does not answer: {type(error).__name__}: {error}"]
    return []


def left_over(store: Path) -> list[str]:
    """Return the processes that work in a store."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("NIGHTUNE_STORE") == str(store):
                found.append(json.dumps([process.pid, process.cmdline()[:4]]))
        except (psutil.Error, OSError):
            continue
    return found
