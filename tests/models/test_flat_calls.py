"""A function that was traced is called with its tensors in one row; a program's later calls do so."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from nightune.models.recipe.params import read_recipe
from nightune.models.training.loop import train
from tests.models.conftest import BACKEND, MakeDataset
from tests.models.undocumented import undocumented

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow")


class Pair(NamedTuple):
    first: Any
    several: dict[str, Any]


def halves(pair: Pair, none: None) -> tuple[list[Any], Any]:
    assert none is None
    return [pair.first - pair.several["z"]], pair.several["a"]


@undocumented(
    "TensorFlow",
    "ConcreteFunction._call_flat, FunctionType.unpack_inputs",
    "short calls of programs",
    "library_internals.flat_calls.flat_call",
)
def test_a_trace_is_called_by_its_tensors() -> None:
    import tensorflow as tf

    from nightune.models.library_internals.flat_calls import flat_call

    one, two, three = (tf.constant(number) for number in (7.0, 2.0, 3.0))
    function = tf.function(halves, autograph=False)
    call = flat_call(function, (Pair(one, {"z": two, "a": three}), None), [one, three, two])
    assert call is not None
    (difference,), other = call([two, one, three])
    assert (float(difference), float(other)) == (-1.0, 7.0)


def test_tensors_in_another_order_have_no_flat_call() -> None:
    import tensorflow as tf

    from nightune.models.library_internals.flat_calls import flat_call

    one, two, three = (tf.constant(number) for number in (7.0, 2.0, 3.0))
    function = tf.function(halves, autograph=False)
    assert flat_call(function, (Pair(one, {"z": two, "a": three}), None), [one, two, three]) is None
    assert flat_call(function, (Pair(one, {"z": two, "a": three}), None), [one, two]) is None


def test_a_training_ends_with_the_same_bits_by_both_kinds_of_calls(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.models.engines.compiled import tensorflow_backend

    dataset, recipe = make_dataset(examples=50), read_recipe({"optimizer": "adam"})
    engine, calls = tensorflow_backend.make_tensorflow_engine(dataset, Path()), 0

    def trained() -> list[np.ndarray]:
        return train(engine, recipe, dataset, epochs=3, seed=1, monitor="val_loss", direction="minimize").weights

    def counted(*given: Any) -> Any:
        nonlocal calls
        call = flat_call(*given)
        assert call is not None
        calls += 1
        return call

    flat_call = tensorflow_backend.flat_call
    monkeypatch.setattr(tensorflow_backend, "flat_call", counted)
    flat = trained()
    assert calls == 1
    monkeypatch.setattr(tensorflow_backend, "flat_call", lambda *_: None)
    engine = tensorflow_backend.make_tensorflow_engine(dataset, Path())
    for one, other in zip(flat, trained(), strict=True):
        np.testing.assert_array_equal(one, other)
