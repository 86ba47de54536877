"""What `.keras` files, data sets of TensorFlow and sheets of Excel hold that is not documented."""

import json
import re
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.models.conftest import BACKEND
from tests.models.undocumented import net, saved_member, undocumented


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, layers, files, learn_template
    import keras
    from keras import layers

    from nightune.models.library_internals import files
    from nightune.models.training.keras_file import learn_template


@undocumented("Keras", ".keras: its three members", "checkpoints", "library_internals.files.WEIGHTS")
def test_a_saved_model_has_three_members_and_each_weight_lies_in_one_piece(tmp_path: Path) -> None:
    model = net(layers.Dense(2), layers.Dropout(0.5), layers.Dense(1))
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert {files.WEIGHTS, files.CONFIG, files.METADATA} == set(archive.namelist())

    def write(weights: list[np.ndarray]) -> bytes:
        model.set_weights(weights)
        model.save(tmp_path / "model.keras")
        return (tmp_path / "model.keras").read_bytes()

    template = learn_template(write, model.get_weights())
    assert template
    assert sorted(number for number, _ in template.places) == [0, 1, 2, 3]


@undocumented("Keras", ".keras: date_saved", "checkpoints", "library_internals.files.with_present_date")
def test_the_date_in_a_saved_model_is_written_as_keras_does(tmp_path: Path) -> None:
    metadata = json.loads(saved_member(net(layers.Dense(1)), tmp_path, files.METADATA))
    filled = json.loads(files.with_present_date(json.dumps(metadata).encode()))
    assert filled.keys() == metadata.keys()
    written = [time.strptime(each["date_saved"], "%Y-%m-%d@%H:%M:%S") for each in (metadata, filled)]
    assert 0 <= time.mktime(written[1]) - time.mktime(written[0]) < 60


@undocumented("Keras", ".keras: layers' config", "checkpoints", "library_internals.files.with_dropout_rate")
def test_the_dropout_rate_of_a_saved_model_can_be_filled_in(tmp_path: Path) -> None:
    configs = []
    for rate in (0.5, 0.25):
        keras.backend.clear_session()  # so that both have the same names
        configs.append(saved_member(net(layers.Dense(2), layers.Dropout(rate)), tmp_path, files.CONFIG))
    filled, expected = (re.sub(rb'"shared_object_id": \d+', b'"shared_object_id": 0', each) for each in configs)
    assert files.with_dropout_rate(filled, 0.25) == expected


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow")
@undocumented(
    "TensorFlow",
    "Dataset._input_dataset, BatchDataset._batch_size",
    "telling batches from examples",
    "library_internals.datasets.step_before",
)
def test_a_data_set_knows_its_steps() -> None:
    import tensorflow as tf

    from nightune.models.library_internals.datasets import batch_size_of, has_steps, step_before

    batched = tf.data.Dataset.from_tensor_slices(np.arange(6)).batch(3).prefetch(1)
    assert has_steps(batched)
    assert "batch" in type(step_before(batched)).__name__.lower()
    assert batch_size_of(step_before(batched)) == 3
    assert not has_steps(step_before(step_before(batched)))


@undocumented(
    "openpyxl",
    "Workbook._archive, Worksheet._worksheet_path",
    "finding merged cells",
    "library_internals.datasets.content_of_sheet",
)
def test_a_sheet_that_is_only_read_has_its_file(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    from nightune.models.library_internals.datasets import content_of_sheet

    book = openpyxl.Workbook()
    book.active.merge_cells("A1:A2")
    book.save(tmp_path / "book.xlsx")
    read = openpyxl.load_workbook(tmp_path / "book.xlsx", read_only=True)
    assert b"mergeCell" in content_of_sheet(read.active)
    read.close()
