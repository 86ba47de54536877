"""Kill a sweep repeatedly, in every phase, and check that nothing was lost or done twice.

    python benchmarks/kill_storm.py [--kills 100] [--seed 1] [--study STUDY] [--folder FOLDER]

First the study is tuned, confirmed and promoted once without a kill. Then the same two commands, `tune` and `promote`,
run in an empty store; they are killed with SIGKILL in the phase that was hit least so far (benchmarks/kill_moments.py
detects the phases by their signs in the store) and started again, until there is a champion; then the next empty store
follows, until the kills are used up. Every store must then equal the uninterrupted one: benchmarks/kill_checks.py.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
from kill_checks import Expected, differences, left_over, read_store
from kill_moments import PHASES, Phase, begins_at_once

STUDY = Path(__file__).parent / "kill_storm.toml"
ENTRY = (sys.executable, "-c", "from nightune.flows.commands.main import main; main()")
STAGES = ("tune", "promote")
AHEAD = 3  # how many more kills a phase may get than another one still to come in this store
ENDED = {"tune": (0,), "promote": (0, 4)}  # 4: refused


def main() -> None:
    """Run the storm and print the findings; the exit code is 1 if a store differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--study", type=Path, default=STUDY)
    parser.add_argument("--folder", type=Path, default=None, help="folder of the stores; a temporary one by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        expected = uninterrupted(options.study, folder / "uninterrupted")
        hits: Counter[str] = Counter({phase.name: 0 for phase in PHASES})
        random_moments, stores, problems = random.Random(options.seed), 0, list[str]()
        while hits.total() < options.kills:
            store = folder / f"storm-{stores}"
            storm(options.study, store, random_moments, hits, options.kills)
            stores += 1
            problems += [f"{store.name}: {problem}" for problem in differences(store, expected)]
            progress = f"{hits.total()} kills · {stores} stores · {len(problems)} problems · {dict(hits)}"
            print(progress, file=sys.stderr, flush=True)
    found = {"kills": hits.total(), "by_phase": hits, "stores": stores, "trials": len(expected.runs)}
    print(json.dumps({**found, "problems": problems}))
    sys.exit(1 if problems else 0)


def uninterrupted(study: Path, store: Path) -> Expected:
    """Run all stages without a kill; return the results in the store."""
    for stage in STAGES:
        finish(stage, study, store)
    return read_store(store)


def storm(study: Path, store: Path, moments: random.Random, hits: "Counter[str]", most: int) -> None:
    """Run all stages with kills, as long as any are left."""
    for stage in STAGES:
        while hits.total() < most:
            process = start(stage, study, store)
            phase = kill_in_a_phase(process, stage, store, moments, hits)
            if phase is None:
                must_have_ended(stage, store, process.returncode)
                break
            hits[phase.name] += 1
        else:
            finish(stage, study, store)


def kill_in_a_phase(
    process: "subprocess.Popen[bytes]", stage: str, store: Path, moments: random.Random, hits: "Counter[str]"
) -> Phase | None:
    """Kill in the phase still to come that was hit least; return None if the command ended before."""
    before = {phase.name: phase.sign(store) for phase in PHASES}
    gone = {phase.name for phase in PHASES if phase.is_moment and before[phase.name]}
    of_stage = [phase for phase in PHASES if phase.stage == stage and phase.name not in gone]
    while process.poll() is None:
        by_hits = sorted(of_stage, key=lambda phase: hits[phase.name])
        aim = next(phase for phase in by_hits if phase.is_moment or not phase.over(store))
        has_begun = begins_at_once(aim) or aim.sign(store) != before[aim.name]
        if has_begun and hits[aim.name] <= AHEAD + min(hits[phase.name] for phase in PHASES if not phase.over(store)):
            try:
                process.wait(moments.uniform(0.0, aim.spread_seconds))
            except subprocess.TimeoutExpired:
                kill(process)
                return aim
        time.sleep(0.005)
    return None


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill the command; the processes that it started must end by themselves."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=20)
    if alive:
        raise RuntimeError(f"left over after a kill: {[(each.pid, each.cmdline()[:4]) for each in alive]}")


def start(stage: str, study: Path, store: Path) -> "subprocess.Popen[bytes]":
    """Start a stage's command in a store, with its output in a file beside the store."""
    environment = os.environ | {"NIGHTUNE_STORE": str(store)}
    environment.pop("MLFLOW_TRACKING_URI", None)  # the checks open other stores with MLflow, which sets it
    with store.with_suffix(".log").open("ab") as log:
        return subprocess.Popen([*ENTRY, stage, str(study)], env=environment, stdout=log, stderr=log)


def finish(stage: str, study: Path, store: Path) -> None:
    """Run a stage's command to its end."""
    must_have_ended(stage, store, start(stage, study, store).wait())


def must_have_ended(stage: str, store: Path, code: int) -> None:
    """Raise for an exit code other than that of a normal end, or for processes that are left."""
    if code not in ENDED[stage]:
        raise RuntimeError(f"{stage} ended with code {code} in {store}; {store.with_suffix('.log')} has the reason")
    if processes := left_over(store):
        raise RuntimeError(f"left over after {stage}: {processes}")


if __name__ == "__main__":
    main()
