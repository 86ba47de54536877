"""Columns of texts and codes are inputs of their own: words as Keras splits them, every digit, training rows alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.columns.vocabularies import fit_codes, fit_texts
from nightune.models.data.dataset import Dataset, Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.rows_to_predict import read_rows
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError
from nightune.models.serving.input_trees import equal_arrays
from nightune.models.serving.preprocessing import TablePreprocessing
from nightune.tuning.study.data_section import DataSection
from nightune.tuning.study.section import read_section

COUNT = 120
WIDE = 10**17  # as a float, it loses its last digits
TABLE = pd.DataFrame(
    {
        "comment": [f"Row {row % 11} isn't  {'good' if row % 2 else 'BAD'}; É{row % 3}!" for row in range(COUNT)],
        "city": [f"0{row % 7}" for row in range(COUNT)],
        "id": [str(WIDE + row % 13) if row % 17 else None for row in range(COUNT)],
        "age": np.arange(COUNT) * 0.5,
        "y": ["no", "yes"] * (COUNT // 2),
    }
)
TEXT = {"comment": {"words": 5000, "length": 8}}
CODES = {"city": 0, "id": 0}


def load(folder: Path, table: pd.DataFrame = TABLE, **keys: Any) -> Dataset:
    table.to_csv(folder / "t.csv", index=False)
    return load_dataset(DataSettings("t.csv", target="y", **{"text": TEXT, "codes": CODES, **keys}), folder)


def fitted(dataset: Dataset) -> TablePreprocessing:
    assert dataset.preprocessing is not None
    return dataset.preprocessing


def splits_of(dataset: Dataset) -> list[Any]:
    return [dataset.train, dataset.validation, dataset.test.open(Purpose.GATE, record=lambda: None)]


@pytest.mark.parametrize(("words", "ngrams"), [(7, 1), (5000, 1), (12, 2), (5000, 3)])
def test_words_and_indices_are_those_of_keras(words: int, ngrams: int) -> None:
    from keras.layers import TextVectorization

    known = [
        "Don't STOP, stop; the cat's a-b_c (x) #1 $5 50% ~ `q` \\ / | ^ @ [UNK]",
        "Straße straße É é ÀB İstanbul ẞ ß ‚hi’ 日本語 。 🙂 a\u0301",
        "tab\tline\nfeed\x0bform\x0cend\r x\u00a0y \u2028z word\x1cx b\x85c \u3000d",
        "",
        " \t ",
        "the the the the stop stop",
        "one two three four five six seven eight nine",
    ]
    unseen = ["never seen THE stop", "", "the, the; the. the! the? the: the", "É ß 日本語 unk"]
    theirs = TextVectorization(max_tokens=words, output_sequence_length=6, ngrams=None if ngrams == 1 else ngrams)
    theirs.adapt(known)
    ours = fit_texts(known, {"words": words, "length": 6, "ngrams": ngrams})
    assert ["", "[UNK]", *ours.words] == list(theirs.get_vocabulary())
    assert ours.size == theirs.vocabulary_size()
    expected = np.array(theirs(known + unseen))
    assert not expected[[3, 4, 8]].any()
    expected[[3, 4, 8], 0] = 1  # texts without words: one unknown word here
    np.testing.assert_array_equal(ours.encode(np.array(known + unseen, dtype=object)), expected)


def test_pairs_of_words_are_kept_by_a_version(tmp_path: Path) -> None:
    text = {"comment": {"words": 40, "length": 12, "ngrams": 2}}
    dataset = load(tmp_path, text=text)
    assert dataset.version != load(tmp_path, text={"comment": {"words": 40, "length": 12}}).version
    kept = TablePreprocessing.from_json(fitted(dataset).as_json())
    assert kept.texts == fitted(dataset).texts
    assert any(" " in word for word in kept.texts["comment"].words)
    assert "ngrams" not in fitted(load(tmp_path)).as_json()


def test_codes_are_numbered_by_frequency_and_rare_labels_share_0() -> None:
    labels = ["b", "b", "a", "c", "a", "d", "b"]
    assert fit_codes(labels, 0).known == ("b", "a", "c", "d")
    few = fit_codes(labels, 3)
    assert few.size == 3
    np.testing.assert_array_equal(few.encode(np.array(["a", "b", "c", "new"], dtype=object)), [2, 1, 0, 0])


def test_columns_of_texts_and_codes_are_inputs_beside_the_features(tmp_path: Path) -> None:
    dataset = load(tmp_path)
    assert dataset.input_shape == {"features": (1,), "comment": (8,), "city": (), "id": ()}
    assert [array.dtype for array in dataset.train.inputs.values()] == [np.float32, np.int32, np.int32, np.int32]
    assert dataset.description["vocabulary_sizes"] == dataset.vocabulary_sizes
    assert dataset.vocabulary_sizes["city"] == 8  # 00 to 06 as written, and unknown
    assert {line.name: line.read_as for line in dataset.columns}["id"] == "code"


def test_a_column_of_texts_alone_is_one_array_and_one_of_codes_is_named(tmp_path: Path) -> None:
    text = load(tmp_path, TABLE[["comment", "y"]], codes={})
    assert text.input_shape == (8,)
    assert text.vocabulary_sizes == {"comment": fitted(text).texts["comment"].size}
    codes = load(tmp_path, TABLE[["city", "y"]], text={}, codes={"city": 0})
    assert codes.input_shape == {"city": ()}


def test_vocabularies_hold_what_the_training_rows_hold(tmp_path: Path) -> None:
    part = np.where(np.arange(COUNT) < 100, "train", np.where(np.arange(COUNT) < 110, "val", "test"))
    later = TABLE.assign(part=part).astype(object)
    later.loc[100:, "comment"] = "unheard"
    later.loc[100:, "city"] = "elsewhere"
    dataset = load(tmp_path, later, split=Split("fixed", column="part"))
    assert "unheard" not in fitted(dataset).texts["comment"].words
    for examples in splits_of(dataset)[1:]:
        np.testing.assert_array_equal(examples.inputs["comment"][:, :2], [[1, 0]] * 10)
        assert not examples.inputs["city"].any()


@pytest.mark.parametrize("known", [30, 70])  # labels of several rows each, or of some of one row
def test_codes_that_no_training_row_trains_are_said_with_a_remedy(known: int, tmp_path: Path) -> None:
    later = TABLE.assign(city=[f"city {row % known if row < 90 else row}" for row in range(COUNT)])
    findings = load(tmp_path, later, split=Split("time", column="age")).findings
    (finding,) = [each for each in findings if "code 0" in each]
    size = int(finding.split('codes = { "city" = ')[1].split(" ")[0])
    again = load(tmp_path, later, split=Split("time", column="age"), codes={"city": size, "id": 0})
    assert not any("'city'" in each and "code 0" in each for each in again.findings)
    assert (again.train.inputs["city"] == 0).any()


def test_each_fold_has_the_vocabulary_of_its_own_training_rows_within_the_sizes_of_all(tmp_path: Path) -> None:
    table = TABLE.assign(comment=[f"{text} own{row}" for row, text in enumerate(TABLE["comment"])])
    dataset = load(tmp_path, table, split=Split(folds=3))
    sizes = dataset.vocabulary_sizes
    assert sizes["comment"] > COUNT * 0.7
    for fold in dataset.folds:
        for name, size in sizes.items():
            assert fold.train.inputs[name].max() < size
        assert (fold.validation.inputs["comment"] == 1).any(axis=1).all()  # words of other rows alone are unknown
        assert not (fold.train.inputs["comment"] == 1).any()


def test_rows_read_anew_are_what_training_read(tmp_path: Path) -> None:
    dataset = load(tmp_path, split=Split("time", column="age"))  # in the order of the rows
    opened = open_dataset(save_dataset(dataset, tmp_path / "data"))
    restored = TablePreprocessing.from_json(fitted(opened).as_json())
    assert restored.content == fitted(dataset).content
    TABLE.to_parquet(tmp_path / "t.parquet")
    numbers = TABLE.assign(id=TABLE["id"].astype("Int64"))  # as a caller may hold them
    tables = [numbers, *(read_rows(tmp_path / name, dataset.description).rows for name in ("t.csv", "t.parquet"))]
    for table in tables:
        start = 0
        for examples, theirs in zip(splits_of(dataset), splits_of(opened), strict=True):
            rows = table.iloc[start : start + len(examples)]
            assert equal_arrays(restored.transform(rows), examples.inputs)
            assert equal_arrays(theirs.inputs, examples.inputs)
            start += len(examples)


def test_every_digit_of_a_code_counts_and_floats_that_lost_some_are_refused(tmp_path: Path) -> None:
    dataset = load(tmp_path)
    codes = fitted(dataset).codes["id"]
    assert codes.size == 15  # 13 numbers that differ in their last digits, gaps, and unknown values
    assert codes.encode(np.array([str(WIDE), str(WIDE + 1), str(WIDE + 500)], dtype=object)).tolist() == [
        1 + codes.known.index(str(WIDE)),
        1 + codes.known.index(str(WIDE + 1)),
        0,
    ]
    rounded = TABLE.assign(id=pd.to_numeric(TABLE["id"]))
    assert rounded["id"].dtype == np.float64
    mixed = TABLE.assign(id=[str(WIDE), float(WIDE + 1)] * (COUNT // 2))
    for table in (rounded, mixed):
        with pytest.raises(InputError, match=r"'id' .*digit.*dtype"):
            fitted(dataset).transform(table)
    with pytest.raises(InputError, match=r"'city'.*'0\d'.*dtype"):
        fitted(dataset).transform(TABLE.assign(city=TABLE["city"].astype(int)))


@pytest.mark.parametrize(
    ("keys", "key", "words"),
    [
        ({"text": {"coment": TEXT["comment"]}}, "data.text", "did you mean 'comment'"),
        ({"text": {"y": TEXT["comment"]}}, "data.text", "unknown feature column 'y'"),
        ({"codes": {"comment": 0}}, "data.text", "also in data.codes"),
        ({"categorical": ("city",)}, "data.categorical", "also in data.codes"),
    ],
)
def test_columns_that_cannot_be_inputs_are_refused(keys: dict[str, Any], key: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words) as error:
        load(tmp_path, **keys)
    assert error.value.key == key


def test_a_column_named_like_the_other_inputs_is_refused_until_it_is_renamed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'features'.*rename"):
        load(tmp_path, TABLE.rename(columns={"city": "features"}), codes={"features": 0})
    assert "city" in load(tmp_path).vocabulary_sizes


def test_a_column_without_any_text_is_refused_and_one_value_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'comment' is empty.*take it out"):
        load(tmp_path, TABLE.assign(comment=""))
    assert "comment" not in load(tmp_path, TABLE.assign(comment=""), text={}).input_shape
    assert any("'city' holds a single value" in finding for finding in load(tmp_path, TABLE.assign(city="x")).findings)


def test_arrays_have_no_columns_of_texts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="applies only to tables"):
        load_dataset(DataSettings("iris.npz", codes={"a": 0}), _with_arrays(tmp_path))


def _with_arrays(folder: Path) -> Path:
    np.savez(folder / "iris.npz", x=np.arange(40.0).reshape(20, 2), y=np.arange(20.0))
    return folder


def test_findings_name_the_keys_for_texts_and_for_many_labels(tmp_path: Path) -> None:
    table = TABLE.assign(
        comment=[f"this is the text number {row}" for row in range(COUNT)],
        city=[f"city {row % 60}" for row in range(COUNT)],
    )
    findings = "\n".join(load(tmp_path, table, text={}, codes={}).findings)
    assert 'text = ["comment"]' in findings
    assert 'codes = ["city"]' in findings
    assert "'id' holds whole numbers that differ only in digits that no float holds" in findings
    dataset = load(tmp_path, table, codes={"city": 0})
    assert not any("identifier" in finding and "comment" in finding for finding in dataset.findings)


@pytest.mark.parametrize(
    ("key", "given", "read"),
    [
        ("text", ["a"], {"a": {"words": 5000, "length": 100}}),
        ("text", {"a": {"length": 7}}, {"a": {"words": 5000, "length": 7}}),
        ("codes", ["a", "b"], {"a": 0, "b": 0}),
        ("codes", {"a": 50}, {"a": 50}),
        ("text", "a", "list of columns"),
        ("text", {"a": 5}, "words = 5000"),
        ("text", {"a": {"word": 5}}, "did you mean 'words'"),
        ("text", {"a": {"words": 2}}, "from 3"),
        ("text", {"a": {"length": True}}, "from 1"),
        ("codes", {"a": 1}, "from 2"),
        ("codes", [1], "list of columns"),
    ],
)
def test_keys_are_lists_or_tables_of_columns(key: str, given: Any, read: Any) -> None:
    section, problems = read_section(DataSection, {"source": "t.csv", key: given}, "data")
    if isinstance(read, str):
        assert [problem.key for problem in problems] == [f"data.{key}"]
        assert read in problems[0].message
    else:
        assert getattr(section, key) == read
