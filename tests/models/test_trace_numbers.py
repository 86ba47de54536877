"""Traces are named by what they trace, so that kept programs are found whatever a process did before."""

from collections import defaultdict
from itertools import count, pairwise

import pytest

from nightune.models.engines.compiled import trace_numbers
from nightune.models.engines.compiled.trace_numbers import NUMBERS, first_number


@pytest.fixture(autouse=True)
def as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_numbers, "_traces", defaultdict(count))


def test_a_trace_has_the_same_numbers_in_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    first_number("another program")
    number = first_number("a program")
    monkeypatch.setattr(trace_numbers, "_traces", defaultdict(count))
    assert first_number("a program") == number
    assert 2**40 <= number < 2**63


def test_traces_of_one_process_do_not_share_numbers() -> None:
    numbers = sorted(first_number(name) for name in ("a program", "a program", "another program"))
    assert min(after - before for before, after in pairwise(numbers)) >= NUMBERS


def test_names_of_functions_do_not_depend_on_earlier_traces() -> None:
    import tensorflow as tf

    from nightune.models.library_internals.trace_names import functions_numbered_from

    def names() -> set[str]:
        def looped(end: tf.Tensor) -> tf.Tensor:
            return tf.while_loop(lambda index: index < end, lambda index: (index + 1,), (tf.constant(0),))[0]

        traced = tf.function(looped, autograph=False)
        with functions_numbered_from(first_number("looped")):
            graph = traced.get_concrete_function(tf.TensorSpec((), tf.int32)).graph
        return {function.signature.name for function in graph.as_graph_def().library.function}

    first = names()
    assert first
    tf.function(lambda number: number + 1)(tf.constant(1))
    trace_numbers._traces.clear()
    assert names() == first


def test_tensorflow_numbers_by_itself_again_afterwards() -> None:
    from tensorflow.python.framework import ops

    from nightune.models.library_internals.trace_names import functions_numbered_from

    with functions_numbered_from(2**50):
        assert ops.uid() == 2**50
    assert ops.uid() < 2**40
