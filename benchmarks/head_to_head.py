"""Compare the winners of Nightune, Optuna and KerasTuner on real trainings of equal epochs, judged on test rows.

    KERAS_BACKEND=jax python benchmarks/head_to_head.py [--data digits,…] [--seeds 5] [--epochs 320,640]
        [--contenders nightune,winner,optuna,keras-tuner,random] [--seconds]

Each contender searches the customary space of dense networks (bank_mlp.toml), 20 epochs a full training, for the lowest
`val_loss`; all their trainings are those of one engine, so that only what they propose and when they stop differs. The
leader after so many epochs is trained again with three fresh seeds; its loss on rows that no search has seen, at the
epoch that the validation chooses, is its confirmed loss. Nightune's portfolio and prior are those of the other data
sets. The contender `winner` is Nightune's search with its confirmation, all within the same epochs: its winner is the
finalist that is best over fresh seeds. Each measurement is appended to `--results`: the same command resumes.

With `--seconds` the trainings of one seed are run as each tool would: `nightune tune`, whole, against a loop over
`model.fit` (Adam) that logs the same to MLflow, without the other tools' own time, and without any confirmation.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from arena import EPOCHS, FOLDER, SPLIT, Arena
from searchers import CONTENDERS, WINNER, winners

from nightune.tuning.simulator import Training, leaders
from nightune.tuning.trial import Params, Value

DATA = ("digits", "breast_cancer", "diabetes", "mnist_table", "satimage", "bikeshare")


def main() -> None:
    """Measure what is missing and print the table, or with --seconds what the trainings of one seed take."""
    options = _options()
    names, marks = options.data.split(","), sorted(int(each) for each in options.epochs.split(","))
    contenders = options.contenders.split(",")
    if options.loop:
        print(json.dumps(loop_seconds(json.loads(sys.stdin.read()), names[0], options.programs)))
        return
    known = [row for row in map(json.loads, _lines(options.results)) if row.get("is_timed", False) == options.seconds]
    seeds = range(1 if options.seconds else options.seeds)
    with options.results.open("a") as results:
        for name in names:
            arena: Arena | None = None
            for seed in seeds:
                for contender in contenders:
                    key = {"data": name, "contender": contender, "seed": seed, "epochs": marks}
                    key |= {"is_timed": True} if options.seconds else {}
                    if any(key.items() <= each.items() for each in known):
                        continue
                    arena = arena or Arena(name, options.programs)
                    measure = timed if options.seconds else measured
                    row = key | measure(arena, contender, seed, marks, options)
                    known.append(row)
                    print(json.dumps(row), file=results, flush=True)
    rows = [each for each in known if each["epochs"] == marks and each["data"] in names]
    rows = [each for each in rows if each["contender"] in contenders and each["seed"] in seeds]
    print("\n".join(seconds_table(rows, marks) if options.seconds else table(rows, marks)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=",".join(DATA))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", default="320,640", help="numbers of epochs of a whole search")
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    parser.add_argument("--seconds", action="store_true")
    parser.add_argument("--results", type=Path, default=FOLDER / "results" / "head_to_head.jsonl")
    parser.add_argument("--programs", type=Path, default=Path(tempfile.gettempdir()) / "head_to_head_programs")
    parser.add_argument("--loop", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    contenders = [each for each in options.contenders.split(",") if not (options.seconds and each == WINNER)]
    if not contenders or not set(contenders) <= CONTENDERS.keys():
        parser.error(f"--contenders {options.contenders} (known: {', '.join(CONTENDERS)}; {WINNER} without --seconds)")
    options.contenders = ",".join(contenders)
    return options


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def measured(arena: Arena, contender: str, seed: int, marks: Sequence[int], _: Any) -> dict[str, Any]:
    """Return the losses of the leaders after so many epochs, as the search saw them, and confirmed; NaN without one."""
    trainings = CONTENDERS[contender](arena, seed)
    found = winners(arena, seed, trainings, marks) if contender == WINNER else leaders(trainings, marks, "minimize")
    none = (math.nan, math.nan)
    losses = [none if each is None else (each.objective, arena.confirmed(each.point)) for each in found]
    return {"seen": [seen for seen, _ in losses], "confirmed": [loss for _, loss in losses]}


def table(rows: Sequence[dict[str, Any]], marks: Sequence[int]) -> Iterator[str]:
    """Yield for each number of epochs a table of confirmed losses: mean ± standard error over seeds."""
    names = list(dict.fromkeys(each["data"] for each in rows))
    contenders = list(dict.fromkeys(each["contender"] for each in rows))
    for place, mark in enumerate(marks):
        yield f"\nConfirmed loss after {mark} epochs, mean ± standard error over seeds\n"
        yield f"| data | {' | '.join(contenders)} |\n|{'---|' * (len(contenders) + 1)}"
        better = dict.fromkeys(contenders, 0)
        worse = dict.fromkeys(contenders, 0)
        for name in names:
            losses = {each: _confirmed(rows, name, each, place) for each in contenders}
            yield f"| {name} | {' | '.join(_mean(losses[each]) for each in contenders)} |"
            for each in contenders[1:]:
                gain = losses[each] - losses[contenders[0]]
                error = float(gain.std(ddof=1)) / len(gain) ** 0.5 if len(gain) > 1 else float("inf")
                better[each] += bool(gain.mean() > 2 * error)
                worse[each] += bool(gain.mean() < -2 * error)
        for each in contenders[1:]:
            text = f"better than {each} on {better[each]} of {len(names)}, worse on {worse[each]} (two standard errors)"
            yield f"\n{contenders[0]}: {text}"


def _confirmed(rows: Sequence[dict[str, Any]], name: str, contender: str, place: int) -> np.ndarray:
    """Return the confirmed losses of a contender on a data set, by seed."""
    mine = [row for row in rows if (row["data"], row["contender"]) == (name, contender)]
    return np.array([row["confirmed"][place] for row in sorted(mine, key=lambda row: row["seed"])])


def _mean(values: np.ndarray) -> str:
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{values.mean():.4g} ± {error:.2g}"


def timed(arena: Arena, contender: str, seed: int, marks: Sequence[int], options: Any) -> dict[str, Any]:
    """Return the seconds of a contender's trainings up to each number of epochs, run as its users would."""
    if contender in ("nightune", "random"):
        return {"seconds": [_tune(arena, contender, mark) for mark in marks]}
    trainings: list[Training] = []
    spent = 0
    for each in CONTENDERS[contender](arena, seed):
        trainings.append(each)
        spent += each.end - each.begin
        if spent >= marks[-1]:
            break
    content = [[each.trial, dict(each.point), each.end - each.begin] for each in trainings]
    command = [sys.executable, __file__, "--loop", "--data", arena.name, "--programs", str(options.programs)]
    done = subprocess.run(
        command,
        input=json.dumps(content),
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"KERAS_BACKEND": "tensorflow"},
    )
    start, *ends = json.loads(done.stdout.strip().splitlines()[-1])
    total = np.cumsum([each.end - each.begin for each in trainings])
    return {"seconds": [start + ends[int(np.searchsorted(total, mark))] for mark in marks]}


def _tune(arena: Arena, contender: str, mark: int) -> float:
    """Return the seconds of `nightune tune` with so many epochs in total."""
    from first_result import COMMAND

    from nightune.tuning.study.edit import with_value

    data = arena.study.data
    values: dict[tuple[str, str], Any] = {
        ("data", "arguments"): {"name": arena.name},
        ("data", "split"): SPLIT,
        ("data", "task"): data.task,
        ("data", "target"): "target",
        ("search", "method"): "auto" if contender == "nightune" else contender,
        ("search", "trials"): None,
        ("search", "total_epochs"): mark,
        ("search", "epochs"): EPOCHS,
    }
    if data.scale_target:
        values["data", "scale_target"] = True
    text: str | None = (FOLDER / "bank_mlp.toml").read_text()
    for path, value in values.items():
        text = None if text is None else with_value(text, path, value)
    assert text is not None
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "study.toml").write_text(text)
        (Path(folder) / "bank_data.py").write_text((FOLDER / "bank_data.py").read_text())
        settings = {"NIGHTUNE_STORE": f"{folder}/store", "KERAS_BACKEND": "tensorflow"}
        started_at = time.perf_counter()
        command = [sys.executable, "-c", COMMAND, "tune", f"{folder}/study.toml"]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | settings)
        return time.perf_counter() - started_at


def loop_seconds(trainings: Sequence[tuple[int, Params, int]], name: str, programs: Path) -> list[float]:
    """Return the seconds of the start, and then up to the end of each training, by `model.fit`, logged to MLflow."""
    started_at = time.perf_counter()
    import keras
    from by_hand import compiled_model, fit_and_log

    from nightune.models.recipe.params import read_recipe
    from nightune.tasks.prepare_data import prepare_data
    from nightune.tasks.propose_trials import complete_params
    from nightune.tasks.setting import Setting
    from nightune.tasks.tracking.store.store import open_store
    from nightune.tasks.tracking.sweeps.sweeps import open_sweep
    from nightune.tuning.trial import Trial, trial_key

    arena = Arena(name, programs)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder))
        data = prepare_data.fn(arena.study, store.root)
        sweep = open_sweep(store, arena.study, data.version, True, len(trainings))
        seconds = [time.perf_counter() - started_at]
        begun_at = time.perf_counter()
        for place, (number, point, epochs) in enumerate(trainings):
            keras.utils.set_random_seed(number)
            params = complete_params(arena.study, _with_adam(point))
            search = arena.study.search.model_copy(update={"epochs": epochs})
            setting = Setting(store, sweep, arena.study.model_copy(update={"search": search}), data)
            trial = Trial(number=place, params=params, seed=number, key=trial_key({"place": place}), point=point)
            model = compiled_model(read_recipe(params), arena.dataset, setting)
            fit_and_log(setting, arena.dataset, trial, "loop", (model, time.perf_counter(), []))
            seconds.append(time.perf_counter() - begun_at)
    return seconds


def _with_adam(point: Params) -> dict[str, Value]:
    """Return a point of the same network, dropout and batch size: an update of Adam costs what another's does."""
    kept = {name: value for name, value in point.items() if name.startswith("model.") or name == "batch_size.size"}
    return kept | {"optimizer": "adam", "stopping.rule": "none"}


def seconds_table(rows: Sequence[dict[str, Any]], marks: Sequence[int]) -> Iterator[str]:
    """Yield the seconds of each contender, and how often Nightune's fit into them."""
    yield f"| data | contender | {' | '.join(f'{mark} epochs, s' for mark in marks)} | over nightune |"
    yield f"|{'---|' * (len(marks) + 3)}"
    ours = {each["data"]: each["seconds"] for each in rows if each["contender"] == "nightune"}
    for each in rows:
        ratios = [theirs / mine for theirs, mine in zip(each["seconds"], ours[each["data"]], strict=True)]
        seconds, times = (
            " | ".join(f"{value:.1f}" for value in each["seconds"]),
            ", ".join(f"{r:.1f}" for r in ratios),
        )
        yield f"| {each['data']} | {each['contender']} | {seconds} | {times} |"


if __name__ == "__main__":
    main()
