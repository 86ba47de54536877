"""The measurements of `trials_per_hour.py` as Markdown and as a chart: python benchmarks/report.py RESULTS CHART.svg

The file may also hold those of `whole_command.py`, whose seconds are of the whole command.
"""

import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROW_PIXELS, LEFT_PIXELS, WIDTH_PIXELS, BAR_PIXELS = 26, 270, 810, 430
OURS, OTHERS = "#2f6f9f", "#9aa5ad"
NAIVE, FIT = "naive", "nightune fit"
TITLES = {
    "studies/digits": "The whole command on studies/digits.toml, start-up and report included",
    "dropout": "Dense network with dropout",
    "cnn_dropout": "Convolutional network with dropout",
    "lstm": "LSTM with dropout over 64 steps",
    "keras_io_text": "Text model with embedding and dropout",
    "mlp": "Best case: dense network without dropout",
}


def measurements(file: Path) -> list[dict[str, Any]]:
    """Read the measurements made so far; an empty list if there is no file."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [json.loads(line) for line in lines]


def _as_contender(measured: dict[str, Any]) -> dict[str, Any]:
    """Return a measurement with the fields of `trials_per_hour.py`."""
    if "command" not in measured:
        return measured
    name = NAIVE if measured["command"].startswith(NAIVE) else measured["command"]
    return measured | {"contender": name, "seconds_compiled": None}


def markdown(file: Path) -> str:
    """Write one table per model, with its machine: medians over the turns, and speedups in the same turn."""
    lines: list[str] = []
    for (model, trials), known in _tables(file):
        lines += [
            f"{model}, {trials} trials:",
            "",
            "| contender | seconds per trial | trials per hour | speedup over naive | over fit | turns |",
        ]
        lines.append("|---|---|---|---|---|---|")
        for (name, seconds, ratio, turns), (*_, over_fit, _) in zip(summary(known), summary(known, FIT), strict=True):
            naive, fit = ("" if each is None else f"{each:.1f}" for each in (ratio, over_fit))
            times = f"{seconds / trials:.3f} | {3600 * trials / seconds:,.0f}"
            lines.append(f"| {name} | {times} | {naive} | {fit} | {turns} |")
        lines += ["", _machine(known), ""]
    return "\n".join(lines) or "Nothing is measured yet."


def summary(known: Sequence[dict[str, Any]], to: str = NAIVE) -> Iterator[tuple[str, float, float | None, int]]:
    """Yield contender, median seconds, median ratio to another one (None without it) and the number of turns."""
    naive = {each["turn"]: each["seconds"] for each in known if each["contender"] == to}
    for name, field in _series(known):
        values = {each["turn"]: each[field] for each in known if each["contender"] == name}
        ratios = [naive[turn] / value for turn, value in values.items() if turn in naive]
        label = f"{name}, once compiled" if field == "seconds_compiled" else name
        yield label, statistics.median(values.values()), statistics.median(ratios) if ratios else None, len(values)


def _series(known: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for name in dict.fromkeys(each["contender"] for each in known):
        yield name, "seconds"
        if all(each["seconds_compiled"] for each in known if each["contender"] == name):
            yield name, "seconds_compiled"


def _tables(file: Path) -> Iterator[tuple[tuple[str, int], list[dict[str, Any]]]]:
    """Yield model and number of trials, and their measurements."""
    known = list(map(_as_contender, measurements(file)))
    for key in dict.fromkeys((each["model"], each["trials"]) for each in known):
        yield key, [each for each in known if (each["model"], each["trials"]) == key]


def _machine(known: Sequence[dict[str, Any]]) -> str:
    last = known[-1]
    if "packages" not in last:
        return str(last["machine"])
    versions = ", ".join(f"{name} {version}" for name, version in last["packages"].items())
    peers = {
        each["contender"]: each["package"] for each in known if each["contender"] in ("keras-tuner", "optuna", "ray")
    }
    others = "".join(f", {name} {version}" for name, version in peers.items())
    machine = f"{last['processors']} processors, {last['platform']}"
    return f"{last['date']}, {machine}; Python {last['python']}, {versions}{others}."


def chart(file: Path) -> str:
    """Draw the trials per hour as bars from zero, as SVG, with ratios to the naive loop or, without it, to `fit`."""
    drawn, top = [], 8
    for (model, trials), known in _tables(file):
        to = NAIVE if any(each["contender"] == NAIVE for each in known) else FIT
        rows = list(summary(known, to))
        title = f"{escape(TITLES.get(model, model))}, {trials} trials: trials per hour · times {to}"
        drawn.append(f'<text x="8" y="{top + 16}" font-weight="bold">{title}</text>')
        top += ROW_PIXELS
        most = max(3600 * trials / seconds for _, seconds, _, _ in rows)
        for name, seconds, ratio, _ in rows:
            drawn += _bar(top, name, (3600 * trials / seconds, most), ratio)
            top += ROW_PIXELS
        top += ROW_PIXELS // 2
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_PIXELS}" height="{top}" '
    style = 'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([head + style, *drawn, "</svg>", ""])


def _bar(top: int, name: str, hourly: tuple[float, float], ratio: float | None) -> list[str]:
    width = max(2.0, BAR_PIXELS * hourly[0] / hourly[1])
    color = OURS if name.startswith("nightune") else OTHERS
    label = f"{hourly[0]:,.0f}" + ("" if ratio is None else f" · {ratio:.1f}×")
    return [
        f'<text x="{LEFT_PIXELS - 8}" y="{top + 15}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{LEFT_PIXELS}" y="{top + 2}" width="{width:.1f}" height="{ROW_PIXELS - 8}" fill="{color}"/>',
        f'<text x="{LEFT_PIXELS + width + 6:.1f}" y="{top + 15}">{label}</text>',
    ]


if __name__ == "__main__":
    results, drawing = map(Path, sys.argv[1:3])
    print(markdown(results))
    drawing.write_text(chart(results), encoding="utf-8")
