"""Quotes of CSV files are read as meant: after blanks, with backslashes, left open, and where a file is cut off."""

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.dataset import Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.rows_to_predict import read_rows
from nightune.models.data.settings import DataSettings
from nightune.models.data.sources import read_source
from nightune.models.data.splits import Split
from tests.models.test_data_files import ROWS, TABLE, load

QUOTES = {
    "blanks before quotes": '"price", "city", "sold"\n'
    + "".join(f'{row}, "Rome, {"IT" if row % 3 else "US"}", "{"yes" if row % 2 else "no"}"\n' for row in range(60)),
    "backslashes": "price,city,sold\n"
    + "".join(f'{row},"a \\"{row % 3}\\", b",{"yes" if row % 2 else "no"}\n' for row in range(60)),
    "backslashes at the end": "price,city,sold\n"
    + "".join(f'{row},"a \\"{row % 3}\\"",{"yes" if row % 2 else "no"}\n' for row in range(60)),
}


@pytest.mark.parametrize(
    ("kind", "count", "example"),
    [
        ("blanks before quotes", 2, "Rome, US"),
        ("backslashes", 3, 'a "0", b'),
        ("backslashes at the end", 3, 'a "0"'),
    ],
)
def test_quotes_after_blanks_and_backslashes_are_read_and_said(tmp_path, kind, count, example):
    (tmp_path / "t.csv").write_text(QUOTES[kind])
    table = read_source("t.csv", tmp_path)
    assert table.frame.columns.tolist() == ["price", "city", "sold"]
    assert table.frame["city"].nunique() == count
    assert table.frame["city"][0] == example
    assert ["t.csv:" in finding for finding in table.findings] == [True]


@pytest.mark.parametrize("is_split", [False, True])
def test_other_files_are_read_with_the_escape_sign_of_the_training_rows(tmp_path, is_split):
    labels = ['a \\\\ \\"x\\", b', "c \\\\ d"]  # as written: a \\ \"x\", b
    lines = [f'{row},"{labels[row % 2]}",{"yes" if row % 3 else "no"}' for row in range(60)]
    plain = [line for line in lines if "x" not in line]
    (tmp_path / "t.csv").write_text("\n".join(["price,city,sold", *lines, ""]))
    (tmp_path / "test.csv").write_text("\n".join(["price,city,sold", *plain, ""]))
    split = Split("fixed", test="test.csv") if is_split else Split("random")
    data = load_dataset(DataSettings("t.csv", target="sold", split=split), tmp_path)
    rows = read_rows(tmp_path / "test.csv", data.description).rows
    assert set(rows["city"]) == {"c \\ d"}
    if is_split:
        assert set(data.test.open(Purpose.PREPARATION, record=lambda: None).table["city"]) == {"c \\ d"}


@pytest.mark.parametrize("text", ['he said ""x, ""y""', "C:\\", "a, ", 'C:\\""x', 'C:\\""'])
def test_usual_quotes_are_read_as_before(tmp_path, text):
    lines = "".join(f'{row},"{text}","{"yes" if row % 2 else "no"}"\n' for row in range(60))
    (tmp_path / "t.csv").write_text(f"price,city,sold\n{lines}")
    table = read_source("t.csv", tmp_path)
    assert table.findings == ()
    assert set(table.frame["city"]) == {text.replace('""', '"')}


def test_a_last_line_that_is_cut_off_is_said(tmp_path):
    text = TABLE.to_csv(index=False)
    (tmp_path / "t.csv").write_text(text)
    assert read_source("t.csv", tmp_path).findings == ()
    (tmp_path / "cut.csv").write_text(text[: text.rstrip().rfind(",") - 3])
    assert any("last line" in finding for finding in read_source("cut.csv", tmp_path).findings)
    data = load(tmp_path, "t.csv", split=Split("fixed", validation="cut.csv"))
    assert next(finding for finding in data.findings if "last line" in finding).startswith("cut.csv")


@pytest.mark.parametrize(
    ("row", "last", "is_said"),
    [
        ('1, "x, y", no', '1, "x, y"', True),
        ('1, "x, y", no', '2, "x, y", no', False),
        (r'1,"say \"x\"",no', r'"\"","\"",no', False),
        (r'1,"say \"x\"",no', r'1,"say \"x\""', True),
    ],
)
def test_a_last_line_is_divided_as_the_others(tmp_path, row, last, is_said):
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c", *[row] * 20, last]))
    assert is_said == any("last line" in finding for finding in read_source("t.csv", tmp_path).findings)


@pytest.mark.parametrize(("first", "last"), [(20, 29), (20, 21)])
def test_rows_behind_an_open_quote_are_said(tmp_path, first, last):
    lines = [f"{row},{chr(34) if row in (first, last) else ''}note,{row % 2}" for row in range(ROWS)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c", *lines, ""]))
    table = read_source("t.csv", tmp_path)
    assert len(table.frame) == ROWS - (last - first)
    assert any(f"{last - first} line ends" in finding for finding in table.findings)
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c", *lines, ""]).replace('"', '""""'))
    assert len(read_source("t.csv", tmp_path).frame) == ROWS


def test_fields_of_several_lines_are_no_rows(tmp_path):
    TABLE.assign(note="Rome, IT\nOslo").to_csv(tmp_path / "t.csv", index=False)
    assert read_source("t.csv", tmp_path).findings == ()


@pytest.mark.parametrize(
    "text", ["Dear all,\nthanks {}, see you", "Dear all,\nthanks {}", "Hello {}, you\nbye", "Dear all\n,thanks {}"]
)
def test_letters_of_several_lines_are_no_rows(tmp_path, text):
    texts = [text.format(row) for row in range(ROWS)]
    for targets in (np.arange(ROWS) % 2, np.where(np.arange(ROWS) % 2, "yes", "no")):
        for table in ({"text": texts, "y": targets}, {"y": ["", *targets[1:]], "text": texts}):
            pd.DataFrame(table).to_csv(tmp_path / "t.csv", index=False)
            assert read_source("t.csv", tmp_path).findings == ()
    lines = [f"{chr(34) if row in (20, 24) else ''}note {row},{'yes' if row % 2 else 'no'}" for row in range(ROWS)]
    (tmp_path / "t.csv").write_text("\n".join(["text,y", *lines, ""]))
    assert any("4 line ends" in finding for finding in read_source("t.csv", tmp_path).findings)
