"""Files that keep types hold the same table as CSV; whole numbers keep every digit; databases give rows of a query."""

import json
import sqlite3
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from nightune.models.data.dataset import Dataset
from nightune.models.data.loading import load_dataset
from nightune.models.data.rows_to_predict import read_rows
from nightune.models.data.settings import DataSettings
from nightune.models.data.sources import read_source
from nightune.models.errors import InputError

ROWS = 60
random = np.random.default_rng(2)
LONG = 9_007_199_254_740_993  # 2^53 + 1, which no float64 holds
TABLE = pd.DataFrame(
    {
        "price": np.round(random.normal(100, 30, ROWS), 2),
        "rooms": random.integers(1, 9, ROWS),
        "city": random.choice(["Köln", "Paris"], ROWS),
        "code": [f"0{row % 5}" for row in range(ROWS)],
        "sold": random.choice(["yes", "no"], ROWS),
    }
)
RECORDS = json.loads(TABLE.to_json(orient="records"))


def load(folder: Path, source: str, **keys) -> Dataset:
    return load_dataset(DataSettings(source, target="sold", **keys), folder)


def frame_of(folder: Path, source: str) -> pd.DataFrame:
    return read_source(source, folder).frame


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("plain")
    TABLE.to_parquet(folder / "t.parquet")
    return load(folder, "t.parquet")


def write_sqlite(file: Path, **tables: pd.DataFrame) -> None:
    connection = sqlite3.connect(file)
    for name, table in tables.items():
        table.to_sql(name, connection, index=False)
    connection.close()


def write_stream(file: Path) -> None:
    table = pa.Table.from_pandas(TABLE)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)


def write_excel(file: Path) -> None:
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter(file) as book:
        pd.DataFrame({"notes": ["a"]}).to_excel(book, sheet_name="notes", index=False)
        TABLE.to_excel(book, sheet_name="rows", index=False)


def write_duckdb(file: Path) -> None:
    with pytest.importorskip("duckdb").connect(str(file)) as database:
        database.register("given", pa.Table.from_pandas(TABLE))
        database.execute("create table flats as select * from given")
        database.execute("create table others as select 1 as x")


FILES = {
    "lines": ("t.jsonl", lambda file: file.write_text("\n".join(map(json.dumps, RECORDS))), {}),
    "lines by another name": ("t.json", lambda file: file.write_text("\n".join(map(json.dumps, RECORDS))), {}),
    "records": ("t.json", lambda file: file.write_text(json.dumps(RECORDS)), {}),
    "records in an object": ("t.json", lambda file: file.write_text(json.dumps({"n": 1, "rows": RECORDS})), {}),
    "columns": ("t.json", lambda file: file.write_text(json.dumps(TABLE.to_dict("list"))), {}),
    "columns of pandas": ("t.json", lambda file: file.write_text(TABLE.to_json()), {}),
    "split": ("t.json", lambda file: file.write_text(TABLE.to_json(orient="split")), {}),
    "feather": ("t.feather", TABLE.to_feather, {}),
    "stream": ("t.arrow", write_stream, {}),
    "sqlite": ("t.db", lambda file: write_sqlite(file, flats=TABLE), {}),
    "query": (
        "t.sqlite",
        lambda file: write_sqlite(file, flats=TABLE, others=TABLE.head(2)),
        {"query": "select * from flats"},
    ),
    "excel": ("t.xlsx", write_excel, {"sheet": "rows"}),
    "duckdb": ("t.duckdb", write_duckdb, {"query": "select * from flats"}),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_table_is_the_same_in_every_kind_of_file(tmp_path, plain, kind):
    name, write, keys = FILES[kind]
    write(tmp_path / name)
    read = load(tmp_path, name, **keys)
    np.testing.assert_allclose(read.train.inputs, plain.train.inputs, rtol=1e-6)
    assert read.description["features"] == plain.description["features"]


def test_folders_of_a_parquet_folder_are_columns(tmp_path):
    for code, part in TABLE.groupby("code"):
        folder = tmp_path / "parts" / f"code={code}" / f"rooms={part.rooms.iloc[0]}"
        folder.mkdir(parents=True)
        part.drop(columns=["code", "rooms"]).to_parquet(folder / "part-0.parquet")
    frame = frame_of(tmp_path, "parts")
    assert len(frame) == ROWS
    assert set(frame["code"]) == {"00", "01", "02", "03", "04"}
    assert load(tmp_path, "parts").input_shape


def test_an_index_without_a_name_is_no_column(tmp_path):
    for part in range(2):
        (tmp_path / "parts").mkdir(exist_ok=True)
        TABLE.iloc[part::2].to_parquet(tmp_path / "parts" / f"{part}.parquet")
    assert frame_of(tmp_path, "parts").columns.tolist() == TABLE.columns.tolist()


def test_parts_of_a_folder_have_the_same_columns_of_types_that_fit(tmp_path):
    (tmp_path / "parts" / "_hidden").mkdir(parents=True)
    (tmp_path / "parts" / "_hidden" / "a.parquet").touch()
    (tmp_path / "parts" / "readme.txt").touch()
    TABLE.head(30).astype({"rooms": float}).to_parquet(tmp_path / "parts" / "b.parquet")
    TABLE.tail(30).to_parquet(tmp_path / "parts" / "c.parquet")
    frame = frame_of(tmp_path, "parts")
    assert frame["rooms"].tolist() == TABLE["rooms"].tolist()
    TABLE.tail(5).rename(columns={"rooms": "beds"}).to_parquet(tmp_path / "parts" / "d.parquet")
    with pytest.raises(InputError, match=r"d\.parquet.*beds, rooms"):
        frame_of(tmp_path, "parts")
    (tmp_path / "parts" / "d.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="Parquet"):
        frame_of(tmp_path, "parts")


@pytest.mark.parametrize(("separator", "mark"), [(";", ","), (",", ".")])
def test_labels_that_become_one_number_are_said_and_kept_by_the_remedy(tmp_path, separator, mark):
    sections = [f"{1 + row % 2}{mark}{1 if row % 3 else 10}" for row in range(ROWS)]
    prices = [f"{row / 4:.2f}".replace(".", mark) for row in range(ROWS)]
    table = pd.DataFrame({"section": sections, "price": prices, "sold": TABLE.sold})
    table.to_csv(tmp_path / "t.csv", sep=separator, index=False)

    def remarks(**keys) -> list[str]:
        return [each for each in load(tmp_path, "t.csv", **keys).findings if "are one number" in each]

    (remark,) = remarks()
    assert f"1{mark}10" in remark
    assert remarks(numeric={"section": ""}) == []
    kept = load(tmp_path, "t.csv", categorical=("section",))
    assert [line.distinct for line in kept.columns if line.name == "section"] == [4]
    table.assign(sold=sections, section=TABLE.sold).to_csv(tmp_path / "t.csv", sep=separator, index=False)
    assert len(load(tmp_path, "t.csv", categorical=("sold",)).classes) == 4


def test_codes_that_look_like_powers_of_ten_are_said(tmp_path):
    codes = [["1E5", "10E4", "2E3"][row % 3] for row in range(ROWS)]
    powers = [["1e+05", "2.5e3", "1e-2"][row % 3] for row in range(ROWS)]
    pd.DataFrame({"code": codes, "power": powers, "sold": TABLE.sold}).to_csv(tmp_path / "t.csv", index=False)
    said = [finding for finding in load(tmp_path, "t.csv").findings if "categorical" in finding]
    assert ["'1E5' is the number 100000" in finding and "code" in finding for finding in said] == [True]
    kept = load(tmp_path, "t.csv", categorical=("code",))
    assert [line.distinct for line in kept.columns if line.name == "code"] == [3]


def test_fractions_are_no_units(tmp_path):
    halves = [f"{row % 9}½" for row in range(ROWS)]
    pd.DataFrame({"size": halves, "sold": TABLE.sold}).to_csv(tmp_path / "t.csv", index=False)
    assert [line.read_as for line in load(tmp_path, "t.csv").columns if line.name == "size"] == ["category"]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "feather", "sqlite"])
def test_long_numbers_with_gaps_keep_every_digit(tmp_path, kind):
    ids = [LONG + row % 3 if row % 4 else None for row in range(ROWS)]
    table = pd.DataFrame({"id": pd.array(ids, "Int64"), "x": range(ROWS), "sold": TABLE.sold})
    file = tmp_path / f"t.{kind}"
    if kind == "jsonl":
        rows = [{"id": ids[row], "x": row, "sold": TABLE.sold[row]} for row in range(ROWS)]
        file.write_text("\n".join(map(json.dumps, rows)))
    elif kind == "parquet":
        parquet.write_table(pa.table({"id": pa.array(ids, pa.int64()), "x": table.x, "sold": table.sold}), file)
    elif kind == "feather":
        table.to_feather(file)
    else:
        write_sqlite(file, rows=table)
    data = load(tmp_path, file.name, categorical=("id",))
    assert data.preprocessing is not None
    assert [f"id={LONG + place}" in data.description["features"] for place in range(3)] == [True] * 3
    rows = read_rows(file, data.description).rows
    assert set(map(str, rows["id"].dropna())) == {str(LONG + place) for place in range(3)}
    features = data.preprocessing.transform(rows)
    assert len(np.unique(features[:, [f.startswith("id=") for f in data.description["features"]]], axis=0)) == 4


@pytest.mark.parametrize("suffix", ["csv", "json"])
@pytest.mark.parametrize(("first", "has_gaps"), [(2**60, False), (2**60, True), (2**63 + 5, False), (10**25, True)])
def test_numbers_that_no_float_tells_apart_are_labels(tmp_path, suffix, first, has_gaps):
    ids = [None if has_gaps and row % 4 == 3 else first + row % 3 for row in range(ROWS)]
    rows = [{"id": ids[row], "x": row % 7, "sold": TABLE.sold[row]} for row in range(ROWS)]
    file = tmp_path / f"t.{suffix}"
    if suffix == "json":
        file.write_text(json.dumps(rows))
    else:
        file.write_text(
            "id,x,sold\n" + "".join(f"{'' if r['id'] is None else r['id']},{r['x']},{r['sold']}\n" for r in rows)
        )
    data = load(tmp_path, file.name)
    assert data.preprocessing is not None
    assert {f"id={first + place}" for place in range(3)} <= set(data.description["features"])
    assert any("read as labels" in finding and "'id'" in finding for finding in data.findings)
    features = data.preprocessing.transform(read_rows(file, data.description).rows)
    assert len(np.unique(features[:, [each.startswith("id=") for each in data.description["features"]]], axis=0)) >= 3
    if not has_gaps:
        assert load(tmp_path, file.name, numeric={"id": ""}, drop=()).input_shape


def test_digits_of_json_stay_texts_and_objects_become_columns(tmp_path):
    rows = [{"zip": f"0{row % 7}", "at": {"x": row, "y": 1}, "sold": "yn"[row % 2]} for row in range(40)]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    assert list(frame_of(tmp_path, "t.json").columns) == ["zip", "at.x", "at.y", "sold"]
    assert frame_of(tmp_path, "t.json")["zip"][3] == "03"


def write_hdf5(file: Path) -> None:
    with h5py.File(file, "w") as content:
        content["train/images"] = np.arange(240.0).reshape(60, 4)
        content["labels"] = np.array(["a", "b", "c"] * 20, dtype=h5py.string_dtype())
        content["notes"] = [1]


def test_datasets_of_hdf5_are_read_by_their_names(tmp_path):
    write_hdf5(tmp_path / "t.h5")
    settings = DataSettings("t.h5", arrays={"x": "train/images", "y": "labels"})
    data = load_dataset(settings, tmp_path)
    assert (data.input_shape, data.classes) == ((4,), ("a", "b", "c"))
    assert any("'notes'" in finding for finding in data.findings)
    with h5py.File(tmp_path / "rows.h5", "w") as content:
        content["x"] = np.zeros((2, 4))
    assert read_rows(tmp_path / "rows.h5", data.description).rows.shape == (2, 4)


def test_arrays_of_a_file_are_read_by_the_names_of_the_study(tmp_path):
    np.savez(tmp_path / "t.npz", images=np.zeros((9, 2)) + np.arange(9)[:, None], labels=np.arange(9) % 2)
    data = load_dataset(DataSettings("t.npz", arrays={"x": "images", "y": "labels"}), tmp_path)
    assert data.input_shape == (2,)


def test_files_of_one_array_are_read_together(tmp_path):
    np.save(tmp_path / "x.npy", random.normal(size=(30, 4)))
    np.save(tmp_path / "labels.npy", np.arange(30) % 3)
    data = load_dataset(DataSettings("x.npy", arrays={"y": "labels.npy"}), tmp_path)
    assert (data.input_shape, data.output_size) == ((4,), 3)
    assert read_rows(tmp_path / "x.npy", data.description).rows.shape == (30, 4)


def write_several(folder: Path) -> None:
    write_sqlite(folder / "two.db", a=TABLE, b=TABLE)
    write_hdf5(folder / "t.h5")
    np.save(folder / "x.npy", np.zeros((9, 2)))
    (folder / "broken.db").write_bytes(b"SQLite format 3\0" + b"x" * 200)
    (folder / "t.json").write_text('{"a": 1}')
    (folder / "cut.json").write_text('[{"a": 1}, {"a"')
    (folder / "t.feather").write_bytes(b"ARROW1")
    (folder / "empty").mkdir()


@pytest.mark.parametrize(
    ("source", "keys", "words"),
    [
        ("two.db", {}, ["data.query", "2 tables", "select * from a"]),
        ("two.db", {"query": "select * from c"}, ["data.query", "no such table", "select * from a"]),
        ("two.db", {"query": "drop table a"}, ["data.query", "readonly"]),
        ("two.db", {"query": "select sold, sold from a"}, ["data.query", "'sold'"]),
        ("broken.db", {}, ["data.source", "broken.db"]),
        ("t.h5", {}, ["data.source", "arrays = {", "train/images"]),
        ("t.h5", {"arrays": {"x": "images", "y": "labels"}}, ["data.arrays", "train/images"]),
        ("t.h5", {"arrays": {"z": "images"}}, ["data.arrays", "'z'"]),
        ("x.npy", {}, ["data.arrays", 'arrays = { y = "y.npy" }']),
        ("x.npy", {"arrays": {"y": "y.npy"}}, ["data.arrays", "y.npy"]),
        ("t.json", {}, ["data.source", "t.json", "list of rows"]),
        ("cut.json", {}, ["data.source", "well-formed", "cut.json"]),
        ("t.feather", {}, ["data.source", "t.feather"]),
        ("empty", {}, ["data.source", "'empty' is a folder"]),
        ("t.json", {"sheet": "a"}, ["data.sheet", "Excel"]),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_remedy(tmp_path, source, keys, words):
    write_several(tmp_path)
    with pytest.raises(InputError) as caught:
        load_dataset(DataSettings(source, target="sold", **keys), tmp_path)
    assert caught.value.key == words[0]
    assert all(word in caught.value.message for word in words[1:])


def test_several_sheets_need_the_name_of_one(tmp_path):
    write_excel(tmp_path / "t.xlsx")
    for sheet in ("", "none"):
        with pytest.raises(InputError, match="sheet = 'notes'"):
            load(tmp_path, "t.xlsx", sheet=sheet)


@pytest.mark.parametrize(("name", "package"), [("t.xlsx", "openpyxl"), ("t.duckdb", "duckdb")])
def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch, name, package):
    (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"pip install {package}"):
        load(tmp_path, name)


def test_formulas_of_excel_that_were_never_calculated_are_refused(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [
        ("a", "b", "y"),
        *((number, number if number % 2 else f"=A{number + 2}*2", number) for number in range(9)),
    ]:
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(InputError, match="B2 has no value"):
        load(tmp_path, "t.xlsx")
