"""Print what to do next: after a sweep, and after a promotion."""

import json
import shlex
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from nightune.flows.runtime.environment import store_root
from nightune.models.serving.input_trees import is_several, read_shape
from nightune.models.serving.predictor import DESCRIPTION
from nightune.models.user_code import is_reference
from nightune.tasks.reporting.sweep_report import Standing, SweepReport
from nightune.tasks.tracking.registry.registry import CHAMPION
from nightune.tuning.analysis.promotion_gate import Decision
from nightune.vocabulary import ARCHITECTURE

if TYPE_CHECKING:  # its module imports more than the next steps need
    from nightune.tasks.draw_report import DrawnReport
    from nightune.tasks.promote_model import Promotion

Step = tuple[str, str]  # command, purpose
Request = tuple[str, str]  # the name of a file of rows, and of rows in Python
OF_TABLE: Request = ("rows.csv", "raw_dataframe")
COMMAND_WIDTH = 52

ALL_POINTS = "The sweep has every point of the space: to search further, widen a range or add options in the study."
FOLDS = (
    "Each trial's checkpoint is the model of its last fold; `nightune promote` serves one that is trained on all rows "
    "outside the test split."
)
RETRY = "It tries failed trials again if code, data or packages have changed, or with --retry-failed."


def print_next_steps(
    console: Console, report: SweepReport, study_file: Path, address: str, page: "DrawnReport | None" = None
) -> None:
    """Print the next steps after a sweep with their commands; `address` is that of the MLflow store."""
    study = shlex.quote(str(study_file))
    console.print("\nWhat to do next", style="bold")
    if report.best is None:
        _print_correction(console, report, study)
        _print_page(console, page)
        return
    steps: list[Step] = [
        (f"nightune report {study} --open", "see what won, how sure that is, and what to change"),
        ("nightune ui", "see the curves and compare trials"),
        *_schedule(report, study_file),
        *_further_search(report, study),
        *_promotion(report, study),
        (f"nightune show {study} --sweep {report.sweep.id}", "show this leaderboard again"),
    ]
    _print_steps(console, steps)
    _print_page(console, page)
    if report.sweep.has_all_points:
        _print(console, f"  {ALL_POINTS}")
    pages = "`nightune ui` runs: this" if report.pages.is_running else "While `nightune ui` runs, this"
    pages = pages if report.pages.is_local else "This"
    _print(console, f"  {pages} leaderboard and its curves are at\n    {report.page}")
    has_own_code = is_reference(str(report.best.trial.params.get(ARCHITECTURE, "")))  # model.zip, or model.keras
    artifact = "in the artifact folder checkpoint" if has_own_code else "the artifact checkpoint/model.keras"
    best = FOLDS if report.sweep.has_folds else f"The best model is {artifact} of run {report.best.run_id}."
    _print(console, f"  {best}")
    if report.standing is Standing.CHAMPION:
        print_use(console, report.study, address, _request_of(report.sweep.data_version))


def _print_correction(console: Console, report: SweepReport, study: str) -> None:
    """Print what a sweep without a best trial needs: more room for a search that ended before its first trial."""
    if report.sweep.ended_by and not report.results:
        _print(console, f"  No trial fits into search.{report.sweep.ended_by}. Allow more, or remove it, then run:")
        _print(console, f"    nightune tune {study}")
        return
    _print(console, "  No trial gave a finite result. Read the messages above, correct the cause, then run:")
    _print(console, f"    nightune check {study}\n    nightune tune {study}")
    _print(console, f"  {RETRY}")


def print_after_promotion(
    console: Console, promotion: "Promotion", study_file: Path, address: str, page: "DrawnReport | None" = None
) -> None:
    """Print the next steps after a verdict with their commands; `address` is that of the MLflow store."""
    study, verdict = shlex.quote(str(study_file)), promotion.verdict
    sweep = f"--sweep {verdict.candidate.sweep}"
    steps: list[Step] = [
        (f"nightune report {study} {sweep} --open", "see what won, how sure that is, and what to change")
    ]
    if verdict.is_promoted and promotion.is_dry:
        steps.append((f"nightune promote {study} {sweep}", "register it: this was a dry run"))
    elif verdict.is_promoted:
        steps.append((f"nightune models {shlex.quote(verdict.candidate.model)}", "see all versions and verdicts"))
    else:
        steps.append((f"nightune tune {study} --fresh", "search further: the lines `next` above say what helps"))
    if verdict.decision is Decision.REFUSED and verdict.may_be_forced:
        steps.append((f"nightune promote {study} {sweep} --force --because REASON", "promote it in spite of the gate"))
    console.print("\nWhat to do next", style="bold")
    _print_steps(console, steps)
    _print_page(console, page)
    if promotion.alias == CHAMPION:
        print_use(console, verdict.candidate.model, address, _request_of(verdict.candidate.data_version))


def print_use(console: Console, model: str, address: str, request: Request = OF_TABLE) -> None:
    """Print how to load and serve the champion of a model that is registered in the store at this address."""
    file, rows = request
    champion = shlex.quote(f"models:/{model}@{CHAMPION}")
    _print(console, "  To predict a file of rows by the champion, to load it in Python, and to serve it:")
    _print(console, f"    nightune predict {shlex.quote(model)} {file} --output predictions.csv")
    _print(console, f'    mlflow.set_tracking_uri("{address}")')
    _print(console, f'    mlflow.pyfunc.load_model("models:/{model}@{CHAMPION}").predict({rows})')
    _print(
        console, f"    MLFLOW_TRACKING_URI={shlex.quote(address)} mlflow models serve -m {champion} --env-manager local"
    )


def _request_of(data_version: str) -> Request:
    """Return the request of models of the data: a table holds no rows of several axes, and not all several inputs."""
    try:
        text = (store_root() / "data" / data_version / DESCRIPTION).read_text(encoding="utf-8")
        description = json.loads(text)
        shape = read_shape(description["input_shape"])
    except (OSError, ValueError, KeyError):  # prepared on another machine, or removed since
        return OF_TABLE
    if "images" in description:
        return "FOLDER_OF_IMAGES", "paths_of_images"
    if "columns" in description:
        return OF_TABLE
    if "pad" in description:
        return "rows.jsonl", "raw_lists"
    if is_several(shape):
        return "rows.npz", "raw_dictionary" if isinstance(shape, dict) else "raw_list"
    return OF_TABLE if len(shape) == 1 else ("rows.npz", "raw_array")


def _print_steps(console: Console, steps: Sequence[Step]) -> None:
    """Print each command with its purpose, on a line of its own below a long command."""
    for command, purpose in steps:
        gap = " " if len(command) <= COMMAND_WIDTH else f"\n{' ' * (COMMAND_WIDTH + 3)}"
        _print(console, f"  {command:<{COMMAND_WIDTH}}{gap}{purpose}")


def _print_page(console: Console, page: "DrawnReport | None") -> None:
    if page is not None:
        where = page.file or f"the artifact report/index.html of the sweep's run, {page.address}"
        _print(console, f"  The report: {where}")


def _schedule(report: SweepReport, study_file: Path) -> list[Step]:
    """Return how to keep the schedule that a population found, in a new file; a study that has one needs no other."""
    winner = report.winner
    if winner is None or winner.trial.parent is None:
        return []
    names = (f"{study_file.stem}_schedule{suffix}.toml" for suffix in chain([""], map("_{}".format, count(2))))
    copy = next(file for file in map(study_file.with_name, names) if not file.exists())
    command = f"nightune show {shlex.quote(str(study_file))} --write {shlex.quote(str(copy))}"
    return [(command, "write the winner's values by epoch as a study")]


def _further_search(report: SweepReport, study: str) -> list[Step]:
    command = f"nightune tune {study} --fresh"
    if not report.sweep.has_all_points:
        begins = any(each.trial.proposed_by == "portfolio" for each in report.results)
        return [(command, "search again: the portfolio, then new points" if begins else "search with new points")]
    return [] if report.sweep.is_reusing else [(command, "train the same points with new seeds")]


def _promotion(report: SweepReport, study: str) -> list[Step]:
    if report.standing is Standing.CHAMPION:
        return [(f"nightune models {shlex.quote(report.study)}", "the sweep's winner is the champion: see its verdict")]
    if report.standing is Standing.REFUSED:
        return [(f"nightune promote {study}", "see why the winner was refused, and what helps")]
    return [(f"nightune promote {study}", "promote the best model, or print why not")]


def _print(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)
