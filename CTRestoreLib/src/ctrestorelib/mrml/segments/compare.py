"""Compare up to four segments with the first, and read the voxels under one (layer: mrml)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.mrml.arrays import view_of
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.segments.labelmaps import in_world, mask_of, segment_of
from ctrestorelib.mrml.segments.ranges import Islands, ThresholdRange
from ctrestorelib.mrml.segments.threshold import SegmentOf, threshold_mask
from ctrestorelib.mrml.transforms import share_parent
from ctrestorelib.mrml.value_units import unit_of
from ctrestorelib.mrml.volumes import check_input, geometry_of
from ctrestorelib.quality.segment_overlap import (
    GridMask,
    SegmentOverlap,
    count_islands,
    lookup,
    segment_overlap,
)

MOST = 4


@dataclass(frozen=True)
class ThresholdOn:
    """A threshold evaluated on a volume, without making a segment of it."""

    volume: Node
    wanted: ThresholdRange
    islands: Islands | None = None


Choice = SegmentOf | ThresholdOn


@dataclass(frozen=True)
class SegmentRow:
    """One segment in a comparison.

    Parameters
    ----------
    name
        As shown in the scene.
    volume_ml
        Voxels times voxel volume.
    islands
        Number of parts connected through voxel faces.
    overlap
        Measures against the first segment; None for the first itself.
    """

    name: str
    volume_ml: float
    islands: int
    overlap: SegmentOverlap | None


@dataclass(frozen=True)
class SegmentComparison:
    """Segments in the order they were chosen; the first is what the others are compared with."""

    rows: tuple[SegmentRow, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a person should know about the numbers: what is not defined, what noise did."""
        found = []
        for row in self.rows:
            if row.overlap is not None and row.overlap.dice.value is None:
                found.append(f"{row.name} cannot be compared: {row.overlap.dice.not_measurable}")
            elif row.overlap is not None and row.overlap.hd95.value is None:
                found.append(f"{row.name}: {row.overlap.hd95.sentence}")
        return (*found, *self._islands())

    def _islands(self) -> list[str]:
        first, others = self.rows[0], self.rows[1:]
        return [
            f"{most.name} has {most.islands} separate parts where {least.name} has "
            f"{least.islands}; noise leaves many small ones. Dropping small islands tells "
            "the bone apart from the noise."
            for most, least in (sorted((first, o), key=_parts)[::-1] for o in others)
            if most.islands > 20 and most.islands > 2 * least.islands
        ]


@dataclass(frozen=True)
class VoxelsUnder:
    """The values of one volume under a segment.

    Parameters
    ----------
    name
        Of the volume.
    voxels
        How many of its voxels have their centre in the segment.
    mean, sd
        Of their values; None without a voxel.
    unit
        Unit of both.
    """

    name: str
    voxels: int
    mean: float | None
    sd: float | None
    unit: Unit


def compare_segments(context: SceneContext, choices: Sequence[Choice]) -> SegmentComparison:
    """Compare two to four segments or thresholds; the first is the reference.

    Parent transforms count: everything is compared where it lies in the world. Nothing in the
    scene changes.

    Raises
    ------
    UsageError
        If there are fewer than two choices or more than four.
    InputError
        If a node or segment is gone or holds no image.
    GeometryError
        If two lie in different places, or under different transforms of which one warps space.
    """
    if not 2 <= len(choices) <= MOST:
        message = f"Two to {MOST} segments can be compared; got {len(choices)}."
        raise UsageError(message, hint="Choose the original first, then the results.")
    nodes = [_node_of(context, choice) for choice in choices]
    masks: list[GridMask] = []
    for choice in choices:
        masks.append(_mask(choice, masks[0].geometry if masks else None))
    # Under one shared transform, even a warping one, the nodes' own space is as good as the world.
    if not all(share_parent(nodes[0], node) for node in nodes) or _linear(nodes[0]):
        masks = [in_world(m, n) for m, n in zip(masks, nodes, strict=True)]
    rows = [
        SegmentRow(_name(choice), mask.volume_ml, count_islands(mask.inside),
                   segment_overlap(masks[0], mask) if n else None)
        for n, (choice, mask) in enumerate(zip(choices, masks, strict=True))
    ]  # fmt: skip
    return SegmentComparison(tuple(rows))


def voxels_under(
    context: SceneContext, segment: SegmentOf, volumes: Sequence[Node]
) -> tuple[VoxelsUnder, ...]:
    """Return mean and standard deviation of several volumes under one existing segment.

    A voxel counts if its centre lies in the segment; NaN values do not count.

    Raises
    ------
    InputError, GeometryError
        If a node is gone, is no CT volume, or lies under a transform that warps space.
    """
    segmentation = _node_of(context, segment)
    mask = in_world(mask_of(segmentation, segment.segment_id), segmentation)
    return tuple(_under(mask, context.require(v.GetID(), "volume")) for v in volumes)


def _under(mask: GridMask, volume: Node) -> VoxelsUnder:
    check_input(volume)
    whole = GridMask(np.ones(geometry_of(volume).shape, dtype=bool), geometry_of(volume))
    inside = lookup(mask, in_world(whole, volume).geometry)
    values = view_of(volume)[inside].astype(np.float64)
    values = values[np.isfinite(values)]
    unit, _ = unit_of(volume)
    if not len(values):
        return VoxelsUnder(volume.GetName(), 0, None, None, unit)
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    return VoxelsUnder(volume.GetName(), len(values), float(values.mean()), sd, unit)


def _parts(row: SegmentRow) -> int:
    return row.islands


def _linear(node: Node) -> bool:
    parent = node.GetParentTransformNode()
    return parent is None or bool(parent.IsTransformToWorldLinear())


def _node_of(context: SceneContext, choice: Choice) -> Node:
    if isinstance(choice, ThresholdOn):
        return context.require(choice.volume.GetID(), "volume")
    segment_of(choice.segmentation, choice.segment_id)
    return context.require(choice.segmentation.GetID(), "segmentation")


def _mask(choice: Choice, first: VolumeGeometry | None) -> GridMask:
    if isinstance(choice, ThresholdOn):
        return threshold_mask(choice.volume, choice.wanted, choice.islands)
    return mask_of(choice.segmentation, choice.segment_id, fill_on=first)


def _name(choice: Choice) -> str:
    if isinstance(choice, ThresholdOn):
        return f"{choice.volume.GetName()}: {choice.wanted.name} ({choice.wanted.text})"
    return str(segment_of(choice.segmentation, choice.segment_id).GetName())
