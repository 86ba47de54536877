"""Data of several targets and models of several heads, shared by tests."""

from pathlib import Path
from typing import Any

from nightune.models.data.dataset import Dataset
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings

ROWS = 90

LOADER = """
import numpy as np, pandas as pd
random = np.random.default_rng(0)
x = random.normal(size=({rows}, 4)).astype("float32")
kind = np.array(["low", "middle", "high"])[np.arange({rows}) % 3]
amount = x.sum(1) * 3 + 5
mask = (x[:, :, None] > np.zeros((1, 1, 2))).astype(int)
tags = (x[:, :2] > 0).astype(int); tags[0] = 1
rows = np.arange({rows} * 4).reshape(-1, 4)
pair = pd.DataFrame({{"u": amount, "v": -amount}})
named = {{"kind": kind, "amount": amount, "mask": mask}}
def load(): return {result}
"""

NET = """
import keras
from keras import layers, ops

LOSSES = ["mae", "sparse_categorical_crossentropy", "binary_crossentropy"]

def trunk(input_shape):
    inputs = keras.Input(input_shape)
    return inputs, layers.Dense(6, activation="tanh")(inputs)

def heads(size, x):
    return {
        "amount": layers.Dense(size["amount"], name="amount")(x),
        "kind": layers.Dense(size["kind"], activation="softmax", name="kind")(x),
        "mask": layers.Reshape(size["mask"], name="mask")(layers.Dense(8, activation="sigmoid")(x)),
    }

def build(input_shape, output_size):
    inputs, x = trunk(input_shape)
    return keras.Model(inputs, heads(output_size, x))

def listed(input_shape, output_size):
    inputs, x = trunk(input_shape)
    return keras.Model(inputs, list(heads(output_size, x).values()))

def ordered(input_shape, output_size):
    inputs, x = trunk(input_shape)
    return keras.Model(inputs, [layers.Dense(3)(x), layers.Dense(1)(x)])

def losses(input_shape, output_size):
    model = build(input_shape, output_size)
    names = ["amount", "kind", "mask"]
    model.compile("adam", loss=dict(zip(names, LOSSES)), loss_weights=dict(zip(names, [0.25, 2.0, 1.0])))
    return model

def in_a_list(input_shape, output_size):
    model = listed(input_shape, output_size)
    model.compile("adam", loss=LOSSES, loss_weights=[0.25, 2, 1])
    return model

def some(input_shape, output_size):
    model = build(input_shape, output_size)
    model.compile("adam", loss={"amount": "mse"})
    return model

@keras.saving.register_keras_serializable("tests")
class Own(keras.Model):
    def __init__(self, size, **options):
        super().__init__(**options)
        self.hidden, self.kind = layers.Dense(6), layers.Dense(size["kind"])
        self.amount, self.flat, self.mask = layers.Dense(1), layers.Dense(8), layers.Reshape(size["mask"])
    def call(self, inputs):
        x = self.hidden(inputs)
        return {"kind": self.kind(x), "amount": self.amount(x), "mask": self.mask(self.flat(x))}

def own(input_shape, output_size):
    return Own(output_size)

def stepping(input_shape, output_size):
    class Stepping(Own):
        def train_step(self, data):
            return super().train_step(data)
    return Stepping(output_size)

def one(input_shape, output_size):
    inputs, x = trunk(input_shape)
    return keras.Model(inputs, layers.Dense(1)(x))

def fewer(input_shape, output_size):
    inputs, x = trunk(input_shape)
    made = heads(output_size, x)
    return keras.Model(inputs, {"kind": made["kind"], "total": made["amount"]})

def wider(input_shape, output_size):
    inputs, x = trunk(input_shape)
    return keras.Model(inputs, heads(output_size, x) | {"amount": layers.Dense(2)(x)})

def bounded(input_shape, output_size):
    inputs, x = trunk(input_shape)
    return keras.Model(inputs, heads(output_size, x) | {"amount": layers.Dense(1, activation="tanh")(x)})

def cost(y_true, y_pred):
    return ops.square(y_true - y_pred) * 2
"""
MASKED = """
ENDED = layers.Identity()

def masked(input_shape, output_size):
    inputs = keras.Input(input_shape, dtype="int32")
    x = layers.Embedding(5, 3, mask_zero=True)(inputs)
    kind = layers.Dense(3)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(inputs, {"kind": kind, "steps": ENDED(layers.Dense(1)(x))})

class OwnMasked(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding, self.kind = layers.Embedding(5, 3, mask_zero=True), layers.Dense(3)
        self.pool, self.steps = layers.GlobalAveragePooling1D(), layers.Dense(1)
    def call(self, inputs):
        x = self.embedding(inputs)
        return {"kind": self.kind(self.pool(x)), "steps": ENDED(self.steps(x))}

def own_masked(input_shape, output_size):
    return OwnMasked()
"""
WEIGHTED = """
def weighted(input_shape, output_size, rate: float = 0.5, share: float = 1.0):
    inputs, x = trunk(input_shape)
    x = layers.Dropout(rate)(x)
    model = keras.Model(inputs, {name: layers.Dense(size)(x) for name, size in output_size.items()})
    model.compile("adam", loss_weights={"kind": share, "amount": 1.0})
    return model
"""
BOTH = """
def both(input_shape, output_size):
    inputs = {name: keras.Input(shape, name=name) for name, shape in input_shape.items()}
    x = layers.concatenate(list(inputs.values()))
    return keras.Model(inputs, {name: layers.Dense(size)(x) for name, size in output_size.items()})

class OwnBoth(keras.Model):
    def __init__(self, sizes):
        super().__init__()
        self.heads = {name: layers.Dense(size) for name, size in sizes.items()}
    def call(self, inputs):
        x = ops.concatenate([inputs["a"], inputs["b"]], axis=-1)
        return {name: head(x) for name, head in self.heads.items()}

def own_both(input_shape, output_size):
    return OwnBoth(output_size)
"""
PAIRED = """
def paired(input_shape, output_size):
    inputs, x = trunk(input_shape)
    made = {"kind": layers.Dense(3, activation="softmax")(x)}
    return keras.Model(inputs, made | {"pair": layers.Dense(2)(x), "tags": layers.Dense(2)(x)})
"""


def load(folder: Path, result: str = "(x, named)", rows: int = ROWS, **keys: Any) -> Dataset:
    (folder / "load.py").write_text(LOADER.format(rows=rows, result=result))
    return load_dataset(DataSettings("load.py:load", **keys), folder)


def settled(folder: Path, function: str, dataset: Dataset, **training: Any) -> Any:
    """Build a model and settle its heads, as a check does."""
    from nightune.models.networks.architectures import build_model
    from nightune.models.networks.joint_heads import read_head
    from nightune.models.networks.training_rows import TrainingRows
    from nightune.models.techniques.losses import TrainingSettings

    shapes, given = (dataset.input_shape, dataset.output_size), dataset.train.inputs
    model = build_model(f"net.py:{function}", {}, *shapes, folder=folder, seed=1, training_inputs=given)
    return model, read_head(model, TrainingRows.of(dataset), TrainingSettings(**training), folder)
