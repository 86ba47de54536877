"""A search by population from file to leaderboard: what is exploited, also after a stop, and what is then trained."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tasks.tracking.store.store import client, open_store
from nightune.tuning.trial import Status
from tests.flows.test_model_rounds import PLAIN, trained
from tests.flows.test_rungs import interrupt_at_epoch, points

pytestmark = pytest.mark.usefixtures("plain_flows", "store_root")

POPULATION = 'method = "pbt"\npopulation = 4\nperturb_every = 2\ntruncation = 0.5\nepochs = 6\n'


@pytest.fixture
def population(small_study: Path) -> Path:
    """Four members, of which two are replaced after the epochs 2 and 4."""
    small_study.write_text(small_study.read_text().replace(PLAIN, POPULATION))
    return small_study


def tune(study: Path, engine: str) -> SweepReport:
    from nightune.flows.tune import tune as flow

    report = flow(study, engine=engine)
    assert isinstance(report, SweepReport)
    return report


def curves(store: Path, report: SweepReport) -> list[Any]:
    return [points(store, report, name) for name in ("val_loss", "learning_rate", "objective")]


@pytest.mark.parametrize(
    ("engine", "stops"), [("compiled", [5]), pytest.param("fit", [3, 6], marks=pytest.mark.nights)]
)
def test_stops_change_neither_members_nor_results_and_a_member_equals_its_training_from_the_start(
    engine: str, stops: list[int], population: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    for epoch in stops:  # at 3 the first generation has ended, at 5 the second one
        with monkeypatch.context() as patch:
            interrupt_at_epoch(epoch, patch)
            with pytest.raises(KeyboardInterrupt):
                tune(population, engine)
    with monkeypatch.context() as patch:
        patch.setattr("nightune.tasks.next_generation.logger.info", lambda text, *_, **__: said.append(text))
        report = tune(population, engine)
        assert_continued(report, store_root)
        assert len([text for text in said if "continues trial" in text]) == 2  # the second generation, not the first
        said.clear()
        tune(population, engine)  # only shown
        assert not any("continues trial" in text for text in said)
    assert_schedule_trains_a_member_again(population, store_root, report)
    monkeypatch.setenv("NIGHTUNE_STORE", str(store_root.parent / "alone"))
    with monkeypatch.context() as patch:  # each new member trains its own schedule from its first epoch on
        patch.setattr("nightune.tasks.trial.snapshots.RunKeeper.read", lambda keeper: None)
        alone = tune(population, engine)
    assert trained(alone) == trained(report)
    assert curves(store_root.parent / "alone", alone) == curves(store_root, report)


def assert_continued(report: SweepReport, store_root: Path) -> None:
    """Each generation replaced its worst members, and each run has one whole curve."""
    by_number = {each.trial.number: each for each in report.results}
    assert sorted(by_number) == list(range(8))
    losses, rates, _ = curves(store_root, report)
    alive = [0, 1, 2, 3]
    for first, epoch in ((4, 2), (6, 4)):
        ranked = sorted(alive, key=lambda number: losses[number][epoch - 1][1])
        for number in (first, first + 1):
            parent = by_number[number].trial.parent
            assert parent is not None
            assert (parent.trial in ranked[:2], parent.replaces in ranked[2:], parent.epoch) == (True, True, epoch)
            assert by_number[number].trial.seed == by_number[parent.trial].trial.seed
            assert losses[number][:epoch] == losses[parent.trial][:epoch]
            assert rates[number][epoch][1] != rates[parent.trial][epoch - 1][1]
            assert by_number[parent.replaces].epochs == epoch
        replaced = {by_number[number].trial.parent.replaces: number for number in (first, first + 1)}  # type: ignore[union-attr]
        alive = [replaced.get(number, number) for number in alive]
    assert {each.trial.params["stopping.rule"] for each in report.results} == {"none"}
    ended = {number for number, each in by_number.items() if each.status is Status.COMPLETED}
    assert ended == set(alive)
    store = open_store(store_root)
    assert all("nightune.snapshot" not in client(store).get_run(each.run_id).data.tags for each in report.results)


def assert_schedule_trains_a_member_again(population: Path, store_root: Path, report: SweepReport) -> None:
    """The schedule of a member is written as a study of its own."""
    member = max((each for each in report.results if each.trial.parent), key=lambda each: each.trial.number)
    copy = population.parent / "again.toml"
    shown = show(population, "--trial", str(member.trial.number), "--write", str(copy))
    assert shown.exit_code == 0, shown.stderr
    assert f"continues trial {member.trial.parent.trial} after epoch 4" in shown.stdout  # type: ignore[union-attr]
    again = tune(copy, "fit")
    assert {json.dumps(each.trial.params) for each in again.results} == {json.dumps(member.trial.params)}
    seeds = {each.trial.seed for each in again.results}
    assert (len(seeds), seeds & {each.trial.seed for each in report.results}) == (3, set())
    assert again.sweep.data_version == report.sweep.data_version
    rates = points(store_root, again, "learning_rate")
    assert rates[0] == points(store_root, report, "learning_rate")[member.trial.number]
    refused = show(population, "--write", str(copy))
    assert (refused.exit_code, "exists" in refused.stderr) == (2, True)


def show(study: Path, *words: str) -> Result:
    from nightune.flows.commands.main import app

    return CliRunner().invoke(app, ["show", str(study), *words])
