"""Files that would be read as something else in silence are read as meant, said, or refused with what to do."""

import gzip
import re
import sqlite3
import tomllib
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest

from nightune.models.data.loading import load_dataset
from nightune.models.data.returned import from_result
from nightune.models.data.settings import DataSettings
from nightune.models.data.source_options import SourceOptions
from nightune.models.data.sources import read_source
from nightune.models.data.splits import Split
from nightune.models.errors import InputError
from tests.models.test_data_files import ROWS, TABLE, load


def test_merged_cells_of_a_column_have_one_value_and_others_are_refused(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append([])
    sheet.append(["group", "x", "y"])
    for row in range(6):
        sheet.append([f"g{row // 3}" if row % 3 == 0 else None, row, "p" if row % 2 else "q"])
    sheet.merge_cells("A3:A5")
    sheet.merge_cells("A6:A8")
    book.save(tmp_path / "t.xlsx")
    table = read_source("t.xlsx", tmp_path)
    assert table.frame["group"].tolist() == ["g0"] * 3 + ["g1"] * 3
    assert any("4 cells" in finding for finding in table.findings)
    sheet.append(["Source: office"])
    sheet.merge_cells("A9:C9")
    book.save(tmp_path / "t.xlsx")
    assert read_source("t.xlsx", tmp_path).frame["y"].isna().tolist() == [False] * 6 + [True]
    sheet.merge_cells("B4:C4")
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(InputError, match="B4:C4"):
        read_source("t.xlsx", tmp_path)


def test_messages_of_files_name_the_line_and_a_remedy_that_works(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{bad\n')
    with pytest.raises(InputError, match="line 2"):
        read_source("t.jsonl", tmp_path)
    (tmp_path / "t.csv").write_text(f"# made by a program\n# of ours\n{TABLE.to_csv(index=False)}")
    with pytest.raises(InputError, match="above the header"):
        read_source("t.csv", tmp_path)
    for name, is_read in (("t.zip", False), ("t.csv.zip", True)):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("inner.csv", TABLE.to_csv(index=False))
        if is_read:
            assert len(read_source(name, tmp_path).frame) == ROWS
        else:
            with pytest.raises(InputError, match=r"t\.csv\.zip"):
                read_source(name, tmp_path)
    with h5py.File(tmp_path / "t.h5", "w") as file:
        for part in ("train", "test"):
            file[f"{part}/data"], file[f"{part}/labels"] = np.zeros((9, 2)), np.arange(9) % 2
        file["meta"] = np.arange(3)
    with pytest.raises(InputError) as caught:
        read_source("t.h5", tmp_path)
    proposed = tomllib.loads(re.search(r"arrays = .*\}", caught.value.message)[0])["arrays"]
    read = read_source("t.h5", tmp_path, options=SourceOptions(arrays=proposed))
    assert read.keys["part"].value_counts().to_dict() == {"train": 9, "test": 9}


def test_channels_in_front_are_said(tmp_path):
    y = np.arange(30) % 3
    for shape, is_said in (((3, 16, 16), True), ((16, 16, 3), False), ((3, 3, 3), False)):
        np.savez(tmp_path / "t.npz", x=np.zeros((30, *shape), np.float32), y=y)
        findings = read_source("t.npz", tmp_path).findings
        assert any("moveaxis" in finding for finding in findings) == is_said


@pytest.mark.parametrize(
    ("texts", "is_said"),
    [
        (["a", "a;b", "b;c", "c"], True),
        (["Rome, IT", "Oslo, NO", "Bari, IT"], False),
        (["(0, 17]", "(17, 25]", "(25, inf]"], False),
        (["[1, 2]", "[2, 3]", "[1, 3]"], True),
    ],
)
def test_texts_of_several_labels_are_said(tmp_path, texts, is_said):
    pd.DataFrame({"x": range(60), "sold": [texts[row % len(texts)] for row in range(60)]}).to_csv(tmp_path / "t.csv")
    assert any("multilabel" in finding for finding in load(tmp_path, "t.csv").findings) == is_said


def test_many_whole_numbers_are_said_to_be_a_quantity(tmp_path):
    x = np.zeros((500, 2), np.float32)
    codes, counts = np.arange(500) % 100, np.arange(500) ** 2
    for y, is_said in (
        (codes, True),
        (codes.astype(float), True),
        (counts, False),
        (codes / 3, False),
        (np.arange(500) % 214, False),
    ):
        np.savez(tmp_path / "t.npz", x=x, y=y)
        findings = load_dataset(DataSettings("t.npz"), tmp_path).findings
        assert any("read as a quantity" in finding for finding in findings) == is_said
    np.savez(tmp_path / "t.npz", x=x, y=codes)
    assert len(load_dataset(DataSettings("t.npz", task="classification"), tmp_path).classes) == 100
    settled = load_dataset(DataSettings("t.npz", task="regression"), tmp_path)
    assert not any("quantity" in finding for finding in settled.findings)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("x.data", ".csv"),
        ("x.arff", "loadarff"),
        ("x.sas7bdat", "read_sas"),
        ("x.svm", "load_svmlight_file"),
        ("x.pt", "may run code"),
        ("x.wav", "sounds"),
    ],
)
def test_other_kinds_of_files_have_a_remedy(tmp_path, name, word):
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=re.escape(word)):
        read_source(name, tmp_path)


def test_folders_of_tables_and_texts_and_files_without_a_header_have_a_remedy(tmp_path):
    for folder, name, word in (("a", "t.csv", "pd.concat"), ("b", "t.txt", '"words"')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
        with pytest.raises(InputError, match=word):
            read_source(folder, tmp_path)
    TABLE[["price", "rooms"]].to_csv(tmp_path / "t.csv", index=False, header=False)
    with pytest.raises(InputError, match="looks like a row"):
        load(tmp_path, "t.csv")
    numbered = TABLE.assign(part=np.arange(ROWS) % 3)
    numbered.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match="name them so"):
        load(tmp_path, "t.csv", split=Split("fixed", column="part"))
    names = numbered.part.map({0: "train", 1: "validation", 2: "test"})
    numbered.assign(part=names).to_csv(tmp_path / "t.csv", index=False)
    assert load(tmp_path, "t.csv", split=Split("fixed", column="part")).sizes["test"] == ROWS // 3


@pytest.mark.parametrize(
    ("others", "number", "is_said"),
    [
        (np.arange(ROWS) % 50, -999, True),
        (np.arange(ROWS) / 7, 9999, True),
        (np.arange(ROWS) * 20, 999, False),  # among the others
        (np.arange(ROWS) % 50, 60, False),
    ],
)
def test_numbers_that_may_stand_for_no_value_are_said_with_a_remedy_that_works(tmp_path, others, number, is_said):
    values = np.where(np.arange(ROWS) % 9 == 0, number, others)
    pd.DataFrame({"a": values, "sold": TABLE.sold}).to_csv(tmp_path / "t.csv")
    said = [finding for finding in load(tmp_path, "t.csv").findings if "no value" in finding]
    assert bool(said) == is_said
    if is_said:
        remedied = load(tmp_path, "t.csv", missing=(str(number),))
        assert [line.missing > 0 for line in remedied.columns if line.name == "a"] == [True]
        assert not any("far from" in finding for finding in remedied.findings)
        assert not any("no value" in finding for finding in load(tmp_path, "t.csv", numeric={"a": ""}).findings)


def test_numbers_of_the_type_category_are_said_and_are_labels_by_the_remedy(tmp_path):
    TABLE.assign(rooms=TABLE.rooms.astype("category")).to_parquet(tmp_path / "t.parquet")
    (said,) = [finding for finding in load(tmp_path, "t.parquet").findings if "amounts" in finding]
    assert 'categorical = ["rooms"]' in said
    TABLE.to_parquet(tmp_path / "plain.parquet")
    assert not any("amounts" in finding for finding in load(tmp_path, "plain.parquet").findings)
    kept = load(tmp_path, "t.parquet", categorical=("rooms",))
    assert [line.read_as for line in kept.columns if line.name == "rooms"] == ["category"]
    assert not any("amounts" in finding for finding in kept.findings)


def test_targets_of_nines_and_counts_with_a_rare_one_have_a_remedy_that_works(tmp_path):
    costs = np.where(np.arange(ROWS) % 9 == 0, -999.0, np.arange(ROWS) / 7)
    pd.DataFrame({"x": range(ROWS), "sold": costs}).to_csv(tmp_path / "t.csv", index=False)
    assert any("target:" in finding and "-999" in finding for finding in load(tmp_path, "t.csv").findings)
    assert load(tmp_path, "t.csv", missing=("-999",)).train.targets.min() >= 0
    counts = np.where(np.arange(ROWS) == 7, 5, np.arange(ROWS) % 4)
    pd.DataFrame({"x": range(ROWS), "sold": counts}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match='task = "regression"'):
        load(tmp_path, "t.csv")
    assert load(tmp_path, "t.csv", task="regression").task == "regression"


def test_files_by_a_wrong_name_are_refused_with_the_name_that_works(tmp_path):
    text = TABLE.to_csv(index=False)
    packed = gzip.compress(text.encode())
    TABLE.to_parquet(tmp_path / "right.parquet")
    TABLE.to_sql("t", connection := sqlite3.connect(tmp_path / "right.sqlite"), index=False)
    connection.close()
    (tmp_path / "right.csv.gz").write_bytes(packed)
    (tmp_path / "right.json").write_text(TABLE.to_json(orient="records"))
    for name, word in (("parquet", ".parquet"), ("sqlite", ".sqlite"), ("csv.gz", ".gz"), ("json", ".json")):
        (tmp_path / "wrong.csv").write_bytes((tmp_path / f"right.{name}").read_bytes())
        with pytest.raises(InputError, match=re.escape(word)):
            read_source("wrong.csv", tmp_path)
        assert len(read_source(f"right.{name}", tmp_path).frame) == ROWS
    pointer = "version https://git-lfs.github.com/spec/v1\n"
    for content, word in (("<!DOCTYPE html><html>", "web"), (pointer, "git lfs")):
        (tmp_path / "wrong.csv").write_text(content)
        with pytest.raises(InputError, match=word):
            read_source("wrong.csv", tmp_path)
    (tmp_path / "wrong.parquet").write_text(pointer)
    with pytest.raises(InputError, match="git lfs"):
        read_source("wrong.parquet", tmp_path)


def test_a_column_named_like_the_mark_of_a_binary_file_is_a_column(tmp_path):
    for name in ("PAR1", "ARROW1"):
        TABLE.rename(columns={TABLE.columns[0]: name}).to_csv(tmp_path / "t.csv", index=False)
        assert name in read_source("t.csv", tmp_path).frame.columns
    for content in (b"PAR1\0\0PAR1", b"ARROW1\0\0"):
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(InputError, match="name it"):
            read_source("t.csv", tmp_path)


def test_columns_without_a_name_or_with_one_of_another_are_refused(tmp_path):
    (tmp_path / "d.py").write_text(
        "import pandas as pd\ndef f():\n    return pd.DataFrame([[1, 2]], columns=['', ''])\n"
    )
    with pytest.raises(InputError, match="without a name"):
        read_source("d.py:f", tmp_path)
    targets = pd.DataFrame(np.eye(3)[:, :2], columns=["a", "a"])
    with pytest.raises(InputError, match=r"targets.*'a'"):
        from_result((np.eye(3), targets), "d.py:f")


def test_of_many_columns_fewer_rows_are_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr("nightune.models.data.columns.merged_numbers.READ_FIELDS", 100)
    monkeypatch.setattr("nightune.models.data.columns.merged_numbers.FEWEST_ROWS", 20)
    late = pd.DataFrame({f"v{place}": ["1.1"] * 30 + ["1.2", "1.10"] for place in range(5)})
    late.to_csv(tmp_path / "t.csv", index=False)
    assert not any("one number" in each for each in read_source("t.csv", tmp_path).findings)
    late[["v0"]].to_csv(tmp_path / "t.csv", index=False)
    assert any("one number" in each for each in read_source("t.csv", tmp_path).findings)
