"""Initial weights that no seed can change are found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def setup_module() -> None:
    """Import what imports Keras: when these tests run, not when they are collected."""
    global build_model, find_fixed_weights
    from nightune.models.networks.architectures import build_model
    from nightune.models.networks.fixed_weights import find_fixed_weights


OWN = "lambda shape, dtype=None: np.random.default_rng(0).normal(size=shape)"
OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "drawn": ("", ()),
    "zeros and ones": ("kernel_initializer='zeros', bias_initializer='ones'", ()),
    "a fixed seed": ("kernel_initializer=keras.initializers.HeNormal(seed=1)", ()),
    "values of its own": (f"kernel_initializer={OWN}", ("first", "last")),
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_layers_whose_weights_ignore_the_seed_are_named(
    kind: str, user_model: Callable[[str], str], tmp_path: Path
) -> None:
    options, expected = OPTIONS[kind]
    assert found_in(options, options, user_model, tmp_path) == (expected, bool(expected))


def test_layers_that_follow_the_seed_are_not_named(user_model: Callable[[str], str], tmp_path: Path) -> None:
    assert found_in(f"kernel_initializer={OWN}", "", user_model, tmp_path) == (("first",), False)


def found_in(first: str, last: str, user_model: Callable[[str], str], folder: Path) -> tuple[tuple[str, ...], bool]:
    code = f"""
import numpy as np


def build(input_shape, output_size):
    first = layers.Dense(4, name="first", **dict({first}))
    last = layers.Dense(output_size, name="last", **dict({last}))
    return keras.Sequential([keras.Input(input_shape), first, last])
"""
    reference = user_model(code)

    def build(seed: int) -> Any:
        return build_model(reference, {}, (5,), 3, folder=folder, seed=seed)

    found = find_fixed_weights(build)
    return found.layers, found.are_all
