"""Summarize what models answered to held-out rows: what is confused, how calibrated they are, where they fail."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nightune.tuning.analysis.held_out import calibration
from nightune.tuning.analysis.held_out.answers import Answers
from nightune.tuning.analysis.held_out.residuals import residuals_of
from nightune.tuning.analysis.held_out.slices import LEVEL, HeldColumn, chances_of, worst_slices
from nightune.tuning.analysis.held_out.summary import (
    MOST_CLASSES,
    MOST_GROUPS,
    MOST_PAIRS,
    WORST_ROWS,
    Confused,
    Group,
    HeadSummary,
    WorstRow,
)
from nightune.tuning.analysis.quantiles import share_interval

CONFIDENCE = 0.95
SHOWN_LABELS = 6  # of a row
DIGITS = 6  # of mean counts, whose sums are rounded


def summarize(answers: Answers, columns: Sequence[HeldColumn], why_no_slices: str = "") -> HeadSummary:
    """Return the summary of one head's answers; `columns` are those of the table that the rows are from.

    Rows of weight 0 are left out: nothing counts or examines them.
    """
    columns = [replace(each, values=each.values[answers.weights > 0]) for each in columns]
    answers = answers.weighing()
    slices, examined = worst_slices(columns, answers.losses, answers.seed)
    summary = HeadSummary(
        kind=answers.kind,
        measure=answers.measure,
        loss=answers.mean(answers.losses),
        names=answers.names,
        slices=slices,
        examined=examined,
        why_no_slices=why_no_slices,
        worst=_worst_rows(answers),
    )
    return {"classes": _of_classes, "labels": _of_labels, "quantities": _of_quantities}[answers.kind](summary, answers)


def _of_classes(summary: HeadSummary, answers: Answers) -> HeadSummary:
    count = len(answers.names)
    matrix = np.zeros((count, count))
    for predicted in answers.predicted:
        np.add.at(matrix, (answers.truths, predicted), answers.weights)
    matrix = np.round(matrix / len(answers.predicted), DIGITS)
    pairs = [(matrix[t, p], t, p) for t in range(count) for p in np.flatnonzero(matrix[t]) if t != p]
    pairs.sort(key=lambda each: (-each[0], each[1:]))
    names = answers.names
    return replace(
        summary,
        scores={"accuracy": answers.mean(answers.predicted == answers.truths)},
        matrix=tuple(map(tuple, matrix.tolist())) if count <= MOST_CLASSES else (),
        groups=_groups(answers, [answers.truths == place for place in range(count)], matrix),
        confused=tuple(Confused(names[t], names[p], float(rows)) for rows, t, p in pairs[:MOST_PAIRS]),
        calibration=None
        if answers.shares is None or answers.hits is None
        else calibration.of_probabilities(answers.shares, answers.hits, answers.weights, answers.seed),
    )


def _groups(answers: Answers, members: Sequence[np.ndarray], matrix: np.ndarray) -> tuple[Group, ...]:
    """Return the classes that occur, the worst recall first; `is_worse`: worse than the others by more than chance."""
    occurring = [place for place, rows in enumerate(members) if rows.any()]
    chances = dict(
        zip(occurring, chances_of([members[p] for p in occurring], answers.losses, answers.seed), strict=True)
    )
    found = []
    for place in occurring:
        rows, right, named = matrix[place].sum(), matrix[place, place], matrix[:, place].sum()
        ends = share_interval(float(right / rows), int(members[place].sum()), CONFIDENCE)
        precision = float(right / named) if named else None
        is_worse = len(occurring) > 1 and chances[place] <= LEVEL
        found.append(Group(answers.names[place], float(rows), float(right / rows), *ends, precision, is_worse))
    return tuple(sorted(found, key=lambda each: (each.recall, -each.rows))[:MOST_GROUPS])


def _of_labels(summary: HeadSummary, answers: Answers) -> HeadSummary:
    truths, weights, groups = answers.truths == 1, answers.weights, []
    for place, name in enumerate(answers.names):
        predicted, true = answers.predicted[:, :, place] == 1, truths[:, place]
        hits, named = (float((weights * each).sum(axis=1).mean()) for each in (predicted & true, predicted))
        rows = float(weights[true].sum())
        if rows:
            ends = share_interval(hits / rows, int(true.sum()), CONFIDENCE)
            groups.append(Group(name, rows, hits / rows, *ends, hits / named if named else None))
    groups.sort(key=lambda each: (each.recall, -each.rows))
    is_right = (answers.predicted == 1) == truths
    cells = None
    if answers.shares is not None:
        count, flat = len(answers.shares), np.repeat(weights, len(answers.names))
        held = np.broadcast_to(truths, answers.shares.shape).reshape(count, -1)
        cells = calibration.of_probabilities(answers.shares.reshape(count, -1), held, flat, answers.seed)
    scores = {"accuracy": answers.mean(is_right.all(axis=2)), "label_accuracy": answers.mean(is_right.mean(axis=2))}
    return replace(summary, scores=scores, groups=tuple(groups[:MOST_GROUPS]), calibration=cells)


def _of_quantities(summary: HeadSummary, answers: Answers) -> HeadSummary:
    points, levels = answers.predicted, answers.quantiles
    if levels:
        middle = int(np.argmin(np.abs(np.array(levels) - 0.5)))
        points = answers.predicted[:, :, middle : middle + 1]
    errors = points - answers.truths
    scores = {
        "mae": answers.mean(np.abs(errors).mean(axis=2)),
        "rmse": float(np.mean([np.sqrt(np.average((e**2).mean(axis=1), weights=answers.weights)) for e in errors])),
    }
    coverage = None
    if levels:
        truths = answers.truths[:, 0]
        coverage = calibration.of_quantiles(answers.predicted, truths, levels, answers.weights, answers.seed)
    return replace(summary, scores=scores, residuals=residuals_of(answers, points), calibration=coverage)


def _worst_rows(answers: Answers) -> tuple[WorstRow, ...]:
    """Return the rows with the largest mean loss, the largest first."""
    order = np.argsort(-answers.losses, kind="stable")[:WORST_ROWS]
    return tuple(
        WorstRow(
            None if answers.numbers is None else int(answers.numbers[row]),
            float(answers.losses[row]),
            _truth_text(answers, row),
            _predicted_text(answers, row),
            None if answers.truth_shares is None else float(answers.truth_shares[:, row].mean()),
        )
        for row in order
    )


def _truth_text(answers: Answers, row: int) -> str:
    if answers.kind == "classes":
        return answers.names[int(answers.truths[row])]
    if answers.kind == "labels":
        return _labels(answers, answers.truths[row] == 1)
    return _quantities(answers.truths[row])


def _predicted_text(answers: Answers, row: int) -> str:
    """Return the class that most models predict, the labels that more than half do, or the mean quantities."""
    if answers.kind == "classes":
        return answers.names[int(np.bincount(answers.predicted[:, row]).argmax())]
    if answers.kind == "labels":
        return _labels(answers, (answers.predicted[:, row] == 1).mean(axis=0) > 0.5)
    return _quantities(answers.predicted[:, row].mean(axis=0))


def _labels(answers: Answers, is_held: np.ndarray) -> str:
    held = [answers.names[place] for place in np.flatnonzero(is_held)]
    more = f" and {len(held) - SHOWN_LABELS} more" if len(held) > SHOWN_LABELS else ""
    return f"{', '.join(held[:SHOWN_LABELS])}{more}" if held else "none"


def _quantities(values: np.ndarray) -> str:
    return ", ".join(f"{value:.4g}" for value in values[:SHOWN_LABELS])
