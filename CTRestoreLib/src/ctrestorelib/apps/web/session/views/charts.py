"""Charts of the page as SVG text: numbers in, text out, no node and no network (layer: apps)."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.apps.report.charts import Curve, legend, line_chart, tick_text, ticks
from ctrestorelib.quality.result import Verdict

WIDTH, ROW, LEFT, RIGHT, TOP, FOOT = 640, 34, 190, 120, 10, 40
ICONS = {Verdict.GREEN: "✓", Verdict.AMBER: "!", Verdict.RED: "✕", Verdict.NONE: ""}
"""A sign beside the word: people who cannot tell the colours apart read either."""


@dataclass(frozen=True, eq=False)
class Line:
    """A curve of a chart.

    Parameters
    ----------
    label
        For the legend.
    volume
        Which of the compared volumes it belongs to: sets colour and dashes.
    x, y
        Equally many points; where either is no finite number the curve has a gap.
    """

    label: str
    volume: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True)
class Bar:
    """A measured number with its 95 % interval.

    Parameters
    ----------
    label
        What was measured.
    value
        The number.
    interval
        Lower and upper end; ``None`` where there is none.
    verdict
        Its meaning.
    """

    label: str
    value: float
    interval: tuple[float, float] | None
    verdict: Verdict


def curves_html(title: str, across: str, up: str, lines: Sequence[Line]) -> str:
    """Return a chart with its title and legend; a sentence if there is nothing to draw."""
    pieces = [piece for line in lines for piece in _pieces(line)]
    if not pieces:
        return _figure(title, "<p class='ctr-none'>There are no numbers to draw.</p>")
    drawn = {piece.index for piece in pieces}
    labels = [(line.label, line.volume) for line in lines if line.volume in drawn]
    picture = line_chart(pieces, title=title, x_label=across, y_label=up)
    return _figure(title, picture + legend(labels))


def bars_html(title: str, unit: str, bars: Sequence[Bar]) -> str:
    """Return numbers around a zero line with their intervals and verdicts; "" if there are none."""
    bars = [bar for bar in bars if np.isfinite(bar.value)]
    if not bars:
        return ""
    ends = [0.0] + [bar.value for bar in bars]
    ends += [end for bar in bars for end in (bar.interval or ()) if np.isfinite(end)]
    marks = ticks(min(ends), max(ends))
    low, high = min(*ends, marks[0]), max(*ends, marks[-1])
    scale = (WIDTH - LEFT - RIGHT) / ((high - low) or 1.0)

    def px(value: float) -> float:
        return LEFT + (value - low) * scale

    height = TOP + ROW * len(bars) + FOOT
    parts = [_mark(px(value), value, height) for value in marks]
    parts += [_bar(bar, n, px) for n, bar in enumerate(bars)]
    parts.append(
        f"<text class='axis' x='{px((low + high) / 2):.0f}' y='{height - 4}' "
        f"text-anchor='middle'>{html.escape(unit)}</text>"
    )
    return _figure(
        title,
        f"<svg class='chart' viewBox='0 0 {WIDTH} {height}' role='img' "
        f"aria-label='{html.escape(title, quote=True)}'>{''.join(parts)}</svg>",
    )


def pill_html(verdict: Verdict) -> str:
    """Return a verdict as a coloured word with its sign; "" for none."""
    if verdict is Verdict.NONE:
        return ""
    return (
        f"<span class='ctr-pill ctr-{verdict.value}'><b aria-hidden='true'>{ICONS[verdict]}</b> "
        f"{html.escape(verdict.word)}</span>"
    )


def verdict_of(word: str) -> Verdict:
    """Return the verdict that is written with this word; none for any other word."""
    return next((v for v in Verdict if v.word and v.word == word.strip()), Verdict.NONE)


def _pieces(line: Line) -> list[Curve]:
    """Return the parts of a curve between its gaps."""
    good = np.isfinite(line.x) & np.isfinite(line.y)
    edges = np.flatnonzero(np.diff(good.astype(np.int8), prepend=0, append=0))
    return [
        Curve(line.label, line.volume, line.x[a:b], line.y[a:b])
        for a, b in zip(edges[::2], edges[1::2], strict=True)
    ]


def _figure(title: str, content: str) -> str:
    return (
        f"<figure class='ctr-chart'><figcaption>{html.escape(title)}</figcaption>{content}</figure>"
    )


def _mark(x: float, value: float, height: int) -> str:
    name = "zero" if value == 0 else "grid"
    foot = height - FOOT
    return (
        f"<line class='{name}' x1='{x:.1f}' x2='{x:.1f}' y1='{TOP}' y2='{foot}'/>"
        f"<text class='tick' x='{x:.1f}' y='{foot + 16}' text-anchor='middle'>"
        f"{tick_text(value)}</text>"
    )


def _bar(bar: Bar, row: int, px: Callable[[float], float]) -> str:
    y = TOP + ROW * (row + 0.5)
    colour = f"ctr-{bar.verdict.value}"
    whisker = ""
    if bar.interval is not None and np.isfinite(bar.interval).all():
        low, high = (px(end) for end in bar.interval)
        whisker = f"<line class='whisker' x1='{low:.1f}' x2='{high:.1f}' y1='{y}' y2='{y}'/>"
    sign = f"{ICONS[bar.verdict]} {bar.verdict.word}".strip()
    return (
        f"<text class='name' x='{LEFT - 10}' y='{y + 4}' text-anchor='end'>"
        f"{html.escape(bar.label)}</text>{whisker}"
        f"<circle class='{colour}' cx='{px(bar.value):.1f}' cy='{y}' r='6'>"
        f"<title>{html.escape(bar.label)}: {bar.value:.4g}</title></circle>"
        f"<text class='name {colour}' x='{WIDTH - RIGHT + 14}' y='{y + 4}'>"
        f"{html.escape(sign)}</text>"
    )
