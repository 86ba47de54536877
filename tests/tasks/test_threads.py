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


def study_with(folder: Path, model: str, more: str = "") -> Study:
    text = DIGITS.read_text(encoding="utf-8")
    start, end = text.index("[model]"), text.index("[space]")
    path = folder / "digits.toml"
    path.write_text(f"{text[:start]}[model]\n{model}\n\n{more}\n{text[end:]}", encoding="utf-8")
    return load_study(path)


@pytest.mark.parametrize(
    ("model", "is_alone"),
    [
        ('architecture = "mlp"\nunits = [[64], [128, 64]]', True),
        ('architecture = "mlp"\nunits = [[64], [129]]', False),
        ('architecture = "mlp"\nunits = [[128, 128]]', True),
        ('architecture = "mlp"\nunits = [[64], [128, 128, 128]]', False),
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
        {"output_size": 129},
        {"input_shape": {"one": (4,), "other": (4,)}},
        {"sizes": SIZES | {"train": 2049}},
        {"sizes": SIZES | {"validation": 1025}},
    ],
)
def test_more_numbers_or_rows_are_not_small(data: PreparedData, changes: dict[str, Any]) -> None:
    study, digits = load_study(DIGITS), replace(data, input_shape=(64,), sizes=SIZES)
    assert is_small(study, digits)
    assert not is_small(study, replace(digits, **changes))


def test_folds_whose_validation_rows_are_among_those_of_training_are_small(data: PreparedData) -> None:
    folds = replace(data, input_shape=(64,), sizes={"train": 1437, "test": 360})
    assert is_small(load_study(DIGITS), folds)


@pytest.mark.parametrize(
    ("space", "is_alone"),
    [
        ("batch_size.size = [16, 128]", True),
        ("batch_size.size = [16, 129]", False),
        ("batch_size.size = { low = 16, high = 128 }", True),
        ("batch_size.size = { low = 16, high = 256 }", False),
        ('optimizer = ["adam", "gd"]', False),
        ('batch_size.policy = ["fixed", "random"]', False),
    ],
)
def test_only_studies_of_small_batches_are_small(
    tmp_path: Path, data: PreparedData, space: str, is_alone: bool
) -> None:
    model = 'architecture = "mlp"\nunits = [[64]]'
    path = tmp_path / "digits.toml"
    objective = '[search]\ntrials = 2\nepochs = 1\n[objective]\nmetric = "val_loss"'
    text = f'question = "?"\nseed = 1\n[data]\nsource = "digits"\n[model]\n{model}\n[space]\n{space}\n{objective}\n'
    path.write_text(text, encoding="utf-8")
    assert is_small(load_study(path), replace(data, input_shape=(64,), sizes=SIZES)) is is_alone


@pytest.mark.parametrize(
    "loss", ['"own.py:cost"', '["crossentropy", "own.py:cost"]', '{ one = "crossentropy", other = "own.py:cost" }']
)
def test_losses_of_the_user_are_not_small(tmp_path: Path, data: PreparedData, loss: str) -> None:
    (tmp_path / "own.py").write_text("def cost(y_true, y_pred):\n    return y_pred[:, 0]\n", encoding="utf-8")
    digits = replace(data, input_shape=(64,), sizes=SIZES)
    own = study_with(tmp_path, 'architecture = "mlp"\nunits = [[64]]', f"[training]\nloss = {loss}\n")
    assert not is_small(own, digits)


def test_metrics_of_the_user_are_not_small(data: PreparedData) -> None:
    study, digits = load_study(DIGITS), replace(data, input_shape=(64,), sizes=SIZES)
    for changes in ({"metric": "own.py:gain"}, {"metrics": ("val_loss", "own.py:gain")}):
        objective = study.objective.model_copy(update=changes)
        assert not is_small(study.model_copy(update={"objective": objective}), digits)


def test_the_last_study_settles_the_threads_but_none_of_model_fit(data: PreparedData) -> None:
    study, digits = load_study(DIGITS), replace(data, input_shape=(64,), sizes=SIZES)
    settle_threads(study, digits, "auto")
    assert backend._limits == [1]
    settle_threads(study, digits, "fit")
    assert backend._limits == []
