"""X-ray projections as a volume node: columns, rows and views along i, j and k (layer: mrml).

The geometry of the scan lies in a text node that the stack refers to, in the JSON form that
CTRestore writes beside projection files, so both survive a saved scene.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import slicer

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.io.notes import Note
from ctrestorelib.io.paths import existing
from ctrestorelib.io.projection_stacks import scan_record, with_geometry_file, with_kind
from ctrestorelib.io.reading import ReadOptions
from ctrestorelib.io.stored import Stored
from ctrestorelib.mrml.arrays import view_of
from ctrestorelib.mrml.display import auto_window, set_window
from ctrestorelib.mrml.hierarchy import item_of, place_beside
from ctrestorelib.mrml.projection_signs import signs_of_projections
from ctrestorelib.mrml.rollback import all_or_nothing, forget_item
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.value_units import UNIT_ATTRIBUTE, stated_unit
from ctrestorelib.mrml.volumes import VOLUME_CLASS, geometry_of, new_volume_node

STACK_ATTRIBUTE = "CTRestore.Projections"
"""``1`` on a volume node whose slices are projections of a known scan."""

GEOMETRY_ROLE = "CTRestore.ScanGeometry"
"""Node reference to the text node with geometry, kind and dose of the scan."""


def stack_node(context: SceneContext, projections: ProjectionSet, name: str) -> Node:
    """Add projections to the scene; return their node.

    Where the node lies in Slicer's world means nothing: source and detector are in the geometry.
    """
    rows_mm, cols_mm = projections.geometry.pixel_mm
    grid = VolumeGeometry.from_spacing(projections.values.shape, (cols_mm, rows_mm, 1.0))
    with all_or_nothing(context.scene):
        node = new_volume_node(context, name, Volume(projections.values, grid, Unit.GREY))
        item_of(node)
        set_window(node, *auto_window(projections.values))
        _refer(context, node, projections)
    return node


def is_stack(node: Node | None) -> bool:
    """Return whether a node is a projection stack with its geometry."""
    return (
        node is not None
        and node.IsA(VOLUME_CLASS)
        and node.GetAttribute(STACK_ATTRIBUTE) == "1"
        and node.GetNodeReference(GEOMETRY_ROLE) is not None
    )


def scan_of(node: Node) -> ConeBeamGeometry:
    """Return the geometry of a stack, without touching its values.

    Raises
    ------
    InputError, GeometryError
        If the node has no geometry, or a damaged one.
    """
    return ConeBeamGeometry.from_json(_record(node))


def projections_of(node: Node) -> ProjectionSet:
    """Return the projections of a stack; the values are the node's own, not a copy, if float32.

    Raises
    ------
    InputError, GeometryError
        If the node has no geometry, a damaged one, or one that does not fit its images.
    """
    record = _record(node)
    geometry = ConeBeamGeometry.from_json(record)
    about = record.get("projections", {})
    values = view_of(node)
    _check_shape(node.GetName(), values.shape, geometry)
    try:
        return ProjectionSet(
            values,
            geometry,
            ProjectionKind(about["kind"]),
            about.get("i0"),
            float(about.get("electronic_sd", 0.0)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(node) from error


def attach_geometry(
    context: SceneContext,
    node: Node,
    geometry: ConeBeamGeometry,
    kind: ProjectionKind | None = None,
    i0: float | None = None,
) -> tuple[Note, ...]:
    """Tell a volume node that its slices are the projections of this scan.

    Only the statement is added; the images stay as they are.

    Parameters
    ----------
    context
        The scene.
    node
        Images that were loaded as slices: ``[view, row, col]`` along k, j, i.
    geometry
        Source and detector of every view.
    kind
        Counts or line integrals; without it, whole numbers and values above 50 are counts.
    i0
        Reading without an object; needed for counts.

    Returns
    -------
    tuple of Note
        What had to be assumed.

    Raises
    ------
    GeometryError
        If views, rows or columns differ.
    InputError
        If the node has no images, or counts come without ``i0``.
    """
    values = view_of(node)
    _check_shape(node.GetName(), values.shape, geometry)
    projections, notes = with_kind(values, geometry, ReadOptions(i0=i0, kind=kind), {})
    _attach(context, node, projections)
    return tuple(notes)


def attach_geometry_file(
    context: SceneContext,
    node: Node,
    path: Path | str,
    *,
    kind: ProjectionKind | None = None,
    i0: float | None = None,
    pixel_mm: float | None = None,
) -> tuple[Note, ...]:
    """Tell a volume node that its slices are the projections of the scan in a geometry file.

    Parameters
    ----------
    context, node, kind, i0
        As for :func:`attach_geometry`; they win over what the file says.
    path
        Our JSON, or RTK's XML.
    pixel_mm
        Detector pixel size, where neither file nor images tell it.

    Returns
    -------
    tuple of Note
        What had to be assumed.

    Raises
    ------
    GeometryError
        If the geometry does not fit the images.
    InputError
        If the file is missing or of another format, or counts come without ``i0``.
    """
    values, grid = view_of(node), geometry_of(node)
    # Slicer gives images without a pixel size one of exactly 1 mm.
    known = grid.spacing_mm[:2] != (1.0, 1.0)
    stored = Stored(values, grid.ijk_to_lps, "node" if known else "tiff", spacing_known=known)
    options = ReadOptions(i0=i0, kind=kind, pixel_mm=pixel_mm)
    projections, notes = with_geometry_file(stored, existing(Path(path)), options, node.GetName())
    _attach(context, node, projections)
    return tuple(notes)


def looks_like_projections(node: Node) -> str:
    """Return why the slices of a volume node are probably projections, or "".

    A stack that is known as such, and everything in HU, is left alone. The rest is judged by what
    only the views of one turning object do; see :mod:`ctrestorelib.mrml.projection_signs`.
    """
    if node is None or not node.IsA(VOLUME_CLASS) or node.IsA("vtkMRMLLabelMapVolumeNode"):
        return ""
    image = node.GetImageData()
    if image is None or image.GetNumberOfScalarComponents() != 1:
        return ""
    if is_stack(node) or stated_unit(node) in (Unit.HU, Unit.PER_MM):
        return ""
    reason = signs_of_projections(view_of(node))
    return f"These look like X-ray projections, not slices: {reason}." if reason else ""


def _attach(context: SceneContext, node: Node, projections: ProjectionSet) -> None:
    former = node.GetNodeReference(GEOMETRY_ROLE)
    with all_or_nothing(context.scene):
        _refer(context, node, projections)
    if former is not None:
        forget_item(context.scene, former)
        context.scene.RemoveNode(former)


def _refer(context: SceneContext, node: Node, projections: ProjectionSet) -> None:
    text = context.new_node("vtkMRMLTextNode", f"{node.GetName()} scan geometry")
    text.SetText(json.dumps(scan_record(projections)))
    place_beside(text, node)
    with slicer.util.NodeModify(node):
        node.SetAttribute(STACK_ATTRIBUTE, "1")
        node.SetAttribute(UNIT_ATTRIBUTE, Unit.GREY.value)
        node.SetNodeReferenceID(GEOMETRY_ROLE, text.GetID())


def _record(node: Node) -> dict[str, Any]:
    text = node.GetNodeReference(GEOMETRY_ROLE)
    if text is None:
        message = f"{node.GetName()} has no scan geometry: where were source and detector?"
        raise InputError(message, hint="Choose the geometry file that belongs to this scan.")
    try:
        record = json.loads(text.GetText() or "")
    except (AttributeError, ValueError) as error:
        raise _damaged(node) from error
    if not isinstance(record, dict):
        raise _damaged(node)
    return record


def _damaged(node: Node) -> InputError:
    message = f"The scan geometry of {node.GetName()} in the scene is damaged."
    return InputError(message, hint="Choose its geometry file again.")


def _check_shape(name: str, shape: tuple[int, ...], geometry: ConeBeamGeometry) -> None:
    views, rows, cols = geometry.views, *geometry.detector_shape
    if shape == (views, rows, cols):
        return
    message = (
        f"{name} holds {shape[0]} images of {shape[1]} rows x {shape[2]} columns; "
        f"the geometry describes {views} views of {rows} rows x {cols} columns."
    )
    raise GeometryError(message, hint=_shape_hint(shape, (views, rows, cols)))


def _shape_hint(shape: tuple[int, ...], expected: tuple[int, int, int]) -> str:
    views, rows, cols = expected
    if shape == (views, cols, rows):
        return "Rows and columns are swapped: turn the images by 90 degrees, or the geometry."
    if sorted(shape) == sorted(expected):
        return "The axes are in another order: views must be along the slices."
    if shape[0] == views:
        return "The images have another size than the detector: were they cropped or binned?"
    if shape[1:] == (rows, cols):
        return "The number of images differs: are flat fields among them, or views left out?"
    return "Use the geometry file that belongs to this scan."
