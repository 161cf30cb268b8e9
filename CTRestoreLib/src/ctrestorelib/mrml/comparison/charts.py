"""Charts of the comparison: curves out of table columns (layer: mrml)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ctrestorelib.mrml.comparison.captions import rgb
from ctrestorelib.mrml.comparison.layouts import COLOURS, PLOT_TAG
from ctrestorelib.mrml.comparison.tables import MARK, own_nodes, reuse
from ctrestorelib.mrml.scene import Node, SceneContext


@dataclass(frozen=True)
class Curve:
    """One curve.

    Parameters
    ----------
    name
        For the legend.
    across, up
        Titles of the table's columns.
    volume
        Which of the compared volumes it belongs to, and so its colour; 0 is the first.
    """

    name: str
    across: str
    up: str
    volume: int


@dataclass(frozen=True)
class Chart:
    """What a chart shows.

    Parameters
    ----------
    role
        By which the chart is found again.
    title, across, up
        Texts above the chart and at its axes, with units.
    curves
        At least one.
    """

    role: str
    title: str
    across: str
    up: str
    curves: Sequence[Curve]


def show_chart(context: SceneContext, table: Node, chart: Chart) -> Node:
    """Make or refresh the plot nodes of a chart over ``table``; return the chart node."""
    series = [_series(context, table, chart, n) for n in range(len(chart.curves))]
    node = reuse(context, "vtkMRMLPlotChartNode", chart.role, chart.title)
    changing = node.StartModify()
    try:
        node.RemoveAllPlotSeriesNodeIDs()
        for curve in series:
            node.AddAndObservePlotSeriesNodeID(curve.GetID())
        node.SetTitle(chart.title)
        node.SetXAxisTitle(chart.across)
        node.SetYAxisTitle(chart.up)
        node.SetLegendVisibility(True)
    finally:
        node.EndModify(changing)
    _remove_further(context, chart)
    return node


def open_chart(scene: Any, chart: Node) -> bool:
    """Show a chart in the comparison's plot view; ``False`` if the layout has none."""
    view = scene.GetSingletonNode(PLOT_TAG, "vtkMRMLPlotViewNode")
    if view is None:
        return False
    view.SetDoPropagatePlotChartSelection(False)
    view.SetPlotChartNodeID(chart.GetID())
    return True


def _series(context: SceneContext, table: Node, chart: Chart, number: int) -> Node:
    curve = chart.curves[number]
    node = reuse(context, "vtkMRMLPlotSeriesNode", f"{chart.role} {number}", curve.name)
    changing = node.StartModify()
    try:
        node.SetAndObserveTableNodeID(table.GetID())
        node.SetXColumnName(curve.across)
        node.SetYColumnName(curve.up)
        node.SetPlotType(node.PlotTypeScatter)
        node.SetMarkerStyle(node.MarkerStyleNone)
        node.SetLineStyle(node.LineStyleSolid)
        node.SetLineWidth(2)
        node.SetColor(*rgb(COLOURS[curve.volume % len(COLOURS)]))
    finally:
        node.EndModify(changing)
    return node


def _remove_further(context: SceneContext, chart: Chart) -> None:
    """Remove curves of an earlier chart with more volumes."""
    wanted = {f"{chart.role} {n}" for n in range(len(chart.curves))}
    for node in list(own_nodes(context.scene, "vtkMRMLPlotSeriesNode")):
        role = node.GetAttribute(MARK)
        if role.rpartition(" ")[0] == chart.role and role not in wanted:
            context.scene.RemoveNode(node)
