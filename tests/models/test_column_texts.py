"""Numbers, dates and labels as people write them: read as what they are, with a finding, in training as in serving."""

import io
import json

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.columns.reading import Choices
from nightune.models.data.dataset import Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.tables import fit_preprocessing
from nightune.models.errors import InputError
from nightune.models.serving.date_texts import FORMS as DATE_READERS
from nightune.models.serving.date_texts import read_date
from nightune.models.serving.number_texts import COMMA, POINT, plain_number
from nightune.models.serving.number_texts import FORMS as NUMBER_READERS
from nightune.models.serving.preprocessing import TablePreprocessing, clean_table
from nightune.vocabulary import DATE_FORMS, NUMBER_FORMS

random = np.random.default_rng(4)


def fit(texts, **choices):
    table = pd.DataFrame({"x": texts, "z": np.arange(len(texts)) % 7})
    return fit_preprocessing(table, np.arange(len(texts)), Choices(**choices))


def read(texts, **choices):
    """The column's kind, its values, and the findings."""
    preprocessing, findings = fit(texts, **choices)
    column = preprocessing.columns[0]
    assert column.name == "x"
    return column, clean_table(pd.DataFrame({"x": texts}), [column])["x"].tolist(), findings


def loaded(folder, table, **keys):
    text = table if isinstance(table, str) else table.to_csv(index=False)
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return load_dataset(DataSettings("t.csv", **keys), folder)


def test_the_study_and_the_readers_know_the_same_forms():
    assert (NUMBER_READERS, DATE_READERS) == (NUMBER_FORMS, DATE_FORMS)


@pytest.mark.parametrize(
    ("text", "form", "marks", "number"),
    [
        ("1,250", POINT, (), 1250),
        ("1.250,5", COMMA, (), 1250.5),
        ("1 250,50 €", COMMA, ("€",), 1250.5),
        ("1\u202f250", COMMA, (), 1250),
        ("1’250.00", POINT, (), 1250),
        ("12,34,567", POINT, (), 1234567),
        ("$12.50", POINT, ("$",), 12.5),
        ("-$5", POINT, ("$",), -5),
        ("$-5", POINT, ("$",), -5),
        ("($1,250.5)", POINT, ("$",), -1250.5),
        ("−3", POINT, (), -3),
        ("1,250-", POINT, (), -1250),
        ("5 %", POINT, ("%",), 5),
        (".5", POINT, (), 0.5),
        ("$1.2M", POINT, ("$", "K", "M"), 1.2e6),
        ("300 K", POINT, ("$", "K", "M"), 3e5),
        ("1,5 Mio. €", COMMA, ("€", "Mio."), 1.5e6),
        ("5M", POINT, ("$",), None),
        ("1.5e3", POINT, (), 1500),
        *(
            (text, POINT, ("EUR",), None)
            for text in ("1,25", "7-8", "--5", "12 USD", "1.2.3", "e5", ".", "", "1 EUR EUR")
        ),
        ("0.125", COMMA, (), None),
    ],
)
def test_a_number_is_read_in_its_form_or_not_at_all(text, form, marks, number):
    plain = plain_number(text, form, marks)
    assert (None if plain is None else float(plain)) == number


@pytest.mark.parametrize(
    ("text", "moments"),
    [
        ("31/12/2020", ["2020-12-31", None, None]),
        ("12/31/2020", [None, "2020-12-31", None]),
        ("3/7/21", ["2021-07-03", "2021-03-07", None]),
        ("2020/12/31", [None, None, "2020-12-31"]),
        ("31.12.20", ["2020-12-31", None, None]),
        ("1.2.3", [None] * 3),
        ("31/02/2020", [None] * 3),
        *((text, ["2020-12-31"] * 3) for text in ("31 Dec 2020", "Dec 31, 2020", "31. Dezember 2020", "31-dic-20")),
        ("Thu, 31 Dec 2020 10:30", ["2020-12-31 10:30"] * 3),
        *((text, ["2020-12-01"] * 3) for text in ("2020-12", "12/2020", "Dec 2020", "décembre 2020")),
        ("2019-20", [None] * 3),
        ("31/12/2020 3:30 PM", ["2020-12-31 15:30", None, None]),
        ("2020/12/31 10:00+01:00", [None, None, "2020-12-31 09:00"]),
    ],
)
def test_a_date_is_read_in_its_order_or_not_at_all(text, moments):
    wanted = [None if moment is None else pd.Timestamp(moment, tz="UTC").timestamp() for moment in moments]
    assert [read_date(text, form) for form in ("DD/MM/YYYY", "MM/DD/YYYY", "YYYY/MM/DD")] == wanted


AMOUNTS = random.lognormal(10, 0.5, 200).round(2)
WAYS = {
    "dollars": [f"${value:,.2f}" for value in AMOUNTS],
    "euros": [f"{value:,.2f} €".translate(str.maketrans(",.", ".,")) for value in AMOUNTS],
    "codes": [f"{value:.2f} CHF" for value in AMOUNTS],
    "signs on some": [f"£{value:.2f}" if value > 20_000 else f"{value:.2f}" for value in AMOUNTS],
    "Swiss": [f"{value:,.2f}".replace(",", "’") for value in AMOUNTS],
    "units": [f"{value:.2f} km/h" for value in AMOUNTS],
    "percent": [f"{value:.2f}%" for value in AMOUNTS],
    "blanks": [f" {value:,.2f} " for value in AMOUNTS],
}


@pytest.mark.parametrize("way", WAYS)
def test_amounts_are_numbers_with_a_finding(way):
    column, values, findings = read(WAYS[way])
    assert column.kind == "number"
    np.testing.assert_allclose(values, AMOUNTS)
    assert any("'x' is read as numbers" in finding and "categorical" in finding for finding in findings)


def test_few_other_texts_are_missing_however_few_values_there_are():
    texts = [str(value) for value in range(5)] * 40 + ["?", "five", "six or so", "about 7", "eight"]
    column, values, _ = read(texts)
    assert column.kind == "number"
    assert np.isnan(values).sum() == 5
    many = [f"${value}" for value in range(3000)] + ["free", "on request"]
    assert np.isnan(read(many)[1]).sum() == 2


def test_magnitudes_multiply():
    _, values, findings = read(["$1.2M", "$300K", "$45,000", "$1.5M"] * 10)
    assert values[:4] == [1.2e6, 3e5, 45000, 1.5e6]
    assert "'$1.2M' is 1200000" in findings[0]
    assert read(["12k", "850", "3k", "900"] * 10)[1][:2] == [12000, 850]


def test_placeholders_and_a_few_other_texts_are_missing_and_counted():
    texts = [f"${value:,}" for value in range(1, 96)] + ["?", "-", "n/a", "ask Bob", "?"]
    column, values, findings = read(texts)
    assert column.kind == "number"
    assert np.isnan(values[95:]).all()
    assert not np.isnan(values[:95]).any()
    assert "5 fields ('?', '-', 'n/a' and 1 more) read as missing" in findings[0]


@pytest.mark.parametrize(
    "texts",
    [
        ["$5", "€6", "$7", "€8"] * 10,
        ["5 kg", "6 lb", "7 kg", "9 lb"] * 10,
        ["12 m", "850", "3 m", "900"] * 10,
        ["5%", "0.2", "7%", "0.3"] * 10,
        ["C1", "C2", "C3", "C4"] * 10,
        ["Room 1", "Room 2"] * 20,
        ["01234", "00111", "90210"] * 10,
        ["18-25", "26-40", "41-60"] * 10,
        ["1.2.3", "1.2.4"] * 10,
        ["a", "b", "?"] * 10,
    ],
)
def test_texts_that_are_no_numbers_of_one_kind_stay_labels(texts):
    column, values, _ = read(texts)
    assert column.kind == "category"
    assert values == texts


@pytest.mark.parametrize("texts", [["$5", "€6", "$7"] * 10, ["5%", "0.2", "7%"] * 10, ["5 kg", "6 lb"] * 10])
def test_numbers_of_several_kinds_are_said(texts):
    (finding,) = read(texts)[2]
    assert "numbers of several kinds" in finding
    assert 'numeric = ["x"]' in finding
    assert read(texts, categorical=("x",))[2] == []


def test_a_separator_that_may_be_either_is_said_and_settled_by_the_study():
    thousands = ["1,250", "2,500", "3,125"] * 10
    _, values, findings = read(thousands)
    assert values[:3] == [1250, 2500, 3125]
    assert any('numeric = { "x" = "1.250,00" }' in finding for finding in findings)
    _, values, findings = read(thousands, numeric={"x": "1.250,00"})
    assert values[:3] == [1.25, 2.5, 3.125]
    assert not any("settle" in finding for finding in findings)
    assert read(["1.250 €", "2.500 €"] * 10)[1][:2] == [1250, 2500]


def test_decimals_of_a_file_that_may_be_thousands_are_said_and_settled(tmp_path):
    text = "x,z,y\n" + "".join(f"{row % 9 + 1}.{row % 7}50,{row},{row * 0.37}\n" for row in range(60))
    keys = {"target": "y", "split": Split("random")}
    plain = loaded(tmp_path, text, **keys)
    assert any("'x': '1.050' may be written like" in finding for finding in plain.findings)
    settled = loaded(tmp_path, text, numeric={"x": "1.250,00"}, **keys)
    column = next(column for column in settled.preprocessing.columns if column.name == "x")
    assert clean_table(pd.DataFrame({"x": ["1.250"]}), [column])["x"].tolist() == [1250]
    assert not any("settle" in finding for finding in settled.findings)


def test_a_column_that_the_study_calls_numeric_is_one_whatever_else_it_holds():
    texts = ["1", "2", "90+", "unknown age", "5"] * 8
    assert read(texts)[0].kind == "category"
    column, values, findings = read(texts, numeric={"x": ""})
    assert column.kind == "number"
    assert np.isnan(values).sum() == 16
    assert "16 fields" in findings[0]
    assert read(["$5", "$6"] * 10, categorical=("x",))[0].kind == "category"


DAYS = pd.date_range("2019-01-01", periods=200, freq="9D")


@pytest.mark.parametrize(
    "form", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d %b %Y", "%B %d, %Y", "%Y/%m/%d", "%d-%m-%y", "%d/%m/%Y %H:%M"]
)
def test_dates_of_people_are_dates_with_a_finding(form):
    texts = [*DAYS.strftime(form), "?", "n/a"]
    column, values, findings = read(texts)
    assert column.kind == "date"
    np.testing.assert_array_equal(values[:-2], (DAYS - pd.Timestamp(0)) / pd.Timedelta(seconds=1))
    assert np.isnan(values[-2:]).all()
    assert "'x' is read as dates" in findings[0]
    assert "2 fields ('?', 'n/a') read as missing" in findings[0]


def test_day_and_month_that_may_be_either_are_said_and_settled_by_the_study():
    texts = ["01/02/2020", "03/04/2020", "05/06/2020"] * 10
    _, day_first, findings = read(texts)
    assert day_first[0] == pd.Timestamp("2020-02-01").timestamp()
    assert any('dates = { "x" = "MM/DD/YYYY" }' in finding for finding in findings)
    _, month_first, findings = read(texts, dates={"x": "MM/DD/YYYY"})
    assert month_first[0] == pd.Timestamp("2020-01-02").timestamp()
    assert not any("settle" in finding for finding in findings)
    monthly = ["01/01/2020", "02/01/2020", "03/01/2020"] * 10
    assert read(monthly)[1][1] == pd.Timestamp("2020-02-01").timestamp()


def test_whole_numbers_that_look_like_dates_are_said_and_read_as_dates_where_the_study_says_so():
    numbers = [int(day) for day in DAYS.strftime("%Y%m%d")]
    column, _, findings = read(numbers)
    assert column.kind == "number"
    assert 'dates = { "x" = "YYYYMMDD" }' in findings[0]
    column, values, _ = read(numbers, dates={"x": "YYYYMMDD"})
    assert column.kind == "date"
    assert values[0] == DAYS[0].timestamp()


def test_labels_that_differ_in_case_or_blanks_are_one():
    _, values, findings = read(["Yes", "yes", "no ", "No", "no ", "yes"] * 5)
    assert set(values) == {"yes", "no"}
    assert "labels that differ only in case or blanks are one" in findings[0]
    preprocessing, _ = fit(["Yes", "yes", "no ", "No", "no ", "yes"] * 5)
    rows = pd.DataFrame({"x": ["YES", " yes", "yes"], "z": [1, 1, 1]})
    features = preprocessing.transform(rows)
    assert (features == features[2]).all()
    assert set(read(["Aa", "aa", "AA"] * 5, categorical=("x",))[1]) == {"Aa", "aa", "AA"}


def test_classes_that_differ_in_case_or_blanks_are_one(tmp_path):
    table = pd.DataFrame({"a": range(60), "y": ["Yes", "yes", "yes", "no ", "NO", "no "] * 10})
    dataset = loaded(tmp_path, table, target="y")
    assert dataset.classes == ("no", "yes")
    assert any("target: column 'y': labels that differ only in case" in finding for finding in dataset.findings)
    assert len(loaded(tmp_path, table, target="y", categorical=("y",)).classes) == 4


def test_words_for_gaps_are_values_unless_the_study_calls_them_missing(tmp_path):
    table = pd.DataFrame({"a": range(90), "country": ["NA", "DE", "FR"] * 30, "y": ["None", "Mild", "None"] * 30})
    dataset = loaded(tmp_path, table, target="y")
    assert dataset.classes == ("Mild", "None")
    assert "country=NA" in dataset.description["features"]
    assert sum('missing = ["' in finding for finding in dataset.findings) == 2
    asked = loaded(tmp_path, table, target="y", missing=("NA",))
    assert "country=missing" in asked.description["features"]
    assert any("30 fields ('NA') read as missing" in finding for finding in asked.findings)


def test_a_number_may_stand_for_a_gap():
    _, values, findings = read([1.0, -999.0, 3.0, 4.0], missing=("-999",))
    assert np.isnan(values[1])
    assert "1 field ('-999') read as missing" in findings[0]


def test_empty_fields_alone_are_gaps(tmp_path):
    text = "x,y\n" + "".join(
        f"{'' if row % 5 == 0 else 'null' if row % 5 == 1 else 'u'},{row * 0.3}\n" for row in range(60)
    )
    features = loaded(tmp_path, text, target="y", split=Split("random")).description["features"]
    assert sorted(features) == ["x=missing", "x=null", "x=u"]


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["1,000", "1,250", "1,500", "1,750"] * 15, [1000, 1250, 1500, 1750]),
        (["$5", "$6", "$7", "?"] * 15, [5, 6, 7]),
        (["5%", "6.5%", "7%", "8%"] * 15, [5, 6.5, 7, 8]),
    ],
)
def test_a_target_of_amounts_is_a_quantity(tmp_path, texts, values):
    dataset = loaded(tmp_path, pd.DataFrame({"a": range(60), "y": texts}), target="y")
    assert dataset.task == "regression"
    assert np.unique(dataset.train.targets).tolist() == values
    assert any("target: column 'y' is read as numbers" in finding for finding in dataset.findings)


def test_a_target_of_amounts_in_several_currencies_is_not_classes_in_silence(tmp_path):
    table = pd.DataFrame({"a": range(60), "y": ["$5", "€6", "$7"] * 20})
    findings = loaded(tmp_path, table, target="y").findings
    assert any("target: column 'y' holds numbers of several kinds" in finding for finding in findings)


def test_a_target_of_dates_is_refused_and_one_of_digits_in_texts_stays_labels(tmp_path):
    table = pd.DataFrame({"a": range(60), "y": ["31/12/2020", "30/12/2020"] * 30})
    with pytest.raises(InputError, match=r"data\.target: .*dates.*classification"):
        loaded(tmp_path, table, target="y")
    code = "import pandas as pd\ndef data():\n    return pd.DataFrame({'a': range(60), 'y': ['1', '2', '10'] * 20})\n"
    (tmp_path / "load.py").write_text(code)
    assert load_dataset(DataSettings("load.py:data", target="y"), tmp_path).classes == ("1", "10", "2")


def test_free_text_and_many_labels_are_said_with_the_choices():
    _, _, findings = read([f"a text of {row} words or so" for row in range(60)])
    assert "free text" in findings[0]
    assert 'drop = ["x"]' in findings[0]
    _, _, findings = read([f"city {chr(65 + row % 60)}" for row in range(120)])
    assert "49 of its 60 different texts" in findings[0]


def test_a_column_of_two_kinds_or_an_unknown_one_is_refused():
    with pytest.raises(InputError, match=r"data\.numeric: 'x' is also in data\.dates"):
        fit(["1"] * 5, numeric={"x": ""}, dates={"x": ""})
    with pytest.raises(InputError, match=r"data\.dates: unknown feature column 'q'"):
        fit(["1"] * 5, dates={"q": ""})
    with pytest.raises(InputError, match=r"data\.dates: column 'x' holds no date written like DD/MM/YYYY"):
        fit(["1 a", "b"] * 5, dates={"x": "DD/MM/YYYY"})


def test_amounts_and_dates_are_no_identifiers(tmp_path):
    table = pd.DataFrame({"income": [f"{1000 + row:,}" for row in range(100)], "y": random.normal(size=100)})
    assert not any("identifier" in finding for finding in loaded(tmp_path, table, target="y").findings)


MESSY = pd.DataFrame(
    {
        "income": [f"${value:,.2f}" if row % 9 else "?" for row, value in enumerate(AMOUNTS)],
        "share": [f"{value % 100:.1f}".replace(".", ",") + " %" for value in AMOUNTS],
        "day": [text if row % 11 else "n/a" for row, text in enumerate(DAYS.strftime("%d.%m.%Y"))],
        "plan": ["Basic", "basic ", "PREMIUM", "None", ""] * 40,
        "flag": ["True", "FALSE", "NA", "true"] * 50,
        "price": random.normal(size=200),
    }
)


def test_a_version_reads_raw_texts_exactly_as_training_did(tmp_path):
    dataset = loaded(tmp_path, MESSY, target="price")
    assert [column.kind for column in dataset.preprocessing.columns] == [
        "number",
        "number",
        "date",
        "category",
        "boolean",
    ]
    copy = TablePreprocessing.from_json(dataset.preprocessing.as_json())
    assert copy.columns == dataset.preprocessing.columns
    test = dataset.test.open(Purpose.GATE, lambda: None)
    np.testing.assert_array_equal(copy.transform(test.table), test.inputs)
    as_text = pd.read_csv(io.StringIO(test.table.to_csv(index=False)), dtype=str, keep_default_na=False, na_values=[""])
    np.testing.assert_array_equal(copy.transform(as_text), test.inputs)
    one_by_one = [
        copy.transform(pd.DataFrame([json.loads(row)]))
        for row in test.table.to_json(orient="records", lines=True).splitlines()
    ]
    np.testing.assert_array_equal(np.concatenate(one_by_one), test.inputs)


def test_rows_sent_as_texts_give_the_features_of_typed_rows(tmp_path):
    table = pd.DataFrame({"a": AMOUNTS, "b": AMOUNTS > 20_000, "c": np.arange(200), "y": random.normal(size=200)})
    preprocessing = loaded(tmp_path, table, target="y").preprocessing
    texts = pd.read_csv(tmp_path / "t.csv", dtype=str)
    np.testing.assert_array_equal(preprocessing.transform(texts), preprocessing.transform(table))


def test_a_version_takes_numbers_too_and_refuses_texts_that_it_cannot_read(tmp_path):
    preprocessing = loaded(tmp_path, MESSY, target="price").preprocessing
    texts = MESSY.head(1).assign(income="$1,250.50")
    np.testing.assert_array_equal(preprocessing.transform(texts), preprocessing.transform(texts.assign(income=1250.5)))
    for wrong in ("€12", "12 USD", "about 5"):
        with pytest.raises(InputError, match=f"'income' is no longer a number: it holds '{wrong}'"):
            preprocessing.transform(texts.assign(income=wrong))


def test_columns_of_an_earlier_store_are_read_as_they_were():
    preprocessing, _ = fit([1.5, None, 3.0, 4.0])
    text = preprocessing.as_json()
    assert json.loads(text)["columns"][0] == {"name": "x", "dtype": "float64", "kind": "number"}
    assert TablePreprocessing.from_json(text).columns == preprocessing.columns
