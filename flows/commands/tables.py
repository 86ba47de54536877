"""Print tables and messages in the terminal."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nightune.flows.commands.cells import cell_text, plain_table
from nightune.flows.runtime.console import print_table
from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tasks.tracking.registry.registry import Version
from nightune.tasks.tracking.store import names
from nightune.tuning.analysis.beliefs import belief_lines
from nightune.tuning.analysis.confirmation import Claim
from nightune.tuning.analysis.importance import Edge, WhatMattered, is_trusted
from nightune.tuning.analysis.metric_values import MetricValues, values_text
from nightune.tuning.analysis.sweep_comparison import Difference, Score
from nightune.vocabulary import after_epochs, metric_limits

if TYPE_CHECKING:  # their modules import more than a table needs
    from nightune.tasks.promote_model import Promotion
    from nightune.tasks.reporting.probe_report import StudyProbe

SHOWN_ROWS = 10


def print_confirmation(console: Console, report: SweepReport) -> None:
    """Print the finalists by their confirmed scores, beside their scores in the search."""
    confirmation = report.confirmation
    if confirmation is None:
        return
    seeds = max((len(each.finalist.scores) for each in confirmation.finalists), default=0)
    title = f"confirmed · {report.metric_text} over {seeds} fresh seeds"
    table = plain_table(title)
    interval = f"{100 * confirmation.confidence:g} % interval"
    for name in ("trial", "confirmed", interval, "in search", "P(best)", confirmation.cost):
        table.add_column(name, justify="right", no_wrap=True)
    least, most = metric_limits(report.sweep.metric)
    for each in confirmation.finalists:
        finalist, mark = each.finalist, " *" if confirmation.is_winner(each) else ""
        low, high = max(each.low, least), min(each.high, most)  # a symmetric interval may pass the ends of the values
        between = "–" if math.isnan(each.low) else f"[{low:.4f}, {high:.4f}]"
        chance = "–" if math.isnan(each.best_probability) else f"{each.best_probability:.2f}"
        cost = cell_text(getattr(finalist, confirmation.cost))
        cells = [f"{finalist.mean:.4f}", between, f"{finalist.search_score:.4f}", chance]
        table.add_row(f"{finalist.trial}{mark}", *map(Text, cells), cost)
    print_table(console, table)
    console.print("* winner: the cheapest finalist within one standard error of the best")
    if confirmation.note:
        console.print(Text(confirmation.note, style="yellow"), soft_wrap=True)
    if confirmation.claim is not None:
        console.print(Text(claim_text(confirmation.claim, confirmation.confidence)), soft_wrap=True)


def print_importance(console: Console, report: SweepReport) -> None:
    """Print the importance of each dimension, its better values, and the bounds near which the best trials lie.

    Of too few trials for any share it says so in a line.
    """
    mattered = report.mattered
    if mattered is None or not mattered.dimensions:
        return
    if all(each.share is None for each in mattered.dimensions):
        console.print(Text(explained_text(mattered)), soft_wrap=True)
        return
    after = after_epochs(mattered.epochs)
    table = plain_table(f"what mattered · {report.sweep.metric}{after}")
    table.add_column("parameter")
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("trials", justify="right", no_wrap=True)
    has_better = any(each.better for each in mattered.dimensions)
    if has_better:
        table.add_column("better")
    for each in mattered.dimensions[:SHOWN_ROWS]:
        share = "too few" if each.share is None else f"{each.share:.0%}"
        table.add_row(Text(each.name), share, str(each.trials), *([Text(each.better)] if has_better else []))
    print_table(console, table)
    said = " Better: by the median of its trials." if has_better else ""
    said += f" Trials are compared{after}, before any was dropped: what acts late shows less." if after else ""
    console.print(Text(f"{explained_text(mattered)}{said}"), soft_wrap=True)
    for edge in mattered.edges:
        console.print(Text(edge_text(edge), style="yellow"), soft_wrap=True)


def print_beliefs(console: Console, report: SweepReport) -> None:
    """Print what a model's search expects at best, and how well its predictions came true."""
    lines = [] if report.beliefs is None else belief_lines(report.beliefs, lambda value: f"{value:.4f}")
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def explained_text(mattered: WhatMattered) -> str:
    """Say how reliable the importances are."""
    explained = mattered.dimensions[0].explained
    if explained is None:
        return "Importance requires at least ten trials with different objectives after equal numbers of epochs."
    if not is_trusted(mattered.dimensions[0]):
        return "Importance is unreliable: the surrogate explains too little variance out of bag. Run more trials."
    return (
        f"The surrogate explains {explained:.0%} of the variance of the scores themselves; shares below 100% in total "
        "are due to interactions. The report's shares are on the scale of its charts."
    )


def edge_text(edge: Edge) -> str:
    """Warn that the optimum may lie outside a range."""
    where = f"{edge.trials} of the best {edge.best} trials lie in the {edge.end}est quarter of the range"
    verb = "lower" if edge.end == "low" else "raise"
    return f"{edge.name}: {where}; {verb} its bound {edge.value:g} to search beyond it."


def claim_text(claim: Claim, confidence: float) -> str:
    """Compare the winner with the median trial, corrected for choosing the best of many."""
    ordinary = f"the median of {claim.trials} trials ({claim.ordinary:.4f})"
    if claim.is_shown:
        least = f"at least {claim.low:.4f} with {confidence:.0%} confidence"
        return f"The winner is better than {ordinary} by {claim.gain:.4f}, {least}."
    return f"The winner is not significantly better than {ordinary}: the difference may be due to seeds."


def print_promotion(console: Console, promotion: "Promotion") -> None:
    """Print the verdict and its reasons."""
    verdict, dry = promotion.verdict, " (dry run: nothing is registered)" if promotion.is_dry else ""
    console.print(Text(f"{verdict.candidate.model}: {verdict.decision}{dry}", style="bold"))
    where = "no champion" if verdict.against is None else f"champion version {verdict.against}"
    console.print(f"trial {verdict.candidate.trial} of {verdict.candidate.sweep} against {where}", highlight=False)
    console.print(Text(verdict.reason), soft_wrap=True)
    console.print(Text(f"on the test split: {values_text(verdict.values)}{_unit(verdict.values)}"), soft_wrap=True)
    for guard in verdict.guards:
        console.print(Text(f"  {'passed' if guard.passed else 'FAILED':<6} {guard.name}: {guard.said}"), soft_wrap=True)
    for note in verdict.notes:
        console.print(Text(f"  note   {note}", style="yellow"), soft_wrap=True)
    for step in verdict.advice:
        console.print(Text(f"  next   {step}"), soft_wrap=True)
    if promotion.version is not None:
        address = f"models:/{verdict.candidate.model}@{promotion.alias}"
        console.print(Text(f"version {promotion.version} is {promotion.alias}: {address}"), soft_wrap=True)


def _unit(values: MetricValues | None) -> str:
    """The unit of the values on the test split, where they have one."""
    return f" · {values.unit}" if values is not None and values.unit else ""


def print_versions(console: Console, versions: Sequence[Version]) -> None:
    """Print registered versions, newest first, with their aliases and verdicts, and below why each has its verdict."""
    table = plain_table()
    for name in ("model", "version", "alias", "verdict", "sweep", "gain over\nchampion"):
        table.add_column(name, justify="right" if name in ("version", "gain over\nchampion") else "left")
    for version in reversed(versions):
        gain = "–" if version.gain is None else f"{version.gain:.4g}"
        known = [version.tags.get(name, "–") for name in (names.VERDICT, names.SWEEP)]
        cells = [version.model, str(version.number), ", ".join(version.aliases) or "–", *known, gain]
        table.add_row(*map(Text, cells))
    print_table(console, table)
    for version in reversed(versions):
        if why := _why(version):
            console.print(Text(f"{version.model} version {version.number}: {why}"), soft_wrap=True)


def _why(version: Version) -> str:
    """Return why a version was rolled back, or else why it was promoted or refused; empty if that is unknown."""
    back = version.tags.get(names.ROLLED_BACK_BECAUSE)
    return f"rolled back: {back}" if back else version.tags.get(names.BECAUSE) or version.tags.get(names.REASON, "")


def print_probe(console: Console, probe: "StudyProbe") -> None:
    """Print the result of each range test, and the lines to put into the study."""
    table = Table(title=f"{probe.study} · learning-rate range tests", title_justify="left", header_style="bold")
    for name in ("optimizer", "batch size", "updates", "steepest at", "search from", "to"):
        table.add_column(name, justify="left" if name == "optimizer" else "right", no_wrap=True)
    table.add_column("remark")
    for row in probe.rows():
        table.add_row(*(Text(cell) for cell in row))
    print_table(console, table)
    if probe.snippet:
        console.print("\nPut this into the study", style="bold")
        console.print(Text(probe.snippet), soft_wrap=True)
    console.print(
        f"The curves and the chart are in MLflow: run {probe.run_id} of experiment {probe.study} (nightune ui).",
        highlight=False,
        soft_wrap=True,
    )


def print_nights(console: Console, difference: Difference) -> None:
    """Print scores, verdicts, changes, and dimensions whose best values moved."""
    scores = Table("sweep", f"best {difference.metric}", "confirmed", "95 % interval", "trials")
    for score in difference.scores:
        interval = "" if score.low is None or score.high is None else f"{score.low:.5g} to {score.high:.5g}"
        scores.add_row(score.sweep, _number(score.searched), _number(score.confirmed), interval, str(score.trials))
    print_table(console, scores)
    for score in difference.scores:
        if score.verdict:
            console.print(Text(f"{score.sweep}: {score.verdict}"), soft_wrap=True)
            console.print(Text(f"  on the test split: {values_text(score.values)}"), soft_wrap=True)
    if not difference.is_comparable:
        console.print("The scores are not comparable: the metric, its loss or the data changed.")
    first, second = difference.scores
    _print_changes(console, "what changed", difference, first, second)
    moved = Table("dimension", "option or range", first.sweep, second.sweep, title="share among the best quarter")
    for share in difference.shares:
        moved.add_row(share.dimension, share.value, f"{share.before:.0%}", f"{share.after:.0%}")
    if difference.shares:
        print_table(console, moved)


def _print_changes(console: Console, title: str, difference: Difference, first: Score, second: Score) -> None:
    changed = Table("", first.sweep, second.sweep, title=title)
    for change in difference.changes:
        changed.add_row(change.name, _cell(change.before), _cell(change.after))
    if difference.changes:
        print_table(console, changed)
    else:
        console.print("Data, space, engine and code are unchanged.")
    best = Table("param", first.sweep, second.sweep, title="best params")
    for change in difference.best_params:
        best.add_row(change.name, _cell(change.before), _cell(change.after))
    print_table(console, best)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _cell(value: object) -> str:
    return "" if value is None else cell_text(value)
