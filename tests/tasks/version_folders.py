"""Folders of versions, written as promotion writes them."""

import json
from pathlib import Path
from typing import Any

from nightune.models.data.dataset import Dataset
from nightune.models.data.storage import open_dataset, preprocessing_files, save_dataset
from nightune.models.serving.predictor import DESCRIPTION, MODEL
from nightune.tasks.tracking.registry.model_folder import write_model_folder


def net(dataset: Dataset, activation: str | None = None) -> Any:
    """Return a small model of the data's inputs and outputs."""
    import keras

    inputs = keras.Input(dataset.input_shape)
    hidden = keras.layers.Dense(5, activation="tanh")(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, keras.layers.Dense(dataset.output_size, activation=activation)(hidden))


def written(dataset: Dataset, tmp_path: Path, model: Any, is_logits: bool = True) -> Path:
    """Write a version's folder from the stored data."""
    from nightune.models.training.checkpoint import save

    stored = open_dataset(save_dataset(dataset, tmp_path / "data"))
    parts = tmp_path / "parts"
    parts.mkdir()
    save(model, parts / MODEL)
    for file in preprocessing_files(tmp_path / "data" / dataset.version):
        (parts / file.name).write_bytes(file.read_bytes())
    (parts / DESCRIPTION).write_text(json.dumps({**stored.description, "is_logits": is_logits}))
    return write_model_folder(parts, stored.raw_example, tmp_path / "model")
