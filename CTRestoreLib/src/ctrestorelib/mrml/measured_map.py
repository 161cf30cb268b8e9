"""What of a reconstruction was measured, as a volume to lay over it (layer: mrml)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import slicer

from ctrestorelib.core.volume import Volume
from ctrestorelib.mrml.derived import DERIVED_ATTRIBUTE
from ctrestorelib.mrml.display import display_of, set_window
from ctrestorelib.mrml.hierarchy import place_beside
from ctrestorelib.mrml.records import SOURCE_ROLE
from ctrestorelib.mrml.rollback import all_or_nothing
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.transforms import same_parent
from ctrestorelib.mrml.volumes import new_volume_node

MEASURED_ROLE = "CTRestore.Measured"
"""Node reference from a reconstruction to the map of what was measured of it."""

COLOURS = "CTRestore measured share"
INFERRED, BETWEEN, MEASURED = (213, 94, 0), (240, 228, 190), (0, 114, 178)
"""Red, green, blue at 0, 50 and 100 %: orange and blue, which nearly everybody can tell apart."""

OPACITY = 0.4
"""Of the map over the volume: both can be seen."""

_OWN_VIEWS = "CTRestoreCompare"


def measured_map(context: SceneContext, node: Node, percent: Volume) -> Node:
    """Add the map beside its reconstruction; return its node.

    Parameters
    ----------
    context
        The scene.
    node
        The reconstruction.
    percent
        0 (inferred) to 100 (measured) on the grid of the reconstruction.
    """
    with all_or_nothing(context.scene):
        made = new_volume_node(context, f"{node.GetName()} measured percent", percent)
        with slicer.util.NodeModify(made):
            made.SetAttribute(DERIVED_ATTRIBUTE, "measured-percent")
            made.SetNodeReferenceID(SOURCE_ROLE, node.GetID())
            same_parent(node, made)
        set_window(made, 50.0, 100.0)
        display_of(made).SetAndObserveColorNodeID(_colours(context).GetID())
        place_beside(made, node)
        node.SetNodeReferenceID(MEASURED_ROLE, made.GetID())
    return made


def map_of(node: Node | None) -> Node | None:
    """Return the map of a reconstruction; None if there is none, or it was removed."""
    return None if node is None else node.GetNodeReference(MEASURED_ROLE)


def lay_over(scene: Any, node: Node, percent: Node) -> None:
    """Show a reconstruction in the slice views, and its map over it."""
    for composite in _composites(scene):
        with slicer.util.NodeModify(composite):
            composite.SetBackgroundVolumeID(node.GetID())
            composite.SetForegroundVolumeID(percent.GetID())
            composite.SetForegroundOpacity(OPACITY)


def take_off(scene: Any, percent: Node) -> None:
    """Show no map any more; the volume below stays."""
    for composite in _composites(scene):
        if composite.GetForegroundVolumeID() == percent.GetID():
            with slicer.util.NodeModify(composite):
                composite.SetForegroundVolumeID(None)
                composite.SetForegroundOpacity(0.0)


def is_laid_over(scene: Any, percent: Node | None) -> bool:
    """Return whether a map is shown in a slice view."""
    return percent is not None and any(
        composite.GetForegroundVolumeID() == percent.GetID() and composite.GetForegroundOpacity()
        for composite in _composites(scene)
    )


def legend_html() -> str:
    """Return what the colours of the map mean; Qt and browsers show it."""
    steps = []
    for percent in (0, 25, 50, 75, 100):
        colour = _colour(percent / 100.0)
        ink = "#000000" if colour @ (0.30, 0.59, 0.11) > 110 else "#ffffff"
        steps.append(
            f"<span style='background-color:{_hex(colour)};color:{ink}'>"
            f"&nbsp;{percent}&nbsp;%&nbsp;</span>"
        )
    return f"inferred&nbsp;{''.join(steps)}&nbsp;measured"


def _composites(scene: Any) -> Iterator[Any]:
    """Yield what the slice views show, but for those of the comparison: it lays over by itself."""
    kind = "vtkMRMLSliceCompositeNode"
    for n in range(scene.GetNumberOfNodesByClass(kind)):
        composite = scene.GetNthNodeByClass(n, kind)
        if not (composite.GetLayoutName() or "").startswith(_OWN_VIEWS):
            yield composite


def _colours(context: SceneContext) -> Node:
    found = context.scene.GetFirstNodeByName(COLOURS)
    if found is not None and found.IsA("vtkMRMLColorNode"):
        return found
    node = context.new_node("vtkMRMLColorTableNode", COLOURS)
    node.SetTypeToUser()
    node.SetNumberOfColors(101)
    for percent in range(101):
        node.SetColor(percent, f"{percent} %", *(_colour(percent / 100.0) / 255.0), 1.0)
    return node


def _colour(share: float) -> Any:
    """Return red, green and blue, 0 to 255, at a share from 0 to 1."""
    ends = np.array([INFERRED, BETWEEN, MEASURED], dtype=np.float64)
    return np.array([np.interp(share, (0.0, 0.5, 1.0), ends[:, n]) for n in range(3)])


def _hex(colour: Any) -> str:
    return "#" + "".join(f"{round(part):02x}" for part in colour)
