"""A sweep interrupted before it trains is closed as interrupted, and a complete one is left alone."""

import math
import os
import signal
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nightune.tasks import start_sweep as module
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import prepare_data
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.start_sweep import planned_work, select_engine, start_sweep
from nightune.tasks.tracking.store import engine_checks, names
from nightune.tasks.tracking.store.engine_checks import check_key, keep_agreement, read_agreement
from nightune.tasks.tracking.store.records import DamagedRecordError
from nightune.tasks.tracking.store.store import Store, client, open_store
from nightune.tasks.tracking.sweeps.engines import forget_engine, record_engine
from nightune.tasks.tracking.sweeps.extension import extend_sweep
from nightune.tasks.tracking.sweeps.sweeps import (
    Sweep,
    all_sweeps,
    finish_sweep,
    read_sweep,
)
from nightune.tasks.trial import trainer as trainer_module
from nightune.tasks.trial.interrupts import interrupts_remembered
from nightune.tasks.trial.trainer import FEW_EXAMPLES, accumulates_blocks, shared_rules_of, trainer_of
from nightune.tuning.errors import StudyError
from nightune.tuning.study.study import Study
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


def test_an_interrupt_that_is_dropped_while_engines_are_compared_settles_no_engine(
    store_root: Path, small_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.models.engines import choice

    def interrupted(*_: object) -> choice.EngineChoice:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return choice.EngineChoice("fit", "two trials could not be compared")

    study, store = load_study(small_study), open_store(store_root)
    data = prepare_data.fn(study, store.root)
    monkeypatch.setattr(choice, "choose_engine", interrupted)
    with interrupts_remembered(), pytest.raises(KeyboardInterrupt):
        start_sweep.fn(store, study, data, "auto", False)
    assert [(str(sweep.status), sweep.engine) for sweep in all_sweeps(store, study.name)] == [("interrupted", "")]


def test_the_engine_that_was_checked_trains_the_sweep_with_its_programs(store_root: Path, small_study: Path) -> None:
    study, store = load_study(small_study), open_store(store_root)
    setting = start_sweep.fn(store, study, prepare_data.fn(study, store.root), "compiled", False)
    trainer: Any = trainer_of(setting)
    assert trainer.engine.name == setting.sweep.engine
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


def test_how_batches_are_added_up_is_decided_once_for_a_sweep(
    store_root: Path, small_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, store = load_study(small_study), open_store(store_root)
    data = prepare_data.fn(study, store.root)
    sweep = start_sweep.fn(store, study, data, "fit", False).sweep
    first, last = (trials_of(study, data) + more for more in (0, 1))
    assert accumulates_blocks("jax", data, load_study(small_study, trials=first))
    assert not accumulates_blocks("jax", data, load_study(small_study, trials=last))
    assert not accumulates_blocks("tensorflow", data, study)
    short = record_engine(store, sweep, "jax", "as asked", accumulates_blocks=True)
    assert read_sweep(run_of(store, sweep)).accumulates_blocks
    longer = load_study(small_study, trials=last)
    extended = extend_sweep(store, short, longer)
    assert extended.accumulates_blocks
    setting = start_sweep.fn(store, longer, data, "auto", False)
    assert setting.sweep.accumulates_blocks
    monkeypatch.setattr(trainer_module, "_make_trainer", lambda *given: given)
    made: Any = trainer_of(setting)
    assert (made[0], made[-1].accumulates_blocks) == ("jax", True)
    assert run_of(store, sweep).data.tags[names.BATCH_LAYOUT] == "blocks"
    client(store).set_tag(sweep.run_id, names.BATCH_LAYOUT, "other")
    with pytest.raises(DamagedRecordError, match="batch_layout"):
        read_sweep(run_of(store, sweep))
    client(store).delete_tag(sweep.run_id, names.BATCH_LAYOUT)
    assert not read_sweep(run_of(store, sweep)).accumulates_blocks
    assert not forget_engine(store, short).accumulates_blocks


def trials_of(study: Study, data: PreparedData) -> int:
    """Return the largest number of trials of a short sweep."""
    return FEW_EXAMPLES // data.sizes["train"] // study.search.epochs


def run_of(store: Store, sweep: Sweep) -> Any:
    return client(store).get_run(sweep.run_id)


def test_rungs_and_ends_count_in_the_length_of_a_sweep(store_root: Path, small_study: Path) -> None:
    study, store = load_study(small_study), open_store(store_root)
    data = prepare_data.fn(study, store.root)
    many = load_study(small_study, trials=2 * trials_of(study, data))
    assert not accumulates_blocks("jax", data, many)
    search = many.search.model_copy(update={"total_epochs": 100})
    assert accumulates_blocks("jax", data, many.model_copy(update={"search": search}))


def test_programs_hold_the_rules_of_the_studys_own_optimizers(store_root: Path, small_study: Path) -> None:
    text = small_study.read_text(encoding="utf-8")
    for optimizers, expected in (
        ('["sgd", "adam", "adamw", "muon"]', {"sgd", "adam"}),
        ('["adam", "nadam"]\nbias_correction = [true, false]', {"adam", "nadam", "adam without bias correction"}),
    ):
        kept = [line for line in text.splitlines() if not line.startswith("optimizer")]
        place = kept.index("[space]") + 1
        small_study.write_text("\n".join([*kept[:place], f"optimizer = {optimizers}", *kept[place:]]), encoding="utf-8")
        assert shared_rules_of(load_study(small_study).space) == expected


def test_a_check_is_remembered_for_the_same_question_and_no_other(
    store_root: Path, small_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.models.engines import choice, verification

    study, store = load_study(small_study), open_store(store_root)
    data = prepare_data.fn(study, store.root)
    compared: list[str] = []
    compare = verification._compare_first_buildable

    def counted(engine: Any, *given: Any) -> Any:
        compared.append(engine.name)
        return compare(engine, *given)

    monkeypatch.setattr(verification, "_compare_first_buildable", counted)

    def select(sweep: int = 0, of: Any = study, request: str = "compiled") -> choice.EngineChoice:
        return select_engine(store, of, sweep, data, request)

    first, again = select(), select(sweep=1)
    assert (len(compared), again.name, again.agreement) == (1, first.name, first.agreement)
    assert again.reason.startswith(first.reason)
    assert "earlier" in again.reason
    select(of=study.model_copy(update={"seed": study.seed + 1}))
    select(request="auto")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    select()
    assert len(compared) == 4
    for file in store.compiled.glob("checks/*.json"):
        file.write_text(file.read_text(encoding="utf-8")[:-5], encoding="utf-8")
    select()
    assert len(compared) == 5


def test_what_a_check_depends_on_names_code_devices_and_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from nightune.models.engines import check_setting as module

    before = module.check_setting()
    assert {*before} >= {"nightune", "processor", "devices", "keras", "policy", "variables"}
    assert module.check_setting() == before
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    assert module.check_setting() == before
    monkeypatch.setattr(module, "CODE", module.CODE / "engines")
    module._code_digest.cache_clear()
    assert module.check_setting()["nightune"] != before["nightune"]
    module._code_digest.cache_clear()


def test_only_agreement_is_kept_and_the_oldest_checks_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_checks, "MAXIMUM_CHECKS", 2)
    keys = [check_key({"number": number}) for number in range(3)]
    for age, key in enumerate(keys):
        keep_agreement(tmp_path, key, f"within {age}")
        os.utime(tmp_path / "checks" / f"{key}.json", (1000 + age, 1000 + age))
    assert [read_agreement(tmp_path, key) for key in keys] == ["", "within 1", "within 2"]
    (tmp_path / "checks" / f"{keys[0]}.json").write_bytes((tmp_path / "checks" / f"{keys[1]}.json").read_bytes())
    assert read_agreement(tmp_path, keys[0]) == ""
    keep_agreement(tmp_path / "checks" / f"{keys[0]}.json", keys[1], "no folder")


def test_engines_are_weighed_by_the_trials_that_all_epochs_admit(small_study: Path) -> None:
    text = small_study.read_text().replace('method = "random"', 'method = "gp"')
    small_study.write_text(text.replace("trials = 4", "total_epochs = 26"))
    study = load_study(small_study)
    assert study.trial_count == 1000
    now = datetime(2026, 11, 30, 20, tzinfo=UTC)
    assert planned_work(study, now) == (13, 26, 0, math.inf)  # of two epochs each, all in the first round
    longer = study.model_copy(update={"search": study.search.model_copy(update={"total_epochs": 80})})
    assert planned_work(longer, now) == (40, 80, 24, math.inf)
    late = study.model_copy(update={"search": study.search.model_copy(update={"until": "07:00", "hours": 12.0})})
    assert planned_work(late, now)[-1] == 11 * 3600.0


def test_agreement_of_other_ends_is_not_remembered_since_they_decide_which_engine_costs_less(
    store_root: Path, small_study: Path
) -> None:
    study = load_study(small_study)
    data = prepare_data.fn(study, store_root)
    searches = [study.search, *(study.search.model_copy(update={"total_epochs": each}) for each in (4, 8, 8))]
    keys = [
        check_key(module._question(study.model_copy(update={"search": each}), data, [], "auto")) for each in searches
    ]
    assert len(set(keys)) == 3
