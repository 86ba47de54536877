"""A version's folder, loaded by MLflow alone: every kind of source predicts as in the pipeline, and no code is run."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import pyfunc
from mlflow.pyfunc.scoring_server import predictions_to_json
from mlflow.utils.proto_json_utils import parse_tf_serving_input
from PIL import Image

from nightune.models.data.dataset import Dataset
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, preprocessing_files, save_dataset
from nightune.models.serving.input_trees import arrays_of, is_several, map_arrays, named_arrays
from nightune.models.serving.predictor import DESCRIPTION, MODEL, Predictor
from nightune.models.serving.probabilities import described_probabilities
from nightune.tasks.tracking.registry.model_folder import parts_of, write_model_folder
from nightune.tasks.tracking.registry.requirements import requirements


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, save
    import keras

    from nightune.models.training.checkpoint import save


TABLE = pd.DataFrame(
    {
        "rooms": [1.0, 2, 3, np.nan, 5, 6] * 10,
        "floor": [0, 1, 2, 3, 4] * 12,
        "heating": ["gas", "oil", None, "wood"] * 15,
        "garden": [True, False] * 30,
        "built": pd.date_range("1990-01-01", periods=60, freq="37D").strftime("%Y-%m-%d"),
        "price": np.linspace(100.0, 900.0, 60),
    }
)


def net(dataset: Dataset, activation: str | None = None) -> keras.Model:
    inputs = keras.Input(dataset.input_shape)
    hidden = keras.layers.Dense(5, activation="tanh")(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, keras.layers.Dense(dataset.output_size, activation=activation)(hidden))


def written(dataset: Dataset, tmp_path: Path, model: keras.Model, is_logits: bool = True) -> Path:
    """Write a version's folder from the stored data."""
    stored = open_dataset(save_dataset(dataset, tmp_path / "data"))
    parts = tmp_path / "parts"
    parts.mkdir()
    save(model, parts / MODEL)
    for file in preprocessing_files(tmp_path / "data" / dataset.version):
        (parts / file.name).write_bytes(file.read_bytes())
    (parts / DESCRIPTION).write_text(json.dumps({**stored.description, "is_logits": is_logits}))
    return write_model_folder(parts, stored.raw_example, tmp_path / "model")


def table_data(tmp_path: Path, **keys: object) -> Dataset:
    TABLE.to_csv(tmp_path / "houses.csv", index=False)
    return load_dataset(DataSettings("houses.csv", **keys), tmp_path)


def test_quantities_of_raw_rows_equal_those_of_the_pipeline_in_the_units_of_the_data(tmp_path: Path) -> None:
    dataset = table_data(tmp_path, target="price", scale_target=True)
    model = net(dataset)
    folder = written(dataset, tmp_path, model)
    raw = pd.read_csv(tmp_path / "houses.csv").drop(columns="price")
    scale = dataset.description["target_scale"]
    outputs = model(dataset.preprocessing.transform(raw)).numpy()[:, 0].astype(np.float64)
    expected = outputs * scale["deviation"][0] + scale["mean"][0]
    answers = pyfunc.load_model(str(folder)).predict(raw)
    np.testing.assert_allclose(answers, expected, rtol=1e-6)


def test_labels_of_raw_rows_equal_those_of_the_pipeline(tmp_path: Path) -> None:
    dataset = table_data(tmp_path, target="heating")
    model = net(dataset, "softmax")
    folder = written(dataset, tmp_path, model, is_logits=False)
    raw = pd.read_csv(tmp_path / "houses.csv").drop(columns="heating")
    chosen = model(dataset.preprocessing.transform(raw)).numpy().argmax(axis=1)
    assert pyfunc.load_model(str(folder)).predict(raw).tolist() == [dataset.classes[index] for index in chosen]


@pytest.mark.parametrize(("activation", "limit"), [(None, 0.0), ("sigmoid", 0.5)])
def test_one_output_stands_for_two_labels(tmp_path: Path, activation: str | None, limit: float) -> None:
    dataset = table_data(tmp_path, target="garden")
    model = net(dataset, activation)
    folder = written(dataset, tmp_path, model, is_logits=activation is None)
    raw = pd.read_csv(tmp_path / "houses.csv").drop(columns="garden")
    expected = model(dataset.preprocessing.transform(raw)).numpy()[:, 0] > limit
    assert len(set(expected.tolist())) == 2
    np.testing.assert_array_equal(pyfunc.load_model(str(folder)).predict(raw), expected)


@pytest.mark.parametrize(("name", "activation", "limit"), [("named", None, 0.0), ("plain", "sigmoid", 0.5)])
def test_labels_that_may_hold_together_are_a_matrix_of_0_and_1(
    tmp_path: Path, name: str, activation: str | None, limit: float
) -> None:
    code = "import numpy as np, pandas as pd\nx = np.random.default_rng(0).normal(size=(60, 4)).astype('float32')\n"
    code += "tags = pd.DataFrame({'warm': x[:, 0] > 0, 'wet': x[:, 1] + x[:, 2] > 0})\n"
    (tmp_path / "d.py").write_text(f"{code}named = lambda: (x, tags)\nplain = lambda: (x, tags.to_numpy())\n")
    dataset = load_dataset(DataSettings(f"d.py:{name}"), tmp_path)
    model = net(dataset, activation)
    loaded = pyfunc.load_model(str(written(dataset, tmp_path, model, is_logits=activation is None)))
    inputs, schema = dataset.validation.inputs, loaded.metadata.signature.outputs
    answers = loaded.predict(inputs)
    outputs = model(inputs).numpy().astype(np.float64)
    np.testing.assert_array_equal(np.asarray(answers), outputs > limit)
    frame = loaded.predict(inputs, params={"output": "probabilities"})
    np.testing.assert_allclose(frame, outputs if activation else 1 / (1 + np.exp(-outputs)), rtol=1e-5)
    assert frame.columns.tolist() == list(dataset.classes)
    assert np.asarray(answers).dtype == np.int64
    assert len(schema.inputs) == 2
    if name == "named":
        assert list(answers.columns) == schema.input_names() == ["warm", "wet"]


@pytest.mark.parametrize(
    ("target", "activation"), [("heating", None), ("heating", "softmax"), ("garden", None), ("floor", "relu")]
)
def test_probabilities_are_named_by_the_labels_and_equal_those_of_the_pipeline(
    tmp_path: Path, target: str, activation: str | None
) -> None:
    dataset = table_data(tmp_path, target=target, task="classification")
    model = net(dataset, activation)
    if target == "garden":  # one output for two classes
        model = keras.Model(model.input, keras.layers.Dense(1)(model.layers[-2].output))
    if activation == "relu":  # scores that sum to something else than 1
        model = keras.Model(model.input, keras.layers.Rescaling(1.0, offset=0.1)(model.output))
    loaded = pyfunc.load_model(str(written(dataset, tmp_path, model, is_logits=activation is None)))
    raw = pd.read_csv(tmp_path / "houses.csv").drop(columns=target)
    outputs = model(dataset.preprocessing.transform(raw)).numpy().astype(np.float64)
    if target == "garden":
        expected = np.hstack([1 / (1 + np.exp(outputs)), 1 / (1 + np.exp(-outputs))])
    else:
        scores = np.exp(outputs) if activation is None else outputs
        expected = scores / scores.sum(axis=1, keepdims=True)
    frame = loaded.predict(raw, params={"output": "probabilities"})
    assert frame.columns.tolist() == list(dataset.classes)
    np.testing.assert_allclose(frame.to_numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(frame.sum(axis=1), 1.0, rtol=1e-12)
    labels = loaded.predict(raw)
    assert frame.idxmax(axis=1).tolist() == list(labels) == list(loaded.predict(raw, params={"output": "labels"}))
    text = io.StringIO()
    predictions_to_json(frame, text)  # as `mlflow models serve` answers
    assert len(json.loads(text.getvalue())["predictions"]) == len(raw)


def test_a_table_has_labels_names_of_classes_and_probabilities(tmp_path: Path) -> None:
    code = "import numpy as np\nx = np.random.default_rng(0).normal(size=(60, 4)).astype('float32')\n"
    code += "load = lambda: (x, np.argmax(x[:, :3], axis=1) + 1)\n"
    (tmp_path / "d.py").write_text(code)
    dataset = load_dataset(DataSettings("d.py:load", class_names=("cat", "dog", "emu")), tmp_path)
    loaded = pyfunc.load_model(str(written(dataset, tmp_path, net(dataset))))
    inputs = dataset.validation.inputs
    table = loaded.predict(inputs, params={"output": "table"})
    labels, shares = loaded.predict(inputs), loaded.predict(inputs, params={"output": "probabilities"})
    assert table.columns.tolist() == ["prediction", "prediction_name", *(f"probability_{one}" for one in (1, 2, 3))]
    assert table["prediction"].tolist() == labels.tolist()
    assert table["prediction_name"].tolist() == [["cat", "dog", "emu"][label - 1] for label in labels]
    np.testing.assert_array_equal(table.to_numpy()[:, 2:].astype(float), shares)


def test_probabilities_of_quantities_and_unknown_outputs_are_refused(tmp_path: Path) -> None:
    dataset = table_data(tmp_path, target="price")
    loaded = pyfunc.load_model(str(written(dataset, tmp_path, net(dataset))))
    raw = pd.read_csv(tmp_path / "houses.csv")
    with pytest.raises(ValueError, match="quantities"):
        loaded.predict(raw, params={"output": "probabilities"})
    with pytest.raises(ValueError, match=r"'probs'.*probabilities"):
        loaded.predict(raw, params={"output": "probs"})


@pytest.mark.parametrize(
    ("outputs", "size", "is_logits"),
    [([0.2, float("nan")], 2, True), ([0.0, 0.0], 2, False), ([1.2], 1, False), ([-0.1, 1.1], 2, False)],
)
def test_outputs_that_are_no_probabilities_are_refused_with_their_row(
    outputs: list[float], size: int, is_logits: bool
) -> None:
    right = np.full((1, size), 0.5)
    description = {"task": "binary", "is_logits": is_logits}
    assert described_probabilities(right, description).tolist() == [[0.5, 0.5]] or is_logits
    with pytest.raises(ValueError, match="row 1"):
        described_probabilities(np.concatenate([right, [outputs]]), description)


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


def test_a_version_holds_no_pickle_and_nothing_of_the_running_nightune(tmp_path: Path) -> None:
    dataset = table_data(tmp_path, target="price")
    folder = written(dataset, tmp_path, net(dataset))
    names = {file.suffix for file in folder.rglob("*") if file.is_file()}
    assert names.isdisjoint({".pkl", ".pickle", ".joblib", ".cloudpickle"})
    for file in (folder / "code").rglob("*.py"):
        assert "nightune." not in file.read_text()
    requirements = (folder / "requirements.txt").read_text().split()
    assert all("==" in line for line in requirements)
    assert {line.split("==")[0] for line in requirements} == {"mlflow", "keras", "tensorflow", "numpy", "pandas"}
    assert (folder / "input_example.json").exists()
    script = f"""
import sys
from mlflow import pyfunc
from mlflow.pyfunc.scoring_server import predictions_to_json
from PIL import Image
import pandas as pd
print(len(pyfunc.load_model({str(folder)!r}).predict(pd.read_csv({str(tmp_path / "houses.csv")!r}))))
assert not [name for name in sys.modules if name.split(".")[0] == "nightune"]
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "60", done.stderr


def test_a_model_file_with_code_in_it_is_not_opened(tmp_path: Path) -> None:
    dataset = table_data(tmp_path, target="price")
    inputs = keras.Input(dataset.input_shape)
    outputs = keras.layers.Dense(1)(keras.layers.Lambda(lambda values: values * 2)(inputs))
    with pytest.raises(ValueError, match=r"Lambda|safe"):
        pyfunc.load_model(str(written(dataset, tmp_path, keras.Model(inputs, outputs))))


def test_wrong_rows_are_refused_with_the_reason(tmp_path: Path) -> None:
    dataset = table_data(tmp_path, target="price")
    predictor = Predictor.open(parts_of(written(dataset, tmp_path, net(dataset))))
    with pytest.raises(ValueError, match="lacks column 'rooms'"):
        predictor.predict(pd.read_csv(tmp_path / "houses.csv").drop(columns="rooms"))


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


@pytest.mark.slow
def test_mlflow_serves_a_version_on_loopback(tmp_path: Path) -> None:
    dataset = table_data(tmp_path, target="price")
    folder = written(dataset, tmp_path, net(dataset))
    raw = pd.read_csv(tmp_path / "houses.csv").drop(columns="price").head(3)
    expected = pyfunc.load_model(str(folder)).predict(raw)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder), "--env-manager", "local"]
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (tmp_path / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            cwd=tmp_path,
            env=os.environ | {"PATH": scripts},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        body = json.dumps({"dataframe_split": json.loads(raw.to_json(orient="split"))}).encode()
        answer = json.loads(
            wait_for_response(f"http://127.0.0.1:{port}/invocations", body, process, tmp_path / "serve.log")
        )
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=60)
    np.testing.assert_allclose(answer["predictions"], expected, rtol=1e-6)


def wait_for_response(address: str, body: bytes, process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the server's response, as soon as it listens."""
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    for _ in range(600):
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return str(response.read().decode())
        except ConnectionError:
            pass
        except urllib.error.HTTPError as error:
            pytest.fail(error.read().decode())
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError):
                raise
        if process.poll() is not None:
            break
        time.sleep(0.2)
    pytest.fail(log.read_text())


def test_what_the_code_of_a_version_imports_is_required(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import os\nimport keras\ndef build():\n    from sklearn.linear_model import Ridge\n"
    )
    (tmp_path / "lib.py").write_text("import net\nfrom . import other\n")
    names = [line.split("==")[0] for line in requirements(tmp_path)]
    assert "scikit-learn" in names
    assert set(names) - {"scikit-learn"} == {line.split("==")[0] for line in requirements()}


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
