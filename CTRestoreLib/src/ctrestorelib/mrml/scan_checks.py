"""What the checks of a reconstruction found, kept with its node (layer: mrml).

Lights and figures are an attribute of the reconstruction, so that they are saved with the scene and
go with the node; the map and the misfit of every view are nodes of their own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from ctrestorelib.core.volume import Volume
from ctrestorelib.jobs.measuring import measure_from_json
from ctrestorelib.methods.registry import methods_of
from ctrestorelib.mrml.comparison.charts import Chart, Curve, show_chart
from ctrestorelib.mrml.comparison.tables import show_table
from ctrestorelib.mrml.hierarchy import place_beside
from ctrestorelib.mrml.measured_map import measured_map
from ctrestorelib.mrml.records import METHOD_ATTRIBUTE
from ctrestorelib.mrml.rollback import all_or_nothing
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.quality.lights import Light
from ctrestorelib.quality.result import Measure
from ctrestorelib.quality.scan_lights import scan_lights
from ctrestorelib.restorer.spec import Kind

CHECK_ATTRIBUTE = "CTRestore.Check"
"""On a reconstruction: what its checks measured, as JSON."""

TITLE = "Misfit of every view"
VIEW, MISFIT, LOOKS = "View", "Misfit (1 expected)", "What it looks like"
SIDEWAYS, ALONG = "Shift sideways (pixels)", "Shift along the axis (pixels)"


def attach_check(
    context: SceneContext, node: Node, measures: Sequence[Measure], percent: Volume | None
) -> list[Node]:
    """Keep what was found with a reconstruction; return the nodes made: map, table, chart.

    If anything fails, nothing is added.

    Parameters
    ----------
    context
        The scene.
    node
        The reconstruction.
    measures
        One a check.
    percent
        How much of every voxel was measured; None where that could not be told.
    """
    with all_or_nothing(context.scene):
        node.SetAttribute(CHECK_ATTRIBUTE, json.dumps([m.to_json() for m in measures]))
        made = [] if percent is None else [measured_map(context, node, percent)]
        return made + show_misfit(context, node)


def measures_of(node: Node | None) -> tuple[Measure, ...]:
    """Return what the checks of a reconstruction measured; () if it was not checked."""
    text = None if node is None else node.GetAttribute(CHECK_ATTRIBUTE)
    return tuple(measure_from_json(record) for record in json.loads(text)) if text else ()


def lights_of(node: Node | None) -> tuple[Light, ...]:
    """Return the lights of a reconstruction; () if it was not checked."""
    return scan_lights(measures_of(node))


def latest_reconstruction(context: SceneContext, history: Sequence[str]) -> Node | None:
    """Return the newest reconstruction: of this session, else of the scene as it was loaded.

    Parameters
    ----------
    context
        The scene.
    history
        IDs of the nodes that were made, oldest first.
    """
    made = [context.node(node_id) for node_id in history]
    scene, kind = context.scene, "vtkMRMLScalarVolumeNode"
    every = [scene.GetNthNodeByClass(n, kind) for n in range(scene.GetNumberOfNodesByClass(kind))]
    return next(filter(_is_reconstruction, [*reversed(made), *reversed(every)]), None)


def show_misfit(context: SceneContext, node: Node) -> list[Node]:
    """Show how well every view is explained; return table and chart, [] where nothing is known.

    They are made once for each reconstruction.
    """
    columns = misfit_columns(measures_of(node))
    if not columns:
        return []
    role = f"view-misfit {node.GetID()}"
    table = show_table(context, role, f"{node.GetName()}: misfit of every view", columns)
    curve = Curve("misfit", VIEW, MISFIT, 0)
    chart = Chart(role, TITLE, "View", "Misfit per reading (1 expected)", [curve])
    shown = [table, show_chart(context, table, chart)]
    for made in shown:
        place_beside(made, node)
    return shown


def misfit_columns(measures: Sequence[Measure]) -> dict[str, list[Any]]:
    """Return the misfit of every view as columns of a table; {} where it is not known."""
    details = next((m.details for m in measures if m.name == "view_fit"), {})
    misfits = [float(c) for c in details.get("chi_squared_per_view", [])]
    if not any(map(math.isfinite, misfits)):
        return {}
    columns: dict[str, list[Any]] = {
        VIEW: list(range(1, len(misfits) + 1)),
        MISFIT: [round(misfit, 2) for misfit in misfits],
    }
    shifts = details.get("shift_px_per_view", [])
    if len(shifts) == len(misfits):
        columns[SIDEWAYS] = [float(u) for _, u in shifts]
        columns[ALONG] = [float(v) for v, _ in shifts]
    odd = {o["view"]: o["cause"] for o in details.get("standing_out", [])}
    if odd:
        columns[LOOKS] = [odd.get(view, "") for view in range(len(misfits))]
    return columns


def _is_reconstruction(node: Node | None) -> bool:
    return node is not None and node.GetAttribute(METHOD_ATTRIBUTE) in methods_of(
        Kind.RECONSTRUCTOR
    )
