"""A version takes what its data was: frames, texts, codes, arrays of each type, several inputs, images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import pyfunc
from mlflow.utils.proto_json_utils import parse_tf_serving_input
from PIL import Image

from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.serving.input_trees import arrays_of, is_several, map_arrays, named_arrays
from nightune.models.serving.predictor import Predictor
from tests.tasks.version_folders import net, written


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras
    import keras


@pytest.mark.parametrize("source", ["digits", "digits_images"])
def test_arrays_are_predicted_unchanged(tmp_path: Path, source: str) -> None:
    dataset = load_dataset(DataSettings(source), tmp_path)
    model = net(dataset)
    loaded = pyfunc.load_model(str(written(dataset, tmp_path, model)))
    inputs = dataset.validation.inputs[:40]
    expected = model(inputs).numpy().argmax(axis=1)
    np.testing.assert_array_equal(loaded.predict(inputs), expected)
    if source == "digits":
        np.testing.assert_array_equal(loaded.predict(pd.DataFrame(inputs.astype(np.float64))), expected)


@pytest.mark.parametrize("names", [[0, 1, 2], [("p", "u"), ("p", "v"), ("q", "u")], ["a.b", " c", "0"]])
def test_a_version_takes_the_very_frame_that_it_was_trained_on(tmp_path: Path, names: list[object]) -> None:
    columns = pd.MultiIndex.from_tuples(names) if isinstance(names[0], tuple) else names
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=columns)
    source = rows.copy()
    source[("y", "") if isinstance(names[0], tuple) else "y"] = [0.5, 1.5, 2.5] * 20
    source.to_pickle(tmp_path / "rows.pkl")
    (tmp_path / "load.py").write_text(
        f"import pandas as pd\ndef data():\n    return pd.read_pickle({str(tmp_path / 'rows.pkl')!r})\n"
    )
    target = "('y', '')" if isinstance(names[0], tuple) else "y"
    dataset = load_dataset(DataSettings("load.py:data", target=target), tmp_path)
    model = net(dataset)
    loaded = pyfunc.load_model(str(written(dataset, tmp_path, model)))
    expected = model(dataset.preprocessing.transform(rows)).numpy()[:, 0]
    np.testing.assert_allclose(loaded.predict(rows), expected, rtol=1e-6)
    named_by_texts = rows.set_axis([str(name) for name in rows.columns], axis="columns")
    np.testing.assert_allclose(loaded.predict(named_by_texts), expected, rtol=1e-6)


def test_a_version_reads_texts_of_people_as_training_did(tmp_path: Path) -> None:
    amounts = np.linspace(1000, 9000, 60)
    table = pd.DataFrame(
        {
            "income": [f"${value:,.2f}" if row % 7 else "?" for row, value in enumerate(amounts)],
            "day": pd.date_range("2020-01-01", periods=60, freq="9D").strftime("%d/%m/%Y"),
            "plan": ["Basic", "basic ", "None"] * 20,
            "y": amounts / 1000,
        }
    )
    table.to_csv(tmp_path / "people.csv", index=False)
    dataset = load_dataset(DataSettings("people.csv", target="y"), tmp_path)
    model = net(dataset)
    loaded = pyfunc.load_model(str(written(dataset, tmp_path, model)))
    raw = pd.read_csv(tmp_path / "people.csv", keep_default_na=False, na_values=[""]).drop(columns="y")
    expected = model(dataset.preprocessing.transform(raw)).numpy()[:, 0]
    np.testing.assert_allclose(loaded.predict(raw), expected, rtol=1e-6)
    np.testing.assert_allclose(loaded.predict(raw.assign(plan="BASIC")), loaded.predict(raw.assign(plan="Basic")))


@pytest.mark.parametrize("name", ["named", "ordered"])
def test_several_inputs_of_raw_values_are_answered_as_in_the_pipeline(tmp_path: Path, name: str) -> None:
    code = "import numpy as np\ncodes, numbers = np.arange(60) % 5, np.random.default_rng(0).normal(size=(60, 3))\n"
    code += "y = np.array(['a', 'b'])[codes % 2]\nnamed = lambda: ({'codes': codes, 'file': numbers}, y)\n"
    (tmp_path / "d.py").write_text(f"{code}ordered = lambda: ([codes, numbers], y)\n")
    dataset = load_dataset(DataSettings(f"d.py:{name}"), tmp_path)
    codes, numbers = keras.Input((), name="codes", dtype="int32"), keras.Input((3,), name="file")
    both = keras.layers.concatenate([keras.layers.Embedding(5, 2)(codes), numbers])
    model = keras.Model({"codes": codes, "file": numbers}, keras.layers.Dense(1)(both))
    loaded = pyfunc.load_model(str(written(dataset, tmp_path, model)))
    arrays = [np.arange(6) % 5, np.random.default_rng(1).normal(size=(6, 3))]
    outputs = model({"codes": arrays[0], "file": arrays[1].astype("float32")}).numpy()[:, 0]
    expected = np.where(outputs > 0, "b", "a").tolist()
    assert len(set(expected)) == 2
    if name == "ordered":
        assert loaded.predict(arrays).tolist() == expected
        return
    raw = dict(zip(("codes", "file"), arrays, strict=True))
    tables = [
        pd.DataFrame({"codes": arrays[0], "file": list(arrays[1])}),
        {key: each.tolist() for key, each in raw.items()},
    ]
    assert [loaded.predict(each).tolist() for each in (raw, *tables)] == [expected] * 3
    assert loaded.metadata.signature.inputs.input_names() == ["codes", "file"]
    with pytest.raises(Exception, match="file"):
        loaded.predict({"codes": arrays[0]})


KINDS = ("float64", "float32", "float16", "int64", "int32", "uint8", "bool")


SHAPES = {"one": (3,), "two": (4, 2), "four": (2, 2, 2, 1)}


@pytest.mark.parametrize("name", [*SHAPES, "ids", "named", "ordered"])
def test_arrays_of_each_type_of_numbers_are_answered_loaded_and_served(tmp_path: Path, name: str) -> None:
    shape = SHAPES.get(name, (3,))
    code = f"import numpy as np\nx = np.random.default_rng(0).integers(0, 2, (40, *{shape}))\n"
    code += "y = x.reshape(40, -1)[:, 0] * 1.5\n"
    made = {"ids": "x", "named": "{'a': x * 1.0, 'b': x[:, :2, None]}", "ordered": "[x * 1.0, x[:, :2, None]]"}
    (tmp_path / "d.py").write_text(f"{code}def load():\n    return {made.get(name, 'x * 1.0')}, y\n")
    dataset = load_dataset(DataSettings("d.py:load"), tmp_path)
    tree = dataset.validation.inputs
    layers = {
        key: keras.Input(array.shape[1:], name=key or None, dtype=str(array.dtype)) for key, array in named_arrays(tree)
    }
    flat = [keras.ops.cast(keras.layers.Flatten()(layer), "float32") for layer in layers.values()]
    joined = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    several = layers if name == "named" else list(layers.values())
    model = keras.Model(layers.get("", several), keras.layers.Dense(1)(joined))
    loaded = pyfunc.load_model(str(written(dataset, tmp_path, model)))
    expected = model(tree).numpy()[:, 0].astype(np.float64)
    for kind in KINDS:
        rows = map_arrays(lambda array, kind=kind: array.astype(kind), tree)
        given = list(rows) if isinstance(rows, tuple) else rows
        np.testing.assert_allclose(loaded.predict(given), expected, rtol=1e-6, err_msg=kind)
        named = dict(named_arrays(rows)) if is_several(rows) else rows
        lists = map_arrays(np.ndarray.tolist, named)
        asked = parse_tf_serving_input({"inputs": lists}, loaded.metadata.get_input_schema())
        np.testing.assert_allclose(loaded.predict(asked), expected, rtol=1e-6, err_msg=kind)
    told = loaded.metadata.metadata["inputs"]
    assert [each["shape"] for each in told] == [[-1, *array.shape[1:]] for array in arrays_of(tree)]
    wrong = map_arrays(lambda array: np.concatenate([array, array], axis=-1), tree)
    with pytest.raises(ValueError, match="shape"):
        loaded.predict(list(wrong) if isinstance(wrong, tuple) else wrong)


def test_a_version_takes_raw_texts_and_codes_as_training_read_them(tmp_path: Path) -> None:
    wide = 10**17  # as a float, it loses its last digits
    table = pd.DataFrame(
        {
            "comment": [f"It's {'good' if row % 2 else 'BAD'}, {row % 9}!" if row % 10 else None for row in range(60)],
            "id": [str(wide + row % 7) for row in range(60)],
            "age": np.arange(60.0),
            "y": ["no", "yes"] * 30,
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    text, split = {"comment": {"words": 9, "length": 3}}, Split("time", column="age")
    dataset = load_dataset(DataSettings("t.csv", target="y", text=text, codes={"id": 0}, split=split), tmp_path)
    sizes = dataset.vocabulary_sizes
    inputs = {name: keras.Input(shape, name=name, dtype="int32") for name, shape in dataset.input_shape.items()}
    words = keras.layers.Embedding(sizes["comment"], 3, "uniform", mask_zero=True)(inputs["comment"])
    ids = keras.layers.Embedding(sizes["id"], 3, "uniform")(inputs["id"])
    both = keras.layers.concatenate([keras.layers.GlobalAveragePooling1D()(words), ids])
    model = keras.Model(inputs, keras.layers.Dense(1)(both))
    loaded = pyfunc.load_model(str(written(dataset, tmp_path, model)))
    outputs = [model(part.inputs).numpy() for part in (dataset.train, dataset.validation)]
    expected = 1 / (1 + np.exp(-np.concatenate(outputs).astype(np.float64)[:, 0]))
    for rows in (table, table.astype({"id": "int64"})):
        answers = loaded.predict(rows.head(len(expected)).drop(columns="y"), params={"output": "probabilities"})
        np.testing.assert_allclose(answers["yes"], expected, rtol=1e-6)
    record = {"comment": "unheard, GOOD", "id": wide + 500}
    assert loaded.predict([record])[0] in ("no", "yes")


def test_images_and_rows_of_different_lengths_are_predicted_as_they_are_brought(tmp_path: Path) -> None:
    for number in range(24):
        kind = tmp_path / "pets" / ("cat", "dog")[number % 2]
        kind.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 9), 10 * number, np.uint8)).save(kind / f"{number}.png")
    (tmp_path / "load.py").write_text(
        "def load():\n    return [list(range(1, 2 + row % 6)) for row in range(40)], [row % 2 for row in range(40)]\n"
    )
    files = [str(file) for file in sorted((tmp_path / "pets" / "dog").iterdir())]
    ragged = [[1, 2], [1, 2, 3, 4, 5, 6]]
    brought = {
        "pets": (DataSettings("pets"), files),
        "lists": (DataSettings("load.py:load", pad={"side": "end"}), ragged),
    }
    for name, (settings, rows) in brought.items():
        dataset = load_dataset(settings, tmp_path)
        model = net(dataset)
        loaded = pyfunc.load_model(str(written(dataset, tmp_path / name, model)))
        predictor = Predictor(model, None, dataset.description)
        expected = predictor.outputs(predictor.inputs(rows))
        np.testing.assert_array_equal(loaded.predict(rows), np.array(dataset.classes)[(expected[:, 0] > 0).astype(int)])
        needed = (tmp_path / name / "model" / "requirements.txt").read_text()
        assert ("pillow==" in needed) == (name == "pets")


def test_a_version_takes_paths_and_bytes_of_images(tmp_path: Path) -> None:
    for row in range(30):
        Image.fromarray(np.full((3, 4), 8 * row, np.uint8)).save(tmp_path / f"{row}.png")
    table = pd.DataFrame({"photo": [f"{row}.png" for row in range(30)], "y": ["no", "yes"] * 15})
    table.to_csv(tmp_path / "t.csv", index=False)
    images = {"photo": (3, 4, 1)}
    dataset = load_dataset(DataSettings("t.csv", target="y", images=images, split=Split("random")), tmp_path)
    model = net(dataset)
    folder = written(dataset, tmp_path, model)
    loaded = pyfunc.load_model(str(folder))
    pixels = np.stack([np.full((3, 4, 1), 8 * row, np.float32) / 255 for row in range(30)])
    expected = 1 / (1 + np.exp(-model(pixels).numpy()[:, 0].astype(np.float64)))
    paths = [str(tmp_path / f"{row}.png") for row in range(30)]
    for rows in (paths, [Path(path).read_bytes() for path in paths]):
        answers = loaded.predict(pd.DataFrame({"photo": rows}), params={"output": "probabilities"})
        np.testing.assert_allclose(answers["yes"], expected, rtol=1e-5)
    assert "pillow==" in (folder / "requirements.txt").read_text()
