"""Where to work: a box or a segment that the person drew, on a volume's voxels (layer: mrml)."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.jobs.request import Region
from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.transforms import (
    RAS_FROM_LPS,
    array_of,
    matrix_of,
    parent_of,
    require_linear,
    to_world,
)
from ctrestorelib.mrml.volumes import geometry_of

LABELMAP = "Binary labelmap"
SURFACE = "Closed surface"
_TOUCH = 1e-6
"""Part of a voxel by which a centre may miss a box and still belong to it: rounding."""


def region_from_roi(roi: Node, volume: Node) -> Region:
    """Return the voxels of a volume inside a box, as half-open ranges along k, j, i.

    A box that is turned against the volume's axes gives the smallest upright box of voxels around
    it. A voxel belongs to the box if its centre does.

    Parameters
    ----------
    roi
        A markups ROI, with or without a linear transform.
    volume
        A volume node, with or without a linear transform.

    Raises
    ------
    InputError
        If the box was not drawn yet, is no box, or lies outside the volume.
    GeometryError
        If a transform warps space.
    """
    in_volume = np.linalg.inv(to_world(volume)) @ corners_ras(roi)
    return _voxels_in(in_volume, geometry_of(volume), roi.GetName(), volume.GetName())


def grid_in_roi(roi: Node, grid: VolumeGeometry) -> VolumeGeometry:
    """Return the part of a grid that lies inside a box.

    Parameters
    ----------
    roi
        A markups ROI, with or without a linear transform.
    grid
        A voxel grid in the world.

    Raises
    ------
    InputError
        If the box was not drawn yet, is no box, or lies outside the grid.
    GeometryError
        If a transform warps space.
    """
    region = _voxels_in(corners_ras(roi), grid, roi.GetName(), "the voxel grid")
    k, j, i = (slice(a, b) for a, b in region)
    return grid.crop((k, j, i))


def corners_ras(roi: Node) -> NDArray[np.float64]:
    """Return the corners of a box in the world: shape (4, 8), columns (R, A, S, 1) in mm.

    Raises
    ------
    InputError
        If it was not drawn yet, or is no box.
    GeometryError
        If it lies under a transform that warps space.
    """
    if not roi.IsA("vtkMRMLMarkupsROINode"):
        message = f"{roi.GetName()} is no region of interest but a {roi.GetNodeTagName()}."
        raise InputError(message, hint="Draw a box with the ROI tool of the Markups module.")
    size = roi.GetSize()
    if roi.GetNumberOfDefinedControlPoints() == 0 or min(size) <= 0:
        message = f"The region {roi.GetName()} is empty: it was not drawn yet."
        raise InputError(message, hint="Place the box around the part to work on.")
    signs = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3)).reshape(3, 8)
    points = np.vstack([signs * np.array(size)[:, None], np.ones(8)])
    corners: NDArray[np.float64] = to_world(roi) @ array_of(roi.GetObjectToNodeMatrix()) @ points
    return corners


def _voxels_in(
    corners: NDArray[np.float64], grid: VolumeGeometry, roi_name: str, volume_name: str
) -> Region:
    ijk = grid.to_ijk((RAS_FROM_LPS @ corners)[:3].T)
    low = np.ceil(ijk.min(axis=0) - _TOUCH)
    high = np.floor(ijk.max(axis=0) + _TOUCH) + 1
    size = np.array(grid.shape[::-1])
    low, high = np.clip(low, 0, size).astype(int), np.clip(high, 0, size).astype(int)
    if np.any(low >= high):
        message = f"The region {roi_name} holds no voxel of {volume_name}."
        raise InputError(message, hint="Move the box over the volume, or make it larger.")
    (i, j, k) = ((int(a), int(b)) for a, b in zip(low, high, strict=True))
    return (k, j, i)


def mask_from_segment(segmentation: Node, segment_id: str, volume: Node) -> NDArray[np.bool_]:
    """Return where a segment is on the voxels of a volume, shape ``[k, j, i]``.

    The segmentation may have another grid, another transform and only a surface; it is not changed.
    A voxel belongs to the segment if the nearest voxel of the segment's own grid does, or if its
    centre lies inside the surface.

    Raises
    ------
    InputError
        If there is no such segment, it is empty, or it lies outside the volume.
    GeometryError
        If the volume lies under a transform that warps space.
    """
    require_linear(volume)
    segment = _segment(segmentation, segment_id)
    grid, to_volume = geometry_of(volume), _between(segmentation, volume)
    mask = None
    if segment.GetRepresentation(LABELMAP) is not None:
        mask = _from_labelmap(segmentation, segment_id, grid, to_volume)
    elif segment.GetRepresentation(SURFACE) is not None:
        mask = _from_surface(segment.GetRepresentation(SURFACE), grid, to_volume)
    if mask is None:
        message = f"The segment {segment.GetName()} is empty."
        raise InputError(message, hint="Draw it in the Segment Editor, or choose another one.")
    if not mask.any():
        message = f"The segment {segment.GetName()} holds no voxel of {volume.GetName()}."
        raise InputError(message, hint="Choose a segment that lies inside the volume.")
    return mask


def _between(segmentation: Node, volume: Node) -> Any:
    """Return the transform from the segmentation's own RAS to the volume's own RAS."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        parent_of(segmentation), parent_of(volume), transform
    )
    return transform


def _segment(segmentation: Node, segment_id: str) -> Any:
    if not segmentation.IsA("vtkMRMLSegmentationNode"):
        message = f"{segmentation.GetName()} is no segmentation."
        raise InputError(message, hint="Choose a segmentation, or convert the label map to one.")
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    if segment is None:
        message = f"{segmentation.GetName()} has no such segment any more."
        raise InputError(message, hint="Choose one of the segments it has.")
    return segment


def _from_labelmap(
    segmentation: Node, segment_id: str, grid: VolumeGeometry, to_volume: Any
) -> NDArray[np.bool_] | None:
    """Return a drawn segment on a grid by nearest neighbour; None if nothing was drawn."""
    drawn, out = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    copied = segmentation.GetBinaryLabelmapRepresentation(segment_id, drawn)
    if not copied or drawn.IsEmpty() or drawn.GetScalarRange()[1] == 0:
        return None
    done = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        drawn, _oriented(grid), out, False, False, to_volume
    )
    scalars = out.GetPointData().GetScalars() if done else None
    if scalars is None:
        message = "The segment cannot be brought onto the voxels of the volume."
        raise GeometryError(message, hint="Check the transforms of segmentation and volume.")
    mask: NDArray[np.bool_] = vtk_to_numpy(scalars).reshape(grid.shape) > 0
    return mask


def _oriented(grid: VolumeGeometry) -> Any:
    """Return a ``vtkOrientedImageData`` without values on a grid."""
    image = slicer.vtkOrientedImageData()
    k, j, i = grid.shape
    image.SetExtent(0, i - 1, 0, j - 1, 0, k - 1)
    image.SetGeometryFromImageToWorldMatrix(matrix_of(RAS_FROM_LPS @ grid.ijk_to_lps))
    return image


def _from_surface(surface: Any, grid: VolumeGeometry, to_volume: Any) -> NDArray[np.bool_] | None:
    """Return the inside of a closed surface on a grid; None if it has no faces.

    The surface is moved into voxel indices, where any oblique or sheared grid is upright.
    """
    if surface.GetNumberOfCells() == 0:
        return None
    to_ijk = vtk.vtkGeneralTransform()
    to_ijk.PostMultiply()
    to_ijk.Concatenate(to_volume)
    to_ijk.Concatenate(matrix_of(grid.lps_to_ijk @ RAS_FROM_LPS))
    moved = vtk.vtkTransformPolyDataFilter()
    moved.SetInputData(surface)
    moved.SetTransform(to_ijk)
    filled = vtk.vtkPolyDataToImageStencil()
    filled.SetInputConnection(moved.GetOutputPort())
    k, j, i = grid.shape
    filled.SetOutputWholeExtent(0, i - 1, 0, j - 1, 0, k - 1)
    image = vtk.vtkImageStencilToImage()
    image.SetInputConnection(filled.GetOutputPort())
    image.Update()
    scalars = image.GetOutput().GetPointData().GetScalars()
    mask: NDArray[np.bool_] = vtk_to_numpy(scalars).reshape(grid.shape) > 0
    return mask
