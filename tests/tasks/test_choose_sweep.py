"""A sweep is extended where its first trials stay the same; else a new one begins, and the log says why."""

from pathlib import Path

import pytest

from nightune.tasks import choose_sweep as module
from nightune.tasks.choose_sweep import choose_sweep
from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import prepare_data
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.propose_trials import propose_trials
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client, open_store
from nightune.tasks.tracking.sweeps.sweeps import Sweep, finish_sweep, open_sweep, sweep_content
from nightune.tuning.study.study import Study
from tests.flows.conftest import SMALL_STUDY

FEW = "batch_size.size = [20, 30]\nlearning_rate.peak = 0.1\n[search]"


class Chooser:
    """Chooses sweeps of one study file in one store, without building models."""

    def __init__(self, path: Path, store: Store) -> None:
        self.path, self.store = path, store
        self.data: PreparedData = prepare_data.fn(load_study(path), store.root)

    def choose(self, trials: int | None = None, fresh: bool = False) -> tuple[Sweep, Study]:
        return choose_sweep(self.store, load_study(self.path, trials=trials), self.data, "auto", fresh, False)[:2]

    def finished(self, trials: int | None = None) -> tuple[Sweep, Study]:
        sweep, study = self.choose(trials)
        return finish_sweep(self.store, sweep, "", []), study

    def keys(self, sweep: Sweep, study: Study) -> list[str]:
        return [each.key for each in propose_trials.fn(study, sweep.number, self.data, study.brackets[0], [])]


@pytest.fixture
def chooser(store_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chooser:
    monkeypatch.setattr(module, "build_before_training", lambda *_: ())
    (tmp_path / "flowers.toml").write_text(SMALL_STUDY)
    return Chooser(tmp_path / "flowers.toml", open_store(store_root))


def test_more_trials_extend_the_sweep_and_keep_its_first_ones(chooser: Chooser) -> None:
    first, study = chooser.finished()
    longer, more = chooser.choose(trials=9)
    assert (longer.id, longer.is_complete, longer.planned_trials) == (first.id, False, 9)
    assert chooser.keys(longer, more)[:4] == chooser.keys(first, study)
    assert len(chooser.keys(longer, more)) == 9
    assert sweep_content(chooser.store, longer)["search"]["trials"] == 9


def test_rounds_of_full_trainings_are_extended_and_so_are_those_with_rungs(chooser: Chooser) -> None:
    chooser.path.write_text(SMALL_STUDY.replace('"random"', '"gp"'))
    first, _ = chooser.finished(trials=20)
    longer, _ = chooser.finished(trials=40)
    assert (longer.id, longer.planned_trials) == (first.id, 40)
    chooser.path.write_text(SMALL_STUDY.replace('"random"', '"gp"\nsmallest_epochs = 1'))
    whole, _ = chooser.finished(trials=16)
    assert chooser.finished(trials=20)[0].id == whole.id
    longer, study = chooser.choose(trials=40)
    assert longer.id == whole.id
    assert [(each.first, each.trials) for each in study.brackets] == [(0, 16), (16, 4), (20, 16), (36, 4)]


def test_a_study_without_a_method_is_extended_from_any_number_of_trials(chooser: Chooser) -> None:
    chooser.path.write_text(SMALL_STUDY.replace('method = "random"', "").replace("epochs = 2", "epochs = 6"))
    whole, _ = chooser.finished(trials=8)
    longer, study = chooser.finished(trials=24)
    assert (longer.id, study.search.has_rungs) == (whole.id, True)

    def digest_of(sweep: Sweep) -> str:
        return client(chooser.store).get_run(sweep.run_id).data.tags[names.STUDY_DIGEST]

    assert digest_of(longer) == study.digest
    assert chooser.finished(trials=30)[0].id == whole.id
    again, study = chooser.choose(trials=60)
    rounds = [(0, 8), (8, 16), (24, 6), (30, 16), (46, 14)]
    assert (again.id, [(each.first, each.trials) for each in study.brackets]) == (whole.id, rounds)
    assert digest_of(again) == f"{study.digest}+rounds"  # so that an earlier version leaves it alone
    assert again.study_digest == study.digest
    resumed, study = chooser.choose(trials=24)
    assert (resumed.earlier_lengths, study.brackets[-1].first, study.trial_count) == ((8, 24, 30), 46, 60)
    finish_sweep(chooser.store, resumed, "", [])
    next_one, study = chooser.choose(trials=60, fresh=True)
    assert (next_one.number, [each.first for each in study.brackets]) == (1, [0, 8, 24, 40, 56])


@pytest.mark.parametrize("is_finished", [True, False])
def test_an_extended_sweep_is_the_one_of_the_study_file_as_well(chooser: Chooser, is_finished: bool) -> None:
    chooser.finished()
    longer, _ = chooser.finished(trials=9) if is_finished else chooser.choose(trials=9)
    again, study = chooser.choose()
    assert (again.id, again.is_complete, study.trial_count) == (longer.id, is_finished, 9)
    assert chooser.choose(trials=12)[0].planned_trials == 12


def test_fresh_begins_the_next_sweep_with_its_own_number_of_trials(chooser: Chooser) -> None:
    chooser.finished()
    chooser.finished(trials=9)
    sweep, study = chooser.choose(fresh=True)
    assert (sweep.number, study.trial_count) == (1, 4)


def confirmed(chooser: Chooser, sweep: Sweep) -> None:
    client(chooser.store).set_tag(sweep.run_id, "nightune.confirmed_trial", "2")


def halving(chooser: Chooser, sweep: Sweep) -> None:
    chooser.path.write_text(SMALL_STUDY.replace('"random"', '"successive_halving"\nsmallest_epochs = 1'))
    chooser.finished()


@pytest.mark.parametrize(
    ("change", "trials", "reason"),
    [
        (confirmed, 9, "its winner is confirmed"),
        (halving, 9, "successive_halving ranks all"),
        (lambda *_: None, 3, "a sweep is not shortened"),
    ],
)
def test_what_cannot_be_extended_begins_a_new_sweep_with_the_reason(  # type: ignore[no-untyped-def]
    chooser: Chooser, change, trials: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = chooser.finished()
    change(chooser, first)
    sweep, study = chooser.choose(trials=trials)
    assert sweep.number > first.number
    assert study.trial_count == sweep.planned_trials == trials
    assert reason in caplog.text


def test_few_points_are_trained_once_and_the_counts_agree(chooser: Chooser, caplog: pytest.LogCaptureFixture) -> None:
    chooser.path.write_text(SMALL_STUDY.split("learning_rate")[0] + FEW + SMALL_STUDY.split("[search]")[1])
    sweep, study = chooser.finished(trials=9)
    assert sweep.planned_trials == study.trial_count == len(set(chooser.keys(sweep, study))) == 4
    assert "search.trials: 9, but the space has 4 points" in caplog.text
    again, study = chooser.choose(trials=9)
    assert (again.id, again.is_complete, study.trial_count) == (sweep.id, True, 4)
    longer, study = chooser.choose(trials=12)
    assert (longer.id, longer.planned_trials, longer.asked_trials, study.trial_count) == (sweep.id, 4, 12, 4)


def test_a_sweep_of_an_earlier_version_keeps_its_repeated_points(chooser: Chooser) -> None:
    chooser.path.write_text(SMALL_STUDY.split("learning_rate")[0] + FEW + SMALL_STUDY.split("[search]")[1])
    study = load_study(chooser.path, trials=9)
    before = finish_sweep(chooser.store, open_sweep(chooser.store, study, chooser.data.version, False, 9), "", [])
    again, study = chooser.choose(trials=9)
    assert (again.id, again.is_complete, study.trial_count) == (before.id, True, 9)
    assert len(chooser.keys(again, study)) == 9
    fresh, study = chooser.choose(trials=9, fresh=True)
    assert (fresh.number, study.trial_count) == (1, 4)


@pytest.mark.parametrize(("more", "said"), [("", "new seeds"), ("\nreuse = true", "reads its results")])
def test_a_fresh_grid_says_that_it_has_no_new_points(
    more: str, said: str, chooser: Chooser, caplog: pytest.LogCaptureFixture
) -> None:
    grid = SMALL_STUDY.replace('method = "random"\ntrials = 4', f'method = "grid"{more}')
    chooser.path.write_text(grid.replace("learning_rate.peak = {", "learning_rate.peak = { steps = 2,"))
    first, study = chooser.finished()
    assert (first.method, first.has_all_points, study.trial_count) == ("grid", True, 4)
    assert first.is_reusing == bool(more)
    second, _ = chooser.choose(fresh=True)
    assert second.id != first.id
    assert said in caplog.text
    assert first.id in caplog.text


def test_a_fresh_random_search_has_new_points(chooser: Chooser, caplog: pytest.LogCaptureFixture) -> None:
    first, _ = chooser.finished()
    chooser.choose(fresh=True)
    assert not first.has_all_points
    assert "every point" not in caplog.text


@pytest.mark.parametrize("is_finished", [True, False])
@pytest.mark.parametrize("trials", [None, 9])
def test_a_sweep_of_the_earlier_default_is_not_continued_by_another_method(
    chooser: Chooser, caplog: pytest.LogCaptureFixture, trials: int | None, is_finished: bool
) -> None:
    before, _ = chooser.finished() if is_finished else chooser.choose()
    chooser.path.write_text(SMALL_STUDY.replace('method = "random"\n', ""))
    sweep, study = chooser.choose(trials=trials)
    assert (sweep.number, sweep.method, study.search.method) == (1, "auto", "auto")
    assert before.id in caplog.text
    assert "method = 'random'" in caplog.text
    caplog.clear()
    assert chooser.choose(trials=trials)[0].id == sweep.id
    assert before.id not in caplog.text
    chooser.path.write_text(SMALL_STUDY)  # the remedy
    assert chooser.choose()[0].id == before.id


def test_a_sweep_of_another_method_that_the_study_names_is_no_surprise(
    chooser: Chooser, caplog: pytest.LogCaptureFixture
) -> None:
    chooser.choose()
    chooser.path.write_text(SMALL_STUDY.replace('"random"', '"auto"'))
    assert chooser.choose()[0].number == 1
    assert "default" not in caplog.text
