"""Targets and weights of a loader's elements: rows, or those of heads by name and in order."""

from typing import Any

import numpy as np
import pytest

from nightune.models.data.contents import Arrays
from nightune.models.data.returned import from_result
from nightune.models.errors import InputError

random = np.random.default_rng(2)
X = random.normal(size=(50, 5)).astype(np.float32)
KIND, AMOUNT, W = np.arange(50) % 3, X[:, 0] + 4, np.linspace(0.5, 2, 50).astype(np.float32)
SPANS = [slice(start, start + 16) for start in range(0, 50, 16)]  # the last batch has as many rows as heads


def read(elements: Any) -> Arrays:
    result = from_result(iter(list(elements)), "d.py:f")
    assert isinstance(result, Arrays)
    return result


def test_weights_of_one_of_several_heads_weigh_this_head_alone() -> None:
    found = read((X[s], {"kind": KIND[s], "amount": AMOUNT[s]}, {"amount": W[s]}) for s in SPANS)
    assert found.weights is None
    assert list(found.head_weights) == ["amount"]
    np.testing.assert_array_equal(found.head_weights["amount"], W)
    only = read((X[s], {"amount": AMOUNT[s]}, {"amount": W[s]}) for s in SPANS)
    np.testing.assert_array_equal(only.weights, W)


@pytest.mark.parametrize("weights", [{"kind": None}, {"kind": None, "amount": None}, [None, None]])
def test_weights_that_are_none_are_none(weights: Any) -> None:
    found = read((X[s], {"kind": KIND[s], "amount": AMOUNT[s]}, weights) for s in SPANS)
    assert (found.weights, dict(found.head_weights)) == (None, {})


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_of_weights_has_the_names_of_the_targets(kind: Any) -> None:
    named = ({"kind": KIND[s], "amount": AMOUNT[s]} for s in SPANS)
    pairs = list(zip(SPANS, named, strict=True))
    found = read((X[s], targets, kind([None, W[s]])) for s, targets in pairs)
    assert list(found.head_weights) == ["amount"]
    both = read((X[s], targets, kind([W[s], W[s] + 1])) for s, targets in pairs)
    np.testing.assert_array_equal(both.head_weights["amount"], W + 1)
    examples = zip(X, KIND, AMOUNT, W, strict=True)
    alone = read((x, {"kind": k, "amount": a}, kind([w, w + 1])) for x, k, a, w in examples)
    np.testing.assert_array_equal(alone.head_weights["kind"], W)


def test_a_plain_list_of_as_many_weights_as_rows_weighs_the_rows() -> None:
    pairs = [slice(start, start + 2) for start in range(0, 50, 2)]
    found = read((X[s], {"kind": KIND[s], "amount": AMOUNT[s]}, W[s].tolist()) for s in pairs)
    np.testing.assert_array_equal(found.weights, W)


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("size", [3, 5])
def test_a_list_of_row_vectors_is_one_target(kind: Any, size: int) -> None:
    onehot = np.eye(size)[np.arange(50) % size]
    batches = [slice(start, start + 4) for start in range(0, 50, 4)]
    np.testing.assert_array_equal(read((X[s], kind(onehot[s])) for s in batches).targets, onehot)
    whole = {"a": X, "b": X[:, :1]}
    found = read(({name: each[s] for name, each in whole.items()}, kind(onehot[s])) for s in batches)
    np.testing.assert_array_equal(found.targets, onehot)
    np.testing.assert_array_equal(read((list(X[s]), kind(onehot[s, :3])) for s in batches).inputs, X)


def test_as_many_rows_as_each_has_values_are_refused_and_the_remedies_work() -> None:
    onehot = np.eye(4)[np.arange(48) % 4]
    batches = [slice(start, start + 4) for start in range(0, 48, 4)]
    with pytest.raises(InputError, match=r"np\.stack.*by name"):
        read((X[s], list(onehot[s])) for s in batches)
    np.testing.assert_array_equal(read((X[s], np.stack(list(onehot[s]))) for s in batches).targets, onehot)
    named = read((X[s], {"a": onehot[s, 0], "b": onehot[s, 1]}) for s in batches)
    np.testing.assert_array_equal(named.targets["b"], onehot[:, 1])  # type: ignore[call-overload] # by name


def test_a_list_of_inputs_and_of_targets_that_may_both_be_rows_is_refused() -> None:
    batches = [slice(start, start + 4) for start in range(0, 48, 4)]
    with pytest.raises(InputError, match=r"np\.stack"):
        read((list(X[s]), list(X[s])) for s in batches)
    several = read(([X[s], X[s, :2]], [KIND[s], AMOUNT[s]]) for s in batches)
    assert [each.shape for each in several.inputs] == [(48, 5), (48, 2)]
    np.testing.assert_array_equal(several.targets["0"], KIND[:48])  # type: ignore[call-overload] # by place


def test_examples_with_targets_of_different_shapes_have_heads() -> None:
    found = read((x, (x[:2] > 0, x[:3])) for x in X)
    assert {name: each.shape for name, each in found.targets.items()} == {"0": (50, 2), "1": (50, 3)}  # type: ignore[union-attr]


@pytest.mark.parametrize("targets", [None, {"a": None}, {"a": None, "b": None}])
def test_an_element_without_targets_is_refused(targets: Any) -> None:
    with pytest.raises(InputError, match="None"):
        read((X[s], targets) for s in SPANS)
