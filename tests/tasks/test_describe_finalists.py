"""A description of a finalist, which nothing depends on, keeps no sweep from completing."""

from types import SimpleNamespace
from typing import Any

import pytest

from nightune.tasks import describe_finalists, loss_error
from nightune.tasks.tracking.store.errors import StoreLostError
from tests.tasks.nights import ACCURACY, result

SETTING: Any = SimpleNamespace(
    store=SimpleNamespace(compiled=None), sweep=ACCURACY, study=SimpleNamespace(), data=SimpleNamespace()
)


def raising(error: Exception) -> Any:
    def raises(*_: Any) -> None:
        raise error

    return raises


@pytest.mark.parametrize("error", [MemoryError(), OSError("disk is full"), ValueError("a lost class")])
def test_what_a_model_raises_is_the_reason_for_no_answers(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(describe_finalists, "_answers", raising(error))
    found = describe_finalists._described(SETTING, result(0, 0.9), [result(0, 0.9)])
    assert type(error).__name__ in found.why
    assert found.models == ("run-0",)


def test_a_lost_store_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe_finalists, "_answers", raising(StoreLostError("gone")))
    with pytest.raises(StoreLostError):
        describe_finalists._described(SETTING, result(0, 0.9), [result(0, 0.9)])


def test_a_standard_error_without_memory_for_it_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    of_loss = SimpleNamespace(metric="val_loss", has_folds=False, is_complete=False)
    written: list[float] = []
    monkeypatch.setattr(loss_error, "read_row_error", lambda *_: None)
    monkeypatch.setattr(loss_error, "write_row_error", lambda _store, _run, error: written.append(error))
    setting = SimpleNamespace(**{**vars(SETTING), "sweep": of_loss})
    monkeypatch.setattr(loss_error, "_error", raising(MemoryError()))
    loss_error.record_loss_error(setting, result(0, 0.9))  # type: ignore[arg-type]
    assert written == []
    monkeypatch.setattr(loss_error, "_error", lambda *_: 0.25)
    loss_error.record_loss_error(setting, result(0, 0.9))  # type: ignore[arg-type]
    assert written == [0.25]


def test_rows_with_outputs_of_several_axes_are_not_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = SimpleNamespace(
        folds=(), description={}, output_size=(256, 256, 21), ranking_apart=None, ranking=_Rows(), task="positions"
    )
    head = SimpleNamespace(description={})
    trainer = SimpleNamespace(dataset=dataset, engine=SimpleNamespace(head=lambda _: head))
    monkeypatch.setattr(describe_finalists, "trainer_of", lambda *_: trainer)
    monkeypatch.setattr(describe_finalists, "read_recipe", lambda _: None)
    monkeypatch.setattr(describe_finalists, "_fetched", lambda *_: None)
    monkeypatch.setattr(describe_finalists, "_opened", lambda *_: None)
    monkeypatch.setattr(describe_finalists, "_costs", lambda *_: describe_finalists.Costs(1.5, 2.5))
    monkeypatch.setattr(describe_finalists, "_outputs", raising(MemoryError()))
    setting = SimpleNamespace(**{**vars(SETTING), "sweep": SimpleNamespace(engine="fit")})
    found = describe_finalists._answers(setting, result(0, 0.9), ("run-0",))  # type: ignore[arg-type]
    assert found.heads[0].why
    assert (found.rows, found.size_mb, found.latency_ms) == (3, 1.5, 2.5)


class _Rows:
    weights = None

    def __len__(self) -> int:
        return 3
