"""Odd names, wide tables, wrong types and hostile files: accepted unchanged, or refused with the reason."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import pyfunc

from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.serving.predictor import DESCRIPTION, MODEL, Predictor
from nightune.tasks.load_study import load_study
from nightune.tasks.tracking.registry.model_folder import parts_of, write_model_folder
from nightune.tasks.tracking.store.errors import StoreError, SweepNotFoundError
from nightune.tasks.tracking.store.store import client, open_store, study_experiment
from nightune.tasks.tracking.sweeps.find_sweeps import find_sweep
from nightune.tasks.tracking.sweeps.sweeps import fetch_study, open_sweep
from nightune.tuning.errors import StudyError
from tests.flows.conftest import SMALL_STUDY
from tests.tasks.conftest import SmallStudy


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global keras, load, save
    import keras

    from nightune.models.training.checkpoint import load, save


ODD = "größe ' 100% & [x]"


def test_a_store_in_a_folder_with_an_odd_name_keeps_and_finds_its_files(tmp_path: Path, empty_store: Path) -> None:
    root = tmp_path / ODD / "mlruns"
    shutil.copytree(empty_store, root)
    store = open_store(root)
    run = client(store).create_run(study_experiment(store, "flowers"), tags={})
    client(store).log_text(run.info.run_id, "kept", "study/flowers.toml")
    found = Path(client(store).download_artifacts(run.info.run_id, "study", str(tmp_path)))
    assert (found / "flowers.toml").read_text() == "kept"
    assert list(root.rglob("flowers.toml"))


def test_a_study_file_with_an_odd_name_is_kept_with_its_sweep_and_found_again(store_root: Path, tmp_path: Path) -> None:
    store, path = open_store(store_root), tmp_path / f"{ODD} #1?.toml"
    path.write_text("question = 'größe?'", encoding="utf-8")
    sweep = open_sweep(store, SmallStudy(path), "data-1", fresh=False, planned_trials=1)  # type: ignore[arg-type]
    fetch_study(store, sweep, tmp_path)
    assert (tmp_path / "study" / "flowers.toml").read_text(encoding="utf-8") == "question = 'größe?'"


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_a_data_file_with_an_odd_name_is_read(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"{ODD}{suffix}"
    table = pd.DataFrame({"größe": np.arange(40.0), "y": ["ja", "nein"] * 20})
    if suffix == ".npz":
        np.savez(file, x=table[["größe"]].to_numpy(), y=table["y"].to_numpy(str))
    else:
        table.to_csv(file, index=False) if suffix == ".csv" else table.to_parquet(file)
    dataset = load_dataset(DataSettings(file.name, target=None if suffix == ".npz" else "y"), tmp_path)
    assert dataset.classes == ("ja", "nein")


def test_a_million_columns_are_read_and_kept(tmp_path: Path) -> None:
    wide = np.random.default_rng(3).normal(size=(12, 1_000_000)).astype(np.float32)
    np.savez(tmp_path / "wide.npz", x=wide, y=np.arange(12) % 2)
    dataset = load_dataset(DataSettings("wide.npz"), tmp_path)
    stored = open_dataset(save_dataset(dataset, tmp_path / "data"))
    assert stored.input_shape == (1_000_000,)


@pytest.mark.parametrize("name", ["../../escape", "/etc/passwd", "a/b", "..", ".", "a\\u0000b", "x" * 300, "", "größe"])
def test_a_study_name_cannot_escape_the_store(tmp_path: Path, name: str) -> None:
    path = tmp_path / "flowers.toml"
    path.write_text(f'name = "{name}"\n{SMALL_STUDY}')
    with pytest.raises(StudyError, match="name"):
        load_study(path)


@pytest.mark.parametrize(
    "value", ["1" * 5000, "1e400", "-inf", "nan", "0x" + "f" * 4000, "99999999999999999999", "[" * 500 + "]" * 500]
)
@pytest.mark.parametrize("key", ["trials = 4", "seed = 11", "epochs = 2"])
def test_an_invalid_number_in_a_study_is_refused(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "flowers.toml"
    path.write_text(SMALL_STUDY.replace(key, f"{key.split(' = ', maxsplit=1)[0]} = {value}"))
    with pytest.raises(StudyError, match="flowers"):
        load_study(path)


def test_a_sweep_requested_by_a_path_is_not_found(store_root: Path) -> None:
    store = open_store(store_root)
    study_experiment(store, "flowers")
    with pytest.raises(SweepNotFoundError):
        find_sweep(store, "flowers", "../../../etc/passwd")


def test_a_folder_that_an_address_cannot_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"\?.*NIGHTUNE_STORE"):
        open_store(tmp_path / "what?" / "mlruns")
    assert list(tmp_path.iterdir()) == []


def written_with_foreign_code(path: Path, module: str, name: str) -> Path:
    """A `.keras` file with a layer of foreign code."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    save(model, path)
    with zipfile.ZipFile(path) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    config = json.loads(members["config.json"])
    layer = config["config"]["layers"][1]
    layer["module"], layer["class_name"], layer["registered_name"] = module, name, None
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for each, content in members.items():
            archive.writestr(each, content)
    return path


@pytest.mark.parametrize(("module", "name"), [("os", "system"), ("subprocess", "Popen"), ("stranger", "Layer")])
def test_a_model_file_that_names_foreign_code_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    mark = tmp_path / "code-was-run"
    (tmp_path / "stranger.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Layer: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises((TypeError, ValueError)):
        load(written_with_foreign_code(tmp_path / "m.keras", module, name))
    assert not mark.exists()


def test_a_model_file_with_a_lambda_is_not_opened(tmp_path: Path) -> None:
    inputs = keras.Input((2,))
    save(keras.Model(inputs, keras.layers.Lambda(lambda values: values * 2)(inputs)), tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"[Ll]ambda"):
        load(tmp_path / "m.keras")


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version's folder, for a table with a number and a word."""
    table = pd.DataFrame({"rooms": np.arange(40.0), "heating": ["gas", "oil"] * 20, "price": np.arange(40.0) ** 1.5})
    table.to_csv(tmp_path / "houses.csv", index=False)
    dataset = load_dataset(DataSettings("houses.csv", target="price"), tmp_path)
    stored = open_dataset(save_dataset(dataset, tmp_path / "data"))
    parts = tmp_path / "parts"
    parts.mkdir()
    save(keras.Sequential([keras.Input(dataset.input_shape), keras.layers.Dense(1)]), parts / MODEL)
    (parts / "preprocessing.json").write_bytes(
        (tmp_path / "data" / dataset.version / "preprocessing.json").read_bytes()
    )
    (parts / DESCRIPTION).write_text(json.dumps({**stored.description, "is_logits": False}))
    return write_model_folder(parts, stored.raw_example, tmp_path / "model")


def test_values_of_a_wrong_type_are_refused_at_predict_and_never_guessed(version: Path) -> None:
    from mlflow.exceptions import MlflowException

    good = pd.DataFrame({"rooms": [3.0], "heating": ["gas"]})
    loaded = pyfunc.load_model(str(version))
    assert np.isfinite(np.asarray(loaded.predict(good))).all()
    for bad in ({"rooms": ["three"]}, {"heating": [7.5]}, {"rooms": [3.0 + 1j]}):
        with pytest.raises(MlflowException):
            loaded.predict(good.assign(**bad))
    with pytest.raises((TypeError, ValueError)):
        Predictor.open(parts_of(version)).predict(good.assign(rooms=["three"]))
