"""The method `auto`: its rounds, its start, and first rungs that are left out where they rank trials otherwise."""

import math
from itertools import islice
from pathlib import Path

import pytest

from nightune.tasks.load_study import load_study
from nightune.tuning.errors import StudyError
from nightune.tuning.search.domains import Range
from nightune.tuning.search.observations import Observation
from nightune.tuning.search.rung_agreement import LEAST_COMPARED, rank_correlation, unreliable_rungs
from nightune.tuning.search.search_space import Dimension, SearchSpace
from nightune.tuning.simulator import Bank, Training, simulate
from nightune.tuning.study.budgets import admitted_trials, planned_epochs
from nightune.tuning.study.rounds import as_settled, settled
from nightune.tuning.study.search_section import SearchSection
from nightune.tuning.trial import Bracket, Params, Rung
from tests.tuning.conftest import Read, Refuse, has_parts, study_text

SPACE = 'learning_rate.peak = { low = 1e-4, high = 0.1, scale = "log" }\nbatch_size.size = { low = 8, high = 64 }'
AUTO = 'method = "auto"\ntrials = 48\nepochs = 12'
GP = 'method = "gp"\ntrials = 48\nepochs = 12'
RUNGS = (3, 6, 12)


def seen(count: int, *, agrees: bool, until: int = 12) -> list[Observation]:
    """Return trials that were trained until a rung; their ranks at 3 epochs are those of later ones, or reversed."""
    return [
        Observation(
            number,
            {"rate": float(number)},
            {epochs: float(number if epochs == 3 or agrees else -number) for epochs in RUNGS if epochs <= until},
        )
        for number in range(count)
    ]


def test_ranks_are_compared_with_those_of_the_last_rung_that_enough_trials_have_reached() -> None:
    assert unreliable_rungs(RUNGS, []) == 0
    assert unreliable_rungs(RUNGS, seen(LEAST_COMPARED - 1, agrees=False)) == 0
    assert unreliable_rungs(RUNGS, seen(20, agrees=True)) == 0
    assert unreliable_rungs(RUNGS, seen(20, agrees=False)) == 1  # from 6 epochs on ranks stay
    few = [*seen(20, agrees=True, until=6), *seen(LEAST_COMPARED - 1, agrees=False)]
    assert unreliable_rungs(RUNGS, few) == 0
    reversed_ranks = [
        Observation(number, {}, {3: float(number), 6: float(number), 12: float(-number)}) for number in range(10)
    ]
    assert unreliable_rungs(RUNGS, reversed_ranks) == 2  # full trainings
    failed = [Observation(number, {}, {3: math.nan, 6: 0.1, 12: 0.1}) for number in range(10)]
    assert unreliable_rungs(RUNGS, [*seen(20, agrees=True), *failed]) == 0


def test_the_correlation_is_that_of_ranks() -> None:
    assert rank_correlation([(1, 10), (2, 20), (3, 1000)]) == pytest.approx(1.0)
    assert rank_correlation([(1, 3), (2, 2), (3, 1)]) == pytest.approx(-1.0)
    assert math.isnan(rank_correlation([(1, 1), (2, 2)]))
    assert math.isnan(rank_correlation([(1, 1), (1, 2), (1, 3)]))


def test_a_round_begins_with_the_first_reliable_rung_and_keeps_its_trials(read: Read) -> None:
    study = read(study_text(SPACE, search=AUTO))
    first, second, third, last = study.brackets
    assert first == Bracket((Rung(8, 3), Rung(4, 6), Rung(2, 12)))  # the portfolio alone
    assert second == Bracket((Rung(16, 3), Rung(8, 6), Rung(4, 12)), 8)
    assert (third.first, last.first, last.trials) == (24, 40, 8)
    assert settled(study.search, second, []) == second
    bad = seen(LEAST_COMPARED, agrees=False)
    assert settled(study.search, second, bad) == Bracket((Rung(16, 6), Rung(8, 12)), 8)
    assert settled(study.search, first, bad) == first  # nothing is known before the first round
    assert settled(study.search, second, bad[::-1]) == settled(study.search, second, bad)
    turned = [Observation(number, {}, {3: float(number), 6: float(number), 12: float(-number)}) for number in range(10)]
    assert settled(study.search, second, turned) == Bracket((Rung(16, 12),), 8)
    assert as_settled(study.brackets, {8: 6, 24: 12})[1:3] == (
        Bracket((Rung(16, 6), Rung(8, 12)), 8),
        Bracket((Rung(16, 12),), 24),
    )
    gp = read(study_text(SPACE, search=AUTO.replace("auto", "gp") + "\nsmallest_epochs = 3"))
    assert settled(gp.search, gp.brackets[1], bad) == gp.brackets[1]


@pytest.mark.parametrize(("total", "trials"), [(12, 4), (47, 8), (60, 12), (144, 24), (168, 32), (5000, 840)])
def test_all_epochs_admit_so_many_trials_in_rounds_of_their_planned_rungs(read: Read, total: int, trials: int) -> None:
    """The first round costs 48 epochs, 24 of them at its first rung, and each later one 96, of which 48."""
    study = read(study_text(SPACE, search=f"epochs = 12\ntotal_epochs = {total}"))
    assert admitted_trials(study.search, study.brackets) == trials
    counted = read(study_text(SPACE, search=AUTO))
    assert admitted_trials(counted.search, counted.brackets) == 48


def test_auto_has_rungs_where_its_epochs_suffice_and_begins_with_the_portfolio(read: Read) -> None:
    study = read(study_text(SPACE, search=AUTO))
    assert (study.search.has_rungs, study.search.begins_with_portfolio) == (True, True)
    assert planned_epochs(study.search, study.brackets) == 8 * 3 + 4 * 3 + 2 * 6 + 40 * 12  # no ranks agree
    short = read(study_text(SPACE, search=AUTO.replace("epochs = 12", "epochs = 5")))
    assert [(each.first, each.rungs) for each in short.brackets[:2]] == [(0, (Rung(8, 5),)), (8, (Rung(16, 5),))]
    assert not short.search.adapts_rungs
    drawn = read(study_text(SPACE, search=f'{AUTO.replace("epochs = 12", "epochs = 5")}\nstart = "none"'))
    assert drawn.brackets == short.brackets
    own = read(study_text(SPACE, search=f'{AUTO}\nstart = "none"\nsmallest_epochs = 4\nreduction_factor = 3'))
    assert not own.search.begins_with_portfolio
    assert own.brackets[0] == Bracket((Rung(16, 4), Rung(5, 12)))
    assert read(study_text(SPACE, search='method = "auto"\nepochs = 12\nhours = 8')).trial_count == 1000


WRONG = {
    'method = "auto"\nepochs = 12': "search.trials: missing … automatic",
    f"{AUTO}\nreuse = true\nsmallest_epochs = 3": "search.reuse: true … remove smallest_epochs",
    f"{AUTO}\nreuse = true\nreduction_factor = 3": "search.reduction_factor: 3 … reuse … remove it",
    f"{AUTO}\nsmallest_epochs = 12\nreduction_factor = 3": "search.reduction_factor: 3 … remove it … smallest_epochs",
    f"{AUTO}\nsmallest_epochs = 7": "search.epochs: 12 are too few",
    f"{AUTO.replace('12', '5')}\nreduction_factor = 2": "search.reduction_factor: 2 … remove it … epochs = 6",
}


@pytest.mark.parametrize("search", WRONG)
def test_impossible_keys_of_auto_are_refused(search: str, refuse: Refuse) -> None:
    (line,) = refuse(study_text(SPACE, search=search))
    assert has_parts(line, WRONG[search]), line


@pytest.mark.parametrize("search", [f"{AUTO.replace('12', '5')}\nreduction_factor = 2", f"{GP}\nreduction_factor = 2"])
def test_no_remedy_is_named_that_something_else_in_the_study_refuses(search: str, tmp_path: Path) -> None:
    several = f'{study_text(SPACE, search=search)}[objective]\nmetrics = ["val_accuracy", "parameters"]'
    for text in (several, study_text(f'{SPACE}\n[stopping]\nrule = "median"', search=search)):
        path = tmp_path / "flowers.toml"
        path.write_text(text)
        with pytest.raises(StudyError) as refusal:
            load_study(path)
        (problem,) = refusal.value.problems
        assert problem.key == "search.reduction_factor"
        assert problem.message.endswith("remove it")
        path.write_text(text.replace("\nreduction_factor = 2", ""))
        assert not load_study(path).search.has_rungs


def test_the_remedies_of_refused_keys_work(read: Read) -> None:
    assert read(study_text(SPACE, search=f"{AUTO.replace('12', '6')}\nreduction_factor = 2")).search.has_rungs
    assert not read(study_text(SPACE, search=AUTO.replace("12", "5"))).search.has_rungs
    assert not read(study_text(SPACE, search=f"{AUTO}\nreuse = true")).search.has_rungs
    assert not read(study_text(SPACE, search=f"{AUTO}\nsmallest_epochs = 12")).search.has_rungs


def replayed(curve: "object", count: int) -> list[Training]:
    space = SearchSpace((Dimension("rate", Range(0.0, 1.0)),))
    search = SearchSection.model_validate({"method": "auto", "trials": 96, "epochs": 12})
    bank = Bank(space, "minimize", curve)  # type: ignore[arg-type]
    return list(islice(simulate(search, bank, 3), count))


def test_a_search_lengthens_its_rungs_only_on_curves_that_cross() -> None:
    def parallel(point: Params, trial: int) -> list[float]:
        return [float(str(point["rate"])) + 1 / epoch for epoch in range(1, 13)]

    def crossing(point: Params, trial: int) -> list[float]:
        """The best early are the worst late."""
        rate = float(str(point["rate"]))
        return [2 - rate if epoch <= 3 else 1 - rate / 2 if epoch <= 6 else rate - 1 for epoch in range(1, 13)]

    assert {each.end for each in replayed(parallel, 60) if each.begin == 0} == {3}
    later = [each.end for each in replayed(crossing, 92) if each.begin == 0 and each.trial >= 48]
    assert set(later) == {12}
