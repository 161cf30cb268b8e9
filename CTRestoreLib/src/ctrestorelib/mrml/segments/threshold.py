"""A threshold on a volume becomes a segment: made once, updated on repeat (layer: mrml).

All such segments lie in a segmentation of their own, so that nothing of the user's is touched.
"""

from __future__ import annotations

import enum
import zlib
from typing import Any, NamedTuple

import numpy as np
import vtk

from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.mrml.arrays import view_of
from ctrestorelib.mrml.hierarchy import place_beside
from ctrestorelib.mrml.rollback import all_or_nothing
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.segments.labelmaps import (
    mask_of,
    new_segment,
    reference_geometry,
    replace_voxels,
    segment_of,
)
from ctrestorelib.mrml.segments.ranges import Islands, ThresholdRange, otsu
from ctrestorelib.mrml.transforms import same_parent, share_parent
from ctrestorelib.mrml.value_units import unit_of
from ctrestorelib.mrml.volumes import check_input, geometry_of
from ctrestorelib.quality.segment_overlap import GridMask
from ctrestorelib.quality.surface_elements import bounding_box

NODE_NAME = "CTRestore segments"
OWN_ATTRIBUTE = "CTRestore.Segments"
"""Marks the segmentations whose threshold segments may be replaced."""

_RANGE_TAG = "CTRestore.Threshold"
_ROLE_TAG = "CTRestore.Role"
_VOXELS_TAG = "CTRestore.Voxels"
_SAMPLES = 2_000_000

Colour = tuple[float, float, float]


@enum.unique
class Role(str, enum.Enum):
    """Which volume a segment shows; decides its colour (told apart by the colour-blind too)."""

    ORIGINAL = "original"
    RESTORED = "restored"
    SECOND = "second result"
    THIRD = "third result"

    @property
    def colour(self) -> Colour:
        """Red, green and blue from 0 to 1 (Okabe and Ito's orange, blue, green and purple)."""
        return {
            "original": (0.90, 0.62, 0.00),
            "restored": (0.00, 0.45, 0.70),
            "second result": (0.00, 0.62, 0.45),
            "third result": (0.80, 0.47, 0.65),
        }[self.value]


class SegmentOf(NamedTuple):
    """A segment by its segmentation node and its ID there."""

    segmentation: Node
    segment_id: str


def suggested_range(volume: Node, name: str = "bright") -> ThresholdRange:
    """Return everything brighter than Otsu's threshold, for volumes without HU.

    At most about 2 million voxels are looked at, spread over the volume.

    Raises
    ------
    InputError
        If the node is no volume, or all its values are equal.
    """
    check_input(volume)
    values = view_of(volume).ravel()
    low = otsu(values[:: -(-len(values) // _SAMPLES)])
    unit, _ = unit_of(volume)
    return ThresholdRange(name, low, None, unit, "Otsu 1979, doi:10.1109/TSMC.1979.4310076")


def threshold_mask(
    volume: Node, wanted: ThresholdRange, islands: Islands | None = None
) -> GridMask:
    """Return the voxels of a volume node in a range, on its grid without the parent transform.

    Raises
    ------
    InputError, GeometryError
        If the node is no CT volume.
    UnitError
        If the range has a unit that the volume cannot be compared with.
    """
    check_input(volume)
    unit, _ = unit_of(volume)
    geometry = geometry_of(volume)
    inside = wanted.to_unit(unit).inside(view_of(volume))
    kept = (islands or Islands()).kept(inside, geometry.voxel_volume_mm3)
    return GridMask(kept, geometry)


def threshold_segment(
    context: SceneContext,
    volume: Node,
    wanted: ThresholdRange,
    *,
    role: Role = Role.ORIGINAL,
    islands: Islands | None = None,
) -> SegmentOf:
    """Show the voxels of a volume in a range as a segment in our own segmentation.

    A segment of the same volume and range name is replaced, unless somebody edited it by hand
    since: then it is left alone from now on, and a new one is made.

    Parameters
    ----------
    volume
        Any CT volume node. The segmentation gets its grid and its parent transform.
    wanted
        The range; in HU it also applies to volumes in 1/mm.
    role
        Which volume this is; decides the colour.
    islands
        Which connected parts to keep; all without it.

    Raises
    ------
    InputError, GeometryError, UnitError
        See :func:`threshold_mask`; the scene stays as it was.
    """
    mask = threshold_mask(volume, wanted, islands)
    unit, _ = unit_of(volume)
    name = f"{volume.GetName()}: {wanted.name} ({wanted.to_unit(unit).text})"
    with all_or_nothing(context.scene):
        node = _own_segmentation(context, volume, mask.geometry)
        segment_id = _replaceable(node, volume, wanted.name)
        if segment_id is None:
            segment_id = _add(node, volume, new_segment(mask, name, role.colour))
        else:
            replace_voxels(node, segment_id, mask)
        segment = segment_of(node, segment_id)
        segment.SetName(name)
        for tag, text in ((_RANGE_TAG, wanted.name), (_ROLE_TAG, role.value),
                          (_VOXELS_TAG, _fingerprint(mask))):  # fmt: skip
            segment.SetTag(tag, text)
    return SegmentOf(node, segment_id)


def role_of(segmentation: Node, segment_id: str) -> tuple[str, str] | None:
    """Return range name and role of a threshold segment; None for any other segment."""
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    if segment is None or not segment.HasTag(_RANGE_TAG):
        return None
    return _tag(segment, _RANGE_TAG), _tag(segment, _ROLE_TAG)


def _own_segmentation(context: SceneContext, volume: Node, grid: VolumeGeometry) -> Node:
    """Return our segmentation on this grid and under the same transform, made if need be."""
    for node in _segmentations(context):
        reference = reference_geometry(node)
        fits = reference is not None and reference.matches(grid)
        if node.GetAttribute(OWN_ATTRIBUTE) and fits and share_parent(node, volume):
            return node
    node = context.new_node("vtkMRMLSegmentationNode", NODE_NAME)
    node.SetAttribute(OWN_ATTRIBUTE, "thresholds")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    same_parent(volume, node)
    place_beside(node, volume)
    node.CreateDefaultDisplayNodes()
    return node


def _segmentations(context: SceneContext) -> list[Node]:
    found = context.scene.GetNodesByClass("vtkMRMLSegmentationNode")
    found.UnRegister(None)
    return [found.GetItemAsObject(n) for n in range(found.GetNumberOfItems())]


def _add(node: Node, volume: Node, segment: Any) -> str:
    segment_id = str(node.GetSegmentation().GenerateUniqueSegmentID("CTRestore"))
    node.GetSegmentation().AddSegment(segment, segment_id)
    node.SetNodeReferenceID(_source_role(segment_id), volume.GetID())
    return segment_id


def _replaceable(node: Node, volume: Node, range_name: str) -> str | None:
    """Return the ID of the segment of this volume and range that nobody has edited since."""
    segmentation = node.GetSegmentation()
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        if not segment.HasTag(_RANGE_TAG) or _tag(segment, _RANGE_TAG) != range_name:
            continue
        if node.GetNodeReferenceID(_source_role(segment_id)) != volume.GetID():
            continue
        if _tag(segment, _VOXELS_TAG) == _fingerprint(mask_of(node, segment_id)):
            return str(segment_id)
        segment.RemoveTag(_RANGE_TAG)  # edited by hand: it is the user's own from now on
    return None


def _source_role(segment_id: str) -> str:
    # A reference follows the volume when a scene is merged into another; a stored ID would not.
    return f"CTRestore.SourceOf.{segment_id}"


def _fingerprint(mask: GridMask) -> str:
    """Return a checksum of place and shape of a mask; the same however its image is cropped."""
    box = bounding_box(mask.inside)
    if box is None:
        return "empty"
    bits = np.packbits(mask.inside[box])
    return f"{[s.start for s in box]}-{mask.inside[box].shape}-{zlib.crc32(bits.tobytes()):08x}"


def _tag(segment: Any, name: str) -> str:
    value = vtk.reference("")
    return str(value.get()) if segment.GetTag(name, value) else ""
