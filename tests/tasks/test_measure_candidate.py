"""The guards that require only descriptions and numbers."""

import signal
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nightune.tasks import measure_candidate as module
from nightune.tasks.gate_guards import (
    check_finite,
    check_latency,
    check_schema,
    check_serving_model,
    check_size,
    note_equal_models,
)
from nightune.tasks.measure_candidate import Asked, Contender, does_champion_open, measure
from nightune.tasks.trial.interrupts import interrupts_remembered
from nightune.tuning.analysis.metric_gain import Side
from nightune.tuning.analysis.resampling import TestRows
from nightune.tuning.study.sections import PromotionSection


def table(*columns: tuple[str, str], **changes: Any) -> dict[str, Any]:
    named = [{"name": name, "kind": kind, "dtype": "float64"} for name, kind in columns]
    return {"task": "binary", "columns": named, "input_shape": [3], "classes": ["no", "yes"], **changes}


def arrays(*shape: int, **changes: Any) -> dict[str, Any]:
    return {"task": "regression", "input_shape": list(shape), "classes": None, **changes}


def parameters(*names: str, loss: str = "own.py:normal") -> dict[str, Any]:
    return arrays(8, outputs=list(names), has_parameters=True, loss=loss)


def written(kind: str, form: str) -> dict[str, Any]:
    return table(columns=[{"name": "a", "kind": kind, "dtype": "str", **({"form": form} if form else {})}])


A, B = ("a", "number"), ("b", "category")


@pytest.mark.parametrize(
    ("candidate", "champion", "words"),
    [
        (table(A, B), table(A), "column 'b' is required"),
        (table(A, ("b", "number")), table(A, B), "column 'b' was a category, .* number"),
        (written("date", "MM/DD/YYYY"), written("date", "DD/MM/YYYY"), "'a' was a date written like DD/.* like MM/"),
        (written("number", "1.250,00"), written("number", ""), r"'a' was a number, .* written like 1\.250,00"),
        (table(A, task="multiclass"), table(A), "the task was binary, .* multiclass"),
        (table(A, classes=["no", "maybe"]), table(A), "label 'yes' is not predicted"),
        (arrays(8, outputs=["a", "b"]), arrays(8, outputs=["b", "c"]), "column 'c' is not predicted"),
        (arrays(8, task="multilabel", classes=[0]), arrays(8, task="multilabel", classes=[0, 1]), "label 1 is not"),
        (arrays(8), arrays(9), r"inputs of shape \[8\] instead of \[9\]"),
        (arrays(3), table(A, task="regression", classes=None), r"inputs of shape \[3\]"),
        (arrays(8, target_shape=[2, 3]), arrays(8, target_shape=[3, 2]), r"shape \[2, 3\] instead of \[3, 2\]"),
        (arrays(8, target_shape=[6, 1]), arrays(8), r"predictions of shape \[6, 1\] instead of rows"),
        (parameters("output_0"), arrays(8, outputs=["a"]), r"were quantities of the target, .* \['output_0'\] of"),
        (parameters("output_0", "output_1"), parameters("output_0"), r"\['output_0'\] of .*, but .*'output_1'\] of"),
        (parameters("output_0", loss="own.py:gamma"), parameters("output_0"), r"own\.py:normal, .* own\.py:gamma now"),
    ],
)
def test_a_change_that_breaks_callers_of_the_champion_fails(
    candidate: dict[str, Any], champion: dict[str, Any], words: str
) -> None:
    guard = check_schema(candidate, champion)
    assert not guard.passed
    assert not guard.is_vital
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(guard.said)


@pytest.mark.parametrize(
    ("candidate", "champion"),
    [
        (table(A), table(A, B)),
        (table(B, A), table(A, B)),
        (table(A, classes=["no", "yes", "new"]), table(A)),
        (arrays(8, 8, 1), arrays(8, 8, 1)),
        (arrays(8, target_shape=[2, 3]), arrays(8, target_shape=[2, 3])),
        (arrays(8, outputs=["a", "b"]), arrays(8, outputs=["b", "a"])),
        (written("number", "1,250.00"), written("number", "")),
    ],
)
def test_a_change_that_callers_do_not_notice_passes(candidate: dict[str, Any], champion: dict[str, Any]) -> None:
    assert check_schema(candidate, champion).passed


def test_a_candidate_without_a_row_for_an_id_of_the_test_rows_is_refused_before_they_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import keras

    from nightune.models.data.dataset import Dataset, Examples, SealedExamples, UnsealedExamples
    from nightune.models.networks.embedding_ids import UnknownIdError
    from nightune.models.serving.predictor import Predictor

    model = keras.Sequential([keras.Input((1,)), keras.layers.Embedding(6, 2)])
    monkeypatch.setattr(Predictor, "open", lambda _folder: SimpleNamespace(model=model))
    seen, unseen = (np.array([[low], [low + 1]], np.int32) for low in (4, 5))
    targets = np.array([0, 1], np.int32)
    sealed = SealedExamples(2, lambda: UnsealedExamples(unseen, targets))
    known = Examples(seen, targets)
    dataset = Dataset(known, known, sealed, "binary", (0, 1), "0" * 16, (), None, {})
    recorded: list[str] = []
    with pytest.raises(UnknownIdError, match="test split"):
        measure(
            dataset,
            Asked("val_loss", None),  # type: ignore[arg-type]
            PromotionSection(),
            Contender(tmp_path, ()),
            None,
            lambda: recorded.append("read"),
            alone=lambda _folder, _test: pytest.fail("was opened"),
        )
    assert recorded == []


def test_limits_apply_only_where_they_are_set() -> None:
    free, tight = PromotionSection(), PromotionSection(size_limit_mb=1.0, latency_limit_ms=5.0)
    assert check_size(10**9, free).passed
    assert check_size(10**6, tight).passed
    assert not check_size(10**6 + 1, tight).passed
    assert check_latency(10**6, free).passed
    assert not check_latency(5.1, tight).passed


def test_outputs_that_are_not_finite_fail_a_vital_guard_of_the_serving_model() -> None:
    sound = np.zeros((2, 3))
    assert check_finite(sound).passed
    serving, sibling = sound.copy(), sound.copy()
    serving[0, 1], sibling[1, 1] = np.nan, np.nan
    assert (check_finite(serving).passed, check_finite(serving).is_vital) == (False, True)
    assert (check_finite(sibling).passed, check_finite(sibling).is_vital) == (False, False)


def test_a_serving_model_that_is_significantly_worse_than_the_champions_fails() -> None:
    generator = np.random.default_rng(0)
    champion = generator.exponential(1.0, (4, 500))
    lucky_siblings = champion - 0.5
    rows = TestRows(500)
    assert check_serving_model(Side(lucky_siblings), Side(champion), rows, PromotionSection()).passed
    lucky_siblings[0] += 1.0
    assert not check_serving_model(Side(lucky_siblings), Side(champion), rows, PromotionSection()).passed


def test_models_that_predict_the_same_are_said_to_show_no_variance_over_seeds() -> None:
    losses = np.random.default_rng(0).exponential(1.0, (1, 20))
    assert note_equal_models(losses) == []
    (note,) = note_equal_models(np.concatenate([losses, losses, losses + 1e-7]))
    assert "3 models" in note
    assert note_equal_models(np.concatenate([losses, 2 * losses])) == []


def test_a_champion_whose_opening_was_interrupted_is_not_taken_for_one_that_does_not_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from nightune.models.serving.predictor import Predictor

    def interrupted(_folder: Path) -> Predictor:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise RuntimeError("REPLACED BY KeyboardInterrupt")

    monkeypatch.setattr(Predictor, "open", interrupted)
    monkeypatch.setattr(module, "champion_contender", lambda *_: Contender(tmp_path, ()))
    assert not does_champion_open(None, None)  # type: ignore[arg-type]
    with interrupts_remembered(), pytest.raises(KeyboardInterrupt):
        does_champion_open(None, None)  # type: ignore[arg-type]
