"""What was measured, as charts and tables beside the images (layer: apps)."""

from __future__ import annotations

import asyncio
from typing import Any

from trame.widgets import html
from trame_server.utils.asynchronous import create_task

from ctrestorelib.apps.web.session.views.tables import chart_html, drift_html, rows_of, table_html
from ctrestorelib.mrml.comparison.layouts import PLOT_TAG, TABLE_TAG
from ctrestorelib.mrml.comparison.observers import Observers
from ctrestorelib.mrml.comparison.tables import MARK, own_nodes
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.segments.table import ATTRIBUTE, VOXELS_ATTRIBUTE

PAGE = "views_quality"
"""State: everything that was measured, as HTML; empty before."""
PLOT, TABLE = "views_plot", "views_table"
"""State: the chart and the table of the comparison's layout, as HTML."""
_ROLES = ("quality", "profile numbers", "regions", "contrast")
_EVERY_S = 0.15
_EMPTY = (
    "<p class='ctr-none'>Nothing has been measured yet. Compare two volumes, then draw a line or a "
    "box, or let the result be judged.</p>"
)


class QualityPage:
    """Keeps charts and tables of the page equal to those of the scene.

    Parameters
    ----------
    server
        The trame server.
    context
        The scene.
    """

    def __init__(self, server: Any, context: SceneContext) -> None:
        self._server, self._context = server, context
        self._waiting = False
        self._observers, self._nodes = Observers(), Observers()
        for name in (PAGE, PLOT, TABLE):
            server.state.setdefault(name, _EMPTY if name == PAGE else "")
        scene = context.scene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent):
            self._observers.add(scene, event, lambda *_: self._nodes_changed())
        self._nodes_changed()

    def ui(self) -> None:
        """Put everything that was measured into the current place of the page."""
        html.Div(classes="ctr-quality", v_html=(PAGE,))

    def refresh(self) -> None:
        """Write charts and tables anew from the scene."""
        with self._server.state as state:
            state[PAGE] = quality_html(self._context.scene) or _EMPTY
            state[PLOT] = chart_html(_shown(self._context.scene, "Plot"))
            table = _shown(self._context.scene, "Table")
            state[TABLE] = "" if table is None else _one_table(table)

    def close(self) -> None:
        """Let go of the scene."""
        self._observers.clear()
        self._nodes.clear()

    def _nodes_changed(self) -> None:
        self._nodes.clear()
        scene = self._context.scene
        kinds = ("vtkMRMLTableNode", "vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode")
        nodes = [node for kind in kinds for node in own_nodes(scene, kind)]
        views = (
            scene.GetSingletonNode(PLOT_TAG, "vtkMRMLPlotViewNode"),
            scene.GetSingletonNode(TABLE_TAG, "vtkMRMLTableViewNode"),
        )
        for node in [*nodes, *_segment_tables(scene), *(v for v in views if v is not None)]:
            self._nodes.add(node, "ModifiedEvent", lambda *_: self._changed())
        self._changed()

    def _changed(self) -> None:
        if not self._waiting:
            self._waiting = True
            create_task(self._refresh_soon())

    async def _refresh_soon(self) -> None:
        await asyncio.sleep(_EVERY_S)
        self._waiting = False
        self.refresh()


def quality_html(scene: Any) -> str:
    """Return everything that the comparison and the segmentation measured; "" if nothing.

    Verdicts first, then the drift of tissues, then the charts with their tables.
    """
    tables = {node.GetAttribute(MARK): node for node in own_nodes(scene, "vtkMRMLTableNode")}
    parts = []
    if "quality" in tables:
        parts.append(drift_html(rows_of(tables["quality"])))
    parts += [chart_html(node) for node in own_nodes(scene, "vtkMRMLPlotChartNode")]
    shown = [tables[role] for role in _ROLES if role in tables]
    found = [_one_table(node) for node in [*shown, *_segment_tables(scene)]]
    charts = "".join(f"<div>{part}</div>" for part in parts if part)
    grid = f"<div class='ctr-charts'>{charts}</div>" if charts else ""
    return (found[0] if found else "") + grid + "".join(found[1:])


def _one_table(node: Node) -> str:
    return table_html(node.GetName(), rows_of(node))


def _segment_tables(scene: Any) -> list[Node]:
    count = scene.GetNumberOfNodesByClass("vtkMRMLTableNode")
    nodes = (scene.GetNthNodeByClass(n, "vtkMRMLTableNode") for n in range(count))
    return [n for n in nodes if n.GetAttribute(ATTRIBUTE) or n.GetAttribute(VOXELS_ATTRIBUTE)]


def _shown(scene: Any, kind: str) -> Node | None:
    """Return the chart or the table that the comparison's layout shows."""
    if kind == "Plot":
        view = scene.GetSingletonNode(PLOT_TAG, "vtkMRMLPlotViewNode")
        return None if view is None else view.GetPlotChartNode()
    view = scene.GetSingletonNode(TABLE_TAG, "vtkMRMLTableViewNode")
    return None if view is None else view.GetTableNode()
