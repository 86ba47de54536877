"""Where the finalists fail: texts, tables and figures of their answers to the held-out rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nightune.tasks.reporting.night import answers_figures as figures
from nightune.tasks.reporting.night.measure import SPACE, Measure, Spec
from nightune.tasks.reporting.night.record import Night
from nightune.tuning.analysis.confirmation import ConfirmedFinalist
from nightune.tuning.analysis.held_out import calibration
from nightune.tuning.analysis.held_out.residuals import LEVELS
from nightune.tuning.analysis.held_out.summary import Calibration, FinalistAnswers, HeadSummary, Residuals, Slice
from nightune.vocabulary import counted

NOT_RECORDED = "not recorded"
LONGEST = 40  # characters of a name in a heading
PLAIN = Measure("", is_percent=False, kind="linear", is_maximized=False)  # of numbers in the data's units

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure with its name, its caption and its note for readers who do not see it."""

    id: str
    spec: Spec
    title: str
    note: str


def answer_sections(night: Night) -> list[Row]:
    """Return what is known of each finalist's answers, the winner first; empty without finalists."""
    held = night.confirmation
    finalists = sorted(held.finalists, key=lambda each: not _is_winner(night, each)) if held is not None else []
    return [_finalist(night, each) for each in finalists]


def answer_specs(sections: list[Row]) -> dict[str, Spec]:
    """Return the figures of all finalists' answers by their places on the page."""
    heads = [head for section in sections for head in section["heads"]]
    return {figure.id: figure.spec for head in heads for figure in head["figures"]}


def answers_heading(night: Night) -> str:
    """Return what the winner gets wrong by more than chance: a slice, a class or its probabilities."""
    winner = night.winner
    answers = None if winner is None else night.answers.get(winner.trial.number)
    if answers is None or not answers.heads:
        return "What the finalists get wrong is not recorded" if answers is None else "No answers of the winner"
    if all(head.why for head in answers.heads):
        return "What the winner gets wrong is not shown"
    said = next((text for head in answers.heads for text in _findings(head)), "")
    return said or _nothing_found(answers)


def _nothing_found(answers: FinalistAnswers) -> str:
    """Name what was compared with chance, and no more than that."""
    heads, rows = answers.heads, counted(answers.rows, "held-out row")
    groups = ["slice"] if any(head.examined for head in heads) else []
    groups += dict.fromkeys("label" if head.kind == "labels" else "class" for head in heads if head.groups)
    if groups:
        return f"No {' or '.join(groups)} of the winner's {rows} is worse than chance explains"
    calibrated = ("quantiles" if head.kind == "quantities" else "probabilities" for head in heads if head.calibration)
    tested = list(dict.fromkeys(calibrated))
    if any(each.calibration is not None for head in heads for each in head.residuals):
        tested.append("predictions")
    if not tested:
        return f"Nothing in the winner's {rows} could be compared with chance"
    return f"The winner's {' and '.join(tested)} are not off by more than chance on {rows}"


def _findings(head: HeadSummary) -> Iterator[str]:
    """Yield what is worse than chance explains, the worst first."""
    of_head = f" in {_short(head.name)}" if head.name else ""
    for each in head.slices[:1]:
        where = f"{_short(each.column)} is {_short(each.value)}"
        yield f"Worst where {where}: {_times(each)} the loss of other rows{of_head}"
    worse = [each for each in head.groups if each.is_worse]
    if worse:
        recall = _percent(worse[0].recall)
        yield f"Class {_short(worse[0].name)} is recognized least{of_head}: {recall} of its {_rows(worse[0].rows)}"
    if head.calibration is not None and head.calibration.is_off:
        yield f"Its probabilities are off{of_head}: {_named_error(head, head.calibration)}, by more than chance"
    biased = [each for each in head.residuals if each.calibration is not None and each.calibration.is_off]
    if biased:
        yield f"Its predictions{of_head} are biased somewhere by more than chance"


def _times(found: Slice) -> str:
    if found.other_loss <= 0:
        return f"{PLAIN.points(found.loss)} more than"
    ratio = found.loss / found.other_loss
    return (
        f"{ratio:.1f} times"
        if 1 < ratio < 100
        else f"{PLAIN.points(found.loss)} against {PLAIN.points(found.other_loss)},"
    )


def _is_winner(night: Night, each: ConfirmedFinalist) -> bool:
    return night.winner is not None and each.finalist.trial == night.winner.trial.number


def _finalist(night: Night, each: ConfirmedFinalist) -> Row:
    trial, answers = each.finalist.trial, night.answers.get(each.finalist.trial)
    heads = [] if answers is None else [_head(trial, place, head, answers) for place, head in enumerate(answers.heads)]
    return {
        "trial": trial,
        "link": night.link(each.finalist.run_id),
        "is_winner": _is_winner(night, each),
        "said": _said(answers),
        "size": NOT_RECORDED if answers is None or answers.size_mb is None else _size(answers.size_mb),
        "latency": NOT_RECORDED
        if answers is None or answers.latency_ms is None
        else f"{answers.latency_ms:.3g}{SPACE}ms",
        "heads": heads,
    }


def _said(answers: FinalistAnswers | None) -> str:
    if answers is None:
        return f"Its answers to the held-out rows are {NOT_RECORDED}: the sweep was confirmed by an earlier version."
    if answers.why:
        return f"Its answers to the held-out rows are {NOT_RECORDED}: {answers.why}."
    models = "its own model" if len(answers.models) == 1 else f"{len(answers.models)} models of fresh seeds, as means"
    return f"{answers.rows} rows of the {answers.split} split{_weighed(answers)}, answered by {models}."


def _weighed(answers: FinalistAnswers) -> str:
    own = [head.name for head in answers.heads if head.is_weighted]
    of_heads = f", for {' and '.join(own)} by their weights" if own else ""
    return ", by their weights" if answers.is_weighted else of_heads


def _head(trial: int, place: int, head: HeadSummary, answers: FinalistAnswers) -> Row:
    return {
        "name": head.name,
        "why": head.why,
        "scores": _scores(head),
        "figures": _figures(trial, place, head),
        "groups": [] if head.kind == "quantities" else _groups(head),
        "group": "label" if head.kind == "labels" else "class",
        "pairs": [(each.truth, each.predicted, figures.mean_count(each.rows)) for each in head.confused],
        "has_matrix": bool(head.matrix),
        "slices": [_slice(each) for each in head.slices],
        "slices_note": _slices_note(head),
        "measure": head.measure,
        "worst": [_worst(each) for each in head.worst],
        "has_shares": any(each.share is not None for each in head.worst),
        "has_row_numbers": answers.has_row_numbers,
        "residuals": [_residuals(each) for each in head.residuals],
    }


def _scores(head: HeadSummary) -> str:
    named = {"accuracy": "accuracy", "label_accuracy": "label accuracy"}
    if head.kind == "quantities":
        points = "; the median stands for the quantiles" if head.calibration is not None else ""
        absolute, squared = (PLAIN.text(head.scores[name]) for name in ("mae", "rmse"))
        said = f"Mean absolute error {absolute}, root mean squared error {squared}"
        return f"{said}, in the data's units{points}."
    said = ", ".join(f"{named[name]} {_percent(score)}" for name, score in head.scores.items())
    return f"{said[:1].upper()}{said[1:]}; mean {head.measure} {PLAIN.points(head.loss)}." if said else ""


def _figures(trial: int, place: int, head: HeadSummary) -> list[Drawn]:
    stem, drawn = f"answers-{trial}-{place}", []
    if head.matrix:
        pairs = "; ".join(
            f"{each.truth} taken for {each.predicted}: {figures.mean_count(each.rows)}" for each in head.confused[:3]
        )
        note = f"Rows: the true class; columns: the predicted one. {pairs}." if pairs else "Every row is right."
        drawn.append(
            Drawn(f"{stem}-matrix", figures.confusion(head.names, head.matrix), "What is taken for what", note)
        )
    found = head.calibration
    if found is not None:
        is_coverage = found.name == calibration.COVERAGE
        title = "How often the truth is below each quantile" if is_coverage else "How far probabilities hold"
        drawn.append(Drawn(f"{stem}-calibration", figures.calibration(found, True), title, _calibrated(head, found)))
    for number, each in enumerate(head.residuals):
        of_name = f" of {each.name}" if len(head.residuals) > 1 and each.name else ""
        low, high = (PLAIN.points(end) for end in (each.quantiles[0], each.quantiles[-1]))
        spread = f"Mean error {PLAIN.points(each.bias)} (coloured); nine in ten between {low} and {high}."
        drawn.append(
            Drawn(f"{stem}-errors-{number}", figures.errors(each), f"Errors{of_name}: prediction minus truth", spread)
        )
        note = "Rows evenly along the truth; on the line predictions are right."
        drawn.append(
            Drawn(f"{stem}-truth-{number}", figures.predictions(each), f"Predicted{of_name} by its truth", note)
        )
        if each.calibration is not None:
            title, said = f"Mean truth{of_name} by prediction", _biased(each.calibration)
            drawn.append(Drawn(f"{stem}-bias-{number}", figures.calibration(each.calibration, False), title, said))
    return drawn


def _calibrated(head: HeadSummary, found: Calibration) -> str:
    verdict = "more than chance makes" if found.is_off else "no more than chance makes"
    chance = f"usually {_percent(found.usual)}, at most {_percent(found.high)} in 95 of 100 cases"
    return f"{_sentence(_named_error(head, found))}, {verdict} ({chance}). {_counted(found)}"


def _biased(found: Calibration) -> str:
    verdict = "more than chance makes" if found.is_off else "no more than chance makes"
    limit = f"at most {PLAIN.points(found.high)} in 95 of 100 cases"
    return f"{_sentence(found.name)} {PLAIN.points(found.error)}, {verdict} ({limit}). {_counted(found)}"


def _counted(found: Calibration) -> str:
    return f"Numbers at the dots: rows {'compared' if found.name == calibration.COVERAGE else 'of each bin'}."


def _named_error(head: HeadSummary, found: Calibration) -> str:
    of_what = "" if found.name == calibration.COVERAGE else f" of {_shown_probability(head)}"
    return f"{found.name}{of_what} {_percent(found.error)}"


def _shown_probability(head: HeadSummary) -> str:
    if head.kind == "labels":
        return "all labels"
    return (
        f"the probability of {_short(head.names[1])}" if len(head.names) == 2 else "the predicted class's probability"
    )


def _groups(head: HeadSummary) -> list[Row]:
    return [
        {
            "name": each.name,
            "rows": figures.mean_count(each.rows),
            "recall": _percent(each.recall),
            "interval": f"{_percent(each.low)} to {_percent(each.high)}",
            "precision": "–" if each.precision is None else _percent(each.precision),
            "is_worse": each.is_worse,
        }
        for each in head.groups
    ]


def _slice(found: Slice) -> Row:
    return {
        "column": found.column,
        "value": found.value,
        "rows": found.rows,
        "loss": PLAIN.points(found.loss),
        "other": PLAIN.points(found.other_loss),
        "chance": "below 0.01" if found.chance < 0.01 else f"{found.chance:.2f}",
    }


def _slices_note(head: HeadSummary) -> str:
    if head.why_no_slices:
        return f"No slices: {head.why_no_slices}."
    if not head.examined:
        return "No slice of a column has rows enough to be compared with the others."
    if head.slices:
        return f"Of {head.examined} slices that were examined; chance is that of such a difference in any of them."
    return f"None of {head.examined} slices of the columns is worse than the others by more than chance."


def _worst(each: Any) -> Row:
    return {
        "row": "–" if each.row is None else str(each.row),
        "loss": PLAIN.points(each.loss),
        "truth": each.truth,
        "predicted": each.predicted,
        "share": "" if each.share is None else _percent(each.share),
    }


def _residuals(each: Residuals) -> Row:
    quantiles = [PLAIN.points(value) for value in each.quantiles]
    return {
        "name": each.name or "error",
        "bias": PLAIN.points(each.bias),
        "absolute": PLAIN.text(each.absolute),
        "quantiles": list(zip((f"{100 * level:g}{SPACE}%" for level in LEVELS), quantiles, strict=True)),
    }


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}{SPACE}%"


def _rows(rows: float) -> str:
    return f"{figures.mean_count(rows)} rows"


def _size(megabytes: float) -> str:
    return f"{megabytes:.3g}{SPACE}MB" if megabytes >= 0.01 else f"{1000 * megabytes:.2g}{SPACE}kB"
