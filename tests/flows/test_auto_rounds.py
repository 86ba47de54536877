"""An automatic search from file to leaderboard: rungs that follow results, also after a stop."""

from pathlib import Path

import pytest

from nightune.tasks.tracking.store.store import client, open_store
from nightune.tasks.tracking.sweeps.sweeps import all_sweeps
from tests.flows.test_model_rounds import PLAIN, interrupt_after_trainings, trained, tune

pytestmark = pytest.mark.usefixtures("plain_flows", "store_root", "portfolio")

ONE_EPOCH = 'method = "auto"\ntrials = 4\nepochs = 1\n'
AUTO = 'method = "auto"\ntrials = 4\nepochs = 4\nsmallest_epochs = 2\n'
FIRST_ROUND = "nightune.tasks.choose_sweep.FIRST_ROUND"


@pytest.fixture
def rounds(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two rounds of two trials; the second one leaves out the first rung, which is said to predict nothing."""
    monkeypatch.setattr("nightune.tuning.study.budgets.ROUND", 2)
    monkeypatch.setattr("nightune.tuning.search.rung_agreement.LEAST_COMPARED", 1)
    monkeypatch.setattr("nightune.tuning.search.rung_agreement.rank_correlation", lambda pairs: 0.0)
    small_study.write_text(small_study.read_text().replace(PLAIN, AUTO))
    return small_study


def test_rungs_that_predict_nothing_are_left_out_also_after_a_stop(
    rounds: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after_trainings(4, patch)  # in the second round
        with pytest.raises(KeyboardInterrupt):
            tune(rounds)
    with monkeypatch.context() as patch:  # what is recorded counts, not what would be chosen now
        patch.setattr("nightune.tuning.search.rung_agreement.rank_correlation", lambda pairs: 1.0)
        report = tune(rounds)
    epochs = [trained(report)[number][1] for number in range(4)]
    assert (sorted(epochs[:2]), epochs[2:]) == ([2, 4], [4, 4])
    promoted = {each.trial.number for each in report.results if each.trial.promoted_to}
    assert promoted == {number for number in range(2) if epochs[number] == 4}
    store = open_store(store_root)
    assert client(store).get_run(report.sweep.run_id).data.tags["nightune.first_rungs"] == "2:4"
    assert all_sweeps(store, "flowers")[0].first_rungs == report.sweep.first_rungs == ((2, 4),)
    runs = {each.trial.number: each.run_id for each in report.results}
    by = [client(store).get_run(runs[number]).data.tags["nightune.proposed_by"] for number in range(4)]
    assert by == ["portfolio"] * 2 + ["auto"] * 2
    monkeypatch.setenv("NIGHTUNE_STORE", str(store_root.parent / "whole"))
    assert trained(tune(rounds)) == trained(report)


def test_a_sweep_with_rungs_is_extended_from_any_number_of_trials_also_after_a_stop(
    rounds: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightune.tuning.search.rung_agreement.rank_correlation", lambda pairs: 1.0)
    first = tune(rounds, trials=3)
    assert sorted(epochs for _, epochs in trained(first).values()) == [2, 4, 4]  # the third is a round of its own
    with monkeypatch.context() as patch:
        interrupt_after_trainings(2, patch)
        with pytest.raises(KeyboardInterrupt):
            tune(rounds, trials=6)
    report = tune(rounds, trials=6)
    assert (report.sweep.id, report.sweep.earlier_lengths) == (first.sweep.id, (3,))
    after = trained(report)
    assert {number: after[number] for number in range(3)} == trained(first)
    assert [sorted(after[number][1] for number in each) for each in ((3, 4), (5,))] == [[2, 4], [4]]
    assert trained(tune(rounds, trials=6)) == after
    assert len(all_sweeps(open_store(store_root), "flowers")) == 1


@pytest.mark.parametrize(
    "trainings", [pytest.param(None, marks=pytest.mark.nights), 3], ids=["complete", "interrupted"]
)
def test_a_sweep_without_the_tag_of_its_first_round_keeps_a_round_of_16(
    trainings: int | None, small_study: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_study.write_text(small_study.read_text().replace(PLAIN, ONE_EPOCH))
    with monkeypatch.context() as patch:
        patch.setattr(FIRST_ROUND, 16)
        if trainings is None:
            tune(small_study)
        else:
            interrupt_after_trainings(trainings, patch)
            with pytest.raises(KeyboardInterrupt):
                tune(small_study)
    store = open_store(store_root)
    (sweep,) = all_sweeps(store, "flowers")
    client(store).delete_tag(sweep.run_id, "nightune.first_round")
    assert all_sweeps(store, "flowers")[0].first_round == 16
    monkeypatch.setattr(FIRST_ROUND, 2)  # of a sweep that starts now
    report = tune(small_study)
    assert sorted(trained(report)) == list(range(4))
    assert {each.trial.proposed_by for each in report.results} == {"portfolio"}  # one round, none proposed
    assert [each.id for each in all_sweeps(store, "flowers")] == [sweep.id]


def test_a_new_sweep_records_its_first_round(
    small_study: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FIRST_ROUND, 3)
    small_study.write_text(small_study.read_text().replace(PLAIN, ONE_EPOCH))
    report = tune(small_study)
    store = open_store(store_root)
    assert client(store).get_run(report.sweep.run_id).data.tags["nightune.first_round"] == "3"
    assert [each.trial.proposed_by for each in sorted(report.results, key=lambda each: each.trial.number)] == [
        *["portfolio"] * 3,
        "auto",
    ]
