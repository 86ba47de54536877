"""Each loss is its closed form and Keras' own, trains alike in every engine, and is what `val_loss` measures."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Examples
from nightune.models.engines.make import make_engine
from nightune.models.errors import InputError
from nightune.models.recipe.params import read_recipe
from nightune.models.techniques.losses import CLASS_LOSSES, QUANTITY_LOSSES
from nightune.models.training.engine import COMPILED_ENGINES
from nightune.models.training.loop import train
from tests.models.conftest import BACKEND, FEW_RULES, both, in_backend


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, Head, loss_of_shares, named_loss
    import keras

    from nightune.models.networks.heads import Head
    from nightune.models.networks.losses import loss_of_shares, named_loss


WEIGHTS_APART = 1e-5
QUANTILES = [0.1, 0.5, 0.9]
GENERATOR = np.random.default_rng(0)
WANTED = GENERATOR.normal(size=(20, 2))
FOUND = GENERATOR.normal(size=(20, 2))
COUNTS = GENERATOR.poisson(2.0, size=(20, 1)).astype(float)
RATES = np.exp(GENERATOR.normal(size=(20, 1)))
LABELS = GENERATOR.integers(3, size=20)
LOGITS = GENERATOR.normal(size=(20, 3))

USERS = """
import keras
from keras import layers, ops


def net(input_shape, output_size, last: str = "linear"):
    return keras.Sequential([keras.Input(input_shape), layers.Dense(output_size, activation=last)])


def robust(input_shape, output_size):
    model = net(input_shape, output_size)
    model.compile("adam", loss=keras.losses.Huber(delta=0.5), metrics=["mae"])
    return model


def quartic(y_true, y_pred):
    return ops.mean((y_true - y_pred) ** 4, axis=-1)


def of_width(input_shape, output_size, width: int = 1):
    return keras.Sequential([keras.Input(input_shape), layers.Dense(width)])


def survival(y_true, y_pred):
    return ops.exp(0.1 * y_pred[:, 0]) * ops.abs(y_true[:, 0]) - ops.abs(y_true[:, 1]) * y_pred[:, 0]


def normal(y_true, y_pred):
    return y_pred[:, 1] + 0.5 * ((y_true[:, 0] - y_pred[:, 0]) / ops.exp(y_pred[:, 1])) ** 2


def gaussian(input_shape, output_size):
    model = of_width(input_shape, output_size, 2)
    model.compile("adam", loss=normal)
    return model
"""

# name → the params of its training, and the targets that it is for
TRAINED: dict[str, tuple[dict[str, Any], str]] = {
    "focal, one output": ({"training.loss": "focal"}, "binary"),
    "focal, three outputs": ({"training.loss": "focal"}, "multiclass"),
    "mae": ({"training.loss": "mae"}, "regression"),
    "huber": ({"training.loss": "huber"}, "regression"),
    "log_cosh": ({"training.loss": "log_cosh"}, "regression"),
    "pinball": ({"training.loss": "pinball", "training.quantiles": QUANTILES}, "regression"),
    "cosine": ({"training.loss": "cosine"}, "pairs"),
    "poisson": (
        {"training.loss": "poisson", "model.architecture": "users.py:net", "model.last": "softplus"},
        "counts",
    ),
    "a function": ({"training.loss": "users.py:quartic"}, "regression"),
    "compiled": ({"model.architecture": "users.py:robust"}, "regression"),
    "fewer outputs": ({"model.architecture": "users.py:of_width", "training.loss": "users.py:survival"}, "pairs"),
    "more outputs": ({"model.architecture": "users.py:gaussian"}, "regression"),
}


def dataset(kind: str) -> Dataset:
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(44, 5)).astype(np.float32)
    score = inputs[:, :2].sum(axis=1)
    targets: Mapping[str, np.ndarray] = {
        "regression": score,
        "pairs": np.stack([score, inputs[:, 2] - score], axis=1),
        "counts": np.floor(np.exp(0.5 * score)),
        "binary": (score > 0).astype(np.int32),
        "multiclass": np.digitize(score, [-0.7, 0.7]).astype(np.int32),
    }
    values = targets[kind] if targets[kind].dtype == np.int32 else targets[kind].astype(np.float32)
    halves = [Examples(inputs[part], values[part]) for part in (slice(22), slice(22, None))]
    classes = {"binary": (0, 1), "multiclass": (0, 1, 2)}.get(kind)
    task = kind if classes else "regression"
    return Dataset(*halves, halves[1], task, classes, "0" * 16, (), None, {})


def write_users(folder: Path) -> Path:
    (folder / "users.py").write_text(USERS)
    return folder


def compare(folder: Path, names: list[str]) -> dict[str, Any]:
    """Train two epochs of ragged batches in `fit` and in the backend's compiled engine; return plain values."""
    results = {}
    for name in names:
        params, kind = TRAINED[name]
        own = {"model.units": [4]} if "model.architecture" not in params else {}
        recipe = read_recipe({"optimizer": "sgd", "learning_rate.peak": 0.02, "batch_size.size": 8, **own, **params})
        data, seeds = dataset(kind), {"seed": 5, "monitor": "val_loss", "direction": "minimize"}
        engines = [make_engine(engine, data, folder, rules=FEW_RULES) for engine in ("fit", COMPILED_ENGINES[BACKEND])]
        ends = [train(engine, recipe, data, epochs=2, **seeds) for engine in engines]  # type: ignore[arg-type]
        again = train(engines[1], recipe, data, epochs=2, **seeds)  # type: ignore[arg-type]
        model = engines[0].model(recipe, ends[0].weights)
        outputs = np.asarray(model.predict_on_batch(data.validation.inputs))
        measured = engines[1].head(recipe).metrics(data.task, outputs, data.validation.targets)["loss"]
        apart = [np.abs(one - other).max() for one, other in zip(ends[0].weights, ends[1].weights, strict=True)]
        curves = [[*zip(end.curves["loss"], end.curves["val_loss"], strict=True)] for end in ends]
        results[name] = {
            "apart": float(max(apart)),
            "curves": float(np.abs(np.array(curves[0]) - np.array(curves[1])).max()),
            "measured": abs(measured - ends[0].objective),
            "repeated": bool(again.curves["val_loss"] == ends[1].curves["val_loss"]),
        }
    return results


class OnDemand(dict[str, Any]):
    """The results of each name, trained when a test reads them."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def __missing__(self, name: str) -> Any:
        self[name] = compare(self.folder, [name])[name]
        return self[name]


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = write_users(tmp_path_factory.mktemp("losses"))
    if request.param == BACKEND:
        return OnDemand(folder)
    return dict(in_backend(request.param, __name__, "compare(Path(sys.argv[1]), [*TRAINED])", folder))


# These differ from the cosine and a function of the user in their formula alone, which is tested below.
ALIKE = ("mae", "huber", "log_cosh")


@both
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.nights] if name in ALIKE else []) for name in TRAINED]
)
def test_a_loss_trains_alike_in_all_engines_and_is_what_val_loss_measures(results: dict[str, Any], name: str) -> None:
    result = results[name]
    assert result["apart"] <= WEIGHTS_APART
    assert result["curves"] <= 1e-5
    assert result["measured"] <= 1e-6
    assert result["repeated"]


def errors() -> np.ndarray:
    return WANTED - FOUND


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


CLOSED = {
    "mae": lambda: np.abs(errors()).mean(axis=1),
    "huber": lambda: np.where(np.abs(errors()) <= 1, errors() ** 2 / 2, np.abs(errors()) - 0.5).mean(axis=1),
    "log_cosh": lambda: np.log(np.cosh(errors())).mean(axis=1),
    "cosine": lambda: -(WANTED * FOUND).sum(1) / np.linalg.norm(WANTED, axis=1) / np.linalg.norm(FOUND, axis=1),
    "poisson": lambda: (RATES - COUNTS * np.log(RATES)).mean(axis=1),
    "pinball": lambda: np.mean(
        [
            np.maximum(q * (COUNTS[:, 0] - LOGITS[:, i]), (q - 1) * (COUNTS[:, 0] - LOGITS[:, i]))
            for i, q in enumerate(QUANTILES)
        ],
        axis=0,
    ),
    "focal": lambda: (
        -((1 - np.exp(log_softmax(LOGITS)[np.arange(20), LABELS])) ** 2) * log_softmax(LOGITS)[np.arange(20), LABELS]
    ),
}
GIVEN = {
    "poisson": (RATES, COUNTS),
    "pinball": (LOGITS, COUNTS),
    "focal": (LOGITS, LABELS),
}


@pytest.mark.parametrize("name", CLOSED)
def test_a_loss_equals_its_closed_form(name: str) -> None:
    outputs, targets = GIVEN.get(name, (FOUND, WANTED))
    kind = "classes" if name == "focal" else "quantities"
    loss = named_loss(name, kind, True, QUANTILES)
    rows = loss.rows(outputs, Head(kind, True).targets(targets))
    np.testing.assert_allclose(rows, CLOSED[name](), rtol=1e-4, atol=1e-6)
    value = float(loss.example_loss(Head(kind, True).targets(targets), outputs.astype(np.float32)))  # type: ignore[misc]
    assert value == pytest.approx(CLOSED[name]().mean(), rel=1e-4)


def test_every_loss_has_a_closed_form_and_a_training() -> None:
    assert {*CLOSED, "mse", "crossentropy"} == {*CLASS_LOSSES, *QUANTITY_LOSSES}
    assert set(CLOSED) <= {str(params.get("training.loss")) for params, _ in TRAINED.values()}


def test_focal_loss_of_one_output_is_that_of_two_and_of_probabilities() -> None:
    logits, targets = LOGITS[:, :1], (LABELS > 0).astype(int)
    one = named_loss("focal", "two classes", True, ()).rows(logits, Head("two classes", True).targets(targets))
    two = np.concatenate([np.zeros_like(logits), logits], axis=1)
    np.testing.assert_allclose(named_loss("focal", "classes", True, ()).rows(two, targets), one, rtol=1e-4)
    shares = named_loss("focal", "two classes", False, ()).rows(1 / (1 + np.exp(-logits)), targets[:, None])
    np.testing.assert_allclose(shares, one, rtol=1e-4)


def test_quantiles_are_measured_by_their_median_in_the_other_metrics(tmp_path: Path) -> None:
    recipe = read_recipe({"training.loss": "pinball", "training.quantiles": QUANTILES, "model.units": [4]})
    data = dataset("regression")
    engine = make_engine("fit", data, tmp_path)
    head = engine.head(recipe)
    outputs = np.stack([data.validation.targets - 1, data.validation.targets, data.validation.targets + 2], axis=1)
    found = head.metrics("regression", outputs, data.validation.targets)
    assert (found["mae"], found["r2"]) == (0.0, 1.0)
    assert found["loss"] == pytest.approx((0.1 * 1 + 0 + 0.1 * 2) / 3, rel=1e-5)


def test_labels_are_not_smoothed_for_a_compiled_loss(tmp_path: Path) -> None:
    code = "import keras\ndef build(input_shape, output_size):\n"
    code += " m = keras.Sequential([keras.Input(input_shape), keras.layers.Dense(output_size, activation='softmax')])\n"
    code += " m.compile('adam', loss='kl_divergence')\n return m\n"
    (tmp_path / "net.py").write_text(code)
    data = dataset("multiclass")
    engine = make_engine("fit", data, tmp_path)
    plain = read_recipe({"model.architecture": "net.py:build"})
    assert engine.head(plain).loss_name == "kl_divergence"
    smoothed = replace(plain, penalty=replace(plain.penalty, label_smoothing=0.1))
    from nightune.models.training.seeds import Seeds

    with pytest.raises(InputError, match=r"kl_divergence"):
        engine.start(smoothed, Seeds.from_trial(0))


def test_shares_of_classes_are_smoothed_in_their_source() -> None:
    """Their study has the loss "crossentropy" already."""
    problem = Head("quantities", False, loss_of_shares()).problem_of_smoothing
    assert problem is not None
    assert "smooth the shares in the source" in problem.message
    assert "set loss" not in problem.message
