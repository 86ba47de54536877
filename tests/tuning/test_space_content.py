"""A search space is the same after its way through `Study.content` and JSON."""

import json
from typing import Any

import pytest

from nightune.tuning.study.space_content import space_of
from tests.tuning.conftest import Read, study_text

SPACES = {
    "ranges": 'learning_rate.peak = { low = 1e-4, high = 1e-1, scale = "log" }',
    "options": 'optimizer = ["adam", "sgd"]',
    "whole numbers": "batch_size.size = { low = 8, high = 64, integer = true, steps = 3 }",
    "cases": (
        'optimizer = ["adam", "sgd"]\n[[space.learning_rate.peak]]\nwhen = { optimizer = "adam" }\nlow = 1e-4\n'
        'high = 1e-2\n[[space.learning_rate.peak]]\nwhen = { optimizer = "sgd" }\noptions = [0.1, 0.2]'
    ),
    "conditions": 'weight_decay.profile = ["none", "fixed"]\nweight_decay.strength = { low = 0.1, high = 0.2 }',
}


@pytest.mark.parametrize("name", SPACES)
def test_a_space_is_read_back(name: str, read: Read) -> None:
    study = read(study_text(SPACES[name]))
    content = json.loads(json.dumps(study.content))
    space = space_of(content)
    assert space is not None
    units = dict.fromkeys(space.by_name, 0.4)
    assert space.at(units) == study.space.at(units)
    assert space.varying == study.space.varying


@pytest.mark.parametrize(
    "content", [{}, {"space": []}, {"space": {"a": {}}}, {"space": {"a": {"domain": 1, "when": {}}}}]
)
def test_a_damaged_content_has_no_space(content: dict[str, Any]) -> None:
    assert space_of(content) is None
