"""Segments and masks: between Slicer's labelmaps (RAS) and arrays with a grid (LPS); layer mrml."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.transforms import RAS_FROM_LPS, array_of, matrix_of, to_world
from ctrestorelib.quality.segment_overlap import GridMask
from ctrestorelib.quality.surface_elements import bounding_box

LABELMAP = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
SURFACE = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
_REFERENCE = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()


def segment_of(segmentation: Node | None, segment_id: str) -> Any:
    """Return the ``vtkSegment`` with this ID.

    Raises
    ------
    InputError
        If there is no segmentation, or it has no such segment.
    """
    if segmentation is None or not segmentation.IsA("vtkMRMLSegmentationNode"):
        message = "A segmentation was expected, but none is chosen."
        raise InputError(message, hint="Choose a segmentation, or make a segment by a threshold.")
    found = segmentation.GetSegmentation().GetSegment(segment_id)
    if found is None:
        message = f"The segmentation {segmentation.GetName()} no longer has this segment."
        raise InputError(message, hint="Choose another segment and start again.")
    return found


def own_copy(segmentation: Node, segment_id: str) -> Any:
    """Return a ``vtkSegmentation`` that holds a copy of one segment, for conversions.

    Converting the node itself would add representations to the user's segmentation.
    """
    source = segmentation.GetSegmentation()
    name = segment_of(segmentation, segment_id).GetName()
    copy = slicer.vtkSegmentation()
    copy.SetSourceRepresentationName(source.GetSourceRepresentationName())
    copy.CopyConversionParameters(source)
    if not copy.CopySegmentFromSegmentation(source, segment_id):
        message = f"The segment {name} cannot be read."
        raise InputError(message, hint="Convert it to a binary labelmap in Segmentations first.")
    return copy


def reference_geometry(segmentation: Node) -> VolumeGeometry | None:
    """Return the grid that a segmentation is drawn on, without its parent transform, if stated."""
    text = segmentation.GetSegmentation().GetConversionParameter(_REFERENCE)
    matrix, extent = vtk.vtkMatrix4x4(), [0, -1, 0, -1, 0, -1]
    parse = slicer.vtkSegmentationConverter.DeserializeImageGeometry
    if not text or not parse(text, matrix, extent):
        return None
    return _geometry(array_of(matrix), extent)


def mask_of(
    segmentation: Node, segment_id: str, *, fill_on: VolumeGeometry | None = None
) -> GridMask:
    """Return a segment on the grid of its segmentation, without the parent transform.

    A segment that is a surface only is filled on that grid; the node is not changed. Without a
    reference grid, or where the segment reaches beyond it, the segment's own extent is the grid.

    Parameters
    ----------
    segmentation, segment_id
        Which segment.
    fill_on
        The grid for a surface of a segmentation that states none (an imported model): Slicer
        would choose one of its own, far finer than a scan.

    Raises
    ------
    InputError
        If the segment is gone or cannot be turned into voxels.
    """
    name = segment_of(segmentation, segment_id).GetName()
    reference = reference_geometry(segmentation)
    image = _labelmap(segmentation, segment_id, None if reference else fill_on)
    if image is None or image.IsEmpty():
        return _empty(reference)
    inside = _inside(image)
    geometry = _geometry(_image_to_ras(image), image.GetExtent())
    if geometry is None or inside.shape != geometry.shape:
        message = f"The segment {name} cannot be read: its voxels do not fill its grid."
        raise InputError(message, hint="Load the segmentation again.")
    return _on_reference(GridMask(inside, geometry), reference)


def new_segment(mask: GridMask, name: str, colour: tuple[float, float, float]) -> Any:
    """Return a ``vtkSegment`` with a labelmap of its own, no larger than the segment needs."""
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetColor(*colour)
    segment.AddRepresentation(LABELMAP, _image(mask))
    return segment


def replace_voxels(segmentation: Node, segment_id: str, mask: GridMask) -> None:
    """Give a segment other voxels; its colour, display and neighbours in a shared layer stay.

    A closed surface that is shown follows.

    Raises
    ------
    InputError
        If the segment is gone or cannot be changed.
    """
    name = segment_of(segmentation, segment_id).GetName()
    replace = slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment
    if not replace(
        _image(mask), segmentation, segment_id, slicer.vtkSegmentationModifier.MODE_REPLACE
    ):
        message = f"The segment {name} could not be changed."
        raise InputError(message, hint="Unlock it in the Segment Editor, or delete it.")


def in_world(mask: GridMask, node: Node) -> GridMask:
    """Return a mask with its node's linear parent transform multiplied into the grid.

    Raises
    ------
    GeometryError
        If the transform warps space.
    """
    if node.GetParentTransformNode() is None:
        return mask
    world = RAS_FROM_LPS @ to_world(node) @ RAS_FROM_LPS
    return GridMask(
        mask.inside, VolumeGeometry(mask.geometry.shape, world @ mask.geometry.ijk_to_lps)
    )


def _labelmap(segmentation: Node, segment_id: str, grid: VolumeGeometry | None) -> Any | None:
    """Return a labelmap of one segment alone, or None if it is empty."""
    if not segmentation.GetSegmentation().ContainsRepresentation(LABELMAP):
        copy = own_copy(segmentation, segment_id)
        if grid is not None:
            copy.SetConversionParameter(_REFERENCE, _serialised(grid))
        if not copy.CreateRepresentation(LABELMAP):
            return None
        return copy.GetSegment(segment_id).GetRepresentation(LABELMAP)
    image = slicer.vtkOrientedImageData()
    read = segmentation.GetBinaryLabelmapRepresentation(segment_id, image)
    return image if read else None


def _serialised(grid: VolumeGeometry) -> str:
    last = [n for size in reversed(grid.shape) for n in (0, size - 1)]
    ijk_to_ras = matrix_of(RAS_FROM_LPS @ grid.ijk_to_lps)
    return str(slicer.vtkSegmentationConverter.SerializeImageGeometry(ijk_to_ras, last))


def _inside(image: Any) -> NDArray[np.bool_]:
    values = vtk_to_numpy(image.GetPointData().GetScalars())
    shape = tuple(reversed(image.GetDimensions()))
    inside: NDArray[np.bool_] = values.reshape(shape) != 0
    return inside


def _image_to_ras(image: Any) -> NDArray[np.float64]:
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return array_of(matrix)


def _geometry(ijk_to_ras: NDArray[np.float64], extent: Any) -> VolumeGeometry | None:
    """Return the grid of an extent (first and last index of i, j, k), or None if it is empty."""
    first, last = np.array(extent[::2]), np.array(extent[1::2])
    if (last < first).any():
        return None
    matrix = RAS_FROM_LPS @ ijk_to_ras
    matrix[:3, 3] += matrix[:3, :3] @ first
    i, j, k = (int(n) for n in last - first + 1)
    return VolumeGeometry((k, j, i), matrix)


def _empty(reference: VolumeGeometry | None) -> GridMask:
    grid = reference or VolumeGeometry((1, 1, 1), np.eye(4))
    return GridMask(np.zeros(grid.shape, dtype=bool), grid)


def _on_reference(mask: GridMask, reference: VolumeGeometry | None) -> GridMask:
    """Return a mask in its place on the reference grid, if it lies on that grid's voxels."""
    if reference is None:
        return mask
    box = bounding_box(mask.inside)
    if box is None:
        return _empty(reference)
    step = reference.lps_to_ijk @ mask.geometry.ijk_to_lps
    first = np.rint(step[:3, 3]).astype(int)
    aligned = np.allclose(step[:3, :3], np.eye(3), atol=1e-4)
    if not aligned or not np.allclose(step[:3, 3], first, atol=1e-2):
        return mask
    place = [slice(s.start + n, s.stop + n) for s, n in zip(box, first[::-1], strict=True)]
    if any(s.start < 0 or s.stop > n for s, n in zip(place, reference.shape, strict=True)):
        return mask
    whole = np.zeros(reference.shape, dtype=bool)
    whole[tuple(place)] = mask.inside[box]
    return GridMask(whole, reference)


def _image(mask: GridMask) -> Any:
    image = slicer.vtkOrientedImageData()
    box = bounding_box(mask.inside)
    if box is not None:
        ends = [(s.start, s.stop - 1) for s in reversed(box)]
        image.SetExtent([n for pair in ends for n in pair])
        values = np.ascontiguousarray(mask.inside[box]).view(np.uint8)
        image.GetPointData().SetScalars(numpy_to_vtk(values.ravel(), deep=True))
    else:
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)  # surfaces of untyped images are refused
    image.SetImageToWorldMatrix(matrix_of(RAS_FROM_LPS @ mask.geometry.ijk_to_lps))
    return image
