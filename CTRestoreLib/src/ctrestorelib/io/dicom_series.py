"""Read a DICOM CT series, or say in one sentence why it cannot be read (layer: io).

::

    files -> headers (once) -> series -> checks -> grid -> pixels, slice by slice -> Volume

Nothing is averaged, invented or dropped in silence: what the reader assumed is in the notes, and
what would need an assumption about the anatomy is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, InputError, ResourceError
from ctrestorelib.core.job import Job
from ctrestorelib.core.system import available_memory_bytes
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.dicom.checks import check_files
from ctrestorelib.io.dicom.memory import memory_told
from ctrestorelib.io.dicom.pixels import PixelReader
from ctrestorelib.io.dicom.series import Series, SeriesInfo, Slice, choose, scan, without_copies
from ctrestorelib.io.dicom.sources import open_sources
from ctrestorelib.io.dicom.stack import Stack, arrange
from ctrestorelib.io.dicom.tilt import AIR_HU, Straightener, straightener
from ctrestorelib.io.dicom.values import Rescaler, unit_of
from ctrestorelib.io.notes import Note

__all__ = ["SeriesInfo", "SeriesRead", "list_series", "read_series"]

# Some files declare a padding value such as -32768 that they never use.
_LOWEST_PADDING_HU = -10_000.0


@dataclass(frozen=True, eq=False)
class SeriesRead:
    """A series as it was read.

    Parameters
    ----------
    volume
        Values ``[k, j, i]``, k along the slices' normal; HU, or grey values where HU are unknown.
    notes
        Every assumption and oddity.
    sop_instance_uids
        SOP Instance UID of each slice in the order of k (repeated for multi-frame files).
    info
        Which series it was.
    """

    volume: Volume
    notes: tuple[Note, ...]
    sop_instance_uids: tuple[str, ...]
    info: SeriesInfo


def list_series(path: Path) -> list[SeriesInfo]:
    """List the image series of a folder (with subfolders), a zip archive or a single file.

    Raises
    ------
    InputError
        If the path does not exist or is not safe to open.
    """
    with memory_told(), open_sources(path) as sources:
        return [series.info for series in scan(sources).series]


def read_series(
    path: Path, *, series: str | None = None, resample_tilt: bool = False, job: Job | None = None
) -> SeriesRead:
    """Read one DICOM image series into a volume.

    Parameters
    ----------
    path
        Folder, zip archive or single file.
    series
        Which series to read: its number in :func:`list_series` or its SeriesInstanceUID. Needed
        only if there are several CT image series.
    resample_tilt
        Straighten a stack sheared by a tilted gantry. Otherwise it is read as it is, with the
        sheared grid as its true geometry and a note.
    job
        Asked before every slice whether the person cancelled.

    Raises
    ------
    InputError
        If no series, or more than one, could be meant, or its pixels cannot be read.
    GeometryError
        If the slices do not form one regular grid: missing, duplicate, unevenly spaced, mixed.
    ResourceError
        If the volume does not fit into memory.
    """
    with memory_told():
        return _read(path, series, resample_tilt=resample_tilt, job=job)


def _read(path: Path, series: str | None, *, resample_tilt: bool, job: Job | None) -> SeriesRead:
    with open_sources(path) as sources:
        found = scan(sources)
        chosen, notes = choose(found, series)
        _refuse_projections(chosen)
        slices, more = without_copies(chosen.slices)
        notes += more
        slices, more = _without_localizers(slices)
        notes += more
        check_files(slices)
        stack = _arranged(slices, found.damaged)
        unit, more = unit_of(stack.slices)
        notes += [*more, *stack.notes]
        values, geometry, more = _load(stack, unit, resample_tilt=resample_tilt, job=job)
        notes += more
    volume = Volume(values, geometry, unit)
    uids = tuple(s.file.sop_uid for s in stack.slices)
    return SeriesRead(volume, tuple(notes), uids, chosen.info)


def _refuse_projections(chosen: Series) -> None:
    if chosen.info.kind == "projections":
        message = "The series holds X-ray projections, not slices: it has to be reconstructed."
        raise InputError(message, hint="Open it as projections.")


def _arranged(slices: Sequence[Slice], damaged: int) -> Stack:
    try:
        return arrange(slices)
    except GeometryError as error:
        if not damaged:
            raise
        hint = f"{damaged} damaged files were left out: copy or export them again."
        raise GeometryError(error.message, hint=hint) from error


def _without_localizers(slices: Sequence[Slice]) -> tuple[list[Slice], list[Note]]:
    kept = [s for s in slices if not s.frame.is_localizer]
    dropped = len(slices) - len(kept)
    if not kept:
        message = f"The series holds only localizer (scout) images, {dropped} of them."
        raise InputError(message, hint="Choose the series of the axial slices.")
    text = f"{dropped} localizer (scout) images in the series were left out."
    return kept, [Note("localizer", text)] if dropped else []


def _load(
    stack: Stack, unit: Unit, *, resample_tilt: bool, job: Job | None
) -> tuple[NDArray[np.float32], VolumeGeometry, list[Note]]:
    tool = (
        straightener(stack, unit, _fill(stack, unit)) if stack.tilt_deg and resample_tilt else None
    )
    geometry = stack.geometry if tool is None else tool.geometry
    _check_memory(geometry)
    values = np.empty(geometry.shape, dtype=np.float32)
    rescale = Rescaler()
    with PixelReader() as reader:
        for k, item in enumerate(stack.slices):
            if job is not None:
                job.check()
            slice_values = rescale(reader.read(item), item)
            values[k] = slice_values if tool is None else tool.place(slice_values, k)
        cut = reader.cut_values
    notes = _tilt_notes(stack, tool, unit) + rescale.notes(stack.slices[0], unit)
    if cut:
        text = f"{cut} pixels carried bits above the declared ones; these bits were cut off."
        notes.append(Note("bits-cut", text))
    return values, geometry, notes


def _fill(stack: Stack, unit: Unit) -> float:
    """Return the value of places that no slice covers: the scanner's padding, else air."""
    if unit != Unit.HU:
        return 0.0
    first = stack.slices[0]
    if first.file.padding is None:
        return AIR_HU
    fill = first.file.padding[0] * (first.frame.slope or 1.0) + (first.frame.intercept or 0.0)
    return fill if _LOWEST_PADDING_HU <= fill <= AIR_HU else AIR_HU


def _tilt_notes(stack: Stack, tool: Straightener | None, unit: Unit) -> list[Note]:
    if not stack.tilt_deg:
        return []
    degrees = f"{stack.tilt_deg:.1f} degrees"
    if tool is None:
        text = (
            f"The gantry was tilted by {degrees}: the stack is sheared and was read as it is; "
            "straighten it with --resample-tilt."
        )
        return [Note("gantry-tilt", text)]
    text = (
        f"The gantry was tilted by {degrees}: the slices were shifted within their planes onto an "
        f"upright grid (cubic interpolation; {tool.fill:g} {unit.label} outside)."
    )
    return [Note("tilt-resampled", text)]


def _check_memory(geometry: VolumeGeometry) -> None:
    need = 4 * geometry.voxels + 16 * geometry.shape[1] * geometry.shape[2]
    free = available_memory_bytes()
    if need > free:
        message = f"The series needs {need / 1e9:.1f} GB of memory; {free / 1e9:.1f} GB are free."
        raise ResourceError(message, hint="Close other programs, or read fewer slices.")
