"""The contenders: Nightune's engines, the naive loop and other tuners, each a function that trains all trials."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nightune.models.data.dataset import Dataset
    from nightune.tasks.setting import Setting
    from nightune.tuning.trial import Trial


@dataclass(frozen=True)
class Race:
    """The input of every contender."""

    setting: "Setting"
    dataset: "Dataset"
    trials: "Sequence[Trial]"


@dataclass(frozen=True)
class Contender:
    """A function that trains, its backend of Keras, the package it requires, and the context it runs in.

    `is_repeated`: also timed once compiled.
    """

    run: Callable[[Race], None]
    backend: str = "tensorflow"
    package: str = "keras"
    is_repeated: bool = False
    surroundings: Callable[[], AbstractContextManager[None]] = nullcontext


@contextmanager
def prefect() -> Iterator[None]:
    """Prefect's server, as `nightune tune` starts it."""
    from nightune.flows.runtime.prefect_server import prefect_server

    with prefect_server() as wait_until_it_answers:
        wait_until_it_answers()
        yield


def nightune(engine_name: str) -> Callable[[Race], None]:
    """Nightune with one engine: the cohorts of a sweep in a Prefect flow, until Prefect has recorded them."""

    def run(race: Race) -> None:
        from prefect import flow

        from nightune.flows.runtime.flow_runs import owned_flow_runs
        from nightune.flows.runtime.task_run_records import wait_until_recorded
        from nightune.flows.tune import train_rung
        from nightune.tasks.reporting.sweep_log import sweep_log
        from nightune.tasks.tracking.sweeps.engines import record_engine
        from nightune.tasks.trial.trainer import accumulates_blocks

        given = race.setting
        accumulates = accumulates_blocks(engine_name, given.data, given.study)
        sweep = record_engine(given.store, given.sweep, engine_name, "the benchmark's", accumulates)
        setting = replace(race.setting, sweep=sweep)

        @flow(name="race")
        def search() -> None:
            with sweep_log(setting):
                train_rung(setting, race.trials)
            wait_until_recorded()

        with owned_flow_runs():
            search()

    return run


def naive(race: Race) -> None:
    """A loop over `model.fit`."""
    from by_hand import train_by_hand

    for trial in race.trials:
        train_by_hand(race.setting, race.dataset, trial, "naive")


def keras_tuner(race: Race) -> None:
    """KerasTuner's RandomSearch; each of its draws gets the next of our trials."""
    import keras_tuner as kt
    from by_hand import compiled_model, fit_and_log

    from nightune.models.recipe.params import read_recipe

    given: dict[float, Trial] = {}
    waiting = iter(race.trials)

    class Ours(kt.HyperModel):  # type: ignore[misc]
        def build(self, hp: Any) -> Any:
            draw = hp.Float("draw", 0.0, 1.0)
            if draw == 0.0:  # the default, with which the tuner builds once to see the space
                return compiled_model(read_recipe(race.trials[0].params), race.dataset, race.setting)
            self.started_at = time.perf_counter()
            given[draw] = trial = given.get(draw) or next(waiting)
            return compiled_model(read_recipe(trial.params), race.dataset, race.setting)

        def fit(self, hp: Any, model: Any, *_: Any, **arguments: Any) -> float:
            begun = (model, self.started_at, arguments["callbacks"])
            return fit_and_log(race.setting, race.dataset, given[hp.get("draw")], "keras-tuner", begun)

    with tempfile.TemporaryDirectory() as folder:
        tuner = kt.RandomSearch(Ours(), max_trials=len(race.trials), directory=folder, overwrite=True)
        tuner.search(verbose=0)


def optuna_keras(race: Race) -> None:
    """Optuna's study with Keras in its objective."""
    import optuna
    from by_hand import train_by_hand

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(asked: Any) -> float:
        asked.suggest_float("draw", 0.0, 1.0)
        return train_by_hand(race.setting, race.dataset, race.trials[asked.number], "optuna")

    optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)).optimize(objective, n_trials=len(race.trials))


def ray_tune(race: Race) -> None:
    """Ray Tune with its defaults: one processor per trial."""
    import ray
    from ray import tune

    setting, trials = race.setting, list(race.trials)

    def objective(config: dict[str, int]) -> dict[str, float]:
        from by_hand import train_by_hand

        from nightune.models.backend import load_keras
        from nightune.models.data.storage import open_dataset

        load_keras()
        dataset = open_dataset(setting.data.folder)
        return {"objective": train_by_hand(setting, dataset, trials[config["number"]], "ray")}

    with tempfile.TemporaryDirectory() as folder:
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
        results = tune.Tuner(
            objective,
            param_space={"number": tune.grid_search(list(range(len(trials))))},
            run_config=tune.RunConfig(storage_path=str(Path(folder).resolve()), verbose=0),
        ).fit()
        ray.shutdown()
        if results.errors:
            raise RuntimeError(f"{len(results.errors)} trials failed: {results.errors[0]}")


CONTENDERS = {
    "naive": Contender(naive),
    "nightune fit": Contender(nightune("fit"), surroundings=prefect),
    "nightune tensorflow": Contender(nightune("tensorflow"), is_repeated=True, surroundings=prefect),
    "nightune tensorflow, second night": Contender(nightune("tensorflow"), surroundings=prefect),
    "nightune jax": Contender(nightune("jax"), "jax", "jax", is_repeated=True, surroundings=prefect),
    "nightune jax, second night": Contender(nightune("jax"), "jax", "jax", surroundings=prefect),
    "keras-tuner": Contender(keras_tuner, package="keras-tuner"),
    "optuna": Contender(optuna_keras, package="optuna"),
    "ray": Contender(ray_tune, package="ray"),
}
SECOND_NIGHT = ", second night"
