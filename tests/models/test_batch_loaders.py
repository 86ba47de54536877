"""Loaders of batches are read once, whatever library they are of; endless and changing ones are refused."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightune.models.data import batches as batches_module
from nightune.models.data import loader_columns
from nightune.models.data.batches import read_batches
from nightune.models.data.contents import Arrays
from nightune.models.data.loading import load_dataset
from nightune.models.data.raw_data import separate_target
from nightune.models.data.returned import from_result
from nightune.models.data.rows_to_predict import read_rows
from nightune.models.data.settings import DataSettings
from nightune.models.data.source_options import SourceOptions
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError
from nightune.models.serving.predictor import Predictor

random = np.random.default_rng(4)
X = random.normal(size=(50, 4)).astype(np.float32)
Y = np.arange(50) % 3
W = np.linspace(0.5, 2, 50).astype(np.float32)
SPANS = [slice(start, start + 16) for start in range(0, 50, 16)]


def read(given: Any, **pad: Any) -> Arrays:
    result = from_result(given, "d.py:f", SourceOptions(pad=pad))
    assert isinstance(result, Arrays)
    return result


class Loader:
    """Batches of PyTorch, as its DataLoader gives them: shuffled at each pass or not."""

    batch_size = 16

    def __init__(self, is_shuffled: bool = False, noise: float = 0.0) -> None:
        self.dataset, self._is_shuffled, self._noise = X, is_shuffled, noise
        self._random = np.random.default_rng(1)

    def __len__(self) -> int:
        return len(SPANS)

    def __iter__(self):
        order = self._random.permutation(50) if self._is_shuffled else np.arange(50)
        for span in SPANS:
            rows = order[span]
            yield X[rows] + self._noise * self._random.random(), Y[rows]


class PyDataset:
    """As the class of Keras of this name."""

    __module__ = "keras.src.trainers.data_adapters.py_dataset_adapter"

    def __init__(self, length: int | None = len(SPANS)) -> None:
        self.num_batches = length

    def __getitem__(self, place: int):
        return X[SPANS[place]], Y[SPANS[place]], W[SPANS[place]]


def batches():
    for span in SPANS:
        yield X[span], Y[span]


def examples():
    yield from zip(X, Y, strict=True)


def endless():
    while True:
        yield from batches()


@pytest.mark.parametrize(
    "given", [Loader, batches, examples, lambda: iter(list(batches())), lambda: map(tuple, batches())]
)
def test_batches_and_examples_are_rows_in_order(given):
    arrays = read(given())
    np.testing.assert_array_equal(arrays.inputs, X)
    np.testing.assert_array_equal(arrays.targets, Y)
    assert any("50 rows" in finding for finding in arrays.findings)


def test_weights_and_several_inputs_are_read():
    arrays = read(PyDataset())
    np.testing.assert_array_equal(arrays.weights, W)
    several = read(({"a": X[span], "b": Y[span, None]}, {"only": Y[span]}) for span in SPANS)
    np.testing.assert_array_equal(several.inputs["b"], Y[:, None])
    np.testing.assert_array_equal(read(((X[span], X[span] + 1), Y[span]) for span in SPANS).inputs[1], X + 1)


def test_targets_of_several_columns_are_rows_of_examples():
    onehot = np.eye(3)[Y]
    np.testing.assert_array_equal(read(zip(X, onehot, strict=True)).targets, onehot)


def test_vectors_with_as_many_numbers_as_targets_are_examples():
    onehot = np.eye(3)[Y]
    np.testing.assert_array_equal(read(zip(X[:, :3], onehot, strict=True)).inputs, X[:, :3])


SQUARES = random.normal(size=(12, 6, 6)).astype(np.float32)
STEPS = np.arange(72).reshape(12, 6) % 2


def test_examples_whose_arrays_agree_are_batches_only_until_the_study_says_more():
    as_batches = read(zip(SQUARES, STEPS, strict=True))
    assert as_batches.inputs.shape == (72, 6)
    assert any('loader = "examples"' in finding for finding in as_batches.findings)
    stated = from_result(zip(SQUARES, STEPS, strict=True), "d.py:f", SourceOptions(loader="examples"))
    assert (stated.inputs.shape, stated.targets.shape) == ((12, 6, 6), (12, 6))
    assert not any("loader =" in finding for finding in stated.findings)


def test_a_smaller_last_batch_is_a_sign_of_batches_and_one_hot_targets_are_not():
    assert not any("loader =" in finding for finding in read(batches()).findings)
    one_hot = np.eye(6)[np.arange(12) % 6]
    with pytest.raises(InputError, match=r'loader = "examples"'):
        read(zip(SQUARES, one_hot, strict=True))
    for form, shape in (("examples", (12, 6, 6)), ("batches", (72, 6))):
        options = SourceOptions(loader=form)
        assert from_result(zip(SQUARES, one_hot, strict=True), "d.py:f", options).inputs.shape == shape


def test_the_form_of_a_loader_applies_to_loaders_alone():
    for given in ((X, Y), pd.DataFrame({"a": Y, "y": Y})):
        with pytest.raises(InputError, match="remove it") as caught:
            from_result(given, "d.py:f", SourceOptions(loader="batches"))
        assert caught.value.key == "data.loader"


def test_a_data_set_of_tensorflow_says_itself_that_it_gives_batches():
    import tensorflow as tf

    given = tf.data.Dataset.from_tensor_slices((SQUARES, STEPS))
    assert any("loader =" in finding for finding in read(given).findings)
    batched = read(given.unbatch().batch(6, drop_remainder=True).map(lambda x, y: (x, y)).prefetch(1))
    assert not any("loader =" in finding for finding in batched.findings)
    assert batched.inputs.shape == (72, 6)
    assert any("loader =" in finding for finding in read(given.batch(3).unbatch()).findings)


@pytest.mark.parametrize("is_whole", [True, False])
def test_windows_that_a_map_makes_of_batches_are_examples(is_whole):
    import tensorflow as tf

    numbers = tf.data.Dataset.range(90 if is_whole else 98)
    arrays = read(numbers.batch(15, drop_remainder=is_whole).take(6).map(lambda b: (b[:-5], b[-5:])))
    assert (arrays.inputs.shape, arrays.targets.shape) == ((6, 10), (6, 5))
    halves = numbers.batch(16).take(5).map(lambda b: (b[:-8, None], b[-8:]))  # shapes cannot tell these
    assert any('loader = "examples"' in finding for finding in read(halves).findings)
    stated = from_result(halves, "d.py:f", SourceOptions(loader="examples"))
    assert stated.inputs.shape == (5, 8, 1)


def test_batches_of_different_rows_are_refused_with_the_form_as_the_remedy():
    pairs = [(SQUARES[0], STEPS[0]), (SQUARES[1], STEPS[1][:4])]
    with pytest.raises(InputError, match='loader = "examples"'):
        read(iter(pairs))
    with pytest.raises(InputError, match="rows"):
        from_result(iter(pairs), "d.py:f", SourceOptions(loader="batches"))


class Rows(Sequence):
    """A sequence of examples, which is none of Keras' class of this name."""

    def __len__(self) -> int:
        return 50

    def __getitem__(self, place):
        if not 0 <= place < 50:
            raise IndexError(place)
        return X[place], Y[place]


def test_a_sequence_of_the_users_own_is_read_row_by_row():
    np.testing.assert_array_equal(read(Rows()).inputs, X)


@pytest.mark.parametrize(
    "targets",
    [
        [np.arange(4), np.array([*"abcd"])],
        [np.arange(4) > 1, np.arange(4)],
        [np.arange(4, dtype=np.int64), np.array([2**63 + 1] * 4, np.uint64)],
        [["a", "b", "c", "d"], np.arange(4)],
    ],
)
def test_elements_of_mixed_kinds_are_refused(targets):
    with pytest.raises(InputError, match="one kind"):
        read(iter([(X[:4], each) for each in targets]))


def test_whole_numbers_and_others_are_numbers():
    np.testing.assert_array_equal(read(iter([(X[:2], [1, 2]), (X[2:4], [0.5, 3.0])])).targets, [1, 2, 0.5, 3])


def test_two_inputs_beside_two_targets_are_no_splits():
    pair = (X, X[:, :2]), (Y.astype(float), W)
    read_as_heads = read(pair)
    assert [each.shape for each in read_as_heads.inputs] == [(50, 4), (50, 2)]
    assert [each.shape for each in read_as_heads.targets.values()] == [(50,), (50,)]
    assert "part" not in read_as_heads.keys
    with pytest.raises(InputError, match="one row per example"):
        read(((X[:, 0], Y), (X[:, 1], Y)))
    ids = np.empty(50, dtype=object)
    ids[:] = [list(range(1, 3 + place % 5)) for place in range(50)]
    halves = ((ids, Y), (ids, Y))  # as keras.datasets.imdb gives them
    reviews = from_result(halves, "d.py:f", SourceOptions(pad={"side": "end", "length": 6}))
    assert reviews.keys["part"].value_counts().to_dict() == {"train": 50, "test": 50}
    assert "part" in read(((X, Y), (X, Y))).keys


def test_rows_that_repeat_are_no_endless_loader():
    rows = [(np.tile(X[:4], (2, 1)), np.arange(8 * place, 8 * place + 8) % 3) for place in range(7)]
    assert len(read(iter(rows)).targets) == 56


def test_loaders_by_name_are_fixed_splits():
    parts = {"train": Loader(), "val": batches(), "test": PyDataset()}
    with pytest.raises(InputError, match="weights"):
        read(parts)
    arrays = read({"train": Loader(), "val": batches(), "test": examples()})
    assert arrays.keys["part"].value_counts().to_dict() == {"train": 50, "validation": 50, "test": 50}


def test_shuffled_rows_are_the_same_at_each_reading():
    (first, has_order, said), (second, _, _) = (read_batches(Loader(is_shuffled=True), "d.py:f") for _ in range(2))
    assert not has_order
    np.testing.assert_array_equal(first[0], second[0])
    assert sorted(map(bytes, first[0])) == sorted(map(bytes, X))
    assert "sorted" in said[1]


def test_large_rows_are_mapped_to_a_file(monkeypatch):
    monkeypatch.setenv("NIGHTUNE_DATA", "disk")
    (inputs, targets), _, _ = read_batches(Loader(), "d.py:f")
    assert isinstance(inputs, np.memmap)
    np.testing.assert_array_equal(inputs, X)
    np.testing.assert_array_equal(targets, Y)


def failing():
    yield X[:16], Y[:16]
    raise KeyError("gone")


REFUSED = {
    "endless generator": (endless, ["4 at a time", "islice"]),
    "endless PyDataset": (lambda: PyDataset(None), ["endless", "__len__"]),
    "without targets": (lambda: iter([X]), ["(x, y)"]),
    "dictionary": (lambda: iter([{"image": X, "label": Y}]), ["'image'", "map"]),
    "empty": (lambda: iter([]), ["without any element"]),
    "other rows": (lambda: Loader(noise=1.0), ["augment", "RandomFlip"]),
    "pair": (lambda: (Loader(), Loader()), ['"train"', '"validation"']),
    "changing": (lambda: iter([(X, Y), ({"a": X}, Y)]), ["element 1"]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_as_meant_is_refused(kind):
    given, words = REFUSED[kind]
    with pytest.raises(InputError) as caught:
        read(given())
    assert all(word in caught.value.message for word in words)


def random_batches():
    while True:
        rows = random.integers(0, 50, 16)
        yield X[rows], Y[rows]


def test_a_loader_of_unknown_length_has_a_limit(monkeypatch):
    monkeypatch.setattr(batches_module, "MOST_BATCHES", 20)
    with pytest.raises(InputError, match="not ended after 20"):
        read(random_batches())
    assert len(read(itertools.islice(random_batches(), 10)).targets) == 160


def test_the_remedy_for_an_endless_generator_works():
    assert len(read(itertools.islice(endless(), 4)).targets) == 50


def test_a_full_disk_is_told_from_an_endless_loader(monkeypatch):
    monkeypatch.setenv("NIGHTUNE_DATA", "disk")
    monkeypatch.setattr(loader_columns, "LEAST_FREE", 2**70)
    with pytest.raises(InputError, match="TMPDIR"):
        read_batches(Loader(), "d.py:f")


def test_errors_of_a_generator_name_file_and_line(tmp_path: Path):
    code = "import numpy as np\ndef load():\n    yield np.zeros((9, 2)), np.arange(9)\n    raise KeyError('gone')\n"
    (tmp_path / "load.py").write_text(code)
    with pytest.raises(InputError, match=r"load\(\) of load\.py .*KeyError.*line 4 of load\.py"):
        load_dataset(DataSettings("load.py:load"), tmp_path)


def test_shuffled_rows_have_no_order_for_a_split_by_time():
    content = read(Loader(is_shuffled=True))
    with pytest.raises(InputError, match="shuffle=False") as caught:
        separate_target(content, DataSettings("d.py:f", split=Split("time")))
    assert caught.value.key == "data.split.kind"


ROWS = [list(range(1, 3 + place % 5)) for place in range(40)]


@pytest.mark.parametrize(
    ("pad", "row", "expected"),
    [
        ({"side": "end"}, 0, [1, 2, 0, 0, 0, 0]),
        ({"side": "start"}, 0, [0, 0, 0, 0, 1, 2]),
        ({"side": "end", "length": 3, "value": -1}, 0, [1, 2, -1]),
        ({"side": "end", "length": 3}, 4, [1, 2, 3]),
        ({"side": "start", "length": 3}, 4, [4, 5, 6]),
    ],
)
def test_ragged_rows_are_padded_as_the_study_says_and_by_a_version_alike(pad, row, expected, tmp_path):
    (tmp_path / "load.py").write_text(f"def load():\n    return {ROWS}, {[place % 2 for place in range(40)]}\n")
    data = load_dataset(DataSettings("load.py:load", pad=pad), tmp_path)
    opened = open_dataset(save_dataset(data, tmp_path / "data"))
    predictor = Predictor(None, None, opened.description)
    known = {tuple(each) for each in (*opened.train.inputs.tolist(), *opened.validation.inputs.tolist())}
    assert predictor.inputs([ROWS[row]]).tolist() == [expected]
    assert {tuple(each) for each in predictor.inputs(ROWS).tolist()} >= known
    np.testing.assert_array_equal(predictor.inputs(opened.train.inputs), opened.train.inputs)
    pd.DataFrame({"ids": ROWS[:3]}).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"ids": {ids}}}\n' for ids in ROWS[:3]))
    for name in ("rows.parquet", "rows.jsonl"):
        rows = read_rows(tmp_path / name, opened.description).rows
        np.testing.assert_array_equal(predictor.inputs(rows), predictor.inputs(ROWS[:3]))
    if "length" not in pad:
        with pytest.raises(InputError, match="at most 6"):
            predictor.inputs([list(range(9))])


def test_ragged_rows_without_a_choice_are_refused_with_it():
    with pytest.raises(InputError, match='pad = "end"'):
        read((ROWS, Y[:40]))
    assert read((ROWS, Y[:40]), side="end").inputs.shape == (40, 6)


def test_padding_that_nothing_needs_is_refused():
    with pytest.raises(InputError, match="remove it") as caught:
        read((X, Y), side="end")
    assert caught.value.key == "data.pad"


def test_several_inputs_are_padded_by_name():
    arrays = read(({"words": ROWS, "age": X[:40]}, Y[:40]), side="end")
    assert arrays.inputs["words"].shape == (40, 6)
    assert list(arrays.form["pad"]) == ["words"]


@pytest.mark.slow
def test_datasets_of_tensorflow_are_read() -> None:
    tf = pytest.importorskip("tensorflow")
    whole = tf.data.Dataset.from_tensor_slices((X, Y))
    for given in (whole, whole.batch(16), whole.batch(16).repeat().take(4)):
        arrays = read(given)
        np.testing.assert_array_equal(arrays.inputs[:50], X)
    shuffled = whole.shuffle(50).batch(16)
    np.testing.assert_array_equal(read(shuffled).inputs, read(shuffled).inputs)
    with pytest.raises(InputError, match="take"):
        read(whole.batch(16).repeat())
    assert read((tf.ragged.constant(ROWS), Y[:40]), side="start").inputs.shape == (40, 6)
    words = tf.data.Dataset.from_tensor_slices((tf.ragged.constant(ROWS), Y[:40])).batch(16)
    assert read(words, side="end").inputs.shape == (40, 6)
    with pytest.raises(InputError, match='pad = "end"'):
        read(words)


def test_inputs_of_a_loader_in_a_list_are_inputs_in_order() -> None:
    found = read(([X[span], X[span][:, :2]], Y[span]) for span in SPANS)
    assert isinstance(found.inputs, tuple)
    np.testing.assert_array_equal(found.inputs[1], X[:, :2])


@pytest.mark.parametrize("kind", [tuple, list, dict])
def test_several_targets_of_a_loader_and_their_weights_are_those_of_heads(kind: Any) -> None:
    def given(*arrays: Any) -> Any:
        return dict(zip("01", arrays, strict=True)) if kind is dict else kind(arrays)

    found = read((X[span], given(Y[span], X[span, 0]), given(W[span], None)) for span in SPANS)
    assert isinstance(found.targets, dict)
    np.testing.assert_array_equal(found.targets["0"], Y)
    np.testing.assert_array_equal(found.targets["1"], X[:, 0])
    assert list(found.head_weights) == ["0"]
    np.testing.assert_array_equal(found.head_weights["0"], W)
    alone = [(row, given(label, row[0])) for row, label in zip(X, Y, strict=True)]
    if kind is dict:  # examples: a list of numbers is one target of several columns
        np.testing.assert_array_equal(read(iter(alone)).targets["0"], Y)
    assert read((X[span], {"only": Y[span]}, {"only": W[span]}) for span in SPANS).weights is not None


def test_shuffled_rows_of_several_targets_stay_together() -> None:
    class Shuffled:
        def __init__(self) -> None:
            self.turn = 0

        def __iter__(self) -> Any:
            self.turn += 1
            order = np.random.default_rng(self.turn).permutation(len(X))
            return iter([(X[part], {"a": Y[part], "b": X[part, 0]}) for part in np.split(order, 5)])

    found = read(Shuffled())
    np.testing.assert_array_equal(found.inputs[:, 0], found.targets["b"])


def test_pairs_that_may_be_splits_or_heads_are_refused() -> None:
    twice = X[:, :1].repeat(4, axis=1)
    with pytest.raises(InputError, match="two splits"):
        read(((X, twice), (X, twice)))
    halves = read(((X, Y), (X, Y)))  # as of Keras, of which some sets have as many test rows
    assert len(halves.targets) == 100


@pytest.mark.parametrize(("rows", "value"), [([[True], [True, True]], -1), ([[1], [1, 2]], 0.5)])
def test_a_value_of_padding_is_not_cast_to_another_one(rows: Any, value: float) -> None:
    found = read((rows * 3, [0, 1] * 3), side="end", value=value)
    assert found.inputs[0].tolist() == [1, value]
    bytes_ = [np.array(row, np.uint8) for row in ([1], [1, 2])]
    assert read((bytes_ * 3, [0, 1] * 3), side="end", value=-1).inputs[0].tolist() == [1, -1]
