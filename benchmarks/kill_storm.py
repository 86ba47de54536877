"""Kill a sweep repeatedly, in every phase, and check that nothing was lost or done twice.

    python benchmarks/kill_storm.py [--kills 100] [--seed 1] [--study STUDY] [--folder FOLDER]

First the study is tuned, confirmed and promoted once without a kill. Then the same two commands, `tune` and `promote`,
run in an empty store; they are killed with SIGKILL in the phase that was hit least so far (benchmarks/kill_moments.py
detects the phases by their signs in the store) and started again, until there is a champion; then the next empty store
follows, until the kills are used up. Every store must then equal the uninterrupted one: benchmarks/kill_checks.py.
"""

import subprocess
import time
from pathlib import Path

import psutil
from kill_moments import PHASES, Phase, begins_at_once
from storm import STAGES, Kills, finish, must_have_ended, run_storm, start

AHEAD = 3  # how many more kills a phase may get than another one still to come in this store


def main() -> None:
    """Run the storm and print the findings; the exit code is 1 if a store differs."""
    run_storm(__doc__, 100, storm)


def storm(study: Path, store: Path, kills: Kills) -> None:
    """Run all stages with kills, as long as any are left."""
    for stage in STAGES:
        while kills.are_left:
            process = start(stage, study, store)
            phase = kill_in_a_phase(process, stage, store, kills)
            if phase is None:
                must_have_ended(stage, store, process.returncode)
                break
            kills.hits[phase.name] += 1
        else:
            finish(stage, study, store)


def kill_in_a_phase(process: "subprocess.Popen[bytes]", stage: str, store: Path, kills: Kills) -> Phase | None:
    """Kill in the phase still to come that was hit least; return None if the command ended before."""
    hits = kills.hits
    before = {phase.name: phase.sign(store) for phase in PHASES}
    gone = {phase.name for phase in PHASES if phase.is_moment and before[phase.name]}
    of_stage = [phase for phase in PHASES if phase.stage == stage and phase.name not in gone]
    while process.poll() is None:
        by_hits = sorted(of_stage, key=lambda phase: hits[phase.name])
        aim = next(phase for phase in by_hits if phase.is_moment or not phase.over(store))
        has_begun = begins_at_once(aim) or aim.sign(store) != before[aim.name]
        if has_begun and hits[aim.name] <= AHEAD + min(hits[phase.name] for phase in PHASES if not phase.over(store)):
            try:
                process.wait(kills.moments.uniform(0.0, aim.spread_seconds))
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


if __name__ == "__main__":
    main()
