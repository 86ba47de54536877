"""Which points of a study share a program, as far as that is known before a model is built."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nightune.tasks.guide_proposals import guidance_of
from nightune.tasks.load_study import load_study
from nightune.tuning.search.structures import Structure
from nightune.tuning.trial import Value

OWN = """
def build(input_shape, output_size, width: int = 8, rate: float = 0.1, last: str = "relu"):
    from keras import Input, Sequential, layers

    hidden = [layers.Dense(width, last), layers.Dropout(rate)]
    return Sequential([Input(input_shape), *hidden, layers.Dense(output_size)])
"""
OURS = """
architecture = "mlp"
units = [[8], [16]]
dropout = [0.0, 0.1, 0.3]
[space]
optimizer = ["sgd", "adam", "lamb"]
nesterov = [true, false]
one_minus_momentum = 0.1
batch_size.size = [8, 64]
penalty.kind = ["none", "l2"]
weight_decay.profile = ["none", "fixed"]
"""
USERS = """
architecture = "net.py:build"
width = { low = 4, high = 16 }
rate = { low = 0.0, high = 0.5 }
last = ["relu", "tanh"]
"""
MakeStructure = Callable[[str], Structure]


@pytest.fixture
def structure(tmp_path: Path) -> MakeStructure:
    def make(model: str) -> Structure:
        (tmp_path / "net.py").write_text(OWN)
        path = tmp_path / "a.toml"
        search = '[search]\nmethod = "gp"\ntrials = 40\nepochs = 1\n'
        path.write_text(f'question = "?"\n[data]\nsource = "iris"\n[model]{model}\n{search}')
        found = guidance_of(load_study(path), "classification").structure
        assert found is not None
        return found

    return make


def point(**values: Value) -> dict[str, Value]:
    return {name.replace("__", "."): value for name, value in values.items()}


def test_points_that_differ_in_data_of_a_program_share_it(structure: MakeStructure) -> None:
    of = structure(OURS)
    first = point(model__architecture="mlp", model__units=[8], model__dropout=0.1, optimizer="adam")
    data = [{"optimizer": "sgd", "nesterov": True}, {"batch_size.size": 64}, {"model.dropout": 0.3}]
    assert {of({**first, **each}) for each in data} == {of(first)}
    other = [{"model.units": [16]}, {"model.dropout": 0.0}, {"optimizer": "lamb"}]
    assert len({of(first), *(of({**first, **each}) for each in other)}) == 4


def test_whole_numbers_and_words_of_a_users_function_are_a_structure_and_its_rates_none(
    structure: MakeStructure,
) -> None:
    of = structure(USERS)
    first = point(model__architecture="net.py:build", model__width=8, model__rate=0.1, model__last="relu")
    assert of({**first, "model.rate": 0.25, "learning_rate.peak": 0.1}) == of(first)
    other = [{"model.width": 9}, {"model.rate": 0.0}, {"model.last": "tanh"}]
    assert len({of(first), *(of({**first, **each}) for each in other)}) == 4


def test_rates_are_a_structure_where_they_are_constants_of_programs(structure: MakeStructure) -> None:
    """In mixed precision; so are floats below 0, which are no rates."""
    mixed = point(model__architecture="mlp", model__dropout=0.1, precision="mixed_bfloat16")
    assert len({structure(OURS)({**mixed, "model.dropout": rate}) for rate in (0.1, 0.3)}) == 2
    own = point(model__architecture="net.py:build")
    assert len({structure(USERS)({**own, "model.rate": slope}) for slope in (-0.2, -0.1, 0.0, 0.1)}) == 4


def test_a_param_that_is_not_active_has_the_structure_of_its_default(structure: MakeStructure) -> None:
    of = structure(USERS)
    without = point(model__architecture="net.py:build", model__last="relu")
    assert of({**without, "model.width": 8}) == of(without) != of({**without, "model.width": 9})


def test_each_point_with_contradictions_has_a_structure_of_its_own(structure: MakeStructure) -> None:
    """No proposal is preferred because an earlier trial was refused."""
    of = structure(OURS)
    refused = point(model__architecture="mlp", optimizer="adam", penalty__kind="l2", weight_decay__profile="fixed")
    refused |= point(penalty__strength=0.01, weight_decay__strength=0.1)
    assert of({**refused, "learning_rate.peak": 0.1}) != of(refused) == of(dict(refused))
