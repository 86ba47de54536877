"""A sweep interrupted before it trains is closed as interrupted, and a complete one is left alone."""

from pathlib import Path
from typing import Any

import pytest

from nightune.tasks import start_sweep as module
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import prepare_data
from nightune.tasks.start_sweep import start_sweep
from nightune.tasks.tracking.store.store import open_store
from nightune.tasks.tracking.sweeps.sweeps import all_sweeps, finish_sweep, record_engine
from nightune.tasks.trial.trainer import _rules, make_trainer
from nightune.tuning.errors import StudyError
from tests.flows.conftest import small_study

__all__ = ["small_study"]


def test_a_stop_while_the_engine_is_chosen_leaves_no_run_open(
    store_root: Path, small_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    study, store = load_study(small_study), open_store(store_root)
    data = prepare_data.fn(study, store.root)
    monkeypatch.setattr(module, "select_engine", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start_sweep.fn(store, study, data, "auto", False)
    assert [str(sweep.status) for sweep in all_sweeps(store, study.name)] == ["interrupted"]
    monkeypatch.undo()
    assert start_sweep.fn(store, study, data, "fit", False).sweep.id == "flowers-0"


def test_the_engine_that_was_checked_trains_the_sweep_with_its_programs(store_root: Path, small_study: Path) -> None:
    study, store = load_study(small_study), open_store(store_root)
    sweep = start_sweep.fn(store, study, prepare_data.fn(study, store.root), "compiled", False).sweep
    data = prepare_data.fn(study, store.root)
    trainer: Any = make_trainer(sweep.engine, data, study, store.compiled)
    assert trainer.engine.name == sweep.engine
    assert trainer.engine.programs >= 1


def test_a_refused_engine_closes_an_unfinished_sweep_and_leaves_a_complete_one(
    store_root: Path, small_study: Path
) -> None:
    study, store = load_study(small_study), open_store(store_root)
    data = prepare_data.fn(study, store.root)
    sweep = record_engine(store, start_sweep.fn(store, study, data, "fit", False).sweep, "tensorflow", "as asked")
    for status in ("interrupted", "complete"):
        with pytest.raises(StudyError, match="a sweep keeps its engine"):
            start_sweep.fn(store, study, data, "fit", False)
        assert [str(each.status) for each in all_sweeps(store, study.name)] == [status]
        finish_sweep(store, sweep, "", [])


def test_programs_hold_the_rules_of_the_studys_own_optimizers(store_root: Path, small_study: Path) -> None:
    text = small_study.read_text(encoding="utf-8")
    for optimizers, expected in (
        ('["sgd", "adam", "adamw", "muon"]', {"sgd", "adam"}),
        ('["adam", "nadam"]\nbias_correction = [true, false]', {"adam", "nadam", "adam without bias correction"}),
    ):
        kept = [line for line in text.splitlines() if not line.startswith("optimizer")]
        place = kept.index("[space]") + 1
        small_study.write_text("\n".join([*kept[:place], f"optimizer = {optimizers}", *kept[place:]]), encoding="utf-8")
        assert _rules(load_study(small_study)) == expected
