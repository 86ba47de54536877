"""What two sweeps found, on the terminal."""

from rich.console import Console
from rich.table import Table

from tuning.nights import Difference, Score


def print_nights(console: Console, difference: Difference) -> None:
    """Print the scores, the verdicts, what changed, and which dimensions moved."""
    scores = Table("sweep", f"best {difference.metric}", "confirmed", "95 % interval", "trials", "verdict")
    for score in difference.scores:
        interval = "" if score.low is None or score.high is None else f"{score.low:.5g} to {score.high:.5g}"
        scores.add_row(
            score.sweep, _number(score.searched), _number(score.confirmed), interval, str(score.trials), score.verdict
        )
    console.print(scores)
    if not difference.is_comparable:
        console.print("The metric or the data changed: the scores cannot be compared.")
    first, second = difference.scores
    _print_changes(console, "what changed", difference, first, second)
    moved = Table("dimension", "option or range", first.sweep, second.sweep, title="share of the top quarter")
    for share in difference.shares:
        moved.add_row(share.dimension, share.value, f"{share.before:.0%}", f"{share.after:.0%}")
    if difference.shares:
        console.print(moved)


def _print_changes(console: Console, title: str, difference: Difference, first: Score, second: Score) -> None:
    changed = Table("", first.sweep, second.sweep, title=title)
    for change in difference.changes:
        changed.add_row(change.name, _cell(change.before), _cell(change.after))
    if difference.changes:
        console.print(changed)
    else:
        console.print("Data, space, engine and code are the same.")
    best = Table("param", first.sweep, second.sweep, title="best params")
    for change in difference.best_params:
        best.add_row(change.name, _cell(change.before), _cell(change.after))
    console.print(best)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
