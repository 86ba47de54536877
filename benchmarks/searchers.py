"""The trainings that Nightune, Optuna and KerasTuner ask for, one after the other: head_to_head.py."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
from arena import EPOCHS, Arena
from confirmed_winners import confirmed_winners

from nightune.tuning.search.domains import Choice
from nightune.tuning.search.search_space import SearchSpace
from nightune.tuning.simulator import Leader, Training, simulate
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.trial import Value

TRIALS = 256
WINNER = "winner"  # of Nightune's search and its confirmation


def nightune(arena: Arena, seed: int) -> Iterator[Training]:
    """Nightune's `auto`, with the portfolio and the scores of other data sets."""
    search = SearchSection.model_validate({"method": "auto", "trials": TRIALS, "epochs": EPOCHS})
    return simulate(search, arena.bank(seed), seed, arena.first, arena.prior)


def winners(arena: Arena, seed: int, trainings: Iterator[Training], marks: Sequence[int]) -> Iterator[Leader | None]:
    """Yield the winner of the confirmation in each of these total numbers of epochs, its own trainings among them."""
    draw = 1 + seed  # of its own for each seed, and not of the judge
    return (found for (found,) in confirmed_winners(trainings, arena.bank(seed), EPOCHS, marks, [draw]))


def random(arena: Arena, seed: int) -> Iterator[Training]:
    """Nightune's `random`."""
    search = SearchSection.model_validate({"method": "random", "trials": TRIALS, "epochs": EPOCHS})
    return simulate(search, arena.bank(seed), seed)


def optuna(arena: Arena, seed: int) -> Iterator[Training]:
    """Optuna's TPE with its defaults, one full training after the other."""
    import optuna as library

    library.logging.set_verbosity(library.logging.ERROR)
    study, curve = library.create_study(sampler=library.samplers.TPESampler(seed=seed)), arena.bank(seed).curve
    for number in range(TRIALS):
        trial = study.ask()
        point = _asked(arena.space, trial)
        losses = curve(point, number)
        yield Training(number, point, 0, EPOCHS, tuple(losses))
        best = float(np.nanmin(losses)) if np.isfinite(losses).any() else None
        study.tell(trial, best, state=None if best is not None else library.trial.TrialState.FAIL)


def _asked(space: SearchSpace, trial: Any) -> dict[str, Value]:
    """Return the point that Optuna suggests, by the calls that a user would write for this space."""
    point: dict[str, Value] = {}
    for dimension in space.in_control_order:
        if not dimension.is_active(point):
            continue
        domain, name = dimension.domain.under(point), dimension.name
        if isinstance(domain, Choice):
            place = trial.suggest_categorical(f"{name} of {len(domain.options)}", list(range(len(domain.options))))
            point[name] = domain.options[place]
        else:
            suggest = trial.suggest_int if domain.integer else trial.suggest_float
            point[name] = suggest(f"{name} {domain}", domain.low, domain.high, log=domain.scale == "log")
    return dict(sorted(point.items()))


def keras_tuner(arena: Arena, seed: int) -> Iterator[Training]:
    """KerasTuner's Hyperband with its defaults: what its oracle asks for, a round continuing the trainings before."""
    import keras_tuner as library

    asked, curve = library.HyperParameters(), arena.bank(seed).curve
    for name in arena.space.varying:
        asked.Float(name, 0.0, 1.0)  # a position; the oracle draws at random
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):  # the oracle prints each trial
        oracle = library.oracles.HyperbandOracle(
            library.Objective("val_loss", "min"), EPOCHS, hyperband_iterations=100, seed=seed, hyperparameters=asked
        )
        oracle._set_project_dir(folder, "race")
        numbers: dict[str, int] = {}
        while (trial := oracle.create_trial("race")).status == "RUNNING":
            values = trial.hyperparameters.values
            units = {name: min(float(values.get(name, 0.5)), 1 - 1e-9) for name in arena.space.by_name}
            number = numbers.get(str(values.get("tuner/trial_id")), trial_number(numbers))
            numbers[trial.trial_id] = number
            point, end = arena.space.at(units), int(values["tuner/epochs"])
            losses = curve(point, number)[:end]
            yield Training(number, point, int(values["tuner/initial_epoch"]), end, tuple(losses))
            best = float(np.nanmin(losses)) if np.isfinite(losses).any() else 1e9
            oracle.update_trial(trial.trial_id, {"val_loss": best})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)


def trial_number(numbers: dict[str, int]) -> int:
    """Return the number of a trial that begins."""
    return 1 + max(numbers.values(), default=-1)


CONTENDERS: dict[str, Callable[[Arena, int], Iterator[Training]]] = {
    "nightune": nightune,
    WINNER: nightune,
    "optuna": optuna,
    "keras-tuner": keras_tuner,
    "random": random,
}
