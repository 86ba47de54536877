"""The leaderboard in the terminal: params that mattered in columns, equal trials marked alike, the winner in full."""

import io
import math
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from nightune.flows.commands.leaderboard_table import print_leaderboard
from nightune.models.errors import InputError
from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tasks.tracking.sweeps.sweeps import Sweep, SweepStatus
from nightune.tuning.analysis.beliefs import why_proposed
from nightune.tuning.analysis.confirmation import Finalist, confirm
from nightune.tuning.analysis.importance import Importance, WhatMattered
from nightune.tuning.analysis.standard_errors import standard_errors
from nightune.tuning.trial import Expectation, Parent, Status, Trial, TrialResult

SWEEP = Sweep("flowers-0", 0, "run", "1", SweepStatus.COMPLETE, "digest", "data", "val_accuracy", "maximize", 4)
NAMES = ("learning_rate.peak", "optimizer", "weight_decay.strength", "batch_size.size", "one_minus_momentum", "units")


def trial(number: int, score: float, status: Status = Status.COMPLETED) -> TrialResult:
    values = (
        0.0123456789 * (number + 1),
        "adamw" if number % 2 else "sgd",
        1e-5 + number,
        16 * number,
        0.1 + number,
        [64],
    )
    params: dict[str, Any] = dict(zip(NAMES, values, strict=True)) | {"units": [number, 64]}
    return TrialResult(Trial(number, params, 1, str(number)), status, score, 3, 4, 6, 180, 1.5, run_id=f"run-{number}")


RESULTS = (trial(3, 0.97), trial(1, 0.965), trial(0, 0.8, Status.STOPPED_EARLY), trial(2, math.nan, Status.DIVERGED))
MATTERED = WhatMattered((Importance("weight_decay.strength", 0.6, 0.7, 4), Importance("optimizer", 0.2, 0.7, 4)), ())
REPORT = SweepReport("flowers", SWEEP, RESULTS, mattered=MATTERED, errors=standard_errors(RESULTS, None, {}, 200))


def printed(report: SweepReport = REPORT, width: int = 80) -> list[str]:
    console = Console(record=True, width=width, file=io.StringIO())
    print_leaderboard(console, report)
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_of_the_table_is_wider_than_the_terminal(width: int) -> None:
    lines = printed(width=width)
    table = lines[: next(place for place, line in enumerate(lines) if line.startswith("* "))]
    assert max(len(line.rstrip()) for line in table) <= width


def test_trials_that_a_rung_dropped_are_counted_apart_from_failures() -> None:
    halted = replace(REPORT, results=(*RESULTS[:2], trial(0, 0.8, Status.NOT_PROMOTED), RESULTS[3]))
    assert any(line.startswith("1 of 4 trials ended at a rung") for line in printed(halted))
    assert not any("rung" in line for line in printed())
    population = replace(halted, sweep=replace(SWEEP, method="pbt"))
    assert not any("ended at a rung" in line for line in printed(population))


def test_eighty_columns_have_the_four_params_that_mattered_most() -> None:
    assert REPORT.by_importance[:2] == ["weight_decay.strength", "optimizer"]
    row = next(line for line in printed() if "0.9700" in line)
    assert row.split()[:7] == ["*", "3", "0.9700", f"±{REPORT.errors.by_trial[3]:.4f}", "3/4", "done", "3"]
    assert "adamw" in row
    assert len(row.split()) == 6 + 4
    assert "No room for one_minus_momentum, units: widen" in " ".join(printed())
    assert not any("No room" in line for line in printed(width=160))
    assert not any("seconds" in line for line in printed())
    assert any("seconds" in line for line in printed(width=160))


def test_a_replaced_member_of_a_population_is_not_called_dropped_at_a_rung() -> None:
    dropped = replace(REPORT, results=(trial(3, 0.97, Status.NOT_PROMOTED),))
    population = replace(dropped, sweep=replace(SWEEP, method="pbt"))
    for report, word in ((dropped, " rung "), (population, " replaced ")):
        assert any(word in row for row in printed(report) if "0.9700" in row)
    assert any("replaced after 4 epochs" in line for line in printed(population))


def test_trials_within_one_standard_error_are_marked_alike() -> None:
    lines = printed()
    assert [line[:1] for line in lines if line[5:].startswith("  0.")] == ["*", "=", " "]
    assert any("1 more" in line and "200 held-out rows" in line for line in lines)
    unknown = printed(replace(REPORT, errors=standard_errors(RESULTS, None, {}, None)))
    assert not any(line.startswith("=") or "±" in line for line in unknown)


def test_a_continuation_that_got_no_better_is_not_as_good_but_the_same() -> None:
    held = trial(4, 0.97)
    repeated = replace(held, trial=replace(held.trial, parent=Parent(3, 3, 2, 0.97, 0.1)))
    report = replace(REPORT, results=(RESULTS[0], repeated, *RESULTS[1:]))
    lines = printed(report)
    assert [line.split()[0] for line in lines if "0.9700" in line] == ["*", "4"]
    assert any("1 more" in line for line in lines)
    assert any("4 (trial 3)" in line for line in lines)
    assert "no better than trial 3" in why_proposed(repeated, str)


def test_eighty_columns_tell_a_continuation_from_its_parent() -> None:
    held = trial(3, 0.98).trial
    changes: Any = {"3": {"learning_rate.peak": 0.7}, "4": {"learning_rate.peak": 0.876}}
    params = {**held.params, "training.changes": changes}
    member = replace(RESULTS[0], trial=replace(held, number=4, params=params, parent=Parent(3, 2, 2)), objective=0.98)
    lines = printed(replace(REPORT, results=(member, *RESULTS)))
    values = [line.partition(" done ")[2].split()[0] for line in lines if " done " in line]
    assert values[:2] == ["0.876", "0.0494"]
    assert "training.changes" in next(line for line in lines if "No room" in line)
    assert any("last epochs" in line for line in lines)
    assert not any("last epochs" in line for line in printed())


def test_the_winner_is_in_full_below_and_not_confirmed_until_fresh_seeds_say_so() -> None:
    lines = printed()
    assert any(line.split() == ["learning_rate.peak", "0.0493827156"] for line in lines)
    assert any("nightune promote" in line for line in lines)
    scores = {1: (0.97, 0.98), 3: (0.90, 0.91)}
    finalists = [Finalist(n, str(n), f"run-{n}", 0.97, each, 10, 1.0) for n, each in scores.items()]
    held = confirm(finalists, "maximize", "parameters", 0.95, seed=0)
    lines = printed(replace(REPORT, confirmation=held))
    assert [line.split()[1] for line in lines if line.startswith("*  ")] == ["1"]
    assert "Trial 1 in full" in lines
    assert not any("nightune promote" in line for line in lines)


def test_the_legend_counts_the_marked_trials_where_another_one_won_by_fresh_seeds() -> None:
    scores = {0: (0.98, 0.99), 3: (0.80, 0.81)}
    finalists = [Finalist(n, str(n), f"run-{n}", 0.97, each, 10, 1.0) for n, each in scores.items()]
    held = confirm(finalists, "maximize", "parameters", 0.95, seed=0)
    lines = printed(replace(REPORT, confirmation=held))
    assert [line[:1] for line in lines if line[5:].startswith("  0.")] == ["=", "=", "*"]
    assert any("2 more" in line for line in lines)


def test_a_sweep_without_a_result_prints_no_winner() -> None:
    lines = printed(replace(REPORT, results=RESULTS[-1:]))
    assert not any(line.startswith("*") or "in full" in line for line in lines)
    assert printed(replace(REPORT, results=()))[0].startswith("flowers-0")


def test_the_winner_says_why_it_was_proposed_in_eighty_columns() -> None:
    proposed = replace(RESULTS[0].trial, proposed_by="gp", expected=Expectation(0.93, 0.02, 4), promoted_to=4)
    report = replace(REPORT, results=(replace(RESULTS[0], trial=proposed), *RESULTS[1:]))
    lines = printed(report)
    start = next(place for place, line in enumerate(lines) if "Trial 3 in full" in line)
    assert lines[start + 1].startswith("  proposed by gp, expected 0.9300 ± 0.0200, got 0.9700")
    assert max(map(len, lines[start : start + 3])) <= 80


def test_one_trial_is_found_by_its_number() -> None:
    assert REPORT.trial(1) == RESULTS[1]
    with pytest.raises(InputError, match="no finished trial 9"):
        REPORT.trial(9)


def test_a_trial_that_was_asked_for_is_printed_once_and_is_in_the_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightune.flows.commands import main

    monkeypatch.setattr(main, "output", lambda _: Console(width=80))
    for number, count in ((3, 1), (1, 2)):
        main._show_results(REPORT, False, REPORT.trial(number))
        assert capsys.readouterr().out.count(" in full") == count
    chosen: Any = REPORT.summary(REPORT.trial(1))["trial"]
    assert (chosen["trial"], chosen["params"], chosen["run_id"]) == (1, RESULTS[1].trial.params, "run-1")
    assert "trial" not in REPORT.summary()


def test_a_further_objective_that_is_not_finite_is_null_in_the_json() -> None:
    sweep = replace(SWEEP, further=(("latency_ms", "minimize"),))
    slow = replace(RESULTS[0], further={"latency_ms": math.inf})
    assert replace(REPORT, sweep=sweep, results=(slow,)).rows()[0]["latency_ms"] is None
