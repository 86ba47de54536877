import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, read_split, save_dataset
from nightune.models.errors import InputError

random = np.random.default_rng(5)
ROWS = 120
TABLE = pd.DataFrame(
    {
        "größe": random.normal(size=ROWS),
        "city": random.choice(["Köln", "Paris", "東京"], ROWS),
        "is_new": random.choice([True, False], ROWS),
        "age": np.where(random.random(ROWS) < 0.2, np.nan, random.integers(20, 60, ROWS)),
        "patient": np.arange(ROWS) // 5,
        "day": pd.date_range("2026-01-01", periods=ROWS).astype(str)[random.permutation(ROWS)],
        "label": random.choice(["yes", "no"], ROWS),
        "price": random.normal(300_000, 50_000, ROWS),
    }
)
X = random.normal(size=(60, 4))
Y = np.arange(60) % 3


def load(folder: Path, source: str, **keys) -> Dataset:
    return load_dataset(DataSettings(source, **keys), folder)


def load_table(folder: Path, table: pd.DataFrame = TABLE, **keys) -> Dataset:
    table.to_csv(folder / "table.csv", index=False)
    return load(folder, "table.csv", **keys)


def load_arrays(folder: Path, x: np.ndarray = X, y: np.ndarray = Y, **keys) -> Dataset:
    np.savez(folder / "arrays.npz", x=x, y=y)
    return load(folder, "arrays.npz", **keys)


@pytest.mark.parametrize(
    ("name", "task", "shape", "size", "sizes"),
    [
        ("digits", "multiclass", (64,), 10, (1079, 359, 359)),
        ("digits_images", "multiclass", (8, 8, 1), 10, (1079, 359, 359)),
        ("iris", "multiclass", (4,), 3, (90, 30, 30)),
        ("wine", "multiclass", (13,), 3, (106, 36, 36)),
        ("breast_cancer", "binary", (30,), 1, (341, 114, 114)),
        ("diabetes", "regression", (10,), 1, (266, 88, 88)),
    ],
)
def test_built_in_set_is_ready_to_train_on(tmp_path, name, task, shape, size, sizes):
    dataset = load(tmp_path, name)
    assert (dataset.task, dataset.input_shape, dataset.output_size) == (task, shape, size)
    assert tuple(dataset.sizes.values()) == sizes
    assert dataset.train.inputs.dtype == np.float32
    assert dataset.train.targets.dtype == (np.float32 if task == "regression" else np.int32)


def test_digits_lie_between_zero_and_one(tmp_path):
    inputs = load(tmp_path, "digits_images").train.inputs
    assert (inputs.min(), inputs.max()) == (0, 1)


def test_built_in_classes_are_names(tmp_path):
    assert load(tmp_path, "breast_cancer").classes == ("benign", "malignant")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_table_file_of_all_kinds_of_columns_is_read(tmp_path, ending):
    file = tmp_path / f"données.{ending}"
    TABLE.to_csv(file, index=False) if ending == "csv" else TABLE.to_parquet(file)
    split = Split("group", column="patient")
    dataset = load(tmp_path, file.name, target="label", drop=("price", "day"), split=split)
    assert dataset.task == "binary"
    assert dataset.classes == ("no", "yes")
    assert set(dataset.description["features"]) == {
        *("größe", "age", "is_new", "age is missing"),
        *("city=Köln", "city=Paris", "city=東京"),
    }
    assert np.isfinite(dataset.train.inputs).all()


def test_csv_and_parquet_of_one_table_have_one_version(tmp_path):
    TABLE.to_parquet(tmp_path / "table.parquet")
    keys = {"target": "label", "drop": ("price",), "split": Split("time", column="day")}
    assert load_table(tmp_path, **keys).version == load(tmp_path, "table.parquet", **keys).version


def unsealed(dataset):
    return dataset.test.open(Purpose.GATE, lambda: None)


def test_csv_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + TABLE.to_csv(index=False).encode())
    assert load(tmp_path, "t.csv", target="price", drop=("label", "day")).description["columns"][0]["name"] == "größe"


def test_time_split_trains_on_the_oldest_and_tests_on_the_newest(tmp_path):
    table = pd.DataFrame({"day": TABLE["day"], "a": pd.to_datetime(TABLE["day"]).dt.day_of_year, "y": TABLE["price"]})
    dataset = load_table(tmp_path, table, target="y", split=Split("time", column="day"))
    assert dataset.description["features"] == ["a"]
    highest = [getattr(dataset, name).inputs.max() for name in ("train", "validation")]
    assert highest[0] < dataset.validation.inputs.min()
    assert highest[1] < unsealed(dataset).inputs.min()


def test_preprocessing_reproduces_the_inputs_from_raw_rows(tmp_path):
    dataset = load_table(tmp_path, target="label", split=Split("time", column="day"))
    newest = TABLE.sort_values("day").tail(len(dataset.test))
    np.testing.assert_array_equal(dataset.preprocessing.transform(newest), unsealed(dataset).inputs)
    np.testing.assert_array_equal(dataset.preprocessing.transform(unsealed(dataset).table), unsealed(dataset).inputs)


def test_arrays_of_a_function_are_read(tmp_path):
    (tmp_path / "load.py").write_text("import numpy as np\ndef data():\n    return np.eye(30), np.arange(30.0)\n")
    dataset = load(tmp_path, "load.py:data")
    assert (dataset.task, dataset.input_shape) == ("regression", (30,))


def test_table_of_a_function_is_read(tmp_path):
    code = (
        "import pandas as pd\ndef data():\n    return pd.DataFrame({'a': range(30), 'y': [True, False, True] * 10})\n"
    )
    (tmp_path / "load.py").write_text(code)
    assert load(tmp_path, "load.py:data", target="y").classes == (False, True)


def test_floats_become_float32_and_whole_numbers_int32(tmp_path):
    assert load_arrays(tmp_path).train.inputs.dtype == np.float32
    tokens = load_arrays(tmp_path, random.integers(0, 50, (60, 7)))
    assert tokens.train.inputs.dtype == np.int32
    images = load_arrays(tmp_path, random.integers(0, 255, (60, 4, 4, 1)).astype(np.uint8))
    assert images.train.inputs.dtype == np.int32
    assert "embedding" in images.findings[0]


@pytest.mark.parametrize("names", [("inputs", "targets"), ("X", "y")])
def test_arrays_may_have_other_names(tmp_path, names):
    np.savez(tmp_path / "a.npz", **dict(zip(names, (X, Y), strict=True)))
    assert load(tmp_path, "a.npz").output_size == 3


@pytest.mark.parametrize(
    ("y", "task", "classes"),
    [
        (np.arange(60) % 2 == 0, "binary", (False, True)),
        (np.array(["1", "10", "2"] * 20), "multiclass", ("1", "10", "2")),
        (np.array([b"a", b"b"] * 30), "binary", ("a", "b")),
        (np.array([1.0, 5.0] * 30), "binary", (1, 5)),
        (np.arange(60) % 3, "multiclass", (0, 1, 2)),
        (np.arange(60) % 15, "regression", None),
        (np.linspace(0, 1, 60), "regression", None),
        (np.linspace(0, 1, 120).reshape(60, 2), "regression", None),
    ],
)
def test_task_is_inferred(tmp_path, y, task, classes):
    dataset = load_arrays(tmp_path, y=y)
    assert (dataset.task, dataset.classes) == (task, classes)
    assert dataset.train.targets.ndim == y.ndim


def test_whole_numbers_read_as_classes_are_reported(tmp_path):
    assert "3 different whole numbers" in load_arrays(tmp_path).findings[0]


def test_task_may_be_overridden(tmp_path):
    assert load_arrays(tmp_path, task="regression").task == "regression"
    assert load_arrays(tmp_path, y=np.arange(60) % 15, task="classification").output_size == 15
    assert load_arrays(tmp_path, y=Y % 2, task="multiclass").output_size == 2


def test_large_targets_are_reported_and_may_be_scaled(tmp_path):
    keys = {"target": "price", "drop": ("label", "day"), "split": Split("group", column="patient")}
    plain = load_table(tmp_path, **keys)
    assert any("scale_target = true" in finding for finding in plain.findings)
    scaled = load_table(tmp_path, **keys, scale_target=True)
    assert not any("scale_target" in finding for finding in scaled.findings)
    assert abs(scaled.train.targets.mean()) < 1e-6
    scale = scaled.description["target_scale"]
    back = unsealed(scaled).targets * scale["deviation"][0] + scale["mean"][0]
    np.testing.assert_allclose(back, unsealed(plain).targets, rtol=1e-6)


def test_class_that_no_training_row_has_is_reported(tmp_path):
    table = pd.DataFrame(
        {"a": random.normal(size=30), "day": range(30), "y": ["old"] * 12 + ["mid"] * 12 + ["new"] * 6}
    )
    findings = load_table(tmp_path, table, target="y", split=Split("time", column="day")).findings
    assert any("no training row" in finding and "'new'" in finding for finding in findings)


def test_version_names_content_split_and_preprocessing(tmp_path):
    keys = {"target": "label", "drop": ("patient", "day")}
    version = load_table(tmp_path, **keys).version
    assert load_table(tmp_path, **keys).version == version
    changed, doubled = TABLE.copy(), TABLE.assign(größe=2 * TABLE["größe"])
    changed.loc[7, "größe"] += 1e-3
    others = [
        load_table(tmp_path, changed, **keys).version,
        load_table(tmp_path, doubled, **keys).version,
        load_table(tmp_path, **keys, split=Split(seed=1)).version,
        load_table(tmp_path, **keys, split=Split("random")).version,
        load_table(tmp_path, **keys, split=Split(test=0.25)).version,
        load_table(tmp_path, **keys, task="multiclass").version,
    ]
    assert len({version, *others}) == 7
    assert len(version) == 16


@pytest.mark.parametrize(
    ("name", "keys", "version"),
    [
        ("digits", {}, "c40ed6c08799e67d"),
        ("iris", {}, "28979abc94ddb364"),
        ("diabetes", {"scale_target": True}, "c47efc1eacbada66"),
    ],
)
def test_version_of_a_built_in_set_is_the_same_on_every_machine(tmp_path, name, keys, version):
    assert load(tmp_path, name, split=Split(seed=7), **keys).version == version


def test_saved_dataset_opens_unchanged(tmp_path):
    keys = {"target": "label", "split": Split("group", column="patient"), "drop": ("day",)}
    dataset = load_table(tmp_path, **keys)
    folder = save_dataset(dataset, tmp_path / "data")
    assert folder == tmp_path / "data" / dataset.version
    copy = open_dataset(folder)
    for name in ("train", "validation"):
        np.testing.assert_array_equal(getattr(copy, name).inputs, getattr(dataset, name).inputs)
        np.testing.assert_array_equal(read_split(folder, name).targets, getattr(dataset, name).targets)
    test, wanted = unsealed(copy), unsealed(dataset)
    np.testing.assert_array_equal(test.inputs, wanted.inputs)
    np.testing.assert_array_equal(test.targets, wanted.targets)
    np.testing.assert_array_equal(dataset.preprocessing.transform(test.table), wanted.inputs)
    assert (copy.task, copy.classes, copy.version) == (dataset.task, dataset.classes, dataset.version)
    assert (copy.findings, copy.description) == (dataset.findings, dataset.description)
    np.testing.assert_array_equal(copy.preprocessing.transform(TABLE), dataset.preprocessing.transform(TABLE))


def test_description_is_readable_json(tmp_path):
    folder = save_dataset(load_table(tmp_path, target="label", drop=("day", "patient", "price")), tmp_path / "data")
    text = (folder / "description.json").read_text(encoding="utf-8")
    assert "größe" in text
    description = json.loads(text)
    assert description["classes"] == ["no", "yes"]
    assert description["sizes"] == {"train": 72, "validation": 24, "test": 24}
    assert {"name": "is_new", "dtype": "bool", "kind": "boolean"} in description["columns"]


def test_many_simultaneous_writers_leave_one_complete_folder(tmp_path):
    dataset = load(tmp_path, "iris")
    writers = [threading.Thread(target=save_dataset, args=(dataset, tmp_path / "data")) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [path.name for path in (tmp_path / "data").iterdir()] == [dataset.version]
    assert len(open_dataset(tmp_path / "data" / dataset.version).train) == 90


def test_interrupted_writer_leaves_no_version(tmp_path, monkeypatch):
    dataset = load(tmp_path, "iris")
    monkeypatch.setattr(json, "dumps", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_dataset(dataset, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_damaged_folder_is_refused_with_a_remedy(tmp_path):
    folder = save_dataset(load(tmp_path, "iris"), tmp_path / "data")
    (folder / "train_inputs.npy").write_bytes(b"")
    with pytest.raises(InputError, match="delete"):
        open_dataset(folder)


def test_importing_datasets_loads_no_heavy_library():
    heavy = "{'pandas', 'sklearn', 'keras', 'tensorflow'}"
    code = f"import sys, nightune.models.data.loading; print({heavy} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"


def test_one_hot_rows_and_their_indices_are_two_versions(tmp_path):
    """A loss of the user's own reads them in the form that the data has."""
    values = np.random.default_rng(0).normal(size=(60, 3))
    np.savez(tmp_path / "indices.npz", x=values, y=np.arange(60) % 3)
    np.savez(tmp_path / "rows.npz", x=values, y=np.eye(3)[np.arange(60) % 3])
    indices, rows = (load_dataset(DataSettings(f"{name}.npz"), tmp_path) for name in ("indices", "rows"))
    np.testing.assert_array_equal(indices.train.targets, rows.train.targets)
    assert indices.version != rows.version
