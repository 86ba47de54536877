"""Several inputs: arrays of a source by name or in order, from the loader to the splits, the model and predictions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError
from nightune.models.serving.input_trees import arrays_of, equal_arrays, named_arrays
from nightune.models.serving.predictor import Predictor
from tests.models.conftest import BACKEND, FEW_RULES

ROWS = 60
UNSEALED = 48
LOADER = """
import numpy as np, pandas as pd
random = np.random.default_rng(0)
rows = np.arange({rows})
codes = np.stack([rows, rows % 7], 1)
numbers = random.normal(size=({rows}, 3)) + rows[:, None]
ids = rows % 5
y = (random.random({rows}) < 0.5).astype(int)
named = {{"codes": codes, "numbers": numbers, "ids": ids}}
frame = pd.DataFrame(numbers, columns=list("uvw"))
back = pd.Series(y)[::-1]
def load(): return {result}
"""


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, build_model, FitEngine, make_engine, train, read_recipe, refuse_ids_outside_tables
    import keras

    from nightune.models.engines.fit.engine import FitEngine
    from nightune.models.engines.make import make_engine
    from nightune.models.networks.architectures import build_model
    from nightune.models.networks.embedding_ids import refuse_ids_outside_tables
    from nightune.models.recipe.params import read_recipe
    from nightune.models.training.loop import train


def load(folder: Path, result: str = "(named, y)", rows: int = ROWS, **keys: Any) -> Dataset:
    (folder / "load.py").write_text(LOADER.format(rows=rows, result=result))
    return load_dataset(DataSettings("load.py:load", **keys), folder)


def splits_of(dataset: Dataset) -> list[Any]:
    return [dataset.train, dataset.validation, dataset.test.open(Purpose.GATE, record=lambda: None)]


@pytest.mark.parametrize(
    "result",
    [
        "(named, y)",
        "{'x': named, 'y': y}",
        "(named, y, np.ones(len(y)))",
        "({**named, 'numbers': pd.DataFrame(numbers)}, pd.Series(y))",
        "(dict(named, codes=codes.tolist()), y.tolist())",
        "((named, y), ({name: each[:9] for name, each in named.items()}, y[:9]))",
    ],
)
def test_arrays_by_name_keep_their_kinds_and_their_rows_together(tmp_path: Path, result: str) -> None:
    dataset = load(tmp_path, result)
    assert dataset.input_shape == {"codes": (2,), "numbers": (3,), "ids": ()}
    for examples in splits_of(dataset):
        inputs = examples.inputs
        assert [array.dtype for array in inputs.values()] == [np.int32, np.float32, np.int32]
        np.testing.assert_array_equal(inputs["ids"], inputs["codes"][:, 0] % 5)
        np.testing.assert_allclose(inputs["numbers"].mean(axis=1), inputs["codes"][:, 0], atol=4)
    assert any("'codes'" in finding and "nothing is standardized" in finding for finding in dataset.findings)


@pytest.mark.parametrize(
    "result", ["([codes, numbers], y)", "((codes, numbers), y)", "{'x': [codes, numbers], 'y': y}"]
)
def test_arrays_in_order_are_several_inputs(tmp_path: Path, result: str) -> None:
    dataset = load(tmp_path, result)
    assert dataset.input_shape == [(2,), (3,)]
    assert [type(examples.inputs) for examples in splits_of(dataset)] == [tuple] * 3


@pytest.mark.parametrize(
    "result",
    ["(list(numbers), y)", "([numbers[0], numbers[1], numbers[2]], y[:3] * 1.5)", "(list(map(list, numbers)), y)"],
)
def test_a_list_of_rows_stays_one_array(tmp_path: Path, result: str) -> None:
    assert load(tmp_path, result).input_shape == (3,)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ("(dict(named, ids=ids[:50]), y)", r"'ids' \(50,\).*60 targets"),
        ("([codes, numbers[:50]], y)", r"'0' \(60, 2\).*60 targets"),
        ("(dict(named, ids=np.array(['a'] * 60)), y)", "values of input 'ids' hold"),
        ("(dict(named, numbers=numbers * np.nan), y)", "180 values of input 'numbers' are NaN"),
        ("(dict(named, ids=ids + 2**40), y)", "input 'ids' from .* do not fit"),
        ("({'more': named}, y)", "'more' is a dictionary itself"),
        ("({}, y)", "name each"),
        ("({1: codes}, y)", "name each"),
        ("([frame, ids], back)", r"another order; return y\.loc\[x\.index\]"),
        ("({'a': codes, 'b': frame['u']}, back)", r"inputs and targets .* another order"),
        ("({'a': frame, 'b': back}, y)", r"several inputs .* another order; return b\.loc\[a\.index\]"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_by_their_name(tmp_path: Path, result: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load(tmp_path, result)


def test_saved_arrays_open_as_they_were_in_every_split_and_fold(tmp_path: Path) -> None:
    for result in ("(named, y, 1.0 + ids)", "([codes, numbers], y)"):
        dataset = load(tmp_path, result, split=Split(folds=3))
        opened = open_dataset(save_dataset(dataset, tmp_path / "data"))
        assert opened.input_shape == dataset.input_shape
        for one, other in zip([dataset, *dataset.folds], [opened, *opened.folds], strict=True):
            for split, theirs in zip(splits_of(one), splits_of(other), strict=True):
                assert equal_arrays(split.inputs, theirs.inputs)
                np.testing.assert_array_equal(split.targets, theirs.targets)
    assert json.loads((tmp_path / "data" / opened.version / "description.json").read_text())["input_shape"] == [
        [2],
        [3],
    ]


def test_the_version_depends_on_names_and_values(tmp_path: Path) -> None:
    given = ["(named, y)", "(dict(named, ids=ids + 1), y)", "({'codes': codes, 'numbers': numbers, 'id': ids}, y)"]
    assert len({load(tmp_path, result).version for result in given}) == 3
    assert load(tmp_path, given[0]).version == load(tmp_path, given[0]).version


def test_rows_that_are_equal_in_all_arrays_and_columns_that_tell_are_reported(tmp_path: Path) -> None:
    repeated = "({'a': np.repeat(numbers[:30], 2, 0), 'b': np.tile(ids[:, None] * 0, 1)}, np.repeat(y[:30], 2))"
    assert any("same inputs as" in finding for finding in load(tmp_path, repeated).findings)
    apart = repeated.replace("ids[:, None] * 0", "rows[:, None]")
    assert not any("same inputs as" in finding for finding in load(tmp_path, apart).findings)
    telling = load(tmp_path, "({'a': numbers, 'b': y[:, None] * 2.0}, y)").findings
    assert any("input b 0" in finding for finding in telling)


def test_overlapping_windows_in_one_of_the_arrays_are_refused(tmp_path: Path) -> None:
    windows = "np.lib.stride_tricks.sliding_window_view(random.normal(size=67), 8)"
    with pytest.raises(InputError, match="overlapping"):
        load(tmp_path, f"({{'ids': ids, 'windows': {windows}[..., None]}}, y)")


NET = """
import keras
from keras import layers

def build(input_shape, output_size, units: int = 6, dropout: float = 0.0):
    codes, numbers, ids = (keras.Input(input_shape[name], name=name, dtype=kind)
                           for name, kind in [("codes", "int32"), ("numbers", "float32"), ("ids", "int32")])
    words = layers.Flatten()(layers.Embedding(60, 2)(codes))
    one = layers.Embedding(5, 2)(ids)
    deep = layers.Dense(units, "relu")(layers.concatenate([words, numbers / 60, one]))
    inputs = {"codes": codes, "numbers": numbers, "ids": ids}
    return keras.Model(inputs, layers.Dense(output_size)(layers.Dropout(dropout)(deep)))

def listed(input_shape, output_size):
    model = build(input_shape, output_size)
    return keras.Model(list(model.inputs), model.outputs[0])

def ordered(input_shape, output_size):
    first, second = (keras.Input(shape, name=name) for shape, name in zip(input_shape, "ab"))
    return keras.Model({"a": first, "b": second}, layers.Dense(output_size)(layers.concatenate([first, second])))

class Own(keras.Model):
    def __init__(self, size):
        super().__init__()
        self.table, self.last = layers.Embedding(60, 2), layers.Dense(size)
    def call(self, inputs):
        return self.last(layers.concatenate([keras.ops.mean(self.table(inputs["codes"]), 1), inputs["numbers"]]))

def own(input_shape, output_size):
    return Own(output_size)

def own_names(input_shape, output_size):
    class Wrong(Own):
        def build(self, shape):
            self.last.build((None, 3))
        def call(self, inputs):
            return self.last(inputs["lacking"])
    return Wrong(output_size)

def short(input_shape, output_size):
    model = build({**input_shape, "codes": (3,)}, output_size)
    return model

def few(input_shape, output_size):
    codes, numbers = keras.Input((2,), name="codes"), keras.Input((3,), name="digits")
    return keras.Model([codes, numbers], layers.Dense(output_size)(layers.concatenate([codes, numbers])))

def single(input_shape, output_size):
    return keras.Sequential([keras.Input((3,), name="numbers"), layers.Dense(output_size)])

def only(input_shape, output_size):
    inputs = keras.Input((3,), name="numbers")
    return keras.Model(inputs, layers.Dense(output_size)(inputs))

def named(input_shape, output_size):
    inputs = keras.Input((3,), name="numbers")
    return keras.Model({"numbers": inputs}, layers.Dense(output_size)(inputs))

def unsorted(input_shape, output_size):
    first, second = keras.Input((2,), name="b"), keras.Input((3,), name="a")
    return keras.Model({"b": first, "a": second}, layers.Dense(output_size)(layers.concatenate([first, second])))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


def recipe(function: str = "build", **params: Any) -> Any:
    given = {"model.architecture": f"net.py:{function}", "batch_size.size": 8, "stopping.rule": "none"}
    return read_recipe({**given, "optimizer": "adam", **params})


def end(engine: Any, recipe: Any, dataset: Dataset, **options: Any) -> Any:
    return train(engine, recipe, dataset, epochs=3, seed=4, monitor="val_loss", direction="minimize", **options)


def distance(one: Any, other: Any) -> float:
    first, second = (np.concatenate([weight.ravel() for weight in end.weights]) for end in (one, other))
    return float(np.linalg.norm(first - second) / np.linalg.norm(second))


@pytest.mark.parametrize(
    ("function", "result"),
    [
        ("build", "(named, y, 1.0 + ids)"),
        pytest.param("listed", "(named, y)", marks=pytest.mark.nights),
        ("ordered", "([codes / 60, numbers], y)"),
        ("own", "(named, y)"),
    ],
)
def test_the_compiled_engine_trains_several_inputs_as_fit_does(folder: Path, function: str, result: str) -> None:
    dataset, tried = load(folder, result), recipe(function)
    fit, compiled = (make_engine(name, dataset, folder, rules=FEW_RULES) for name in ("fit", BACKEND))
    assert compiled.refusals(tried) == []
    expected, trained = end(fit, tried, dataset), end(compiled, tried, dataset)
    assert distance(trained, expected) < 1e-5
    assert trained.curves["val_loss"] == pytest.approx(expected.curves["val_loss"], rel=1e-4)


def test_folds_and_blocks_of_several_inputs_train_as_fit_does(folder: Path) -> None:
    tried = recipe(**{"model.dropout": 0.3, "batch_size.size": 20})
    dataset = load(folder, "(named, y, 1.0 + ids)", split=Split(folds=3))
    whole, compiled = (make_engine(name, dataset, folder, rules=FEW_RULES) for name in ("fit", BACKEND))
    for fold in dataset.folds:
        assert distance(end(compiled.of_fold(fold), tried, fold), end(whole.of_fold(fold), tried, fold)) < 1e-5
    assert compiled.programs == 1


def test_fit_reads_several_inputs_from_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load(folder, "(named, y)")
    saved = save_dataset(dataset, folder / "data")
    monkeypatch.setenv("NIGHTUNE_DATA", "disk")
    on_disk = open_dataset(saved)
    assert on_disk.is_on_disk
    one, other = (end(FitEngine(data, folder), recipe(), data) for data in (dataset, on_disk))
    assert distance(one, other) == 0.0


@pytest.mark.parametrize("name", ["fit", BACKEND])
def test_a_resumed_trial_of_several_inputs_ends_bit_equal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from nightune.models.engines.compiled import pace
    from tests.models.test_snapshots import Kept, Resumed  # with modules that import Keras

    monkeypatch.setattr(pace, "FIRST_CALL_UPDATES", 1)  # one call for each epoch
    monkeypatch.setattr(pace, "CALL_SECONDS", 1e-9)

    dataset, tried = load(folder, "(named, y)"), recipe(**{"model.dropout": 0.3})
    whole = end(make_engine(name, dataset, folder, rules=FEW_RULES), tried, dataset, keeper=Kept(folder))
    again = end(make_engine(name, dataset, folder, rules=FEW_RULES), tried, dataset, keeper=Resumed(folder, back_to=2))
    assert distance(again, whole) == 0.0
    assert again.curves["val_loss"] == whole.curves["val_loss"]


@pytest.mark.parametrize(
    ("function", "result", "words"),
    [
        (
            "few",
            "(named, y)",
            "takes the inputs 'codes', 'digits', and the data holds 'codes', 'numbers', 'ids'.*names",
        ),
        (
            "single",
            "({'numbers': numbers, 'codes': codes}, y)",
            "takes one array.*'numbers'.*the array itself",
        ),
        ("only", "({'digits': numbers}, y)", "takes one array.*'digits'.*a dictionary of Input"),
        ("short", "(named, y)", r"shape \(3,\) as input 'codes', but .* \(2,\)"),
        ("own_names", "(named, y)", r"KeyError.*lacking.*the data holds the inputs 'codes'"),
        ("ordered", "([codes, numbers, numbers], y)", "2 inputs.*a list of 3|raised"),
        ("single", "([numbers, numbers], y)", "1 inputs.*a list of 2"),
        ("unsorted", "([codes, numbers], y)", "names its inputs 'b', 'a'.*dictionary"),
        ("few", "(numbers, y)", "has 2 inputs.*one array.*'codes', 'digits'"),
    ],
)
def test_a_model_of_other_inputs_is_refused(folder: Path, function: str, result: str, words: str) -> None:
    dataset = load(folder, result)
    with pytest.raises(InputError, match=words):
        build_model(f"net.py:{function}", {}, dataset.input_shape, 1, folder=folder, seed=0)


@pytest.mark.parametrize(
    ("function", "result"),
    [
        ("few", "({'codes': codes, 'digits': numbers}, y)"),
        ("few", "([codes, numbers], y)"),
        ("unsorted", "({'b': codes, 'a': numbers}, y)"),
        ("only", "(numbers, y)"),
        ("named", "({'numbers': numbers}, y)"),
        ("single", "([numbers], y)"),
        ("single", "(numbers, y)"),
    ],
)
def test_the_remedies_of_the_refusals_work(folder: Path, function: str, result: str) -> None:
    dataset = load(folder, result)
    model = build_model(f"net.py:{function}", {}, dataset.input_shape, 1, folder=folder, seed=0)
    assert model(dataset.train.inputs).shape == (36, 1)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_built_in_architecture_takes_one_array(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} takes one array.*'a'"):
        build_model(name, {}, {"a": (3,)}, 1, folder=tmp_path, seed=0)


def test_an_id_outside_a_table_is_refused_with_the_name_of_its_array(folder: Path) -> None:
    dataset = load(folder, "(dict(named, ids=ids + 1), y)")
    with pytest.raises(InputError, match=r"has 5 rows.*input 'ids' 0 has the id 5"):
        refuse_ids_outside_tables(
            build_model("net.py:build", {}, dataset.input_shape, 1, folder=folder, seed=0), dataset
        )


def answers(folder: Path, function: str, result: str) -> Callable[[Any], np.ndarray]:
    dataset = load(folder, result)
    model = build_model(f"net.py:{function}", {}, dataset.input_shape, 1, folder=folder, seed=0)
    predictor = Predictor(model, None, {**dataset.description, "is_logits": True})
    return lambda raw: predictor.outputs(predictor.inputs(raw))


def test_a_predictor_reads_dictionaries_and_tables_of_raw_values(folder: Path) -> None:
    import pandas as pd

    ask = answers(folder, "build", "(named, y)")
    raw = {"codes": np.arange(6).reshape(3, 2), "numbers": np.ones((3, 3)), "ids": np.array([0, 4, 2])}
    expected = ask(raw)
    assert expected.shape == (3, 1)
    for same in (
        pd.DataFrame({name: list(array) for name, array in raw.items()}),
        {name: array.tolist() for name, array in raw.items()},
        {**raw, "ids": raw["ids"][:, None].astype(float)},
    ):
        np.testing.assert_array_equal(ask(same), expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ids": None}, "no input 'ids'"),
        ({"codes": np.ones((3, 4))}, r"\(4,\) as input 'codes'"),
        ({"codes": np.full((3, 2), 1.5)}, "whole number"),
        ({"ids": np.zeros(2)}, "same number"),
    ],
)
def test_a_predictor_refuses_what_training_would(folder: Path, change: dict[str, Any], words: str) -> None:
    raw = {"codes": np.zeros((3, 2)), "numbers": np.ones((3, 3)), "ids": np.zeros(3)} | change
    with pytest.raises(InputError, match=words):
        answers(folder, "build", "(named, y)")({name: each for name, each in raw.items() if each is not None})


def test_a_predictor_reads_arrays_in_order(folder: Path) -> None:
    ask = answers(folder, "ordered", "([codes / 60, numbers], y)")
    assert ask([np.ones((4, 2)), np.ones((4, 3))]).shape == (4, 1)
    with pytest.raises(InputError, match="list of 2"):
        ask(np.ones((4, 2)))


def test_names_and_arrays_of_a_tree_stay_in_order() -> None:
    tree = {"b": np.ones(2), "a": np.zeros(2)}
    assert [name for name, _ in named_arrays(tree)] == ["b", "a"]
    assert [len(array) for array in arrays_of(tuple(tree.values()))] == [2, 2]
    assert equal_arrays(tree, dict(tree))
    assert not equal_arrays(tree, tuple(tree.values()))
    assert not equal_arrays(tree, {"b": np.ones(2), "a": np.ones(2)})
