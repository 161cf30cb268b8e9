"""Decide what a derived series is before anything is written (layer: io)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.dicom import elements
from ctrestorelib.io.dicom_export.matching import match_slices, slice_corners
from ctrestorelib.io.dicom_export.options import ExportOptions, Stamp
from ctrestorelib.io.dicom_export.source import (
    SourceLike,
    SourceSeries,
    SourceSlice,
    require_known_origin,
)
from ctrestorelib.io.notes import Note


@enum.unique
class Origin(str, enum.Enum):
    """What happened to the pixels."""

    DENOISED = "denoised"
    RECONSTRUCTED = "reconstructed"
    RESAMPLED = "resampled"
    PROCESSED = "processed"
    """No record says what happened."""


@dataclass(frozen=True, eq=False)
class ExportPlan:
    """A derived series, decided.

    Parameters
    ----------
    matches
        Source slice of each slice k; None if the grid is not the source's, so that geometry is
        computed instead of copied.
    order
        The slices k in the order of the files: along the normal of the slices.
    corners
        Corners of every slice in LPS mm, shape (k, 4, 3).
    """

    geometry: VolumeGeometry
    origin: Origin
    source: SourceSeries | None
    matches: tuple[SourceSlice, ...] | None
    provenance: Provenance | None
    options: ExportOptions
    order: tuple[int, ...]
    corners: NDArray[np.float64]
    series_uid: str
    study_uid: str
    frame_uid: str
    now: datetime
    notes: tuple[Note, ...]

    @property
    def learned(self) -> bool:
        """Whether a network with weights made the pixels."""
        return self.provenance is not None and bool(self.provenance.weights_sha256)

    @property
    def keeps_scan(self) -> bool:
        """Whether the scanner's settings are true of these pixels."""
        return self.origin is not Origin.RECONSTRUCTED and not self.options.synthetic

    @cached_property
    def instance_numbers(self) -> tuple[int, ...]:
        """Number of each slice k: the source's, so that viewers show both series in step."""
        if self.matches is not None:
            numbers = [m.frame.number for m in self.matches]
            known = tuple(n for n in numbers if n is not None and 0 <= n < 2**31)
            if len(set(known)) == len(numbers):
                return known
        place = {k: n + 1 for n, k in enumerate(self.order)}
        return tuple(place[k] for k in range(len(self.order)))

    @property
    def keeps_padding(self) -> bool:
        """Whether pixels that the scanner never measured are still marked by its value."""
        return self.origin is not Origin.RECONSTRUCTED


def plan_export(
    volume: Volume,
    provenance: Provenance | None,
    *,
    source: SourceLike,
    options: ExportOptions,
    stamp: Stamp,
) -> ExportPlan:
    """Compare the volume with its source and decide how to write it.

    Raises
    ------
    GeometryError
        If rows and columns are not perpendicular, or the record names other source images.
    InputError
        If the source cannot be read.
    """
    series = SourceSeries.of(source)
    if series is not None:
        require_known_origin(series, _recorded_uids(provenance))
    matches = match_slices(volume.geometry, series.slices) if series is not None else None
    if matches is None:
        _check_planes(volume.geometry)
    origin = _origin(provenance, series, new_grid=matches is None)
    frame_uid, notes = _frame_of_reference(series, matches, origin, options)
    study_uid = elements.uid(series.first, "StudyInstanceUID") if series else ""
    return ExportPlan(
        geometry=volume.geometry,
        origin=origin,
        source=series,
        matches=matches,
        provenance=provenance,
        options=options,
        order=_order(volume.geometry),
        corners=slice_corners(volume.geometry),
        series_uid=stamp.new_uid(),
        study_uid=study_uid or stamp.new_uid(),
        frame_uid=frame_uid or stamp.new_uid(),
        now=stamp.now(),
        notes=(*_trust_notes(series, provenance, new_grid=matches is None), *notes),
    )


def _recorded_uids(provenance: Provenance | None) -> tuple[str, ...]:
    inputs = provenance.inputs if provenance is not None else ()
    return tuple(uid for i in inputs for uid in i.sop_instance_uids)


def _origin(
    provenance: Provenance | None, series: SourceSeries | None, *, new_grid: bool
) -> Origin:
    if provenance is None:
        return Origin.PROCESSED
    if any(i.role == "projections" for i in provenance.inputs):
        return Origin.RECONSTRUCTED
    return Origin.RESAMPLED if new_grid and series is not None else Origin.DENOISED


def _frame_of_reference(
    series: SourceSeries | None,
    matches: tuple[SourceSlice, ...] | None,
    origin: Origin,
    options: ExportOptions,
) -> tuple[str, list[Note]]:
    """Return the source's frame of reference if the volume lies in it, else nothing."""
    if series is None:
        return "", []
    same = options.same_frame
    if matches is not None:
        same = True
    elif same is None:
        same = origin is not Origin.RECONSTRUCTED and series.is_ct
    if not same:
        text = (
            "The volume got a frame of reference of its own: viewers will not overlay it on the "
            "source series."
        )
        return "", [Note("new-frame", text)]
    header = (matches or series.slices)[0].header
    return elements.uid(header, "FrameOfReferenceUID"), []


def _trust_notes(
    series: SourceSeries | None, provenance: Provenance | None, *, new_grid: bool
) -> list[Note]:
    if series is None:
        text = "There is no source series: the volume went into a new study of its own."
        return [Note("no-source", text)]
    if new_grid and not _recorded_uids(provenance):
        text = (
            "Nothing in the volume or its record ties it to the source series: that it is the "
            "same patient was taken on trust."
        )
        return [Note("source-on-trust", text)]
    return []


def _check_planes(geometry: VolumeGeometry) -> None:
    i, j, _k = geometry.direction.T
    if abs(float(i @ j)) > 1e-4:
        message = "Rows and columns of the volume are not perpendicular; DICOM cannot hold that."
        raise GeometryError(message, hint="Resample the volume to a right-angled grid first.")


def _order(geometry: VolumeGeometry) -> tuple[int, ...]:
    i, j, k = geometry.direction.T
    count = geometry.shape[0]
    return tuple(range(count)) if np.cross(i, j) @ k >= 0 else tuple(reversed(range(count)))
