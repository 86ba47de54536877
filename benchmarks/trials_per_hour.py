"""How many trials an hour: Nightune's engines beside a naive loop over `model.fit`, on the same trials.

    python benchmarks/trials_per_hour.py [--trials 20] [--repetitions 3]

Every contender trains the same params on the same split for the same epochs, validates after each, and writes the
same params, curves and best-epoch checkpoint to a new MLflow store on SQLite, in a process of its own. Measured is the
wall time from the first trial to the last with all logging, tracing and compiling; not the imports, the making of the
store, or Prefect. Nightune then trains the same trials again in the same process, into another store: that is the time
after compiling. The contenders take turns; the table gives medians and the ratio to the naive loop in the same turn.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

STUDY = Path(__file__).parent / "digits_mlp.toml"
PASSES = ("", ", after compiling")  # what is told of the seconds

Train = Callable[[Any, Any], object]  # trains a cohort in a setting


def main() -> None:
    """Run the contenders in turns and print the table; or, with --contender, be one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="of these, and always naive")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(run(options.contender, options.trials)))
        return
    chosen = [name for name in CONTENDERS if name in options.contenders.split(",")]
    seconds: dict[str, list[float]] = {}
    for repetition in range(options.repetitions):
        for name in chosen:
            for what, value in measure(name, options.trials).items():
                seconds.setdefault(f"{name}{what}", []).append(value)
                print(f"turn {repetition + 1} · {name}{what} · {value:.1f} s", file=sys.stderr)
    print(table(seconds, options.trials))


def measure(name: str, trials: int) -> dict[str, float]:
    """Run one contender in a new process and return its seconds, from a cold start and after compiling."""
    command = [sys.executable, __file__, "--contender", name, "--trials", str(trials)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": BACKENDS.get(name, "tensorflow")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def table(seconds: Mapping[str, list[float]], trials: int) -> str:
    """The results as Markdown."""
    from tasks.tracking.provenance import environment

    lines = ["| contender | s a trial (median, all) | trials an hour | times the naive loop |", "|---|---|---|---|"]
    for name, values in seconds.items():
        ratios = [naive / value for naive, value in zip(seconds["naive"], values, strict=True)]
        each = ", ".join(f"{value / trials:.3f}" for value in values)
        median = statistics.median(values) / trials
        hourly, ratio = 3600 / median, statistics.median(ratios)
        lines.append(f"| {name} | {median:.3f} ({each}) | {hourly:,.0f} | {ratio:.1f} |")
    facts = environment()
    machine = f"{facts['processors']} processors, {platform.processor() or facts['machine']}, {facts['platform']}"
    return "\n".join([*lines, "", f"{trials} trials. {machine}; Python {facts['python']}, {facts['packages']}"])


def run(contender: str, count: int) -> dict[str, float]:
    """Train and log the trials of the study, and return the seconds that it took, by what is to be told of them."""
    from models.backend import load_keras
    from tasks.load_study import load_study
    from tasks.prepare_data import prepare_data
    from tasks.propose_trials import propose_trials
    from tasks.tracking.store import open_store
    from tasks.tracking.sweeps import open_sweep
    from tasks.train_cohort import Setting, cohorts

    load_keras()
    study = load_study(STUDY, trials=count)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = prepare_data.fn(study, Path(folder))
        trials = propose_trials.fn(study, 0, data, count, [])
        train = CONTENDERS[contender](data.folder)
        for number, what in enumerate(PASSES if contender != "naive" else PASSES[:1]):
            store = open_store(Path(folder) / f"store {number}")
            setting = Setting(store, open_sweep(store, study, data.version, False, count), study, data)
            started_at = time.perf_counter()
            for cohort in cohorts(trials):
                train(setting, cohort)
            seconds[what] = time.perf_counter() - started_at
    return seconds


def nightune(engine_name: str) -> Callable[[Path], Train]:
    """Nightune with one engine, as its cohorts train."""

    def contender(data_folder: Path) -> Train:
        from tasks.train_cohort import make_trainer, train_trials

        trainer = make_trainer(engine_name, data_folder, STUDY.parent, data_folder / "compiled")
        return lambda setting, cohort: train_trials(setting, trainer, cohort)

    return contender


def naive(data_folder: Path) -> Train:
    """What one writes by hand: build, compile with Keras' own schedule, decay and regularizer, fit, log."""
    import keras

    from models.datasets import open_dataset
    from models.recipe import Recipe
    from tasks.tracking.trials import open_trial
    from tuning.trial import Status, TrialResult

    dataset = open_dataset(data_folder)
    train, validation = dataset.train, dataset.validation

    def one(setting: Any, trial: Any) -> None:
        epochs = setting.study.search.epochs
        started_at = time.perf_counter()
        recipe = Recipe.from_params(trial.params)
        log = open_trial(setting.store, setting.sweep, trial, {"nightune.engine": "naive"}, setting.data)
        keras.utils.set_random_seed(trial.seed)
        model = keras_model(recipe)
        model.compile(
            keras_optimizer(recipe, epochs, len(train)),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            keep = keras.callbacks.ModelCheckpoint(path, monitor="val_loss", save_best_only=True)
            history = model.fit(
                train.inputs,
                train.targets,
                batch_size=recipe.batch_size.size,
                epochs=epochs,
                validation_data=(validation.inputs, validation.targets),
                callbacks=[keep],
                verbose=0,
            ).history
            for epoch in range(epochs):
                log.log_epoch(epoch + 1, {name: values[epoch] for name, values in history.items()})
            best = min(range(epochs), key=lambda epoch: history["val_loss"][epoch])
            seconds = time.perf_counter() - started_at
            objective = history["val_loss"][best]
            examples = epochs * len(train)
            result = TrialResult(trial, Status.COMPLETED, objective, best + 1, epochs, 0, examples, seconds)
            log.finish(result, path)

    return lambda setting, cohort: [one(setting, trial) for trial in cohort]


def keras_model(recipe: Any) -> Any:
    """The study's dense net with Keras' own regularizer."""
    import keras

    from models.penalties import keras_strengths

    strengths = keras_strengths(recipe.penalty, "multiclass")

    def regularizer() -> Any:
        return None if recipe.penalty.kind == "none" else keras.regularizers.L1L2(strengths.l1, strengths.l2)

    hidden = [
        keras.layers.Dense(units, activation="relu", kernel_regularizer=regularizer())
        for units in recipe.model["units"]
    ]
    return keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(10, kernel_regularizer=regularizer())])


def keras_optimizer(recipe: Any, epochs: int, examples: int) -> Any:
    """Keras' optimizer with its own schedule and decay."""
    from keras import optimizers

    settings, rate = recipe.optimizer, recipe.learning_rate
    updates = epochs * -(-examples // recipe.batch_size.size)
    schedule: Any = {
        "fixed": lambda: rate.peak,
        "exponential": lambda: optimizers.schedules.ExponentialDecay(rate.peak, updates, rate.final_fraction),
        "cosine": lambda: optimizers.schedules.CosineDecay(rate.peak, updates, rate.final_fraction),
    }[rate.schedule]()
    decay = None if recipe.weight_decay.profile == "none" else recipe.weight_decay.strength
    arguments: dict[str, Any] = {"learning_rate": schedule, "weight_decay": decay}
    if settings.kind in ("sgd", "rmsprop"):
        arguments["momentum"] = settings.momentum
    names = {"sgd": "SGD", "adam": "Adam", "adamw": "Adam", "rmsprop": "RMSprop"}
    return getattr(optimizers, names[settings.kind])(**arguments)


CONTENDERS: dict[str, Callable[[Path], Train]] = {
    "naive": naive,
    "nightune fit": nightune("fit"),
    "nightune tensorflow": nightune("tensorflow"),
    "nightune jax": nightune("jax"),
}
BACKENDS = {"nightune jax": "jax"}  # the others run on TensorFlow


if __name__ == "__main__":
    main()
