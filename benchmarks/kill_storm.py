"""Kill a sweep at random moments until it has ended, often enough, and check that nothing was lost or done twice.

    python benchmarks/kill_storm.py [--kills 100] [--seed 1] [--study STUDY] [--folder FOLDER]

First the study is tuned once without a kill. Then the same command runs in an empty store, its processes are killed
with SIGKILL at random moments (while Prefect starts, data are prepared, the store is made, trials are trained, saved
or logged) and the command is started again, until the sweep is complete; then the next empty store, until the kills are
used up. Every sweep must then be the unbroken one: each trial once, equal values to the last bit, no point twice, no
run left open, no process left over, and every checkpoint loads.
"""

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psutil

STUDY = Path(__file__).parent / "kill_storm.toml"
COMMAND = (sys.executable, "-c", "from flows.cli import main; main()", "tune")


def main() -> None:
    """Run the storm and print what was found; the exit code is 1 if a sweep differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--study", type=Path, default=STUDY)
    parser.add_argument("--folder", type=Path, default=None, help="where the stores go; a temporary folder by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        started_at = time.monotonic()
        finish(options.study, folder / "unbroken")
        longest = time.monotonic() - started_at
        expected = records(folder / "unbroken")
        moments, kills, sweeps, problems = random.Random(options.seed), 0, 0, []
        while kills < options.kills:
            store = folder / f"storm-{sweeps}"
            kills += storm(options.study, store, moments, longest, options.kills - kills)
            sweeps += 1
            problems += [f"{store.name}: {problem}" for problem in differences(store, expected)]
            print(f"{kills} kills · {sweeps} sweeps · {len(problems)} problems", file=sys.stderr, flush=True)
    print(json.dumps({"kills": kills, "sweeps": sweeps, "trials": len(expected), "problems": problems}))
    sys.exit(1 if problems else 0)


def storm(study: Path, store: Path, moments: random.Random, longest: float, most: int) -> int:
    """Start and kill until the sweep has ended or the kills are used up, then let it end; return the kills."""
    for kills in range(most):
        process = start(study, store)
        try:
            process.wait(moments.uniform(0.0, longest))
        except subprocess.TimeoutExpired:
            kill_all(process)
        else:
            return kills
    finish(study, store)
    return most


def kill_all(process: "subprocess.Popen[bytes]") -> None:
    """Kill the command; what it has started must end by itself."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=20)
    if alive:
        raise RuntimeError(f"left over after a kill: {[(each.pid, each.cmdline()[:4]) for each in alive]}")


def start(study: Path, store: Path) -> "subprocess.Popen[bytes]":
    """Start the command in a store."""
    environment = os.environ | {"NIGHTUNE_STORE": str(store)}
    return subprocess.Popen(
        [*COMMAND, str(study)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def finish(study: Path, store: Path) -> None:
    """Run the command to its end."""
    code = start(study, store).wait()
    if code != 0:
        raise RuntimeError(f"the command ended with code {code} in {store}")


def records(store: Path) -> dict[str, dict[str, object]]:
    """Trial key → everything about the trial that must not depend on kills: its number, status and every curve."""
    found: dict[str, dict[str, object]] = {}
    with closing(sqlite3.connect(store / "mlflow.db")) as database:
        runs = database.execute("select run_uuid, value from tags where key = 'nightune.trial_key'")
        for run, key in runs.fetchall():
            if key in found:
                raise RuntimeError(f"trial {key} is there twice")
            tags = dict(database.execute("select key, value from tags where run_uuid = ?", (run,)))
            points = database.execute(
                "select key, step, value from metrics where run_uuid = ? and key <> 'seconds' order by 1, 2", (run,)
            )
            found[key] = {
                "number": tags["nightune.trial_number"],
                "status": tags["nightune.status"],
                "points": points.fetchall(),
            }
    return found


def differences(store: Path, expected: dict[str, dict[str, object]]) -> list[str]:
    """What of a sweep that was killed is not as in the unbroken one."""
    problems = []
    got = records(store)
    if got.keys() != expected.keys():
        problems.append(
            f"{len(expected.keys() - got.keys())} trials are missing, {len(got.keys() - expected.keys())} are new"
        )
    problems += [f"trial {key} differs" for key in expected.keys() & got.keys() if got[key] != expected[key]]
    with closing(sqlite3.connect(store / "mlflow.db")) as database:
        open_runs = database.execute("select count(*) from runs where status = 'RUNNING'").fetchone()[0]
    if open_runs:
        problems.append(f"{open_runs} runs are left open")
    with closing(sqlite3.connect(store / "prefect" / "prefect.db")) as database:
        states = dict(database.execute("select state_type, count(*) from flow_run group by 1"))
    if states.get("RUNNING") or states.get("PENDING"):
        problems.append(f"Prefect holds {states}")
    return problems + broken_checkpoints(store)


def broken_checkpoints(store: Path) -> list[str]:
    """Checkpoints that plain Keras does not load."""
    import keras

    problems = []
    for path in store.glob("artifacts/*/*/artifacts/checkpoint/model.keras"):
        try:
            keras.saving.load_model(path)
        except Exception as error:
            problems.append(f"{path} does not load: {error}")
    return problems


if __name__ == "__main__":
    main()
