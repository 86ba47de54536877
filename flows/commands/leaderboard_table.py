"""Print the leaderboard of a sweep: as many of the params that mattered as the terminal has room for."""

import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from nightune.flows.commands.cells import cell_text, plain_table
from nightune.flows.runtime.console import print_table
from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tuning.analysis.beliefs import why_proposed
from nightune.tuning.analysis.failures import failure_groups, failure_lines
from nightune.tuning.analysis.front import NOT_COMPUTED
from nightune.tuning.analysis.importance import by_importance
from nightune.tuning.search.population import changes_of, values_of
from nightune.tuning.trial import Params, Status, Trial, TrialResult, Value
from nightune.vocabulary import CHANGES, counted

SHOWN_ROWS = 10
GAP = 2  # columns between two columns of the table
NARROWEST = 8  # columns of a param's heading
LONGEST = 18  # characters of a param's value
ENDED = {
    Status.COMPLETED: "done",
    Status.STOPPED_EARLY: "early",
    Status.NOT_PROMOTED: "rung",
    Status.OVER_LIMIT: "over limit",
}
WINNER, ALIKE = "*", "="
INDENT = "  "
ON_FRONT = "+"
REPLACED = "replaced"  # a member of a population


def print_leaderboard(console: Console, report: SweepReport) -> None:
    """Print the best trials of a sweep, the params of the winner, why trials failed, and findings about the data."""
    title = f"{report.sweep.id} · {report.metric_text} · {len(report.results)} of {report.sweep.planned_trials} trials"
    table = plain_table(title)
    columns, left_out = _columns(report, console.width)
    for name, _ in columns:
        table.add_column(escape(name), justify="right", no_wrap=True)
    for row in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*map(Text, row))
    print_table(console, table)
    if left_out and report.results:
        console.print(Text(f"No room for {', '.join(left_out)}: widen the terminal, or use --json."))
    if len(report.results) > SHOWN_ROWS:
        console.print(f"… and {len(report.results) - SHOWN_ROWS} more in the leaderboard of the sweep's MLflow run.")
    dropped = sum(each.status is Status.NOT_PROMOTED for each in report.results)
    if dropped and not report.sweep.is_population:
        trials = counted(len(report.results), "trial")
        console.print(f"{dropped} of {trials} ended at a rung: their scores are of fewer epochs.", soft_wrap=True)
    if report.sweep.ended_by:
        console.print(Text(f"The search ended by search.{report.sweep.ended_by}."), soft_wrap=True)
    for line in _marks(report):
        console.print(Text(line), soft_wrap=True)
    if report.winner is not None:
        print_trial(console, report, report.winner)
    _print_failures(console, report)
    for finding in (*(f"data: {each}" for each in report.findings), *report.model_findings):
        console.print(Text(finding, style="yellow"), soft_wrap=True)


def _ended(report: SweepReport, result: TrialResult) -> str:
    if result.status is Status.NOT_PROMOTED and report.sweep.is_population:
        return REPLACED
    return ENDED.get(result.status, str(result.status))


def _columns(report: SweepReport, width: int) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """Return headings and cells: what all have, further objectives and params as fit, and seconds if all params do.

    Then the names of the objectives and params that there is no room for.
    """
    shown = report.results[:SHOWN_ROWS]
    fixed = [
        ("trial", [f"{_mark(report, result):<2}{result.trial.number:>3}" for result in shown]),
        (report.sweep.metric, [_objective(report, result) for result in shown]),
        *_front_marks(report, shown),
        ("epoch", [f"{result.best_epoch}/{result.epochs}" if result.epochs else "–" for result in shown]),
        ("ended", [_ended(report, result) for result in shown]),
    ]
    seconds = ("seconds", [f"{result.seconds:.1f}" for result in shown])
    searched = _param_names(report)
    params = [*_further_columns(report, shown), *(_param_column(name, shown) for name in searched)]
    room = width + GAP - sum(map(_width, fixed))  # no gap follows the last column
    kept: list[tuple[str, list[str]]] = []
    for column in params:
        if kept and _width(column) > room:
            break
        room -= _width(column)
        kept.append(column)
    has_room = len(kept) == len(params) and _width(seconds) <= room
    names = [*(name for name, _ in report.sweep.further), *searched]
    return [*fixed, *([seconds] if has_room else []), *kept], names[len(kept) :]


def _front_marks(report: SweepReport, shown: Sequence[TrialResult]) -> list[tuple[str, list[str]]]:
    """Return the column that marks the front of several objectives; none with one."""
    on_front = set(report.front)
    marks = [ON_FRONT if result.trial.number in on_front else "" for result in shown]
    return [("front", marks)] if report.sweep.further else []


def _further_columns(report: SweepReport, shown: Sequence[TrialResult]) -> list[tuple[str, list[str]]]:
    """Return a column for each objective after the first."""
    return [
        (_folded(name, NARROWEST), [cell_text(result.further.get(name)) for result in shown])
        for name, _ in report.sweep.further
    ]


def _width(column: tuple[str, Sequence[str]]) -> int:
    name, cells = column
    return GAP + max(map(len, [*name.split("\n"), *cells]))


def _param_names(report: SweepReport) -> list[str]:
    """Return the params that differ, those first that tell a continuation from its parent, and their table last."""
    continued = [changes_of(each.trial.params) for each in report.results if each.trial.parent is not None]
    changed = {name for changes in continued for values in changes.values() for name in values}
    if not changed:
        return report.by_importance
    first = by_importance(changed, report.mattered)
    rest = [name for name in report.by_importance if name not in changed and name != CHANGES]
    return [*first, *rest, CHANGES]


def _last_values(trial: Trial) -> Params:
    """Return the params of a trial; of a continuation, values that changed as they were at its end."""
    return trial.params if trial.parent is None else {**trial.params, **values_of(trial.params)}


def _param_column(name: str, shown: Sequence[TrialResult]) -> tuple[str, list[str]]:
    held = [_last_values(result.trial) for result in shown]
    cells = [_param_cell(name, params) if name in params else "–" for params in held]
    return _folded(name, max(NARROWEST, *map(len, cells))), cells


def _param_cell(name: str, params: Params) -> str:
    """Return the text of a param; of values by epoch, the epochs in which they change."""
    value = params[name]
    return f"at {', '.join(value)}"[:LONGEST] if name == CHANGES and isinstance(value, dict) else _cell(value)


def _cell(value: Value) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else cell_text(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _folded(name: str, width: int) -> str:
    """Fold the name of a param before its dots and after its underscores into lines of at most this width."""
    lines = [""]
    for part in name.replace(".", "\0.").replace("_", "_\0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _objective(report: SweepReport, result: TrialResult) -> str:
    if not result.best_epoch:
        return "–"
    error = report.errors.by_trial.get(result.trial.number)
    return f"{result.objective:.4f}" + ("" if error is None else f" ±{error:.4f}")


def _mark(report: SweepReport, result: TrialResult) -> str:
    if report.winner is not None and result.run_id == report.winner.run_id:
        return WINNER
    return ALIKE if report.is_alike(result) else ""


def _marks(report: SweepReport) -> list[str]:
    """Say what the marks mean, and that one seed confirms nothing."""
    best, winner = report.best, report.winner
    if best is None or winner is None:
        return []
    is_confirmed = report.confirmation is not None and report.confirmation.winner is not None
    said = "winner by fresh seeds" if is_confirmed else "best of the search"
    if report.errors.by_trial:
        others = sum(_mark(report, each) == ALIKE for each in report.results)
        within = f"{ALIKE} as good: {others} more" if others else "no other trial is"
        said += f" · {within} within one standard error of the best score (± {report.errors.source})"
    lines = [f"{WINNER} {said}"]
    if report.sweep.further:
        share = report.hypervolume
        covered = NOT_COMPUTED if share is None else f"the front covers {share:.1%} of the range of all objectives"
        lines.append(f"{ON_FRONT} no other trial is better in all objectives: {len(report.front)} trials; {covered}")
    if any(each.trial.parent is not None for each in report.results[:SHOWN_ROWS]):
        lines.append("Values of trials that continue others are those of their last epochs.")
    if said := _inherited(report):
        lines.append(f"No better than the trial that they continue, so the same model: {said}")
    if not is_confirmed and report.sweep.is_complete:
        lines.append("Not confirmed yet: `nightune promote` trains the best trials again with fresh seeds.")
    return lines


def _inherited(report: SweepReport) -> str:
    """Name the trials that are shown and got no better than the one that they continue, with that one."""
    shown = (each.trial for each in report.results[:SHOWN_ROWS] if each.trial.number in report.inherited)
    return ", ".join(f"{each.number} (trial {each.parent.trial})" for each in shown if each.parent is not None)


def print_trial(console: Console, report: SweepReport, result: TrialResult) -> None:
    """Print why a trial was proposed, and its params that differ between trials, in full."""
    known = [name for name in report.by_importance if name in result.trial.params]
    said = textwrap.wrap(
        why_proposed(result, lambda value: f"{value:.4f}", is_replaced=_ended(report, result) == REPLACED),
        console.width - len(INDENT),
    )
    if not known and not said:
        return
    console.print(f"\nTrial {result.trial.number} in full", style="bold", highlight=False)
    for line in said:
        console.print(Text(f"{INDENT}{line}"), soft_wrap=True)
    widest = max(map(len, known), default=0)
    for name in known:
        value = result.trial.params[name]
        text = repr(value) if isinstance(value, float) else cell_text(value)
        console.print(Text(f"{INDENT}{name:<{widest}}  {text}"), soft_wrap=True)


def _print_failures(console: Console, report: SweepReport) -> None:
    """Print why trials failed or are not ranked, once per cause."""
    groups = failure_groups(report.results)
    for group, line in zip(groups, failure_lines(groups, SHOWN_ROWS), strict=True):
        where = f"\n  The traceback is error.txt of run {group.run_id}." if group.has_traceback else ""
        console.print(Text(f"{line}{where}", style="yellow"), soft_wrap=True)
