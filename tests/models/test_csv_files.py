"""CSV files of every usual form hold the same table; what was guessed is said, and can be set."""

import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.data.loading import load_dataset
from nightune.models.data.rows_to_predict import read_rows
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.errors import InputError
from nightune.models.serving.preprocessing import clean_table

ROWS = 60
random = np.random.default_rng(2)
TABLE = pd.DataFrame(
    {
        "price": np.round(random.normal(100, 30, ROWS), 2),
        "rooms": random.integers(1, 9, ROWS),
        "city": random.choice(["Köln", "São Paulo", "Paris"], ROWS),
        "code": [f"0{row % 5}" for row in range(ROWS)],
        "note": random.choice(["big, old", 'a "gem"', "new"], ROWS),
        "sold": random.choice(["yes", "no"], ROWS),
    }
)


def text_of(separator: str = ",", decimal: str = ".") -> str:
    return TABLE.to_csv(index=False, sep=separator, decimal=decimal)


def zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("__MACOSX/._t.csv", b"notes")
        archive.writestr("t.csv", content)
    return stream.getvalue()


def load(folder: Path, name: str, content: bytes, **keys) -> Dataset:
    (folder / name).write_bytes(content)
    return load_dataset(DataSettings(name, target="sold", **keys), folder)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(tmp_path_factory.mktemp("plain"), "t.csv", text_of().encode())


FORMS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "semicolons": ("t.csv", lambda: text_of(";").encode(), 'separator = ";"'),
    "decimal commas": ("t.csv", lambda: text_of(";", ",").encode(), 'decimal = ","'),
    "tabs": ("t.tsv", lambda: text_of("\t").encode(), r'separator = "\\t"'),
    "bars": ("t.txt", lambda: text_of("|").encode(), r'separator = "\|"'),
    "note for spreadsheets": ("t.csv", lambda: b"sep=;\r\n" + text_of(";").encode(), 'separator = ";"'),
    "byte order mark": ("t.csv", lambda: text_of().encode("utf-8-sig"), ""),
    "UTF-16": ("t.csv", lambda: text_of("\t").encode("utf-16"), "utf-16"),
    "Windows": ("t.csv", lambda: text_of(";").encode("cp1252"), 'encoding = "cp1252".*Köln'),
    "gz": ("t.csv.gz", lambda: gzip.compress(text_of().encode()), ""),
    "xz": ("t.csv.xz", lambda: lzma.compress(text_of(";").encode()), 'separator = ";"'),
    "zip": ("t.zip", lambda: zipped(text_of().encode()), ""),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_table_is_the_same_in_every_form(tmp_path, plain, form):
    name, content, said = FORMS[form]
    read = load(tmp_path, "t.csv.zip" if name == "t.zip" else name, content())
    assert plain.preprocessing is not None
    assert read.preprocessing is not None
    assert read.preprocessing.content == plain.preprocessing.content
    np.testing.assert_array_equal(read.train.inputs, plain.train.inputs)
    findings = " ".join(set(read.findings) - set(plain.findings))
    assert not findings if not said else pd.Series([findings]).str.contains(said).all()


def test_what_the_study_says_is_not_guessed(tmp_path, plain):
    keys = {"separator": ";", "decimal": ",", "encoding": "cp1252"}
    read = load(tmp_path, "t.csv", text_of(";", ",").encode("cp1252"), **keys)
    np.testing.assert_array_equal(read.train.inputs, plain.train.inputs)
    assert read.findings == plain.findings


def test_blanks_between_columns_are_read_if_the_study_says_so(tmp_path):
    lines = [f"{row}   {row % 7} {'yes' if row % 2 else 'no'}" for row in range(40)]
    read = load(tmp_path, "t.txt", "\n".join(["a b   sold", *lines]).encode(), separator=" ")
    assert read.input_shape == (2,)


def test_points_are_thousands_where_commas_are_decimals(tmp_path):
    amounts = ["1.250", "950", "12.500", "1.100"] * 15
    shares = ["1,5", "2,25", "0,1", "3"] * 15
    lines = [f"{a};{b};{'yes' if row % 3 else 'no'}" for row, (a, b) in enumerate(zip(amounts, shares, strict=True))]
    content = "\n".join(["amount;share;sold", *lines]).encode()
    read = load(tmp_path, "t.csv", content, split=Split("random"))
    assert read.preprocessing is not None
    assert {column.name: column.form for column in read.preprocessing.columns}["amount"] == "1.250,00"
    (tmp_path / "rows.csv").write_text("amount;share\n1.250;2\n")
    (tmp_path / "comma.csv").write_text("amount,share\n1.250,2.0\n")
    rows = read_rows(tmp_path / "rows.csv", read.description).rows
    largest = read.preprocessing.transform(pd.DataFrame({"amount": ["1250"], "share": [2.0]}))
    np.testing.assert_allclose(read.preprocessing.transform(rows), largest, rtol=1e-6)


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1.250,50", "2.000,00", "12,5"], [1250.5, 2000.0, 12.5]),
        (["1,250.50", "2,000.00", "12.5"], [1250.5, 2000.0, 12.5]),
        (["0,125", "0,250", "1,500"], [0.125, 0.25, 1.5]),
        (["0.125", "0.250", "1.500"], [0.125, 0.25, 1.5]),
        (["1.250,50 €", "2.000,00 €", "3,00 €"], [1250.5, 2000.0, 3.0]),
    ],
)
def test_decimal_signs_that_are_certain_settle_those_that_are_not(tmp_path, cells, values):
    lines = [f"{cells[row % 3]};{row % 7};{'yes' if row % 2 else 'no'}" for row in range(60)]
    read = load(tmp_path, "t.csv", "\n".join(["a;b;sold", *lines]).encode("cp1252"), split=Split("random"))
    (tmp_path / "rows.csv").write_bytes("\n".join(["a;b", *(f"{cell};1" for cell in cells)]).encode("cp1252"))
    rows = read_rows(tmp_path / "rows.csv", read.description).rows
    known = clean_table(rows, read.preprocessing.columns)["a"].tolist()
    assert known == pytest.approx(values)


def test_a_file_of_one_row_to_predict_keeps_the_decimal_commas_of_training(tmp_path):
    read = load(tmp_path, "t.csv", text_of(";", ",").encode())
    (tmp_path / "rows.csv").write_text(TABLE.head(1).to_csv(index=False, sep=";", decimal=","))
    assert read_rows(tmp_path / "rows.csv", read.description).rows["price"].tolist() == [TABLE.price[0]]
    (tmp_path / "rows.csv").write_text(TABLE.head(1).to_csv(index=False))
    assert read_rows(tmp_path / "rows.csv", read.description).rows["price"].tolist() == [TABLE.price[0]]


def test_files_of_a_fixed_split_are_written_like_the_first(tmp_path):
    (tmp_path / "val.csv").write_text(TABLE.tail(20).to_csv(index=False, sep=";", decimal=","), encoding="cp1252")
    content = TABLE.head(40).to_csv(index=False, sep=";", decimal=",").encode()
    read = load(tmp_path, "train.csv", content, split=Split("fixed", validation="val.csv"))
    assert read.sizes["validation"] == 20
    assert [column.kind for column in read.preprocessing.columns][:2] == ["number", "number"]


@pytest.mark.parametrize("line", ["{0},{1},.8,{2}", "{0},{1},.8,{2},", "7,{1},.8,{2}"])
def test_a_field_more_than_names_is_refused_also_where_the_first_one_counts(tmp_path, line):
    rows = "\n".join(line.format(row, row % 7, row % 2) for row in range(30))
    with pytest.raises(InputError, match="more fields than its header"):
        load(tmp_path, "t.csv", f"x,z,sold\n{rows}\n".encode())


def test_a_separator_at_the_end_of_each_row_is_no_field(tmp_path):
    rows = "\n".join(f"{row},{'yes' if row % 2 else 'no'}," for row in range(30))
    read = load(tmp_path, "t.csv", f"x,sold\n{rows}\n".encode())
    assert [column.name for column in read.preprocessing.columns] == ["x"]
    assert sorted(read.classes) == ["no", "yes"]


@pytest.mark.parametrize(
    ("name", "content", "keys", "words"),
    [
        ("t.csv.gz", b"\x1f\x8b cut", {}, ["data.source", "unpacked"]),
        ("t.csv.zip", zipped(b"a")[:40], {}, ["data.source", "unpacked"]),
        ("t.csv", "город;sold\nМосква;no\n".encode("cp1251") * 9, {}, ["data.source", "encoding", "cp1251"]),
        ("t.csv", text_of().encode("cp1252"), {"encoding": "utf-8"}, ["data.encoding", "utf-8"]),
        ("t.csv", text_of().encode("utf-16-le"), {}, ["data.source", "null characters", "utf-16-le"]),
        ("t.csv", b"1,1,a\n2,2,b\n", {}, ["data.source", "'1'", "first line"]),
        ("t.csv", b"x~sold\n1~yes\n2~no\n3~no\n", {}, ["data.target", "separator"]),
        ("t.csv", text_of().encode(), {"query": "select 1"}, ["data.query", "SQLite"]),
        ("t.parquet", b"PAR1", {"separator": ";"}, ["data.separator", "CSV"]),
    ],
    ids=lambda value: str(len(value)) if isinstance(value, bytes) else None,  # an archive holds the time
)
def test_what_cannot_be_read_is_refused(tmp_path, name, content, keys, words):
    with pytest.raises(InputError) as caught:
        load(tmp_path, name, content, **keys)
    assert caught.value.key == words[0]
    assert all(word in caught.value.message for word in words[1:])


def test_an_archive_of_several_files_is_refused_by_their_names(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.csv.zip", "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "x")
    with pytest.raises(InputError, match=r"a\.csv, b\.csv"):
        load_dataset(DataSettings("t.csv.zip", target="sold"), tmp_path)


def test_the_encoding_that_the_message_names_reads_the_file(tmp_path):
    lines = [f"{'Москва' if row % 2 else 'Тверь'};{row % 5};{'yes' if row % 3 else 'no'}" for row in range(40)]
    content = "\n".join(["город;x;sold", *lines]).encode("cp1251")
    read = load(tmp_path, "t.csv", content, encoding="cp1251")
    assert "город=Москва" in read.description["features"] or read.description["columns"][0]["name"] == "город"
