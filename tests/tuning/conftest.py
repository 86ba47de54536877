"""A small vocabulary in place of the models', and studies read from short texts."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from nightune.models.techniques.keys import Key
from nightune.tuning.errors import StudyError
from nightune.tuning.study.study import Study, load_study
from nightune.tuning.study.vocabulary import KeySpec, Vocabulary
from nightune.tuning.trial import Status, Trial, TrialResult

# No deadline for one example: a busy machine is not an error of the code.
unhurried = settings(deadline=None, max_examples=50)

KEYS: dict[str, KeySpec] = {
    "optimizer": Key("option", "adam", options=("adam", "adamw", "gd", "sgd")),
    "one_minus_momentum": Key("float", 1.0, low=0, high=1, is_open_low=True, when={"optimizer": ("sgd",)}),
    "nesterov": Key("boolean", False, when={"optimizer": ("sgd",)}),
    "learning_rate.peak": Key("float", 1e-3, low=0, is_open_low=True),
    "learning_rate.schedule": Key("option", "fixed", options=("fixed", "cosine", "step")),
    "learning_rate.final_fraction": Key("float", 0.0, low=0, high=1, when={"learning_rate.schedule": ("cosine",)}),
    "batch_size.policy": Key(
        "option", "fixed", options=("fixed", "growing"), when={"optimizer": ("adam", "adamw", "sgd")}
    ),
    "batch_size.size": Key(
        "integer", 32, low=1, when={"optimizer": ("adam", "adamw", "sgd"), "batch_size.policy": ("fixed", "growing")}
    ),
    "batch_size.growth": Key("float", 2.0, low=1, when={"batch_size.policy": ("growing",)}),
    "weight_decay.profile": Key(
        "option", "none", options=("none", "fixed", "tied"), default_by={"optimizer": {"adamw": "fixed"}}
    ),
    "weight_decay.strength": Key("float", 4e-3, low=0, when={"weight_decay.profile": ("fixed", "tied")}),
    "stopping.rule": Key("option", "patience", options=("none", "patience", "target")),
    "stopping.patience": Key("integer", 10, low=0, when={"stopping.rule": ("patience",)}),
    "stopping.target": Key("float", when={"stopping.rule": ("target",)}),
}
ARCHITECTURES: dict[str, dict[str, KeySpec]] = {
    "mlp": {"units": Key("any", [64]), "dropout": Key("float", 0.0, low=0, high=1)},
    "cnn": {"filters": Key("any", [16]), "dropout": Key("float", 0.0, low=0, high=0.9)},
}


def architecture_keys(name: str) -> Mapping[str, KeySpec]:
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown {name!r} (known: mlp, cnn)")
    return ARCHITECTURES[name]


VOCABULARY = Vocabulary(KEYS, architecture_keys)


def study_text(space: str = "", *, data: str = 'source = "iris"', search: str = "trials = 4\nepochs = 2") -> str:
    return f'question = "Which?"\n[data]\n{data}\n[search]\n{search}\n[space]\n{space}\n'


def has_parts(line: str, expected: str) -> bool:
    """True if the line starts with the first part and contains the others in order; " … " separates parts."""
    first, *others = expected.split(" … ")
    if not line.startswith(first):
        return False
    place = len(first)
    for part in others:
        place = line.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return True


Read = Callable[[str], Study]
Refuse = Callable[[str], list[str]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that reads a study from its text."""

    def read_text(text: str) -> Study:
        path = tmp_path / "flowers.toml"
        path.write_text(text, encoding="utf-8")
        return load_study(path, VOCABULARY)

    return read_text


@pytest.fixture
def refuse(tmp_path: Path) -> Refuse:
    """Return a function that reads a broken study and returns the lines of its error, without the file's name."""

    def read_broken(text: str) -> list[str]:
        path = tmp_path / "flowers.toml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(StudyError) as caught:
            load_study(path, VOCABULARY)
        lines = str(caught.value).split("\n")
        assert all(line.startswith(f"{path}: ") for line in lines)
        assert len(lines) == len(caught.value.problems)
        return [line.removeprefix(f"{path}: ") for line in lines]

    return read_broken


def result(number: int, objective: float, status: Status = Status.COMPLETED, **params: float) -> TrialResult:
    trial = Trial(number=number, params=dict(params), seed=0, key=str(number))
    return TrialResult(trial, status, objective, 1, 1, 1, 1, 0.1)
