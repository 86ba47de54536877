"""Built-in models of texts, codes and series: what they take, what they refuse with a remedy, and equal engines."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.errors import InputError
from tests.models.conftest import BACKEND, FEW_RULES

ROWS = 120
TEXT = {"comment": {"words": 30, "length": 5}}


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global architecture_keys, build_model, compare_engines, has_own_code, is_separable, make_engine, read_recipe, train
    from nightune.models.engines.make import make_engine
    from nightune.models.engines.verification import compare_engines
    from nightune.models.networks.architectures import architecture_keys, build_model
    from nightune.models.networks.coupling import is_separable
    from nightune.models.networks.own_code import has_own_code
    from nightune.models.recipe.params import read_recipe
    from nightune.models.training.loop import train


def load(folder: Path, source: str, **keys: Any) -> Dataset:
    """Return texts alone, texts beside codes and numbers, or series."""
    random = np.random.default_rng(0)
    words = ["good", "bad", "not", "very", "a", "film"]
    table = pd.DataFrame(
        {
            "comment": [" ".join(random.choice(words, random.integers(0, 7))) for _ in range(ROWS)],
            "city": random.choice(["a", "b", "c"], ROWS),
            "age": random.normal(size=ROWS),
            "y": random.choice(["no", "yes"], ROWS),
        }
    )
    table.to_csv(folder / "t.csv", index=False)
    np.savez(folder / "s.npz", x=random.normal(size=(ROWS, 9, 2)), y=random.integers(0, 2, ROWS))
    table_keys: dict[str, Any] = {
        "texts": {"text": TEXT, "drop": ("city", "age")},
        "columns": {"text": TEXT, "codes": {"city": 0}},
        "codes": {"codes": {"city": 0}, "drop": ("comment",)},
        "numbers": {"drop": ("comment", "city")},
    }
    if source == "series":
        return load_dataset(DataSettings("s.npz"), folder)
    return load_dataset(DataSettings("t.csv", target="y", **{**table_keys[source], **keys}), folder)


def recipe(architecture: str, **parameters: Any) -> Any:
    defaults = {f"model.{name}": key.default for name, key in architecture_keys(architecture, Path()).items()}
    chosen = {f"model.{name}": value for name, value in parameters.items()}
    rest = {"optimizer": "adam", "learning_rate.peak": 0.01, "batch_size.size": 16}
    return read_recipe({"model.architecture": architecture, **defaults, **chosen, **rest})


def built(dataset: Dataset, architecture: str, parameters: dict[str, Any]) -> Any:
    shape, size, sizes = dataset.input_shape, dataset.output_size, dataset.vocabulary_sizes
    return build_model(architecture, parameters, shape, size, folder=Path(), seed=0, vocabulary_sizes=sizes)


nights = pytest.mark.nights


@pytest.mark.parametrize(
    ("source", "architecture", "parameters"),
    [
        ("columns", "text", {"encoder": "pooling", "embedding_size": 4, "dropout": 0.2}),
        ("series", "sequence", {"layer": "gru", "width": [4, 3]}),
        ("columns", "wide_deep", {"units": [6], "dropout": 0.2}),
        pytest.param("columns", "text", {"encoder": "transformer", "embedding_size": 4, "dropout": 0.2}, marks=nights),
        pytest.param("texts", "text", {"encoder": "gru", "embedding_size": 5, "dropout": 0.2}, marks=nights),
        pytest.param("series", "sequence", {"layer": "lstm", "width": [4]}, marks=nights),
        pytest.param("series", "sequence", {"layer": "convolution", "width": [4], "dropout": 0.2}, marks=nights),
        pytest.param("codes", "wide_deep", {}, marks=nights),
    ],
)
def test_compiled_engines_train_as_fit_does(
    source: str, architecture: str, parameters: dict[str, Any], tmp_path: Path
) -> None:
    dataset, tried = load(tmp_path, source), recipe(architecture, **parameters)
    engine = make_engine(BACKEND, dataset, tmp_path, rules=FEW_RULES)
    assert engine.refusals(tried) == []
    ends = [
        train(each, tried, dataset, epochs=2, seed=3, monitor="val_loss", direction="minimize")
        for each in (make_engine("fit", dataset, tmp_path), engine)
    ]
    for one, other in zip(*(end.weights for end in ends), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("source", "architecture", "parameters"),
    [
        ("texts", "text", {"encoder": "pooling"}),
        ("columns", "text", {"encoder": "gru"}),
        ("columns", "text", {"encoder": "transformer"}),
        ("columns", "wide_deep", {}),
        ("texts", "wide_deep", {}),
        ("codes", "wide_deep", {"units": []}),
        ("numbers", "wide_deep", {}),
        ("series", "sequence", {"layer": "lstm"}),
    ],
)
def test_models_are_of_keras_own_layers_and_treat_each_row_alone(
    source: str, architecture: str, parameters: dict[str, Any], tmp_path: Path
) -> None:
    dataset = load(tmp_path, source)
    model = built(dataset, architecture, parameters)
    assert model.name == architecture
    assert not has_own_code(model)
    assert is_separable(model, dataset.train.inputs)
    outputs = np.asarray(model(dataset.train.inputs))
    assert outputs.shape == (len(dataset.train), 1)
    assert np.isfinite(outputs).all()  # some texts are empty


@pytest.mark.parametrize(
    ("source", "architecture", "parameters", "words"),
    [
        ("columns", "mlp", {}, "text.*wide_deep"),
        ("texts", "mlp", {}, "text.*wide_deep"),
        ("codes", "cnn", {}, 'set architecture = "wide_deep"'),
        ("texts", "sequence", {}, "indices of words"),
        ("codes", "text", {}, "wide_deep"),
        ("numbers", "text", {}, "needs a column of texts"),
        ("series", "wide_deep", {}, "takes the columns of a table"),
        ("texts", "text", {"encoder": "transformer", "embedding_size": 5}, "even"),
        ("series", "sequence", {"width": []}, "needs a layer"),
    ],
)
def test_other_data_is_refused_with_a_remedy(
    source: str, architecture: str, parameters: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        built(load(tmp_path, source), architecture, parameters)


def test_arrays_by_name_of_a_loader_are_no_columns() -> None:
    with pytest.raises(InputError, match="'a', 'b', which are none"):
        build_model("wide_deep", {}, {"a": (3,), "b": ()}, 1, folder=Path(), seed=0)


@pytest.mark.parametrize("encoder", ["pooling", "gru", "transformer"])
def test_places_without_a_word_change_no_answer(encoder: str) -> None:
    from nightune.models.networks.column_architectures import text

    model = text((7,), 2, {"": 9}, encoder=encoder, embedding_size=4)
    rows = np.array([[1, 2, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0, 0]], np.int32)
    before = np.array(model(rows))
    for layer in model.layers:
        if type(layer).__name__ == "Embedding":
            layer.embeddings.assign(np.array(layer.embeddings) + 5.0 * (np.arange(layer.input_dim) == 0)[:, None])
    np.testing.assert_allclose(np.array(model(rows)), before, atol=1e-5)
