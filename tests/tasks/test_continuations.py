"""What the report and the confirmation make of members of a population that got no better than their parents."""

from dataclasses import replace

from nightune.tasks.confirm_finalists import _search_scores
from nightune.tasks.prepared_data import PreparedData
from nightune.tasks.reporting.night.tables import trial_table
from nightune.tasks.setting import Setting
from nightune.tasks.tracking.store.store import Store
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tasks.tracking.trials.trial_log import TrialLog
from nightune.tuning.trial import Parent, Trial, TrialResult
from tests.tasks.conftest import SmallStudy, result_of
from tests.tasks.nights import confirmation, night, result

PARENT = Parent(1, 3, 2, 0.9, 0.5)


def inherited(number: int, score: float) -> TrialResult:
    held = result(number, score)
    return replace(held, trial=replace(held.trial, parent=PARENT))


def test_the_report_has_a_score_once_and_says_whose_it_is() -> None:
    subject = night(
        [result(0, 0.5), result(1, 0.9), result(2, 0.6), inherited(3, 0.9), inherited(4, 0.9)],
        confirmation=confirmation(0.9, 0.5),
    )
    assert [each.trial.number for each in subject.full] == [1, 2, 0]
    assert subject.median == 0.6
    rows = {row["trial"]: row for row in trial_table(subject)[1]}
    assert "no better than trial 1" in str(rows[3]["status"])
    assert "no better" not in str(rows[1]["status"])
    assert [rows[number]["is_near"] for number in (1, 3)] == [True, False]


def test_the_confirmation_compares_with_scores_of_their_own(
    store: Store, sweep: Sweep, study: SmallStudy, data: PreparedData
) -> None:
    for number, parent in enumerate((None, None, Parent(0, 3, 9))):
        trial = Trial(number, {}, seed=1, key=f"{number:016x}", parent=parent)
        log = TrialLog(store, sweep, trial, {}, data)
        log.finish(result_of(trial, objective=0.5 + number, best_epoch=2, epochs=4), None)
    setting = Setting(store, sweep, study, data)  # type: ignore[arg-type]
    assert sorted(_search_scores(setting)) == [0.5, 1.5]
