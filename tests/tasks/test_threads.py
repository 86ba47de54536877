"""Which studies compute in one thread, before Keras' devices are initialized."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nightune.models import backend
from nightune.tasks.load_study import load_study
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.trial.threads import is_small, settle_threads
from nightune.tuning.study.study import Study

DIGITS = Path(__file__).parents[2] / "studies" / "digits.toml"
SIZES = {"train": 1078, "validation": 359, "test": 360}


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_limits", [])


def study_with(folder: Path, model: str) -> Study:
    text = DIGITS.read_text(encoding="utf-8")
    start, end = text.index("[model]"), text.index("[space]")
    path = folder / "digits.toml"
    path.write_text(f"{text[:start]}[model]\n{model}\n\n{text[end:]}", encoding="utf-8")
    return load_study(path)


@pytest.mark.parametrize(
    ("model", "is_alone"),
    [
        ('architecture = "mlp"\nunits = [[64], [128, 64]]', True),
        ('architecture = "mlp"\nunits = [[64], [129]]', False),
        ('architecture = ["mlp", "cnn"]', False),
        ('architecture = "cnn"', False),
    ],
)
def test_only_narrow_dense_networks_are_small(tmp_path: Path, data: PreparedData, model: str, is_alone: bool) -> None:
    digits = replace(data, input_shape=(64,), sizes=SIZES)
    assert is_small(study_with(tmp_path, model), digits) is is_alone


@pytest.mark.parametrize(
    "changes",
    [
        {"input_shape": (129,)},
        {"input_shape": (12, 12)},
        {"input_shape": {"one": (4,), "other": (4,)}},
        {"sizes": SIZES | {"train": 2049}},
        {"sizes": SIZES | {"validation": 1025}},
    ],
)
def test_more_numbers_or_rows_are_not_small(data: PreparedData, changes: dict[str, Any]) -> None:
    study, digits = load_study(DIGITS), replace(data, input_shape=(64,), sizes=SIZES)
    assert is_small(study, digits)
    assert not is_small(study, replace(digits, **changes))


def test_the_last_study_settles_the_threads_but_none_of_model_fit(data: PreparedData) -> None:
    study, digits = load_study(DIGITS), replace(data, input_shape=(64,), sizes=SIZES)
    settle_threads(study, digits, "auto")
    assert backend._limits == [1]
    settle_threads(study, digits, "fit")
    assert backend._limits == []
