"""Several targets: their names, tasks and weights, from a loader or a table to the prepared data."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nightune.models.data.dataset import Purpose
from nightune.models.data.loading import load_dataset
from nightune.models.data.settings import DataSettings
from nightune.models.data.splits import Split
from nightune.models.data.storage import open_dataset, save_dataset
from nightune.models.errors import InputError
from tests.models.head_models import load


def test_each_head_has_the_task_of_its_targets(tmp_path: Path) -> None:
    dataset = load(tmp_path)
    assert {head.name: head.task for head in dataset.heads} == {
        "kind": "multiclass",
        "amount": "regression",
        "mask": "multilabel",
    }
    assert dataset.output_size == {"kind": 3, "amount": 1, "mask": (4, 2)}
    assert dataset.description["split"]["kind"] == "stratified"  # by the only head that divides the rows
    two = load(tmp_path, "(x, {'kind': kind, 'tags': tags})")
    assert two.description["split"]["kind"] == "random"
    test = dataset.test.open(Purpose.GATE, record=lambda: None)
    for examples in (dataset.train, dataset.validation, test):
        kind, amount, mask = (examples.of_head(head) for head in dataset.heads)
        assert (kind.targets.dtype, amount.targets.ndim, mask.targets.shape[1]) == (np.int32, 1, 8)
        np.testing.assert_allclose(amount.targets, examples.inputs.sum(axis=1) * 3 + 5, rtol=1e-4)
        np.testing.assert_array_equal(mask.targets[:, ::2], examples.inputs > 0)


def test_a_list_names_its_targets_by_their_places(tmp_path: Path) -> None:
    dataset = load(tmp_path, "(x, [kind, amount])")
    assert dataset.output_size == {"0": 3, "1": 1}


@pytest.mark.parametrize("result", ["(x, {'only': amount})", "(x, list(x[:, :3]))", "(x, list(amount))"])
def test_one_target_stays_one(tmp_path: Path, result: str) -> None:
    assert load(tmp_path, result).heads == ()


def test_saved_targets_of_heads_open_as_they_were_with_folds(tmp_path: Path) -> None:
    dataset = load(tmp_path, "(x, {'kind': kind, 'pair': pair})", scale_target=True, split=Split(folds=3))
    opened = open_dataset(save_dataset(dataset, tmp_path / "data"))
    assert opened.heads == dataset.heads
    pair = opened.heads[1]
    assert pair.described["outputs"] == ["u", "v"]
    assert "target_scale" in pair.described
    for one, other in zip(opened.folds, dataset.folds, strict=True):
        np.testing.assert_array_equal(one.train.targets, other.train.targets)
        np.testing.assert_allclose(one.of_head(pair).train.targets.mean(axis=0), 0.0, atol=1e-5)


@pytest.mark.parametrize(
    ("result", "keys", "words"),
    [
        ("(x, {'a/b': kind, 'c': amount})", {}, "'a/b' is no such name"),
        ("(x, {'a': {'b': kind}, 'c': amount})", {}, "'a' is a dictionary itself"),
        ("(x, {'a': kind[:50], 'c': amount})", {}, "90 inputs and 50 targets"),
        ("(x, {'a': kind, 'c': amount * 0})", {}, "target 'c': the target is 0.0 in every row"),
        ("(x, {'a': kind, 'a_label': kind, 'label': tags})", {}, None),
        ("(x, {'a': tags, 'a_label': kind})", {}, "val_a_label_accuracy"),
        ("(x, named, {'kind': x[:, 0]})", {}, "head 'kind'.*numbers from 0"),
        ("(x, amount, {'a': x[:, 0], 'b': x[:, 0]})", {}, "return one array of weights"),
        ("(x, named)", {"task": {"kin": "regression"}}, "did you mean 'kind'"),
        ("(x, {'a': kind, 'b': tags})", {"split": Split("stratified")}, "'stratified' needs one head with classes"),
        ("(x, {'a': kind, 'b': tags})", {"scale_target": True}, "no head has it"),
        ("(x, amount)", {"task": {"amount": "regression"}}, "the data has one target"),
    ],
)
def test_targets_that_do_not_fit_are_refused_by_their_name(
    tmp_path: Path, result: str, keys: dict[str, Any], words: str | None
) -> None:
    if words is None:
        assert len(load(tmp_path, result, **keys).heads) == 3
        return
    with pytest.raises(InputError, match=words):
        load(tmp_path, result, **keys)


def test_a_task_is_stated_for_one_head(tmp_path: Path) -> None:
    whole = "(x, {'count': np.arange(90) % 3, 'kind': kind})"
    said = next(each for each in load(tmp_path, whole).findings if "are read as classes" in each)
    assert 'task = { count = "regression" }' in said
    assert load(tmp_path, whole, task={"count": "regression"}).heads[0].task == "regression"


def test_columns_of_a_table_are_targets_by_name(tmp_path: Path) -> None:
    prices = [*(f"{number},50 €" for number in range(59)), ""]
    frame = pd.DataFrame({"u": np.arange(60) % 7, "price": prices, "v": np.arange(60.0)})
    frame["grade"], frame["w"] = np.array(["a", "b"])[np.arange(60) % 2], -frame["v"]
    frame.to_csv(tmp_path / "rows.csv", index=False)
    target = {"grade": "grade", "price": "price", "pair": ("v", "w")}
    dataset = load_dataset(DataSettings("rows.csv", target=target), tmp_path)
    assert {head.name: head.task for head in dataset.heads} == {
        "grade": "binary",
        "price": "regression",
        "pair": "regression",
    }
    assert dataset.output_size == {"grade": 1, "price": 1, "pair": 2}
    assert sum(dataset.sizes.values()) == 59  # the row without a price is left out
    assert dataset.heads[2].described["outputs"] == ["v", "w"]
    assert dataset.description["target"] == ["grade", "price", "v", "w"]
    price, pair = (dataset.train.of_head(head).targets for head in dataset.heads[1:])
    np.testing.assert_allclose(price, pair[:, 0] + 0.5)
    lines = {line.name: line.read_as for line in dataset.columns}
    assert lines == {"grade": "classes", "price": "number", "v": "number", "w": "number", "u": "number"}
    stated = load_dataset(DataSettings("rows.csv", target=target, task={"price": "regression"}), tmp_path)
    assert stated.version == dataset.version
    with pytest.raises(InputError, match="did you mean 'price'"):
        load_dataset(DataSettings("rows.csv", target=target, task={"prize": "regression"}), tmp_path)


def test_a_column_weighs_the_rows_of_one_head(tmp_path: Path) -> None:
    frame = pd.DataFrame({"u": np.arange(60) % 7, "v": np.arange(60.0), "w": np.arange(60) % 3})
    frame["grade"] = np.array(["a", "b"])[np.arange(60) // 2 % 2]
    frame.to_csv(tmp_path / "rows.csv", index=False)
    keys: dict[str, Any] = {"target": {"grade": "grade", "v": "v"}, "split": Split("random")}
    dataset = load_dataset(DataSettings("rows.csv", weight={"grade": "w"}, **keys), tmp_path)
    assert {head.name: head.has_weights for head in dataset.heads} == {"grade": True, "v": False}
    grade, amount = (dataset.train.of_head(head) for head in dataset.heads)
    np.testing.assert_array_equal(grade.weights, amount.targets % 3)
    assert amount.weights is None
    assert "w" not in dataset.description["features"]
    for weight, words in (({"grad": "w"}, "did you mean 'grade'"), ({"grade": "x"}, "unknown column 'x'")):
        with pytest.raises(InputError, match=words):
            load_dataset(DataSettings("rows.csv", weight=weight, **keys), tmp_path)
    with pytest.raises(InputError, match="one target; give the name of a column"):
        load_dataset(DataSettings("rows.csv", target="grade", weight={"grade": "w"}), tmp_path)
