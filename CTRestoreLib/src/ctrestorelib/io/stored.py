"""From stored values to a volume: sizes, units, spacing (layer: io; imports numpy only).

The rules that apply to every format live here, once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError, ResourceError, UsageError
from ctrestorelib.core.system import available_memory_bytes
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.notes import Note

HU_REACHES = -500.0
"""Signed data that go down to this value or below contain air or lung: they are taken for HU."""

LABELS_AT_MOST = 32
"""So few different whole values look like a segmentation."""

PACKED_AT_MOST = 1100
"""No zlib or LZW stream expands by more than this factor (deflate's limit is 1032)."""


@dataclass(frozen=True)
class Stored:
    """A volume as a file holds it: values ``[k, j, i]`` of the stored type, geometry, notes."""

    values: NDArray[Any]
    ijk_to_lps: NDArray[np.float64]
    format: str
    notes: tuple[Note, ...] = ()
    unit: Unit | None = None
    spacing_known: bool = True


def spacing_ijk(spacing_mm: float | Sequence[float] | None) -> tuple[float, float, float] | None:
    """Return a voxel size as three positive numbers ``(i, j, k)`` in mm, or None."""
    if spacing_mm is None:
        return None
    given = np.atleast_1d(np.asarray(spacing_mm, dtype=np.float64))
    if given.shape not in ((1,), (3,)) or not np.isfinite(given).all() or given.min() <= 0:
        message = f"The voxel size is one or three positive millimetres; got {spacing_mm}."
        raise UsageError(message, hint="For instance 0.05, or 0.05,0.05,0.1 along i, j, k.")
    i, j, k = np.broadcast_to(given, 3).tolist()
    return (i, j, k)


def check_dimensions(size: Sequence[int], name: str) -> None:
    """Refuse time series and images with fewer than two dimensions."""
    if len(size) < 2:
        message = f"{name} has one dimension; expected a volume with three."
        raise InputError(message)
    for number, count in enumerate(size[3:], start=4):
        if count > 1:
            what = "time points or channels"
            message = (
                f"{name} has {len(size)} dimensions: its dimension {number} holds {count} {what}; "
                "expected one 3-D volume."
            )
            raise InputError(message, hint="Export one time point or channel as its own file.")


def check_promise(path: Path, shape: Sequence[int], bytes_each: int) -> None:
    """Refuse a header that promises more values than a file of this length can hold.

    Raises
    ------
    InputError
        If even the strongest compression could not explain the missing bytes.
    """
    promised = math.prod(int(n) for n in shape) * bytes_each
    if promised > path.stat().st_size * PACKED_AT_MOST:
        size = " x ".join(str(n) for n in reversed(tuple(shape)))
        message = f"{path.name} is cut off or damaged: its header promises {size} values."
        raise InputError(message, hint="Copy or export the file again.")


def check_memory(name: str, shape: Sequence[int], bytes_each: int) -> None:
    """Refuse, before anything is allocated, what does not fit into memory.

    Raises
    ------
    ResourceError
        If stored values and their float32 copy need more than the available memory.
    """
    needed = math.prod(int(n) for n in shape) * (bytes_each + 4)
    available = available_memory_bytes()
    if needed > available:
        message = (
            f"Reading {name} needs {needed / 2**30:.1f} GiB of memory; "
            f"{available / 2**30:.1f} GiB are free."
        )
        raise ResourceError(message, hint="Close other programs, or crop the volume first.")


def volume_from(
    stored: Stored, unit: Unit | None, spacing: tuple[float, float, float] | None, name: str
) -> tuple[Volume, tuple[Note, ...]]:
    """Apply unit and voxel size rules to stored values; return the volume and all notes."""
    if stored.values.dtype.kind not in "biuf":
        message = f"{name} holds values of type {stored.values.dtype}, not real numbers."
        raise InputError(message, hint="Export a scalar volume (no colours, no complex values).")
    notes = list(stored.notes)
    matrix = np.array(stored.ijk_to_lps, dtype=np.float64)
    if spacing is not None:
        lengths = np.linalg.norm(matrix[:3, :3], axis=0)
        if stored.spacing_known and not np.allclose(lengths, spacing, rtol=1e-3):
            was = " x ".join(f"{s:.6g}" for s in lengths)
            text = f"The voxel size given replaces the one in the file ({was} mm)."
            notes.append(Note("spacing-replaced", text))
        matrix[:3, :3] *= np.asarray(spacing) / lengths
    found, unit_notes = _unit_of(stored, unit)
    notes += unit_notes + _value_notes(stored.values)
    k, j, i = stored.values.shape
    return Volume(stored.values, VolumeGeometry((k, j, i), matrix), found), tuple(notes)


def _unit_of(stored: Stored, unit: Unit | None) -> tuple[Unit, list[Note]]:
    if unit is not None:
        return Unit(unit), []
    if stored.unit is not None:
        return stored.unit, []
    found, note = guessed_unit(stored.values)
    return found, [note]


def guessed_unit(values: NDArray[Any]) -> tuple[Unit, Note]:
    """Return the likely unit of stored values, and the note that tells the person so."""
    found, why = guess_unit(values)
    return found, Note("unit-guessed", f"The unit was taken to be {found.label}: {why}.")


def guess_unit(values: NDArray[Any]) -> tuple[Unit, str]:
    """Return the likely unit of stored values and the reason, as part of a sentence."""
    if values.dtype.itemsize == 1:
        return Unit.GREY, "the file stores 8-bit values"
    lowest = float(np.fmin.reduce(values, axis=None))
    if lowest <= HU_REACHES:
        return Unit.HU, f"the lowest value is {lowest:.6g}, as for air"
    return Unit.GREY, f"the lowest value is {lowest:.6g}, so nothing marks it as HU"


def _value_notes(values: NDArray[Any]) -> list[Note]:
    if values.dtype.kind == "f":
        return []
    lowest, highest = int(values.min()), int(values.max())
    notes = []
    if max(abs(lowest), abs(highest)) > 2**24:
        text = "Whole numbers above 16,777,216 were rounded to 32-bit floating point."
        notes.append(Note("rounded", text))
    if lowest >= 0 and highest < 256 and values.size > LABELS_AT_MOST:
        distinct = int(np.count_nonzero(np.bincount(values.ravel().astype(np.uint8))))
        if distinct <= LABELS_AT_MOST:
            text = (
                f"The volume has only {distinct} different values: it looks like a segmentation "
                "(label map), not like a CT image."
            )
            notes.append(Note("label-map", text))
    return notes


INTEGER_TYPES = ("int16", "uint16", "int32", "uint8")


def to_stored(volume: Volume, dtype: str) -> tuple[NDArray[Any], int, tuple[Note, ...]]:
    """Return values of the stored type, how many were clipped, and notes.

    Raises
    ------
    UsageError
        If the type is none of float32, int16, uint16, int32, uint8.
    InputError
        If NaN would have to become an integer.
    """
    if dtype == "float32":
        return volume.values, 0, ()
    if dtype not in INTEGER_TYPES:
        message = f"Volumes are stored as float32, {', '.join(INTEGER_TYPES)}; got {dtype!r}."
        raise UsageError(message)
    volume.require_finite("A volume to be stored as whole numbers")
    limits = np.iinfo(dtype)
    rounded = np.rint(volume.values)
    clipped = int(np.count_nonzero((rounded < limits.min) | (rounded > limits.max)))
    # float32 cannot hold the largest int32: clip to the next float below it.
    top = np.nextafter(np.float32(limits.max), np.float32(0)) if dtype == "int32" else limits.max
    out = np.clip(rounded, limits.min, top, out=rounded).astype(dtype)
    if not clipped:
        return out, 0, ()
    text = f"{clipped} voxels lay outside {limits.min}..{limits.max} and were clipped."
    return out, clipped, (Note("clipped", text),)
