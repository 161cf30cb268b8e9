"""A surface coloured by its distance from another one (layer: mrml)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ctrestorelib.core.errors import UsageError
from ctrestorelib.mrml.rollback import all_or_nothing
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.segments.labelmaps import segment_of
from ctrestorelib.mrml.segments.surfaces import SurfaceOptions, surface_of
from ctrestorelib.mrml.segments.threshold import SegmentOf

ARRAY = "Distance (mm)"
NODE_NAME = "CTRestore surface distance"
ATTRIBUTE = "CTRestore.SurfaceDistance"
_COLOURS_ATTRIBUTE = "CTRestore.DistanceColours"
_STEPS = 255
_INSIDE, _ZERO, _OUTSIDE = (0.13, 0.40, 0.67), (0.97, 0.97, 0.97), (0.70, 0.09, 0.17)


def distance_surface(
    context: SceneContext,
    shown: SegmentOf,
    reference: SegmentOf,
    *,
    range_mm: float | None = None,
    options: SurfaceOptions | None = None,
) -> Node:
    """Show a segment's surface coloured by its signed distance from the reference's surface.

    Red lies outside of the reference (added), blue inside (lost), white on it. A repeat fills the
    same model node again. Both surfaces are taken where they lie in the world.

    Parameters
    ----------
    range_mm
        Distance of full colour on both sides; without it the 95th percentile of the distances,
        at least 0.1 mm.

    Returns
    -------
    Node
        A model node with the point values :data:`ARRAY`.

    Raises
    ------
    InputError
        If a segment is gone or empty.
    UsageError
        If the range is not a positive number.
    """
    if range_mm is not None and not 0 < range_mm < math.inf:
        message = f"The colour range is a distance above 0 mm; got {range_mm}."
        raise UsageError(message)
    mesh = with_distance(surface_of(*shown, options), surface_of(*reference, options))
    if range_mm is None:
        far = np.abs(vtk_to_numpy(mesh.GetPointData().GetArray(ARRAY)))
        range_mm = max(0.1, float(np.percentile(far, 95)))
    names = [segment_of(*s).GetName() for s in (shown, reference)]
    with all_or_nothing(context.scene):
        colours = _own(context, "vtkMRMLColorTableNode", _COLOURS_ATTRIBUTE) or _colours(context)
        node = _own(context, "vtkMRMLModelNode", ATTRIBUTE)
        node = node or context.new_node("vtkMRMLModelNode", NODE_NAME)
        node.SetAttribute(ATTRIBUTE, "1")
        node.SetAndObserveMesh(mesh)
        node.SetDescription(f"{names[0]}: distance from {names[1]}, outside positive, in mm")
        _show(context, node, colours, range_mm)
    return node


def with_distance(mesh: Any, reference: Any) -> Any:
    """Return a copy of ``mesh`` with its points' signed distance in mm from ``reference``.

    Both are ``vtkPolyData`` in the same space; the reference is closed with normals outwards.
    Positive outside of it. Exact to the triangles.
    """
    distance = vtk.vtkImplicitPolyDataDistance()
    distance.SetInput(reference)
    values = vtk.vtkDoubleArray()
    distance.FunctionValue(mesh.GetPoints().GetData(), values)
    out = vtk.vtkPolyData()
    out.DeepCopy(mesh)
    scalars = numpy_to_vtk(vtk_to_numpy(values).astype(np.float32), deep=True)
    scalars.SetName(ARRAY)
    out.GetPointData().AddArray(scalars)
    out.GetPointData().SetActiveScalars(ARRAY)
    return out


def _show(context: SceneContext, node: Node, colours: Node, range_mm: float) -> None:
    display = node.GetDisplayNode()
    # A new display node is complete before views see it: they warn of one without a range.
    new = display is None
    display = slicer.vtkMRMLModelDisplayNode() if new else display
    display.SetAndObserveColorNodeID(colours.GetID())
    display.SetActiveScalarName(ARRAY)
    display.SetScalarVisibility(True)
    display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
    display.SetScalarRange(-range_mm, range_mm)
    if new:
        node.SetAndObserveDisplayNodeID(context.scene.AddNode(display).GetID())


def _own(context: SceneContext, class_name: str, attribute: str) -> Node | None:
    for n in range(context.scene.GetNumberOfNodesByClass(class_name)):
        node = context.scene.GetNthNodeByClass(n, class_name)
        if node.GetAttribute(attribute):
            return node
    return None


def _colours(context: SceneContext) -> Node:
    """Add a diverging colour table: blue, white, red."""
    node = slicer.vtkMRMLColorTableNode()
    node.SetName(context.scene.GenerateUniqueName("CTRestore distance"))
    node.SetAttribute(_COLOURS_ATTRIBUTE, "1")
    node.SetTypeToUser()
    node.SetNumberOfColors(_STEPS)
    for n in range(_STEPS):
        at = 2 * n / (_STEPS - 1) - 1
        end = _OUTSIDE if at > 0 else _INSIDE
        red, green, blue = (
            (1 - abs(at)) * z + abs(at) * e for z, e in zip(_ZERO, end, strict=True)
        )
        node.SetColor(n, f"{at:+.2f}", red, green, blue, 1.0)
    return context.scene.AddNode(node)  # complete: views look at it at once
