"""Measure trials per hour: Nightune's engines, a naive loop over `model.fit` and other tuners, on the same trials.

    python benchmarks/trials_per_hour.py [--model mlp,dropout] [--trials 60] [--repeat 1] [--only naive,nightune]
        [--naive-trials 12]

Every contender trains the same params on the same split with the same epochs and early stopping, validates after each
epoch, and writes the same params, curves and best-epoch checkpoint to a new MLflow store on SQLite, in its own
process. Nightune runs a Prefect flow of cohorts, like `nightune tune`. The wall time from the first trial to the last
is measured, with all logging, tracing, compilation and Prefect's records, but without imports, the creation of the
store, and the start of Prefect's server. "once compiled" is a second sweep in the same process, "second night" one in
a new process. With `--naive-trials` the naive loop, KerasTuner, Optuna and Ray train so many trials at most, and their
seconds are scaled: their trials cost the same from the first to the last. The contenders take turns; the speedup is
that over the naive loop in the same turn. Each measurement is saved in `--results` immediately: run the same command
to resume.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
STUDIES = {
    "mlp": "digits_mlp.toml",
    "dropout": "digits_dropout.toml",
    "cnn": "digits_cnn.toml",
    "cnn_dropout": "digits_cnn_dropout.toml",
    "mnist_cnn": "mnist_cnn.toml",
    "recurrent": "digits_recurrent.toml",
    "lstm": "digits_lstm.toml",
    "keras_io_mlp": "keras_io_mlp.toml",
    "keras_io_cnn": "keras_io_cnn.toml",
    "keras_io_text": "keras_io_text.toml",
    **{f"studies/{name}": f"../studies/{name}.toml" for name in ("digits", "digits_cnn", "breast_cancer", "diabetes")},
}
GRIDS = {"studies/breast_cancer": 21}  # trained whole, whatever --trials says


def main() -> None:
    """Run the contenders in turns and write the table; or, with --contender, be one of them."""
    options = _options()
    if options.contender:
        from nightune.flows.runtime.environment import prepare_environment

        os.environ["NIGHTUNE_STORE"] = str(options.store)
        prepare_environment()  # before Prefect is imported
        print(json.dumps(race(options.contender, options.model, options.trials)))
        return
    from contenders import CONTENDERS
    from report import markdown

    wanted = options.only.split(",") if options.only else [""]
    names = [name for name in CONTENDERS if any(_is_asked(name, start) for start in wanted)]
    for turn in range(options.repeat):
        for model in options.model.split(","):
            for name in names:
                _measure_once(options, turn, model, name)
    print(markdown(options.results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mlp", help=f"{', '.join(STUDIES)}; separate several by commas")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument(
        "--only",
        default="",
        help="contenders: whole names without a comma, or how several start or end, separated by commas",
    )
    parser.add_argument("--naive-trials", type=int, default=1_000_000)
    parser.add_argument("--results", type=Path, default=FOLDER / "results" / "trials_per_hour.jsonl")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _is_asked(name: str, start: str) -> bool:
    """True for the contender of this name; where there is none, for all whose names start or end with it."""
    from contenders import CONTENDERS

    return name == start if start in CONTENDERS else name.startswith(start) or name.endswith(start)


def _measure_once(options: argparse.Namespace, turn: int, model: str, name: str) -> None:
    from contenders import CONTENDERS, SECOND_NIGHT
    from report import measurements

    trials = GRIDS.get(model, options.trials)
    key = {"turn": turn, "model": model, "contender": name, "trials": trials}
    if any(key.items() <= known.items() for known in measurements(options.results)):
        return
    if not _is_installed(CONTENDERS[name].package):
        print(f"{name}: {CONTENDERS[name].package} is not installed (benchmarks/requirements.txt)", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        if name.endswith(SECOND_NIGHT):  # the programs that the first night left on disk
            _measure(name.removesuffix(SECOND_NIGHT), model, trials, Path(folder))
        measured = trials if name.startswith("nightune") else min(trials, options.naive_trials)
        taken = _measure(name, model, measured, Path(folder))
    taken |= {"seconds": taken["seconds"] * trials / measured, "measured_trials": measured}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    with options.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(key | taken) + "\n")
    print(f"turn {turn + 1} · {model} · {name} · {taken['seconds']:.1f} s", file=sys.stderr)


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _measure(name: str, model: str, trials: int, store: Path) -> dict[str, Any]:
    """Run one contender in a new process and return its seconds."""
    from contenders import CONTENDERS

    command = [sys.executable, __file__, "--contender", name, "--model", model, "--trials", str(trials)]
    environment = os.environ | {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": CONTENDERS[name].backend,
        "PYTHONPATH": os.pathsep.join([str(FOLDER.parent), str(FOLDER), os.environ.get("PYTHONPATH", "")]),
        "RAY_AIR_NEW_OUTPUT": "0",
    }
    done = subprocess.run(
        [*command, "--store", str(store)], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def race(name: str, model: str, count: int) -> dict[str, Any]:
    """Train and log the trials of the study; return the seconds, and those of a second sweep once compiled."""
    from contenders import CONTENDERS

    from nightune.flows.runtime.environment import store_root

    contender = CONTENDERS[name]
    with contender.surroundings():  # before Prefect is imported, as it requires
        from nightune.models.backend import load_keras
        from nightune.tasks.tracking.store.provenance import environment
        from nightune.tasks.tracking.store.store import open_store

        store = open_store(store_root())
        load_keras(store.compiled)
        passes = [_timed(contender, store, model, count) for _ in range(2 if contender.is_repeated else 1)]
    return {
        "seconds": passes[0],
        "seconds_compiled": passes[1] if contender.is_repeated else None,
        "date": time.strftime("%Y-%m-%d"),
        "package": importlib.metadata.version(contender.package),
        **environment(),
        "platform": ", ".join((platform.system(), " ".join(platform.libc_ver()), _processor())),
    }


def _processor() -> str:
    """Return the processor's name from Linux, or else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _timed(contender: Any, store: Any, model: str, count: int) -> float:
    from contenders import Race

    from nightune.models.data.storage import open_dataset
    from nightune.tasks.load_study import load_study
    from nightune.tasks.prepare_data import prepare_data
    from nightune.tasks.propose_trials import propose_trials
    from nightune.tasks.setting import Setting
    from nightune.tasks.tracking.sweeps.sweeps import finish_sweep, open_sweep
    from nightune.tuning.trial import Bracket, Rung

    study = load_study(FOLDER / STUDIES[model], trials=None if model in GRIDS else count)
    data = prepare_data.fn(study, store.root)
    setting = Setting(store, open_sweep(store, study, data.version, True, count), study, data)
    trials = propose_trials.fn(study, 0, data, Bracket((Rung(count, study.search.epochs),)), [])
    racers = Race(setting, open_dataset(data.folder), trials)
    started_at = time.perf_counter()
    contender.run(racers)
    seconds = time.perf_counter() - started_at
    _refuse_unlogged(setting, count)
    finish_sweep(store, setting.sweep, "", [])  # the next one is another sweep
    return seconds


def _refuse_unlogged(setting: Any, count: int) -> None:
    from nightune.tasks.tracking.trials.trials import finished_trials

    logged = finished_trials(setting.store, setting.sweep).values()
    whole = sum(result.status in ("completed", "stopped_early") for result in logged)
    if whole != count:
        raise SystemExit(f"{whole} of {count} trials were trained and logged; the measurement is invalid")


if __name__ == "__main__":
    main()
