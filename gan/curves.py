"""A line chart as SVG text: learning curves in model cards and benchmark tables.

One picture that reads on light and dark pages and needs no plotting library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 40, 44
INK, GRID = "#7a7f8c", "#7a7f8c33"
COLOURS = ("#6d5ef0", "#e0684b", "#2a9d8f", "#c9a227")


@dataclass(frozen=True)
class Line:
    """One curve: points (x, y), and optionally the band (x, low, high) around it."""

    label: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float, float]] = ()


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    lines: Sequence[Line],
    log_y: bool = False,
    rising: bool = False,
) -> str:
    """The curves on common axes, as a complete SVG document.

    `log_y` draws the vertical axis logarithmically; values ≤ 0 are left out then. `rising` puts
    the legend below, where rising curves leave room.
    """
    xs = [x for line in lines for x, _ in line.points] or [0.0, 1.0]
    ys = [y for line in lines for _, y in line.points if y > 0 or not log_y] or [0.1, 1.0]
    x_axis = _Axis(min(0.0, *xs), max(xs), LEFT, WIDTH - RIGHT, log=False)
    y_axis = _Axis(min(ys) if log_y else min(0.0, *ys), max(ys), HEIGHT - BOTTOM, TOP, log=log_y)
    parts = [_text(LEFT, 22, title, weight="600", size=15)]
    for tick in y_axis.ticks():
        y = y_axis.place(tick)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        parts.append(_text(LEFT - 8, y + 4, _short(tick), anchor="end"))
    below = HEIGHT - BOTTOM + 18
    parts += [_text(x_axis.place(t), below, _short(t), anchor="middle") for t in x_axis.ticks()]
    parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 8, x_label, anchor="middle"))
    parts.append(_text(WIDTH - RIGHT, 22, y_label, anchor="end"))
    legend = HEIGHT - BOTTOM - 8 - 17 * (len(lines) - 1) if rising else TOP + 14
    for i, line in enumerate(lines):
        parts += _draw(line, x_axis, y_axis, COLOURS[i % len(COLOURS)], legend + 17 * i)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="system-ui, sans-serif">{"".join(parts)}</svg>\n'
    )


def _draw(line: Line, x_axis: _Axis, y_axis: _Axis, colour: str, y: float) -> list[str]:
    """The curve, its band, and its name at height `y` (px)."""
    parts = []
    if line.band:
        there = [(x, high) for x, _, high in line.band]
        back = [(x, low) for x, low, _ in reversed(line.band)]
        outline = " ".join(f"{x_axis.place(x):.1f},{y_axis.place(y):.1f}" for x, y in there + back)
        parts.append(f'<polygon points="{outline}" fill="{colour}" opacity=".18"/>')
    points = " ".join(f"{x_axis.place(x):.1f},{y_axis.place(y):.1f}" for x, y in line.points)
    parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    parts.append(f'<rect x="{WIDTH - 176}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
    return [*parts, _text(WIDTH - 160, y, line.label)]


class _Axis:
    """Values between `low` and `high` → pixels between `start` and `end`."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool):
        self.log = log
        self.low, self.high = (math.log10(low), math.log10(high)) if log else (low, high)
        if self.high - self.low < 1e-12:
            self.high = self.low + 1.0
        self.start, self.end = start, end

    def place(self, value: float) -> float:
        at = math.log10(max(value, 1e-12)) if self.log else value
        part = min(max((at - self.low) / (self.high - self.low), 0.0), 1.0)
        return self.start + part * (self.end - self.start)

    def ticks(self) -> list[float]:
        """About five round values; decades on a logarithmic axis."""
        if self.log:
            decades = range(math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9) + 1)
            return [10.0**k for k in decades] or [10**self.low, 10**self.high]
        rough = (self.high - self.low) / 5
        magnitude = 10.0 ** math.floor(math.log10(rough))
        step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= rough)
        first = math.ceil(self.low / step)
        return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _short(value: float) -> str:
    """120000 → "120k", 0.001 → "0.001"."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _text(
    x: float, y: float, text: str, anchor: str = "start", weight: str = "400", size: int = 12
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}" fill="{INK}">{escape(text)}</text>'
    )
