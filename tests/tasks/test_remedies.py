"""Whoever follows the remedy that a refusal of a model, a head, a loss or a target names, gets a study that is read.

Each case is a refused study and the changes that its message proposes. Remedies with tests of their own: splits
(test_windows, test_splits), training steps (test_own_steps), versions (test_prove_reopening).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nightune.tasks.build_models import build_models
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import read_dataset
from nightune.tuning.errors import StudyError

LOAD = """
import numpy as np
import pandas as pd

rng = np.random.default_rng(0)
x = rng.normal(size=(60, 4)).astype("float32")
three, two = np.arange(60) % 3, np.arange(60) % 2
one_hot, tags = np.eye(3)[three], rng.integers(0, 2, (60, 3))
amount = x[:, 0] + 5.0
counts, several = np.arange(60) % 5, x[:, :2].astype("float64")


def load():
    return {}
"""
NET = """
import keras
import numpy as np
from keras import layers, ops


def build(input_shape, output_size, units=(8,)):
    inputs = keras.Input(input_shape)
    hidden = layers.Dense(8, activation="relu")(inputs)
    {}
    return model
"""


def outputs(size: str = "output_size", activation: str = "None", compiled: str = "pass") -> str:
    """The lines of a model with this last layer, compiled by a line."""
    last = f"layers.Dense({size}, activation={activation})(hidden)"
    return f"model = keras.Model(inputs, {last})\n    {compiled}"


def loss(given: str) -> str:
    """The line that compiles a loss."""
    return f"model.compile('adam', loss={given})"


Case = tuple[dict[str, str], str, list[dict[str, str]]]
CLASSES, TAGS, BINARY, AMOUNT = "x, three", "x, tags", "x, two", "x, amount"
TWO_AMOUNTS = "x, {'a': amount, 'b': 2 * amount}"
TWO_HEADS = "model = keras.Model(inputs, {name: layers.Dense(size)(hidden) for name, size in output_size.items()})"
REGRESSION, MULTICLASS = 'task = "regression"', 'task = "multiclass"'
FOCAL = "keras.losses.SparseCategoricalCrossentropy"
SPARSE, CATEGORICAL = "'sparse_categorical_crossentropy'", "'categorical_crossentropy'"
SOFTMAX, SIGMOID, SOFTPLUS = "'softmax'", "'sigmoid'", "'softplus'"
LOGITS, NO_LOGITS = (f"keras.losses.BinaryCrossentropy(from_logits={value})" for value in (True, False))
LABELS, CLASSIFICATION = 'task = "multilabel"', 'task = "classification"'
LARGEST, STEPS = "several.argmax(axis=1)", "np.stack([three > 0, three > 1], axis=1)"
GRID = "(np.arange(240) % 11).reshape(60, 4)"
NUMBERED = "np.unique({}, return_inverse=True)[1].reshape(60, 4), three"
SIGNED, NUMBERED_CLASSES = "x, 2 * two - 1", "(lambda x, y: (x, np.unique(y, return_inverse=True)[1]))({})"
SQUARES = "ops.mean((ops.reshape(y_true, (ops.shape(y_pred)[0], -1)) - y_pred) ** 2, axis=-1)"
IDS, LONG_IDS = f"{GRID} + 2**40", f"{GRID}.astype(object) + 2**70"
ABSOLUTE = "ops.mean(ops.abs(y_true - y_pred), axis=-1)"
FIRST = "ops.abs(y_true[:, 0] - y_pred[:, 0])"
GRADES = "ops.sum(ops.softplus(ops.where(y_true > ops.arange(2, dtype='float32'), -y_pred, y_pred)), axis=-1)"
OWN = "import keras\nfrom keras import ops\n\ndef own(y_true, y_pred):\n    return {}\n"
JOINED = "parts = [layers.Dense(1)(hidden) for _ in range(2)]; model = keras.Model(inputs, layers.Concatenate()(parts))"
POSITIONS = "x, rng.integers(0, 3, (60, 2, 2))"
IN_STEPS = "model = keras.Model(inputs, layers.Reshape(output_size)(layers.Dense(int(np.prod(output_size)))(hidden)))"
CASES: dict[str, Case] = {
    # the model and its outputs
    "two outputs": (
        {"net": "model = keras.Model(inputs, {'y': layers.Dense(output_size)(hidden), 'z': hidden})"},
        "layers.Concatenate",
        [
            {"net": outputs()},
            {"net": "model = keras.Model(inputs, {'y': layers.Dense(output_size)(hidden)})"},
            {"load": "x, several", "data": REGRESSION, "net": JOINED},
        ],
    ),
    "a dictionary of targets": (
        {"load": TWO_AMOUNTS},
        "output_size is a dictionary",
        [
            {"load": "x, {'a': amount}"},
            {"load": "x, pd.DataFrame({'a': amount, 'b': 2 * amount})", "net": JOINED},
            {"load": TWO_AMOUNTS, "net": TWO_HEADS},
        ],
    ),
    "a loss of quantities for the classes of a head": (
        {"load": "x, {'a': amount, 'b': three}", "net": TWO_HEADS, "training": 'loss = { b = "mae" }'},
        'task = { b = "regression" }',
        [
            {
                "load": "x, {'a': amount, 'b': three}",
                "net": TWO_HEADS,
                "training": 'loss = { b = "mae" }',
                "data": 'task = { b = "regression" }',
            },
            {"load": "x, {'a': amount, 'b': three}", "net": TWO_HEADS, "training": 'loss = { b = "focal" }'},
        ],
    ),
    "one output for two targets": (
        {"load": TWO_AMOUNTS, "net": outputs("1")},
        "keras.Model(inputs, {'a': …, 'b': …})",
        [{"load": TWO_AMOUNTS, "net": TWO_HEADS}],
    ),
    "a table of one target": (
        {"load": AMOUNT, "training": 'loss = { a = "mae" }'},
        "give one value",
        [
            {"load": AMOUNT, "training": 'loss = "mae"'},
            {"load": TWO_AMOUNTS, "net": TWO_HEADS, "training": 'loss = { a = "mae" }'},
        ],
    ),
    "classes at each position": (
        {"load": POSITIONS, "net": IN_STEPS},
        "y[..., None] == np.arange(3)",
        [
            {"data": REGRESSION},
            {"load": f"{POSITIONS}[..., None] == np.arange(3)", "data": LABELS},
            {"data": CLASSIFICATION},
        ],
    ),
    "a softmax over one output": (
        {"load": BINARY, "net": outputs(activation=SOFTMAX)},
        "use sigmoid",
        [{"net": outputs(activation=SIGMOID)}, {"net": outputs()}],
    ),
    "a softmax over labels": (
        {"load": TAGS, "data": LABELS, "net": outputs(activation=SOFTMAX)},
        "use sigmoid",
        [{"net": outputs(activation=SIGMOID)}, {"net": outputs()}, {"load": "x, one_hot", "data": MULTICLASS}],
    ),
    "a sigmoid over classes": (
        {"net": outputs(activation=SIGMOID)},
        "use softmax",
        [{"net": outputs(activation=SOFTMAX)}],
    ),
    "a tanh": (
        {"net": outputs(activation="'tanh'")},
        "without an activation",
        [{"net": outputs()}, {"net": outputs(activation=SOFTMAX)}, {"training": 'outputs = "logits"'}],
    ),
    "probabilities stated for logits": (
        {"training": 'outputs = "probabilities"'},
        "end in",
        [{"net": outputs(activation=SOFTMAX)}, {"training": ""}],
    ),
    "logits stated for probabilities": (
        {"net": outputs(activation=SOFTMAX), "training": 'outputs = "logits"'},
        "end without",
        [{"net": outputs()}, {"training": ""}],
    ),
    "quantities stated for classes": (
        {"training": 'outputs = "quantities"'},
        "use logits",
        [{"training": 'outputs = "logits"'}],
    ),
    "logits stated for a regression": (
        {"load": AMOUNT, "training": 'outputs = "logits"'},
        "remove the key",
        [{"training": ""}, {"training": 'outputs = "quantities"'}],
    ),
    "targets out of reach": (
        {"load": AMOUNT, "net": outputs(activation="'tanh'")},
        "without an activation",
        [{"net": outputs()}, {"training": 'outputs = "quantities"'}],
    ),
    "scaled targets out of reach": (
        {"load": AMOUNT, "net": outputs(activation=SOFTPLUS), "data": "scale_target = true"},
        "remove data.scale_target",
        [{"data": ""}, {"net": outputs()}],
    ),
    "quantiles without a loss for them": (
        {"load": AMOUNT, "net": outputs(size="3")},
        "pinball",
        [{"training": 'loss = "pinball"\nquantiles = [0.1, 0.5, 0.9]'}],
    ),
    "fewer outputs than targets": (
        {"load": "x, several", "data": REGRESSION, "net": outputs("1")},
        "of your own",
        [{"own": OWN.format(FIRST), "training": 'loss = "own.py:own"'}, {"net": outputs()}],
    ),
    "a broadcast": (
        {"load": AMOUNT, "net": outputs("3"), "own": OWN.format(ABSOLUTE), "training": 'loss = "own.py:own"'},
        "broadcasting",
        [{"net": outputs()}, {"training": 'loss = "own.py:own"\noutputs = "parameters"'}],
    ),
    "quantities of another number": (
        {
            "load": AMOUNT,
            "net": outputs("2"),
            "own": OWN.format(FIRST),
            "training": 'loss = "own.py:own"\noutputs = "quantities"',
        },
        'outputs = "parameters"',
        [{"training": 'loss = "own.py:own"\noutputs = "parameters"'}, {"net": outputs()}],
    ),
    "scaled targets of parameters": (
        {
            "load": AMOUNT,
            "data": "scale_target = true",
            "net": outputs("2"),
            "own": OWN.format(FIRST),
            "training": 'loss = "own.py:own"',
        },
        "remove it",
        [{"data": ""}],
    ),
    "parameters without a loss for them": (
        {"load": AMOUNT, "training": 'outputs = "parameters"'},
        "of your own",
        [{"own": OWN.format(ABSOLUTE), "training": 'outputs = "parameters"\nloss = "own.py:own"'}, {"training": ""}],
    ),
    "thresholds between grades": (
        {"net": outputs("2"), "own": OWN.format(GRADES), "training": 'loss = "own.py:own"'},
        'task = "regression"',
        [{"data": REGRESSION}, {"net": outputs(), "own": OWN.format(SQUARES)}],
    ),
    "a list of units": (
        {"net": "", "model": 'architecture = "mlp"\nunits = [16]'},
        "units = [[64, 32]]",
        [{"model": 'architecture = "mlp"\nunits = [[64, 32]]'}],
    ),
    # losses
    "loss_weights": (
        {"net": outputs(compiled="model.compile(loss='mse', loss_weights=[2.0])"), "load": AMOUNT},
        "remove them",
        [{"net": outputs(compiled="model.compile(loss='mse')")}],
    ),
    "a sum over examples": (
        {"net": outputs(compiled=loss("keras.losses.Huber(reduction='sum')")), "load": AMOUNT},
        "remove it",
        [{"net": outputs(compiled=loss("keras.losses.Huber()"))}],
    ),
    "a loss of quantities for classes": (
        {"net": outputs(compiled=loss("'mae'"))},
        "cross-entropy",
        [
            {"net": outputs("1", compiled=loss("'mae'")), "data": REGRESSION},
            {"net": outputs(compiled=loss(f"{FOCAL}(from_logits=True)"))},
        ],
    ),
    "an ignored class": (
        {"net": outputs(compiled=loss(f"{FOCAL}(from_logits=True, ignore_class=0)"))},
        "without it",
        [{"net": outputs(compiled=loss(f"{FOCAL}(from_logits=True)"))}],
    ),
    "one class per row over one output": (
        {"load": BINARY, "net": outputs(compiled=loss(f"{FOCAL}(from_logits=True)"))},
        "one output for each",
        [
            {"net": outputs("2", compiled=loss(f"{FOCAL}(from_logits=True)"))},
            {"net": outputs(activation=SIGMOID, compiled=loss("'binary_crossentropy'"))},
        ],
    ),
    "a loss of classes for a regression": (
        {"load": "x, counts", "data": REGRESSION, "net": outputs(compiled=loss(SPARSE))},
        CLASSIFICATION,
        [
            {"data": CLASSIFICATION, "net": outputs(activation=SOFTMAX, compiled=loss(SPARSE))},
            {"net": outputs(compiled=loss("'mae'"))},
        ],
    ),
    "a loss of classes for labels": (
        {"load": "x, one_hot", "data": LABELS, "net": outputs(activation=SOFTMAX, compiled=loss(CATEGORICAL))},
        'task = "multiclass"',
        [{"data": MULTICLASS}, {"net": outputs(activation=SIGMOID, compiled=loss("'binary_crossentropy'"))}],
    ),
    "from_logits of probabilities": (
        {"load": BINARY, "net": outputs(activation=SIGMOID, compiled=loss(LOGITS))},
        "from_logits=False",
        [{"net": outputs(activation=SIGMOID, compiled=loss(NO_LOGITS))}],
    ),
    "a loss for quantities stated for classes": (
        {"training": 'loss = "mae"'},
        'task = "regression"',
        [{"data": REGRESSION, "net": outputs("1")}, {"training": 'loss = "focal"'}],
    ),
    "a loss for classes stated for quantities": (
        {"load": AMOUNT, "training": 'loss = "focal"'},
        "huber",
        [{"training": 'loss = "huber"'}],
    ),
    "directions of one quantity": (
        {"load": AMOUNT, "training": 'loss = "cosine"'},
        "use mse",
        [{"training": 'loss = "mse"'}, {"training": 'loss = "mae"'}],
    ),
    "scaled counts": (
        {
            "load": AMOUNT,
            "data": "scale_target = true",
            "training": 'loss = "poisson"',
            "net": outputs(activation=SOFTPLUS),
        },
        "remove it",
        [{"data": ""}],
    ),
    "negative counts": (
        {"load": "x, amount - 6", "training": 'loss = "poisson"', "net": outputs(activation=SOFTPLUS)},
        "use mse",
        [{"training": 'loss = "mse"', "net": outputs()}],
    ),
    "counts predicted below 0": (
        {"load": AMOUNT, "training": 'loss = "poisson"'},
        "softplus",
        [{"net": outputs(activation=SOFTPLUS)}, {"net": outputs(activation="'exponential'")}],
    ),
    "quantiles of several targets": (
        {"load": "x, several", "data": REGRESSION, "training": 'loss = "pinball"\nquantiles = [0.1, 0.9]'},
        "one quantity",
        [{"training": 'loss = "mae"'}, {"load": AMOUNT, "data": ""}],
    ),
    "one loss for all rows": (
        {"load": AMOUNT, "own": OWN.format("ops.mean(ops.abs(y_true - y_pred))"), "training": 'loss = "own.py:own"'},
        "axis=-1",
        [{"own": OWN.format(ABSOLUTE)}],
    ),
    "a squared error of signed classes": (
        {"load": SIGNED, "net": outputs(activation="'tanh'", compiled=loss("'mse'"))},
        "-1 and 1",
        [
            {"data": REGRESSION},
            {"load": NUMBERED_CLASSES.format(SIGNED)},
            {"net": outputs(activation="'tanh'", compiled=loss("'hinge'"))},
        ],
    ),
    "an own loss of classes from 1": (
        {"load": "x, three + 1", "own": OWN.format(SQUARES), "training": 'loss = "own.py:own"'},
        "1 to 3",
        [{"load": NUMBERED_CLASSES.format("x, three + 1")}, {"load": "x, np.eye(3)[three]"}],
    ),
    "smoothing without a cross-entropy": (
        {"net": outputs(compiled=loss("keras.losses.CategoricalHinge()")), "space": "penalty.label_smoothing = 0.1"},
        'loss = "crossentropy"',
        [{"space": ""}, {"training": 'loss = "crossentropy"'}],
    ),
    # targets and inputs
    "texts for a regression": (
        {"load": "x, np.array(['a', 'b', 'c'])[three]", "data": REGRESSION},
        CLASSIFICATION,
        [{"data": CLASSIFICATION}],
    ),
    "fractions for classes": (
        {"load": AMOUNT, "data": CLASSIFICATION},
        'task = "regression"',
        [{"data": REGRESSION}],
    ),
    "three classes as two": ({"data": 'task = "binary"'}, "multiclass", [{"data": MULTICLASS}]),
    "labels in one column": (
        {"load": BINARY, "data": LABELS},
        'use "binary"',
        [{"data": 'task = "binary"'}],
    ),
    "several labels as classes": (
        {"load": TAGS, "data": MULTICLASS},
        LABELS,
        [{"data": LABELS}, {"load": "x[tags.sum(axis=1) == 1], tags[tags.sum(axis=1) == 1]"}],
    ),
    "ordered codes": (
        {"load": f"x, {STEPS}"},
        "y.sum(axis=1)",
        [{"data": LABELS}, {"data": REGRESSION}, {"load": f"x, {STEPS}.sum(axis=1)", "data": CLASSIFICATION}],
    ),
    "columns of numbers": (
        {"load": "x, several", "data": LABELS},
        "regression",
        [{"data": REGRESSION}, {"load": "x, (several > 0).astype(int)"}, {"load": f"x, {LARGEST}", "data": ""}],
    ),
    "scaled classes": ({"data": "scale_target = true"}, "leave it out", [{"data": ""}]),
    "strata of quantities": (
        {"load": AMOUNT, "data": 'split = { kind = "stratified" }'},
        'kind = "random"',
        [{"data": 'split = { kind = "random" }'}],
    ),
    "a class of one row": (
        {"load": "x, np.where(np.arange(60) == 0, 7, three)"},
        'kind = "random"',
        [{"data": 'split = { kind = "random" }'}, {"load": CLASSES}],
    ),
    "a target beyond float32": (
        {"load": "x, amount.astype(float) * 1e39"},
        "larger unit",
        [{"load": "x, amount.astype(float) * 1e39 / 1e39"}],
    ),
    "ids beyond 32 bits": (
        {"load": f"{IDS}, three", "net": outputs()},
        "np.unique(x, return_inverse=True)",
        [
            {"load": NUMBERED.format(IDS)},
            {"load": f"({GRID} - 5.0) / 3.2, three"},
        ],
    ),
    "numbers beyond 64 bits": (
        {"load": f"{LONG_IDS}, three"},
        "np.unique(x, return_inverse=True)",
        [{"load": NUMBERED.format(LONG_IDS)}],
    ),
}


Read = Callable[[dict[str, str]], None]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that writes a study with its files, and reads and builds it."""

    def read_study(parts: dict[str, str]) -> None:
        given = {"load": CLASSES, "net": outputs(), "data": "", "training": "", "model": "", "space": "", **parts}
        (tmp_path / "load.py").write_text(LOAD.format(given["load"]))
        (tmp_path / "net.py").write_text(NET.replace("{}", given["net"] or "model = None"))
        if "own" in given:
            (tmp_path / "own.py").write_text(given["own"])
        model = given["model"] or 'architecture = "net.py:build"'
        study = tmp_path / "study.toml"
        study.write_text(
            f'question = "Which?"\n[data]\nsource = "load.py:load"\n{given["data"]}\n[model]\n{model}\n'
            f"[training]\n{given['training']}\n[space]\noptimizer = 'adam'\n{given['space']}\n"
            f'[search]\ntrials = 1\nepochs = 1\n[objective]\nmetric = "val_loss"\n'
        )
        loaded = load_study(study)
        build_models(loaded, read_dataset(loaded))

    return read_study


@pytest.mark.parametrize("name", CASES)
def test_the_remedies_of_a_refusal_work(read: Read, name: str) -> None:
    parts, word, remedies = CASES[name]
    with pytest.raises(StudyError) as caught:
        read(parts)
    assert word in str(caught.value)
    for remedy in remedies:
        read({**parts, **remedy})


def test_whole_numbers_that_float32_rounds_are_said(tmp_path: Path) -> None:
    def findings(code: str) -> Any:
        (tmp_path / "load.py").write_text(LOAD.format(code))
        study = tmp_path / "study.toml"
        study.write_text('question = "Which?"\n[data]\nsource = "load.py:load"\n[search]\ntrials = 1\nepochs = 1\n')
        return " ".join(read_dataset(load_study(study)).findings)

    ids = "np.arange(240.0).reshape(60, 4) + 2**24"
    assert "16777217 to 16777216" in findings(f"{ids}, three")
    assert "rounds" not in findings(f"np.unique({ids}, return_inverse=True)[1].reshape(60, 4), three")
    assert "rounds" not in findings("x * 1e9, three")
