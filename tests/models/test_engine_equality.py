"""Every kind of every technique trains in the compiled engines as in `fit`, alone or after broken trials.

The same script runs on TensorFlow in this process and on JAX in another: a process has one backend.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.engines.make import make_engine
from nightune.models.recipe.params import read_recipe
from nightune.models.training.capabilities import only_in_fit
from nightune.models.training.engine import COMPILED_ENGINES, Engine
from nightune.models.training.loop import Outcome, train
from tests.models.conftest import both, in_backend
from tests.models.covering import ALL, KINDS, alone, covering, params_of


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, FitEngine
    import keras

    from nightune.models.engines.fit.engine import FitEngine


TRACES = ("learning_rate", "weight_decay", "batch_size", "penalty", "updates", "examples")
MEASURED = ("effective_learning_rate", "zero_share")  # computed, each by its own program
WEIGHTS_APART = 1e-5
MEASURED_APART = 1e-4
FAST = {"learning_rate.peak": 0.05}
CYCLED = {"learning_rate.schedule": "one_cycle", "learning_rate.one_cycle_momentum": "mirrored"}
ONLY_IN_FIT = [place for place, row in alone().items() if only_in_fit(read_recipe(params_of(row)))]
COMPILED = {name: [option for option in ALL[name] if (name, option) not in ONLY_IN_FIT] for name in KINDS}
DATA = {
    "smoothed labels, weighted classes, micro-batches, no bias correction": {
        "optimizer": "adam",
        "bias_correction": False,
        "penalty.label_smoothing": 0.2,
        "training.class_weight": "balanced",
        "batch_size.micro_size": 3,
    },
    "all weights decay, clipped values": {
        "optimizer": "adam",
        "weight_decay.profile": "fixed",
        "weight_decay.scope": "all",
        "gradient_clip.kind": "value",
        "gradient_clip.limit": 0.02,
        **FAST,
    },
    "kernels decay fast": {"optimizer": "adamw", "weight_decay.strength": 5.0, **FAST},
    "cycled beta, exponential average": {"optimizer": "adam", "weight_average.kind": "exponential", **CYCLED},
    "elastic": {"optimizer": "nadam", "penalty.kind": "elastic", "penalty.strength": 0.5, **FAST},
    "polynomial average": {"optimizer": "sgd", "weight_average.kind": "polynomial", **FAST},
    "centered": {"optimizer": "rmsprop", "centered": True},
    "hypergradient": {"optimizer": "sgd", "learning_rate.hypergradient_strength": 1e-3, **FAST},
    "hypergradient, multiplicative": {"optimizer": "adam", "learning_rate.hypergradient_strength": 0.05, **FAST},
    "cycled momentum": {"optimizer": "sgd", **CYCLED, "nesterov": True},
    "proximal steps": {"optimizer": "sgd", "penalty.kind": "l1_proximal", "penalty.strength": 1.0, **FAST},
    "average of proximal steps": {
        "optimizer": "adam",
        "penalty.kind": "l1_proximal",
        "penalty.strength": 0.05,
        "penalty.threshold": "decoupled",
        "weight_average.kind": "exponential",
    },
    "Nesterov in Muon": {"optimizer": "muon", "nesterov": True},
}
ROWS = {
    **{" · ".join(row.values()): params_of(row) for row in covering(1, COMPILED).rows},
    **{name: {**params, "model.units": [4], "batch_size.size": 8} for name, params in DATA.items()},
}
BROKEN = {"optimizer": "adam", "learning_rate.peak": 1e30, "model.units": [4], "batch_size.size": 8}


def small_dataset() -> Dataset:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(44, 5)).astype(np.float32)
    targets = np.digitize(inputs[:, :2].sum(axis=1), [-0.7, 0.7]).astype(np.int32)
    halves = [Examples(inputs[part], targets[part]) for part in (slice(22), slice(22, None))]
    return Dataset(*halves, halves[1], "multiclass", (0, 1, 2), "0" * 16, (), None, {})


def end(engine: Engine, params: dict[str, Any], epochs: int = 3) -> Outcome:
    """Train three epochs of 22 examples in batches of 8: the last one is ragged."""
    recipe = read_recipe(params)
    return train(engine, recipe, small_dataset(), epochs=epochs, seed=5, monitor="val_loss", direction="minimize")


def compare(folder: Path, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Compare the backend's compiled engine with `fit` on the rows; return plain values for another process."""
    dataset, results = small_dataset(), {}
    compiled, fit = make_engine(COMPILED_ENGINES[keras.backend.backend()], dataset, folder), FitEngine(dataset, folder)
    for name, params in rows.items():
        ours, theirs = end(compiled, params), end(fit, params)
        results[name] = {
            "apart": distance(ours, theirs),
            "measured": [curves_apart(ours, theirs, name) for name in MEASURED],
            "traces": all(ours.curves[trace] == theirs.curves[trace] for trace in TRACES),
            "ends": [[each.status, each.epochs, each.best_epoch] for each in (ours, theirs)],
        }
    results["refused"] = {
        f"{name} = {option}": compiled.refusals(read_recipe(params_of(row)))  # type: ignore[attr-defined]
        for (name, option), row in alone().items()
        if (name, option) in ONLY_IN_FIT
    }
    return results | {"isolation": isolation(compiled, lambda: make_engine(compiled.name, dataset, folder), rows)}


def distance(one: Outcome, other: Outcome) -> float:
    """The largest difference of two weights."""
    return max(float(np.abs(a - b).max()) for a, b in zip(one.weights, other.weights, strict=True))


def curves_apart(one: Outcome, other: Outcome, name: str) -> float:
    """The largest relative difference of two points of a curve; 0 where neither outcome has it."""
    assert (name in one.curves) == (name in other.curves), name
    pairs = zip(one.curves.get(name, []), other.curves.get(name, []), strict=True)
    return max((abs(a - b) / max(abs(b), 1e-30) for a, b in pairs), default=0.0)


def isolation(shared: Engine, make: Callable[[], Engine], rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return whether trials after a broken one in the same engine are bit-equal to those of a new engine."""
    equal = []
    tried = [next(params for params in rows.values() if params["optimizer"] == name) for name in ("adam", "sgd")]
    broken = [end(shared, {**BROKEN, "optimizer": optimizer}, epochs=2).status for optimizer in ("adam", "sgd")]
    for params in tried:
        alone, after = end(make(), params), end(shared, params)
        equal.append(distance(alone, after) == 0.0 and alone.curves["val_loss"] == after.curves["val_loss"])
    return {"broken": broken, "equal": equal}


@cache
def on_this_backend() -> dict[str, Any]:
    return compare(Path(), ROWS)


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if request.param == keras.backend.backend():
        return on_this_backend()
    other = tmp_path_factory.mktemp("other")
    return dict(in_backend(request.param, __name__, "compare(Path(sys.argv[1]), ROWS)", other))


@both
@pytest.mark.parametrize("row", ROWS)
def test_every_compiled_kind_matches_fit(results: dict[str, Any], row: str) -> None:
    result = results[row]
    assert result["apart"] <= WEIGHTS_APART
    assert max(result["measured"]) <= MEASURED_APART
    assert result["traces"]
    ours, theirs = result["ends"]
    assert ours == theirs


@both
def test_the_kinds_that_only_fit_can_train_are_refused_with_a_reason(results: dict[str, Any]) -> None:
    assert set(results["refused"]) == {f"{name} = {option}" for name, option in ONLY_IN_FIT}
    assert all(reason for reasons in results["refused"].values() for reason in reasons)


def test_most_kinds_are_compiled() -> None:
    assert len(ONLY_IN_FIT) < sum(map(len, COMPILED.values())) / 2


@both
def test_trials_after_a_diverged_one_are_bit_equal_to_those_of_a_new_engine(results: dict[str, Any]) -> None:
    assert results["isolation"]["broken"] == ["diverged", "diverged"]
    assert results["isolation"]["equal"] == [True, True]
