"""What the storms of kills share: their command line, commands in stores, and the loop until the kills are used up."""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kill_checks import Expected, differences, left_over, read_store

STUDY = Path(__file__).parent / "kill_storm.toml"
ENTRY = (sys.executable, "-c", "from nightune.flows.commands.main import main; main()")
STAGES = ("tune", "promote")
ENDED = {"tune": (0,), "promote": (0, 4)}  # 4: refused


@dataclass
class Kills:
    """The kills of a storm so far, by what they hit, and the generator of their moments."""

    wanted: int
    moments: random.Random
    hits: Counter[str] = field(default_factory=Counter)

    @property
    def are_left(self) -> bool:
        """Whether more are to come."""
        return self.hits.total() < self.wanted


def run_storm(description: str | None, kills: int, storm: Callable[[Path, Path, Kills], None]) -> None:
    """Storm one empty store after the other until the kills are used up, and compare each with one without a kill.

    `storm(study, store, kills)` runs all stages in a store. The exit code is 1 if a store differs.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=kills)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--study", type=Path, default=STUDY)
    parser.add_argument("--folder", type=Path, default=None, help="folder of the stores; a temporary one by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        expected = uninterrupted(options.study, folder / "uninterrupted")
        made, problems, stores = Kills(options.kills, random.Random(options.seed)), list[str](), 0
        while made.are_left:
            store = folder / f"storm-{stores}"
            storm(options.study, store, made)
            stores += 1
            problems += [f"{store.name}: {problem}" for problem in differences(store, expected)]
            progress = f"{made.hits.total()} kills · {stores} stores · {problems} · {dict(made.hits)}"
            print(progress, file=sys.stderr, flush=True)
    found = {"kills": made.hits.total(), "hits": made.hits, "stores": stores, "trials": len(expected.runs)}
    print(json.dumps({**found, "problems": problems}))
    sys.exit(1 if problems else 0)


def uninterrupted(study: Path, store: Path) -> Expected:
    """Run all stages without a kill; return the results in the store."""
    for stage in STAGES:
        finish(stage, study, store)
    return read_store(store)


def start(stage: str, study: Path, store: Path, **variables: str) -> "subprocess.Popen[bytes]":
    """Start a stage's command in a store, with its output in a file beside the store."""
    environment = os.environ | {"NIGHTUNE_STORE": str(store)} | variables
    environment.pop("MLFLOW_TRACKING_URI", None)  # the checks open other stores with MLflow, which sets it
    with log_of(store).open("ab") as log:
        return subprocess.Popen([*ENTRY, stage, str(study)], env=environment, stdout=log, stderr=log)


def log_of(store: Path) -> Path:
    """Return the file with the output of a store's commands."""
    return store.with_suffix(".log")


def finish(stage: str, study: Path, store: Path) -> None:
    """Run a stage's command to its end."""
    must_have_ended(stage, store, start(stage, study, store).wait())


def must_have_ended(stage: str, store: Path, code: int) -> None:
    """Raise for an exit code other than that of a normal end, or for processes that are left."""
    if code not in ENDED[stage]:
        raise RuntimeError(f"{stage} ended with code {code} in {store}; {log_of(store)} has the reason")
    if processes := left_over(store):
        raise RuntimeError(f"left over after {stage}: {processes}")
