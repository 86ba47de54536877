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

from nightune.models.data.dataset import Dataset
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.serving.predictor import Predictor
from nightune.models.serving.probabilities import described_probabilities
from nightune.tasks.tracking.registry.model_folder import parts_of
from nightune.tasks.tracking.registry.requirements import requirements
from tests.tasks.version_folders import net, written


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras
    import keras


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


@pytest.mark.nights
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
