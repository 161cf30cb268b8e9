"""Closed surfaces of segments: shown in 3D, or as a mesh of their own (layer: mrml)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.segments.labelmaps import LABELMAP, SURFACE, mask_of, own_copy, segment_of

SMOOTHING = "Smoothing factor"
DECIMATION = "Decimation factor"
"""Slicer's own names of the conversion parameters."""

OUTER_OPACITY = 0.5
"""The largest surface is seen through, so that the others show inside of it too."""


@dataclass(frozen=True)
class SurfaceOptions:
    """How a mesh is made from voxels.

    Parameters
    ----------
    smoothing
        0 keeps the steps of the voxels, 1 rounds most (Slicer's "Smoothing factor"). Thin bone
        shrinks when smoothed much.
    decimation
        Share of the triangles to leave out, 0 to 0.95; flat parts go first.
    """

    smoothing: float = 0.5
    decimation: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing <= 1:
            message = f"Smoothing goes from 0 to 1; got {self.smoothing}."
            raise UsageError(message)
        if not 0 <= self.decimation <= 0.95:
            message = (
                f"The share of triangles to leave out goes from 0 to 0.95; got {self.decimation}."
            )
            raise UsageError(message)


@dataclass(frozen=True)
class MeshCheck:
    """Whether a mesh is fit for planning and printing.

    Parameters
    ----------
    triangles
        How many there are.
    open_edges
        Edges with one triangle only; 0 means watertight.
    doubled_edges
        Edges where more than two triangles meet (two parts touch along an edge). Printing
        programs accept them; strict solid modellers may not.
    volume_ml
        Enclosed volume; negative if the mesh is inside out.
    """

    triangles: int
    open_edges: int
    doubled_edges: int
    volume_ml: float

    @property
    def watertight(self) -> bool:
        """Whether the mesh has no hole and encloses a volume."""
        return self.open_edges == 0 and self.volume_ml > 0


def surface_of(
    segmentation: Node,
    segment_id: str,
    options: SurfaceOptions | None = None,
    *,
    world: bool = True,
) -> Any:
    """Return the closed surface of a segment as triangles (``vtkPolyData``), in RAS mm.

    The mesh is made anew from the labelmap with these options (a segment that is a surface only
    is taken as it is); the segmentation is not changed.

    Parameters
    ----------
    world
        Whether the parent transform is applied, a warping one too.

    Raises
    ------
    InputError
        If the segment is gone or empty.
    """
    options = options or SurfaceOptions()
    name = segment_of(segmentation, segment_id).GetName()
    copy = own_copy(segmentation, segment_id)
    if copy.ContainsRepresentation(LABELMAP):
        copy.SetConversionParameter(SMOOTHING, str(options.smoothing))
        copy.SetConversionParameter(DECIMATION, str(options.decimation))
        copy.RemoveRepresentation(SURFACE)
        copy.CreateRepresentation(SURFACE, True)
    mesh = copy.GetSegment(segment_id).GetRepresentation(SURFACE)
    if mesh is None or mesh.GetNumberOfCells() == 0:
        message = f"The segment {name} is empty: it has no surface."
        raise InputError(message, hint="Choose another range, or another segment.")
    return _outward(_in_world(mesh, segmentation) if world else mesh)


def show_surfaces(segmentation: Node, segment_ids: Sequence[str]) -> None:
    """Show segments as closed surfaces in the 3D views, the largest of several half transparent.

    Colours are those of the segments; which other segments are shown does not change.

    Raises
    ------
    InputError
        If a segment is gone.
    """
    size = {s: int(mask_of(segmentation, s).inside.sum()) for s in segment_ids}
    segmentation.CreateClosedSurfaceRepresentation()
    segmentation.CreateDefaultDisplayNodes()
    display = segmentation.GetDisplayNode()
    display.SetPreferredDisplayRepresentationName3D(SURFACE)
    display.SetVisibility(True)
    display.SetVisibility3D(True)
    outer = max(size, key=lambda s: size[s]) if len(size) > 1 else None
    for segment_id in segment_ids:
        display.SetSegmentVisibility(segment_id, True)
        display.SetSegmentVisibility3D(segment_id, True)
        display.SetSegmentOpacity3D(segment_id, OUTER_OPACITY if segment_id == outer else 1.0)


def check_mesh(mesh: Any) -> MeshCheck:
    """Return whether a triangle mesh in mm is closed, and its volume (divergence theorem)."""
    return MeshCheck(
        int(mesh.GetNumberOfPolys()),
        _edges(mesh, boundary=True),
        _edges(mesh, boundary=False),
        signed_volume_mm3(mesh) / 1000.0,
    )


def signed_volume_mm3(mesh: Any) -> float:
    """Return the volume that triangles enclose; positive if their normals point outwards."""
    if mesh.GetNumberOfPolys() == 0:
        return 0.0
    points = vtk_to_numpy(mesh.GetPoints().GetData()).astype(np.float64)
    corners = points - points.mean(axis=0)
    triangles = vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    a, b, c = (corners[triangles[:, n]] for n in range(3))
    return float((a * np.cross(b, c)).sum() / 6.0)


def _edges(mesh: Any, *, boundary: bool) -> int:
    edges = vtk.vtkFeatureEdges()
    edges.SetInputData(mesh)
    edges.SetBoundaryEdges(boundary)
    edges.SetNonManifoldEdges(not boundary)
    edges.FeatureEdgesOff()
    edges.ManifoldEdgesOff()
    edges.Update()
    return int(edges.GetOutput().GetNumberOfCells())


def _in_world(mesh: Any, node: Node) -> Any:
    parent = node.GetParentTransformNode()
    if parent is None:
        return mesh
    to_world = vtk.vtkGeneralTransform()
    parent.GetTransformToWorld(to_world)
    move = vtk.vtkTransformPolyDataFilter()
    move.SetTransform(to_world)
    move.SetInputData(mesh)
    move.Update()
    return move.GetOutput()


def _outward(mesh: Any) -> Any:
    """Return the mesh as triangles whose normals point outwards (a mirroring turns them in)."""
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputData(mesh)
    triangles.PassVertsOff()
    triangles.PassLinesOff()
    triangles.Update()
    if signed_volume_mm3(triangles.GetOutput()) >= 0:
        return triangles.GetOutput()
    turned = vtk.vtkReverseSense()
    turned.SetInputData(triangles.GetOutput())
    turned.ReverseCellsOn()
    turned.ReverseNormalsOn()
    turned.Update()
    return turned.GetOutput()
