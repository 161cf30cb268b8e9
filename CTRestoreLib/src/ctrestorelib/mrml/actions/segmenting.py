"""Find the same segment in original and result, compare, show, save (layer: mrml)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.mrml.actions.comparing import chosen_volumes
from ctrestorelib.mrml.parameters import ParameterStore
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.segments.compare import (
    SegmentComparison,
    VoxelsUnder,
    compare_segments,
    voxels_under,
)
from ctrestorelib.mrml.segments.ranges import PRESETS, Islands, ThresholdRange
from ctrestorelib.mrml.segments.surface_distance import distance_surface
from ctrestorelib.mrml.segments.surface_export import ExportedSurface, export_surfaces
from ctrestorelib.mrml.segments.surfaces import SurfaceOptions, show_surfaces
from ctrestorelib.mrml.segments.table import comparison_table, voxel_table
from ctrestorelib.mrml.segments.threshold import (
    Role,
    SegmentOf,
    suggested_range,
    threshold_segment,
)
from ctrestorelib.mrml.settings import SegmentBy
from ctrestorelib.mrml.value_units import unit_of


@dataclass(frozen=True)
class SegmentResult:
    """What segmenting two or more volumes gave.

    Parameters
    ----------
    segments
        In the order of the volumes; one alone for an existing segment.
    table
        The table node.
    comparison
        Agreement of the threshold segments, None for an existing segment.
    voxels
        Values under an existing segment, one row a volume.
    """

    segments: tuple[SegmentOf, ...]
    table: Node
    comparison: SegmentComparison | None = None
    voxels: tuple[VoxelsUnder, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a person should know about the numbers."""
        return () if self.comparison is None else self.comparison.sentences


def segment_both(context: SceneContext, store: ParameterStore) -> SegmentResult:
    """Segment the compared volumes as the settings say, and compare.

    Raises
    ------
    CTRestoreError
        If a volume, a range or a segment cannot be used; no half-made segment stays.
    """
    volumes = chosen_volumes(store)
    if len(volumes) < 2:
        message = "Two volumes are needed: choose them under Compare."
        raise UsageError(message)
    if store.get("segment_by") == SegmentBy.EXISTING.value:
        return _under_existing(context, store, volumes)
    wanted = range_of(store, volumes[0])
    islands = Islands(
        largest_only=store.get("segment_largest_only"),
        smallest_mm3=store.get("segment_smallest_mm3"),
    )
    segments = tuple(
        threshold_segment(context, volume, wanted, role=role, islands=islands)
        for volume, role in zip(volumes, Role, strict=False)
    )
    comparison = compare_segments(context, segments)
    return SegmentResult(segments, comparison_table(context, comparison), comparison)


def range_of(store: ParameterStore, volume: Node) -> ThresholdRange:
    """Return the range of values that the settings name.

    Raises
    ------
    UsageError
        If an own range has no ends, or they are the wrong way round.
    """
    chosen = SegmentBy(store.get("segment_by"))
    if chosen.value in PRESETS:
        return PRESETS[chosen.value]
    if chosen is SegmentBy.BRIGHT:
        return suggested_range(volume)
    unit, _ = unit_of(volume)
    return ThresholdRange("own range", store.get("segment_lower"), store.get("segment_upper"), unit)


def show_in_3d(result: SegmentResult, options: SurfaceOptions) -> None:
    """Show the surfaces of all segments in the 3D views."""
    for node, ids in _by_node(result.segments):
        node.GetSegmentation().SetConversionParameter("Smoothing factor", str(options.smoothing))
        node.RemoveClosedSurfaceRepresentation()
        show_surfaces(node, ids)


def colour_by_distance(
    context: SceneContext, result: SegmentResult, options: SurfaceOptions
) -> Node:
    """Show the second surface coloured by its distance from the first.

    Raises
    ------
    InputError
        If there is no second segment, or one is empty.
    """
    if len(result.segments) < 2:
        message = "A distance needs two segments; an existing segment is one and the same in both."
        raise InputError(message, hint="Choose a range of values instead.")
    first, second = result.segments[:2]
    model = distance_surface(context, second, first, options=options)
    for segment in (first, second):  # their own surfaces would lie over the coloured one
        display = segment.segmentation.GetDisplayNode()
        if display is not None:
            display.SetSegmentVisibility3D(segment.segment_id, False)
    return model


def save_surfaces(
    result: SegmentResult, folder: Path, file_format: str, options: SurfaceOptions
) -> list[ExportedSurface]:
    """Write every segment's surface to the folder; nothing is replaced.

    Raises
    ------
    CTRestoreError
        If a segment is empty, a file exists, or the folder cannot be written to.
    """
    if not folder.is_dir():
        message = "The folder for the surfaces does not exist."
        raise UsageError(message, hint="Choose an existing folder.")
    out: list[ExportedSurface] = []
    for node, ids in _by_node(result.segments):
        out += export_surfaces(node, ids, folder, file_format, options=options)
    return out


def surface_options(store: ParameterStore) -> SurfaceOptions:
    """Return how surfaces are made, from the settings."""
    return SurfaceOptions(store.get("segment_smoothing"), store.get("segment_decimation"))


def _under_existing(
    context: SceneContext, store: ParameterStore, volumes: list[Node]
) -> SegmentResult:
    node, segment_id = store.get("segment_existing"), store.get("segment_existing_id")
    if node is None or not segment_id:
        message = "Choose your segmentation, and one segment of it."
        raise UsageError(message)
    segment = SegmentOf(node, segment_id)
    rows = voxels_under(context, segment, volumes)
    return SegmentResult((segment,), voxel_table(context, rows), voxels=rows)


def _by_node(segments: tuple[SegmentOf, ...]) -> list[tuple[Node, list[str]]]:
    """Group segment ids by their segmentation, keeping the order."""
    out: list[tuple[Node, list[str]]] = []
    for segment in segments:
        for node, ids in out:
            if node is segment.segmentation:
                ids.append(segment.segment_id)
                break
        else:
            out.append((segment.segmentation, [segment.segment_id]))
    return out
