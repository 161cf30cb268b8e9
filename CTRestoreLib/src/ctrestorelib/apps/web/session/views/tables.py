"""Table and chart nodes as what the page shows of them (layer: apps)."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.apps.web.session.views.charts import (
    Bar,
    Line,
    bars_html,
    curves_html,
    pill_html,
    verdict_of,
)
from ctrestorelib.mrml.comparison.layouts import COLOURS
from ctrestorelib.mrml.scene import Node

VERDICT = "Verdict"
DRIFT = "HU drift"
_MOST_ROWS = 200
_INTERVAL = re.compile(r"^\s*(\S+) to (\S+)\s*$")


@dataclass(frozen=True)
class TableRows:
    """A table for ``v-data-table`` or for plain HTML.

    Parameters
    ----------
    headers
        Titles in order.
    rows
        Texts of each row, in the order of the titles.
    total
        How many rows the node has; ``rows`` may be fewer.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: int

    def for_data_table(self) -> dict[str, list[dict[str, str]]]:
        """Return ``headers`` and ``items`` as ``v-data-table`` wants them."""
        keys = [f"c{n}" for n in range(len(self.headers))]
        headers = [{"title": t, "key": k} for t, k in zip(self.headers, keys, strict=True)]
        items = [dict(zip(keys, row, strict=True)) for row in self.rows]
        return {"headers": headers, "items": items}

    def column(self, title: str) -> tuple[str, ...]:
        """Return the texts below a title; none if there is no such column."""
        if title not in self.headers:
            return ()
        place = self.headers.index(title)
        return tuple(row[place] for row in self.rows)


def rows_of(node: Node | None) -> TableRows:
    """Return titles and texts of a table node; numbers with five digits, no number as a dash."""
    table = None if node is None else node.GetTable()
    if table is None:
        return TableRows((), (), 0)
    columns = [table.GetColumn(n) for n in range(table.GetNumberOfColumns())]
    count = table.GetNumberOfRows()
    rows = tuple(tuple(_text(c, n) for c in columns) for n in range(min(count, _MOST_ROWS)))
    return TableRows(tuple(c.GetName() or "" for c in columns), rows, count)


def table_html(title: str, table: TableRows) -> str:
    """Return a table as HTML; verdicts as coloured words with a sign."""
    if not table.headers:
        return ""
    judged = table.headers.index(VERDICT) if VERDICT in table.headers else -1
    head = "".join(f"<th scope='col'>{html.escape(t)}</th>" for t in table.headers)
    body = "".join(f"<tr>{_cells(row, judged)}</tr>" for row in table.rows)
    more = table.total - len(table.rows)
    note = f"<p class='ctr-none'>{more} more rows are in the downloaded table.</p>" if more else ""
    return (
        f"<div class='ctr-scroll'><table class='ctr-table'><caption>{html.escape(title)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}"
    )


def drift_html(table: TableRows) -> str:
    """Return the HU drift of each tissue as a chart, out of the quality table; "" without any."""
    columns = [table.column(t) for t in ("Measure", "Value", "95 % interval", VERDICT)]
    if not all(columns):
        return ""
    bars = [
        Bar(name.removeprefix(f"{DRIFT}, "), number, _interval(interval), verdict_of(word))
        for name, value, interval, word in zip(*columns, strict=True)
        if name.startswith(DRIFT) and (number := _number(value)) is not None
    ]
    return bars_html("HU drift of each tissue (result minus original)", "HU", bars)


def chart_html(chart: Node | None) -> str:
    """Return a plot chart node as a chart; "" if there is none."""
    if chart is None:
        return ""
    nodes = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
    lines = [line for n, node in enumerate(nodes) if (line := _line(node, n)) is not None]
    title, across, up = chart.GetTitle(), chart.GetXAxisTitle(), chart.GetYAxisTitle()
    return curves_html(title or "", across or "", up or "", lines)


def _line(series: Node | None, number: int) -> Line | None:
    if series is None or series.GetTableNode() is None:
        return None
    table = series.GetTableNode().GetTable()
    columns = [table.GetColumnByName(n) for n in (series.GetXColumnName(), series.GetYColumnName())]
    if any(column is None for column in columns):
        return None
    return Line(series.GetName(), _volume(series, number), _array(columns[0]), _array(columns[1]))


def _volume(series: Node, number: int) -> int:
    """Return which volume a curve belongs to: its colour tells."""
    colour = "#" + "".join(f"{round(255 * part):02X}" for part in series.GetColor())
    return COLOURS.index(colour) if colour in COLOURS else number


def _array(column: Any) -> NDArray[np.float64]:
    values = (column.GetVariantValue(n) for n in range(column.GetNumberOfTuples()))
    return np.array([v.ToDouble() if v.IsNumeric() else np.nan for v in values], np.float64)


def _text(column: Any, row: int) -> str:
    value = column.GetVariantValue(row)
    if not value.IsNumeric():
        return str(value.ToString())
    number = value.ToDouble()
    return f"{number:.5g}" if np.isfinite(number) else "-"


def _cells(row: tuple[str, ...], judged: int) -> str:
    return "".join(
        f"<td>{pill_html(verdict_of(cell)) if n == judged else html.escape(cell)}</td>"
        for n, cell in enumerate(row)
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _interval(text: str) -> tuple[float, float] | None:
    found = _INTERVAL.match(text)
    ends = [_number(end) for end in found.groups()] if found else [None]
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        return None
    return (ends[0], ends[1])
