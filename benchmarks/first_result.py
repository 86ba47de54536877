"""Measure the seconds from the command to its first word, its first trial and its last one, in new and used stores.

    python benchmarks/first_result.py [--repeat 3] [--keras-tuner PYTHON]

A `used store` has a sweep of the study already. The commands that only read follow, in that store. `--keras-tuner`
names a Python with KerasTuner, which searches the same space in the same turn, without MLflow and Prefect. Processor
seconds are those of the whole command, its children included: compare them where other work runs beside.
"""

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

STUDY = Path(__file__).with_suffix(".toml")
TRIALS, EPOCHS = 8, 20  # as in the study
COMMAND = "from nightune.flows.commands.main import main; main()"
COLUMNS = ("first word", "first trial", "last trial", "end", "processor")
PACKAGES = ("nightune", "keras", "tensorflow", "mlflow", "prefect")
TRIAL_LINE = re.compile(r"trial \d+ · |Trial \d+ Complete")

READING = ("show", "models", "compare", "check")

Row = tuple[float | None, ...]


def main() -> None:
    """Print a table of medians, and the machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--keras-tuner", metavar="PYTHON", help="A Python in which KerasTuner is installed.")
    parser.add_argument("--search-with-keras-tuner", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.search_with_keras_tuner:
        search_with_keras_tuner()
        return
    rows: dict[str, list[Row]] = {}
    for _ in range(options.repeat):
        for name, row in one_turn(options.keras_tuner):
            rows.setdefault(name, []).append(row)
    print(f"| seconds, median of {options.repeat} | {' | '.join(COLUMNS)} |\n|{'---|' * (1 + len(COLUMNS))}")
    for name, each in rows.items():
        print(f"| {name} | {' | '.join(middle(column) for column in zip(*each, strict=True))} |")
    print(f"\n{machine()}")


def middle(column: Sequence[float | None]) -> str:
    """The median of a column's seconds; a dash without any."""
    seconds = [each for each in column if each is not None]
    return f"{statistics.median(seconds):.1f}" if seconds else "–"


def one_turn(keras_tuner: str | None) -> list[tuple[str, Row]]:
    """Measure each command once, one after the other, in folders of this turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command, store = [sys.executable, "-c", COMMAND], {"NIGHTUNE_STORE": str(folder / "store")}
        tune = [*command, "tune", str(STUDY)]
        found = [("tune, new store", measured(tune, store))]
        found.append(("tune, used store", measured([*tune, "--fresh"], store)))
        for reading in READING:
            given = [] if reading == "models" else [str(STUDY)]
            found.append((reading, measured([*command, reading, *given], store, trials=0)))
        if keras_tuner is not None:
            command = [keras_tuner, __file__, "--search-with-keras-tuner"]
            found.append(("KerasTuner", measured(command, {}, folder)))
        return found


def measured(
    command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None, trials: int = TRIALS
) -> Row:
    """Run a command; return the seconds of `COLUMNS`. RuntimeError, with its output, if it fails."""
    started_at, words, ends, lines = time.monotonic(), [], [], []
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    settings = kept | environment | {"PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(
        command, env=settings, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            now = time.monotonic() - started_at
            lines.append(line)
            words.append(now)
            ends += [now] * len(TRIAL_LINE.findall(line))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or len(ends) < trials:
        raise RuntimeError(f"{' '.join(command)}: code {process.returncode}, {len(ends)} trials\n{''.join(lines)}")
    first, last = (ends[0], ends[-1]) if trials else (None, None)
    return words[0], first, last, time.monotonic() - started_at, usage.ru_utime + usage.ru_stime


def search_with_keras_tuner() -> None:
    """Search the study's space with KerasTuner's RandomSearch, in the current folder."""
    import keras
    import keras_tuner
    from sklearn.datasets import load_iris
    from sklearn.model_selection import train_test_split

    def build(point: keras_tuner.HyperParameters) -> keras.Model:
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(3, "softmax")])
        rate = point.Float("learning_rate", 1e-3, 3e-2, sampling="log")
        model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    inputs, targets = load_iris(return_X_y=True)
    rest, _, rest_targets, _ = train_test_split(inputs, targets, test_size=0.2, random_state=0, stratify=targets)
    train, validation, train_targets, validation_targets = train_test_split(
        rest, rest_targets, test_size=0.25, random_state=0, stratify=rest_targets
    )
    mean, deviation = train.mean(0), train.std(0)
    tuner = keras_tuner.RandomSearch(build, "val_accuracy", max_trials=TRIALS, seed=1, directory="searched")
    held_out = ((validation - mean) / deviation, validation_targets)
    tuner.search((train - mean) / deviation, train_targets, epochs=EPOCHS, validation_data=held_out, verbose=1)


def machine() -> str:
    """Name the date, the machine and the versions."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [
            line for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if "model name" in line
        ]
        processor = names[0].partition(":")[2].strip() if names else processor
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    system = f"{os.cpu_count()} processors, {platform.system()}, {processor}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {system}; Python {platform.python_version()}, {packages}."


if __name__ == "__main__":
    main()
