"""Volumes computed from two others: difference, removed noise, blend (layer: mrml)."""

from __future__ import annotations

import numpy as np
import slicer
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, InputError, UnitError
from ctrestorelib.core.volume import Volume
from ctrestorelib.mrml.arrays import view_of
from ctrestorelib.mrml.display import SAMPLES, Window, display_of, same_display
from ctrestorelib.mrml.hierarchy import place_beside
from ctrestorelib.mrml.records import SOURCE_ROLE
from ctrestorelib.mrml.rollback import all_or_nothing
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.transforms import same_parent, share_parent
from ctrestorelib.mrml.value_units import unit_of
from ctrestorelib.mrml.volumes import check_input, geometry_of, new_volume_node, set_volume
from ctrestorelib.restorer.blend import blend

DERIVED_ATTRIBUTE = "CTRestore.Derived"
"""``difference``, ``removed-noise`` or ``blend``."""

COMPARED_ROLE = "CTRestore.Compared"
"""Node reference to the second volume; the first has the role ``CTRestore.Source``."""

STRENGTH_ATTRIBUTE = "CTRestore.Strength"
DIVERGING_COLOURS = "DivergingBlueRed"
SIGMAS = 5.0


def difference_node(context: SceneContext, a: Node, b: Node) -> Node:
    """Add the volume ``a - b``, shown in diverging colours about zero; return its node.

    Raises
    ------
    InputError, GeometryError, UnitError
        If one of them is no CT volume, or grids, transforms or units differ.
    """
    name = f"{a.GetName()} minus {b.GetName()}"
    return _difference(context, a, b, name, "difference")


def removed_noise_node(context: SceneContext, original: Node, restored: Node) -> Node:
    """Add the volume ``original - restored``: what a restoration took away; return its node.

    In a good restoration it shows noise and no anatomy.

    Raises
    ------
    InputError, GeometryError, UnitError
        If one of them is no CT volume, or grids, transforms or units differ.
    """
    name = f"{restored.GetName()} removed noise"
    return _difference(context, original, restored, name, "removed-noise")


def blend_node(
    context: SceneContext,
    original: Node,
    restored: Node,
    strength: float,
    *,
    into: Node | None = None,
) -> Node:
    """Add the mixture ``original + strength * (restored - original)``; return its node.

    Strength 0 is the original and strength 1 the restored volume, bit for bit.

    Parameters
    ----------
    context
        The scene.
    original, restored
        Volumes on one grid.
    strength
        From 0 to 1.
    into
        A node that this function made before, to be given a new strength (for a slider).

    Raises
    ------
    UsageError
        If the strength is not between 0 and 1.
    InputError, GeometryError, UnitError
        If a node is no CT volume, grids, transforms or units differ, or ``into`` is something else.
    """
    first, second = _pair(original, restored)
    mixed = blend(first, second, strength)
    if into is not None and into.GetAttribute(DERIVED_ATTRIBUTE) != "blend":
        message = f"{into.GetName()} is no blend of CTRestore; it is not overwritten."
        raise InputError(message, hint="Let a new node be made.")
    with all_or_nothing(context.scene):
        node = into
        if node is None:
            node = new_volume_node(context, f"{restored.GetName()} blend", mixed)
            _describe(node, original, restored, "blend")
            same_display(original, node)
        else:
            set_volume(node, mixed)
        node.SetAttribute(STRENGTH_ATTRIBUTE, f"{strength:g}")
    return node


def require_one_grid(a: Node, b: Node) -> None:
    """Refuse two volumes whose voxels do not lie at the same places.

    Raises
    ------
    InputError
        If one of them is no CT volume.
    GeometryError
        If their grids or their transforms differ.
    """
    check_input(a)
    check_input(b)
    first, second = geometry_of(a), geometry_of(b)
    if not first.matches(second):
        message = (
            f"{a.GetName()} and {b.GetName()} have different voxel grids "
            f"({_size(first.shape)} and {_size(second.shape)} voxels, or another position)."
        )
        hint = (
            f"Resample {b.GetName()} to the grid of {a.GetName()} first "
            "(module Resample Scalar/Vector/DWI Volume, with that reference)."
        )
        raise GeometryError(message, hint=hint)
    if not share_parent(a, b):
        message = f"{a.GetName()} and {b.GetName()} lie under different transforms."
        raise GeometryError(message, hint="Put both under the same transform, or under none.")


def _size(shape: tuple[int, int, int]) -> str:
    return " x ".join(str(n) for n in reversed(shape))


def _pair(a: Node, b: Node) -> tuple[Volume, Volume]:
    """Return both volumes; float nodes are not copied, since nothing here outlives the call."""
    require_one_grid(a, b)
    (unit, _), (other, _) = unit_of(a), unit_of(b)
    if unit is not other:
        message = f"{a.GetName()} is in {unit.label}, {b.GetName()} in {other.label}."
        raise UnitError(message, hint="Say under Input what the values of both mean.")
    geometry = geometry_of(a)
    return Volume(view_of(a), geometry, unit), Volume(view_of(b), geometry, unit)


def _difference(context: SceneContext, a: Node, b: Node, name: str, kind: str) -> Node:
    first, second = _pair(a, b)
    values = first.values - second.values
    window = symmetric_window(values)
    with all_or_nothing(context.scene):
        node = new_volume_node(context, name, first.with_values(values))
        _describe(node, a, b, kind)
        display = display_of(node)
        with slicer.util.NodeModify(display):
            display.AutoWindowLevelOff()
            display.SetWindowLevel(window.width, window.level)
            display.SetAndObserveColorNodeID(diverging_colours(context).GetID())
    return node


def symmetric_window(values: NDArray[np.float32]) -> Window:
    """Return the window of 5 robust standard deviations to both sides of zero.

    The robust standard deviation is 1.4826 times the median distance from zero. Where more than
    half of the voxels did not change at all, the largest difference takes its place.
    """
    sample = np.abs(values.ravel()[:: max(1, values.size // SAMPLES)])
    sample = sample[np.isfinite(sample)]
    reach = SIGMAS * 1.4826 * float(np.median(sample)) if sample.size else 0.0
    if reach == 0.0 and sample.size:
        reach = float(np.nanmax(np.abs(values)))
    return Window(0.0, 2.0 * reach if np.isfinite(reach) and reach > 0 else 1.0)


def diverging_colours(context: SceneContext) -> Node:
    """Return colours from blue over white to red, Slicer's own or else a table of ours."""
    found = context.scene.GetFirstNodeByName(DIVERGING_COLOURS)
    if found is not None and found.IsA("vtkMRMLColorNode"):
        return found
    node = context.new_node("vtkMRMLColorTableNode", DIVERGING_COLOURS)
    node.SetTypeToUser()
    node.SetNumberOfColors(256)
    for n, t in enumerate(np.linspace(-1.0, 1.0, 256)):
        fade = 1.0 - abs(float(t))
        red, blue = (1.0, fade) if t > 0 else (fade, 1.0)
        node.SetColor(n, f"{t:+.2f}", red, fade, blue, 1.0)
    return node


def _describe(node: Node, first: Node, second: Node, kind: str) -> None:
    with slicer.util.NodeModify(node):
        node.SetAttribute(DERIVED_ATTRIBUTE, kind)
        node.SetNodeReferenceID(SOURCE_ROLE, first.GetID())
        node.SetNodeReferenceID(COMPARED_ROLE, second.GetID())
        same_parent(first, node)
    place_beside(node, first)
