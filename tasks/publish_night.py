"""Publish a night's leaderboard and verdict as artifacts of its Prefect flow run."""

import math
import re

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from nightune.tasks.promote_model import Promotion
from nightune.tasks.reporting.leaderboard_rows import Row
from nightune.tasks.reporting.sweep_report import SweepReport
from nightune.tasks.step import step
from nightune.tuning.analysis.promotion_gate import as_markdown

SHOWN_ROWS = 50  # MLflow has all rows


@step
def publish_leaderboard(report: SweepReport) -> None:
    """Publish the first rows of the leaderboard and a link to all rows in MLflow.

    It is that of the search: the winner is chosen among its first rows, by fresh seeds, and is named by the card.
    """
    rows = [{name: _cell(value) for name, value in _shown(row).items()} for row in report.rows()[:SHOWN_ROWS]]
    order = f"{len(report.results)} trials, best first by {report.metric_text} of one seed each"
    description = f"{report.sweep.id}: {order}; the winner is in the card {artifact_key(report.study, 'night')}"
    create_table_artifact(table=rows, key=artifact_key(report.study, "leaderboard"), description=description)
    when = " (while `nightune ui` is running)" if report.pages.is_local else ""
    create_link_artifact(
        link=report.page,
        link_text=f"{report.sweep.id} in MLflow",
        key=artifact_key(report.study, "mlflow"),
        description=f"All trials with their curves{when}",
    )


@step
def publish_card(study: str, headline: str, text: str) -> None:
    """Publish the report in short: the one card that names the winner of the night, and links to the report."""
    create_markdown_artifact(markdown=text, key=artifact_key(study, "night"), description=headline)


@step
def publish_verdict(study: str, promotion: Promotion) -> None:
    """Publish the verdict with all its numbers."""
    create_markdown_artifact(
        markdown=as_markdown(promotion.verdict),
        key=artifact_key(study, "verdict"),
        description=f"{promotion.verdict.decision}: {promotion.verdict.reason}",
    )


def artifact_key(study: str, what: str) -> str:
    """Return a key in Prefect's form: lower-case letters, digits and dashes."""
    name = re.sub(r"[^a-z0-9]+", "-", study.lower()).strip("-")
    return f"{name}-{what}" if name else what


def _shown(row: Row) -> Row:
    """Return the row with the run id, its longest cell, moved to the end; its rank is that of the search."""
    shown = {"rank in the search" if name == "rank" else name: value for name, value in row.items()}
    return {name: value for name, value in shown.items() if name != "run_id"} | {"run_id": row["run_id"]}


def _cell(value: object) -> object:
    """Return a cell for Prefect's tables: plain values, rounded numbers; NaN as text, which JSON does not allow."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else float(f"{value:.5g}")
    return value if isinstance(value, str | int | None) else str(value)
