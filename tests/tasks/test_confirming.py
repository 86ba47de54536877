"""How many finalists a sweep confirms is settled once: by its trials, and as before where it had begun."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from nightune.tasks.confirm_finalists import has_finalists, rules, with_rules
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.search_budget import replicates_after
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.confirmations import write_confirmation
from nightune.tasks.tracking.sweeps.sweeps import Sweep, read_sweep
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.study.sections import ConfirmationSection, PromotionSection
from nightune.tuning.trial import Status
from tests.tasks.nights import confirmation, log_trial


def setting(store: Store, sweep: Sweep, data: PreparedData, section: ConfirmationSection | None = None) -> Setting:
    study: Any = SimpleNamespace(confirmation=section)
    read = read_sweep(client(store).get_run(sweep.run_id))
    return Setting(store, read, study, data)


def counts(held: Setting) -> tuple[int, int]:
    return rules(held).finalists, rules(held).replicates


def test_the_number_of_finalists_is_recorded_with_the_first_confirmation(
    store: Store, sweep: Sweep, data: PreparedData, monkeypatch: Any
) -> None:
    monkeypatch.setattr("nightune.tuning.study.sections.MANY_TRIALS", 2)
    log_trial(store, sweep, data, 0, [0.5])
    assert counts(with_rules(setting(store, sweep, data))) == (3, 2)
    log_trial(store, sweep, data, 1, [0.4])
    again = setting(store, sweep, data)
    assert counts(again) == counts(with_rules(again)) == (3, 2)
    explicit = setting(store, sweep, data, ConfirmationSection(finalists=4))
    assert counts(explicit) == (4, 2)


def test_a_sweep_without_a_finite_result_has_no_finalists(store: Store, sweep: Sweep, data: PreparedData) -> None:
    assert not has_finalists(setting(store, sweep, data))
    log_trial(store, sweep, data, 0, [math.nan], status=Status.DIVERGED)
    assert not has_finalists(setting(store, sweep, data))
    log_trial(store, sweep, data, 1, [0.5])
    assert has_finalists(setting(store, sweep, data))
    assert not has_finalists(setting(store, sweep, data, ConfirmationSection(finalists=0)))


def test_a_promotion_without_finalists_records_how_many_a_later_confirmation_has(
    store: Store, sweep: Sweep, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replicates that it trains would look like those of a confirmation that an earlier version began."""
    from nightune.flows.promote import promote_sweep
    from nightune.tasks.promote_model import Request

    log_trial(store, sweep, data, 0, [0.5])
    study: Any = SimpleNamespace(confirmation=ConfirmationSection(finalists=0), promotion=PromotionSection())

    def stop(held: Setting) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nightune.flows.promote.confirm", stop)
    with pytest.raises(KeyboardInterrupt):
        promote_sweep(replace(setting(store, sweep, data), study=study), Request(False, False, ""))
    assert read_sweep(client(store).get_run(sweep.run_id)).confirming == (3, 2)


def test_a_search_of_many_trials_has_more_finalists_and_seeds(
    store: Store, sweep: Sweep, data: PreparedData, monkeypatch: Any
) -> None:
    monkeypatch.setattr("nightune.tuning.study.sections.MANY_TRIALS", 2)
    for number in range(2):
        log_trial(store, sweep, data, number, [0.5])
    assert counts(with_rules(setting(store, sweep, data))) == (5, 3)


def test_a_confirmation_of_an_earlier_version_stays_as_it_was(store: Store, sweep: Sweep, data: PreparedData) -> None:
    log_trial(store, sweep, data, 0, [0.5])
    write_confirmation(store, sweep, confirmation(0.9, 0.8))
    held = with_rules(setting(store, sweep, data))
    assert counts(held) == (5, 3)
    assert counts(setting(store, sweep, data)) == (5, 3)
    assert client(store).get_run(sweep.run_id).data.tags["nightune.confirming"] == "[5, 3]"


@pytest.mark.parametrize(("finalists", "trainings"), [(0, 8), (1, 8), (3, 12), (None, 12)])
def test_a_night_reserves_what_the_confirmation_and_the_gate_train(finalists: int | None, trainings: int) -> None:
    section, search = ConfirmationSection(finalists=finalists), SearchSection(trials=4, epochs=2)
    study: Any = SimpleNamespace(confirmation=section, promotion=PromotionSection(replicates=8), search=search)
    assert replicates_after(study, True)(4) == trainings
