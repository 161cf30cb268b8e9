"""Line charts as inline SVG that follow the page's colours (layer: apps)."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 14, 44
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "4 2", "12 4", "1 4", "6 2 1 2")


@dataclass(frozen=True, eq=False)
class Curve:
    """One line: its label, its number among the volumes (sets colour and dashes), its points."""

    label: str
    index: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]


def line_chart(curves: Sequence[Curve], *, title: str, x_label: str, y_label: str) -> str:
    """Return an SVG line chart with axes; colours come from the page's style (``.c0``, ...)."""
    xs, ys = (np.concatenate([getattr(c, n) for c in curves]) for n in ("x", "y"))
    x_ticks, y_ticks = (
        ticks(float(xs.min()), float(xs.max())),
        ticks(min(0.0, float(ys.min())), float(ys.max())),
    )
    x_low, x_high = float(xs.min()), float(xs.max())
    y_low, y_high = min(y_ticks[0], float(ys.min())), max(y_ticks[-1], float(ys.max()))

    def px(x: float) -> float:
        return _LEFT + (x - x_low) / ((x_high - x_low) or 1) * (WIDTH - _LEFT - _RIGHT)

    def py(y: float) -> float:
        return HEIGHT - _BOTTOM - (y - y_low) / ((y_high - y_low) or 1) * (HEIGHT - _TOP - _BOTTOM)

    parts = [
        f"<line class='grid' x1='{_LEFT}' x2='{WIDTH - _RIGHT}' y1='{py(t):.1f}' "
        f"y2='{py(t):.1f}'/><text class='tick' x='{_LEFT - 8}' y='{py(t) + 4:.1f}' "
        f"text-anchor='end'>{tick_text(t)}</text>"
        for t in y_ticks
    ]
    parts += [
        f"<text class='tick' x='{px(t):.1f}' y='{HEIGHT - _BOTTOM + 18}' "
        f"text-anchor='middle'>{tick_text(t)}</text>"
        for t in x_ticks
        if x_low <= t <= x_high
    ]
    for curve in curves:
        points = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in zip(curve.x, curve.y, strict=True))
        dash = _DASHES[curve.index % len(_DASHES)]
        parts.append(
            f"<polyline class='line c{curve.index % 8}' stroke-dasharray='{dash}' "
            f"points='{points}'><title>{html.escape(curve.label)}</title></polyline>"
        )
    middle = (HEIGHT - _BOTTOM + _TOP) / 2
    parts.append(
        f"<text class='axis' x='{(WIDTH + _LEFT) / 2}' y='{HEIGHT - 6}' "
        f"text-anchor='middle'>{html.escape(x_label)}</text>"
    )
    parts.append(
        f"<text class='axis' x='14' y='{middle}' text-anchor='middle' "
        f"transform='rotate(-90 14 {middle})'>{html.escape(y_label)}</text>"
    )
    return (
        f"<svg class='chart' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' "
        f"aria-label='{html.escape(title, quote=True)}'>{''.join(parts)}</svg>"
    )


def legend(labels: Sequence[tuple[str, int]]) -> str:
    """Return the legend of charts whose curves have these labels and numbers."""
    items = "".join(
        f"<li><svg viewBox='0 0 34 8' aria-hidden='true'><line class='line c{n % 8}' x1='0' x2='34'"
        f" y1='4' y2='4' stroke-dasharray='{_DASHES[n % len(_DASHES)]}'/></svg>"
        f"{html.escape(label)}</li>"
        for label, n in labels
    )
    return f"<ul class='legend'>{items}</ul>"


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round numbers that cover ``low`` to ``high``."""
    width = (high - low) or 1.0
    power = 10.0 ** math.floor(math.log10(width / wanted))
    step = min((m * power for m in (1, 2, 5, 10)), key=lambda s: abs(width / s - wanted))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, last + 1)]


def tick_text(value: float) -> str:
    """Return a tick without floating-point dust."""
    return f"{value:.6g}".replace("-", "−")
