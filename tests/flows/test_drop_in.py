"""Input of users: an unprepared table, and models from Keras' documentation in which only the signature is changed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.usefixtures("plain_flows", "store_root")

HOUSES = """question = "Which rate predicts the price best?"
[data]
source = "häuser.csv"
target = "price"
split = { kind = "group", column = "street" }
scale_target = true
[space]
learning_rate.peak = { low = 1e-3, high = 1e-1, scale = "log" }
[search]
method = "random"
trials = 3
epochs = 3
[objective]
metric = "val_mae"
"""


def test_a_table_with_gaps_words_and_groups_goes_from_file_to_leaderboard(tmp_path: Path) -> None:
    from nightune.flows.tune import tune
    from nightune.models.data.storage import open_dataset

    assert len(HOUSES.splitlines()) <= 15
    generator = np.random.default_rng(0)
    rooms = generator.integers(1, 8, 120).astype(float)
    table = pd.DataFrame(
        {
            "street": generator.choice([f"street {n}" for n in range(20)], 120),
            "rooms": np.where(generator.random(120) < 0.1, np.nan, rooms),
            "heating": generator.choice(["gas", "öl", None], 120),
            "garden": generator.random(120) < 0.5,
            "price": 50_000 * rooms + generator.normal(0, 20_000, 120),
        }
    )
    table.to_csv(tmp_path / "häuser.csv", index=False)
    study = tmp_path / "houses.toml"
    study.write_text(HOUSES)
    report = tune(study)
    assert [result.is_ranked for result in report.results] == [True] * 3
    dataset = open_dataset(Path(tmp_path / "mlruns" / "data" / report.sweep.data_version))
    assert dataset.task == "regression"
    assert report.best is not None
    assert artifacts(tmp_path / "mlruns", report.best.run_id, "preprocessing") == {
        "preprocessing/preprocessing.json",
        "preprocessing/description.json",
    }
    assert dataset.input_shape == (1 + 1 + 3 + 1,)  # rooms and its gaps, three kinds of heating, garden


def artifacts(root: Path, run_id: str, folder: str) -> set[str]:
    from nightune.tasks.tracking.store.store import client, open_store

    return {file.path for file in client(open_store(root)).list_artifacts(run_id, folder)}


CONVNET = """
from keras import Sequential, Input, layers

def build(input_shape, num_filters: int, output_size):
    return Sequential([
        Input(shape=input_shape),
        layers.Conv2D(num_filters, kernel_size=(3, 3), activation="relu"),
        layers.MaxPooling2D(pool_size=(2, 2)),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(output_size, activation="softmax"),
    ])
"""

TEXT = """
import keras
from keras import layers

def data():
    import numpy as np
    generator = np.random.default_rng(0)
    x = generator.integers(1, 50, (90, 12))
    return x, (x == 7).any(axis=1).astype("int64")

def build(embedding: int = 8, units: int = 8):
    inputs = keras.Input(shape=(None,), dtype="int32")
    x = layers.Embedding(50, embedding)(inputs)
    x = layers.Bidirectional(layers.LSTM(units))(x)
    outputs = layers.Dense(1, activation="sigmoid")(x)
    return keras.Model(inputs, outputs)
"""

SERIES = """
import keras
from keras import layers

def data():
    import numpy as np
    generator = np.random.default_rng(0)
    x = generator.normal(size=(90, 16, 1))
    return x, x[:, -4:, 0].sum(axis=1)

def build(input_shape: tuple, filters: int = 4):
    input_layer = layers.Input(input_shape)
    conv = layers.Conv1D(filters=filters, kernel_size=3, padding="same")(input_layer)
    conv = layers.BatchNormalization()(conv)
    conv = layers.ReLU()(conv)
    gap = layers.GlobalAveragePooling1D()(conv)
    return keras.models.Model(inputs=input_layer, outputs=layers.Dense(1)(gap))
"""

SUBCLASS = """
import keras

class Wide(keras.Model):
    def __init__(self, units, classes):
        super().__init__()
        self.hidden = keras.layers.Dense(units, activation="relu")
        self.head = keras.layers.Dense(classes)

    def call(self, inputs):
        return self.head(self.hidden(inputs))

    def get_config(self):
        return {}

def build(units: int, output_size: int):
    return Wide(units, output_size)
"""


@pytest.mark.parametrize(
    ("code", "data", "parameter"),
    [
        (CONVNET, "digits_images", "num_filters = [4, 8]"),
        pytest.param(TEXT, "user.py:data", "units = [4, 8]", marks=pytest.mark.nights),
        pytest.param(SERIES, "user.py:data", "filters = [4, 8]", marks=pytest.mark.nights),
        pytest.param(SUBCLASS, "iris", "units = [4, 8]", marks=pytest.mark.nights),
    ],
    ids=["image", "text", "series", "subclass"],
)
def test_a_model_of_keras_documentation_drops_in(tmp_path: Path, code: str, data: str, parameter: str) -> None:
    from nightune.flows.tune import tune

    (tmp_path / "user.py").write_text(code)
    study = tmp_path / "dropped.toml"
    study.write_text(
        f"""
question = "Does it train?"
[data]
source = "{data}"
[model]
architecture = "user.py:build"
{parameter}
[search]
method = "grid"
epochs = 1
"""
    )
    report = tune(study)
    assert [result.message for result in report.results if not result.is_ranked] == []
    assert len(report.results) == 2
