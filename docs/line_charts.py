"""Draw the line charts of these pages as SVG text: small, the same bytes for the same numbers on every machine."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 640, 300  # pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 34, 46
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#000000")  # safe if colour-blind
_POINTS = 300  # maximum of a line; more would not be visible


@dataclass(frozen=True)
class Line:
    """One line: its name, and as many ys as xs. Limits and raw values are dashed."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    is_dashed: bool = False
    is_step: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines over common axes; log axes omit values up to 0. Marks are vertical lines with a name."""

    title: str
    x_name: str
    y_name: str
    lines: Sequence[Line]
    marks: Sequence[tuple[float, str]] = ()
    is_log_x: bool = False
    is_log_y: bool = False


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    is_log: bool
    start: float  # pixels
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of a value, clipped to the axis."""
        low, high, here = (math.log10(each) if self.is_log else each for each in (self.low, self.high, value))
        part = min(max((here - low) / (high - low), 0.0), 1.0)
        return self.start + part * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """The round numbers on the axis: powers of ten, or steps of 1, 2 or 5."""
        if self.is_log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            if last > first:
                stride = max(1, math.ceil((last - first) / 7))
                return [10.0**power for power in range(first, last + 1, stride)]
        step = _round_step((self.high - self.low) / 4)
        return [step * count for count in range(math.ceil(self.low / step - 1e-9), int(self.high / step + 1e-9) + 1)]


def draw(chart: Chart) -> str:
    """Return the chart as the text of an SVG file."""
    lines = [_shown(line, chart) for line in chart.lines]
    xs = [x for line in lines for x in line.xs] or [1.0, 2.0]
    ys = [y for line in lines for y in line.ys] or [1.0, 2.0]
    x_axis = _axis(xs, chart.is_log_x, _LEFT, WIDTH - _RIGHT, margin=0.0)
    y_axis = _axis(ys, chart.is_log_y, HEIGHT - _BOTTOM, _TOP, margin=0.04)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="12"><title>{escape(chart.title)}</title>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _text(_LEFT, 20, chart.title, "start", ' font-size="13" font-weight="bold"'),
        *_grid(x_axis, y_axis),
        *_axis_names(chart),
        *(_mark(x_axis.at(x), name) for x, name in chart.marks),
        *(_path(line, x_axis, y_axis, _COLOURS[place % len(_COLOURS)]) for place, line in enumerate(lines)),
        *_legend(lines),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _shown(line: Line, chart: Chart) -> Line:
    """Return the line with its drawable points only, thinned evenly."""
    pairs = [
        (float(x), float(y))
        for x, y in zip(line.xs, line.ys, strict=True)
        if math.isfinite(x) and math.isfinite(y) and (x > 0 or not chart.is_log_x) and (y > 0 or not chart.is_log_y)
    ]
    stride = max(1, math.ceil(len(pairs) / _POINTS))
    kept = pairs[::stride] + ([pairs[-1]] if len(pairs) % stride != 1 and stride > 1 else [])
    return Line(line.name, [x for x, _ in kept], [y for _, y in kept], line.is_dashed, line.is_step)


def _axis(values: Sequence[float], is_log: bool, start: float, end: float, margin: float) -> _Axis:
    low, high = min(values), max(values)
    if is_log:
        low, high = (low, high) if high > low else (low / 2, low * 2)
        spread = (high / low) ** margin
        return _Axis(low / spread, high * spread, True, start, end)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    spread = (high - low) * margin
    return _Axis(low - spread, high + spread, False, start, end)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))


def _grid(x_axis: _Axis, y_axis: _Axis) -> list[str]:
    """Return a line and a number at each tick of both axes, and the frame around them."""
    left, right, top, bottom = _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM
    parts = []
    for tick in x_axis.ticks:
        x = x_axis.at(tick)
        parts += [_rule(x, top, x, bottom), _text(x, bottom + 16, f"{tick:.4g}", "middle")]
    for tick in y_axis.ticks:
        y = y_axis.at(tick)
        parts += [_rule(left, y, right, y), _text(left - 6, y + 4, f"{tick:.4g}", "end")]
    frame = f'<rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" fill="none" stroke="#888"/>'
    return [*parts, frame]


def _axis_names(chart: Chart) -> list[str]:
    across, middle = (_LEFT + WIDTH - _RIGHT) / 2, (_TOP + HEIGHT - _BOTTOM) / 2
    return [
        _text(across, HEIGHT - 10, chart.x_name, "middle"),
        _text(14, middle, chart.y_name, "middle", f' transform="rotate(-90 14 {middle:g})"'),
    ]


def _path(line: Line, x_axis: _Axis, y_axis: _Axis, colour: str) -> str:
    points = [(x_axis.at(x), y_axis.at(y)) for x, y in zip(line.xs, line.ys, strict=True)]
    words = []
    for place, (x, y) in enumerate(points):
        if line.is_step and place:
            words.append(f"H{x:.1f}V{y:.1f}")
        else:
            words.append(f"{'L' if place else 'M'}{x:.1f} {y:.1f}")
    dash = ' stroke-dasharray="4 3" stroke-width="1.2"' if line.is_dashed else ' stroke-width="2"'
    return f'<path d="{"".join(words)}" fill="none" stroke="{colour}"{dash}/>'


def _legend(lines: Sequence[Line]) -> list[str]:
    """Return the names of the lines, at the upper right; empty for a single line."""
    if len(lines) < 2:
        return []
    parts = []
    for place, line in enumerate(lines):
        y = _TOP + 16 + 15 * place
        colour = _COLOURS[place % len(_COLOURS)]
        parts.append(
            f'<text x="{WIDTH - _RIGHT - 8}" y="{y}" text-anchor="end" fill="{colour}" stroke="#fff" stroke-width="3" '
            f'paint-order="stroke">{escape(line.name)}</text>'
        )
    return parts


def _mark(x: float, name: str) -> str:
    bottom = HEIGHT - _BOTTOM
    rule = f'<path d="M{x:.1f} {_TOP}V{bottom}" stroke="#444" stroke-dasharray="2 3"/>'
    return rule + _text(x + 4, bottom - 6, name, "start", ' fill="#444"')


def _rule(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<path d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="#e4e4e4"/>'


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'
