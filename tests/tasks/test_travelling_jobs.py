"""What a worker on another machine reads: data and code, once a machine, by their digests, without the test split."""

import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from nightune.models.errors import DamagedDataError
from nightune.models.kept_code import KeptCode
from nightune.models.named_files import content_digest
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.attempts import own_attempt
from nightune.tasks.workers.job import Job
from nightune.tasks.workers.marks import leave_mark, sees
from nightune.tasks.workers.parcels import Parcel, pack, unpack, upload
from nightune.tasks.workers.travel import Travelling, code_parcel, data_parcel, refuse_fixed_places
from nightune.tuning.errors import StudyError
from tests.tasks.conftest import SmallStudy


@pytest.fixture
def parcel(tmp_path: Path) -> Parcel:
    folder = tmp_path / "flow" / "files"
    (folder / "deep").mkdir(parents=True)
    (folder / "train.npy").write_bytes(b"rows")
    (folder / "deep" / "net.py").write_bytes(b"code")
    return pack("data/abc", folder, {"train.npy": folder / "train.npy", "deep/net.py": folder / "deep" / "net.py"})


def test_a_machine_takes_a_file_once(parcel: Parcel, tmp_path: Path, store: Store) -> None:
    here = unpack(parcel, tmp_path / "worker", store)
    assert (here / "deep" / "net.py").read_bytes() == b"code"
    shutil.rmtree(parcel.folder)
    assert unpack(parcel, tmp_path / "worker", store) == here


def test_files_that_a_machine_does_not_see_come_from_the_run(
    parcel: Parcel, tmp_path: Path, store: Store, sweep: Sweep
) -> None:
    upload(parcel, store, sweep.run_id)
    shutil.rmtree(parcel.folder)
    here = unpack(replace(parcel, run_id=sweep.run_id), tmp_path / "worker", store)
    assert [(here / name).read_bytes() for name in ("train.npy", "deep/net.py")] == [b"rows", b"code"]
    assert client(store).list_artifacts(sweep.run_id, "workers/data/abc")


@pytest.mark.parametrize("where", ["flow", "worker"])
def test_a_file_that_differs_is_refused_and_the_remedy_works(
    where: str, parcel: Parcel, tmp_path: Path, store: Store
) -> None:
    wrong = parcel.folder if where == "flow" else tmp_path / "worker" / parcel.name
    wrong.mkdir(parents=True, exist_ok=True)
    (wrong / "train.npy").write_bytes(b"others")
    with pytest.raises(DamagedDataError, match=str(wrong)):
        unpack(parcel, tmp_path / "worker", store)
    assert (tmp_path / "worker" / parcel.name).exists() == (where == "worker")
    (parcel.folder / "train.npy").write_bytes(b"rows")
    shutil.rmtree(tmp_path / "worker" / parcel.name, ignore_errors=True)
    assert unpack(parcel, tmp_path / "worker", store).is_dir()


def test_the_test_split_stays_where_it_is(
    store: Store, sweep: Sweep, study: SmallStudy, data: PreparedData, tmp_path: Path
) -> None:
    folder = tmp_path / "prepared"
    (folder / "sealed").mkdir(parents=True)
    for name in ("train_inputs.npy", "train_targets.npy", "description.json", "profile.json", "sealed/test_inputs.npy"):
        (folder / name).write_bytes(b"x")
    setting = Setting(store, sweep, study, replace(data, folder=folder))  # type: ignore[arg-type]
    assert set(data_parcel(setting).digests) == {"train_inputs.npy", "train_targets.npy", "description.json"}


def test_a_worker_checks_ids_in_the_splits_that_have_come_and_its_copy_is_no_data_of_a_store(
    store: Store, sweep: Sweep, study: SmallStudy, data: PreparedData, tmp_path: Path
) -> None:
    import keras

    from nightune.models.data.dataset import Purpose
    from nightune.models.data.loading import load_dataset
    from nightune.models.data.settings import DataSettings
    from nightune.models.data.storage import open_dataset, save_dataset
    from nightune.models.networks.embedding_ids import UnknownIdError, refuse_ids_outside_tables

    (tmp_path / "words.py").write_text(
        "import numpy as np\n\ndef load():\n    ids = np.arange(360).reshape(120, 3) % 6\n"
        "    return ids, ids[:, 0] % 2\n"
    )
    folder = save_dataset(load_dataset(DataSettings("words.py:load"), tmp_path), store.root / "data")
    setting = Setting(store, sweep, study, replace(data, folder=folder))  # type: ignore[arg-type]
    job = Job(setting, (), (), own_attempt(1), KeptCode(), 20, None, datetime(2026, 1, 1))
    travelling = Travelling(job, data_parcel(setting), code_parcel(setting, KeptCode()))
    _, here = travelling.arrived(tmp_path / "worker")
    assert not (tmp_path / "worker" / "data").exists()

    def model(rows: int) -> keras.Model:
        return keras.Sequential([keras.Input((3,)), keras.layers.Embedding(rows, 2)])

    copy = open_dataset(here.data.folder)
    refuse_ids_outside_tables(model(6), copy)
    with pytest.raises(UnknownIdError):
        refuse_ids_outside_tables(model(5), copy)
    with pytest.raises(DamagedDataError):
        copy.test.open(Purpose.GATE, lambda: None)
    assert len(open_dataset(folder).test.open(Purpose.GATE, lambda: None)) == len(copy.test)


def test_code_travels_as_it_was_kept_with_the_files_that_it_names(
    store: Store, sweep: Sweep, study: SmallStudy, data: PreparedData, tmp_path: Path
) -> None:
    net, words = tmp_path / "models" / "net.py", tmp_path / "words.txt"
    net.parent.mkdir()
    net.write_text("edited meanwhile")
    words.write_text("a b c")
    study.path.write_text("question")
    code = KeptCode({net: {net: b"kept"}}, {net: b"kept"}, {"net"}, {words: content_digest(words)})
    setting = Setting(store, sweep, study, data)  # type: ignore[arg-type]
    parcel = code_parcel(setting, code)
    here = unpack(parcel, tmp_path / "worker", store)
    mirrored = here / study.path.resolve().parent.relative_to("/")
    assert (here / net.relative_to("/")).read_text() == "kept"
    assert (here / words.relative_to("/")).read_text() == "a b c"
    assert (mirrored / study.path.name).exists()
    words.write_text("changed")
    later = code_parcel(setting, replace(code, sources={**code.sources, tmp_path / "late.py": b"late"}), parcel.folder)
    assert later.digests.items() > parcel.digests.items()
    with pytest.raises(StudyError, match=r"words\.txt"):
        code_parcel(setting, code)


@pytest.mark.parametrize("name", ["architecture", "metric", "metrics"])
def test_functions_named_by_a_place_of_this_machine_are_refused_and_the_remedy_works(name: str, tmp_path: Path) -> None:
    from nightune.tasks.load_study import load_study
    from tests.flows.conftest import SMALL_STUDY

    (tmp_path / "own.py").write_text("def build(input_shape, output_size): ...\n\ndef score(y_true, y_pred): ...\n")
    given, named = {
        "architecture": ('"mlp"\nunits = [[4]]', '"{}own.py:build"'),
        "metric": ('"val_loss"', '"{}own.py:score"\ndirection = "maximize"'),
        "metrics": (
            'metric = "val_loss"',
            'metrics = ["val_loss", "{}own.py:score"]\ndirections = ["minimize", "maximize"]',
        ),
    }[name]

    def study(place: str) -> Path:
        file = tmp_path / "study.toml"
        file.write_text(SMALL_STUDY.replace(given, named.format(place)))
        return file

    with pytest.raises(StudyError, match=rf"{name}: .*relative"):
        refuse_fixed_places(load_study(study(f"{tmp_path}/")))
    refuse_fixed_places(load_study(study("")))


def test_a_mark_is_seen_only_where_its_file_is(tmp_path: Path) -> None:
    mark = leave_mark(tmp_path)
    assert sees(mark)
    assert not sees(replace(mark, text="of another flow"))
    mark.file.unlink()
    assert not sees(mark)
