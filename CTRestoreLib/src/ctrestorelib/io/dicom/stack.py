"""Order the slices of a series and find the voxel grid that they form (layer: io).

A series is accepted only if its slices lie on one regular grid: equal orientation, equal pixels,
equal steps. The grid may be sheared (a tilted gantry). Nothing is averaged away: a position may
miss the grid by rounding only, and then a note says by how much.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.io.dicom.checks import AGAIN, uneven
from ctrestorelib.io.dicom.frames import FrameHeader
from ctrestorelib.io.dicom.gaps import check_gaps, tolerance_mm
from ctrestorelib.io.dicom.series import Slice
from ctrestorelib.io.notes import Note

Floats = NDArray[np.float64]
_ROUNDING_MM = 0.002
_SHEAR_PIXELS = 0.1


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in the order of the volume's k axis, on their grid.

    Parameters
    ----------
    normal
        Unit vector perpendicular to the slices, in LPS.
    tilt_deg
        Angle between the k axis and ``normal``; 0 unless the stack is sheared.
    """

    slices: tuple[Slice, ...]
    geometry: VolumeGeometry
    normal: Floats
    tilt_deg: float
    notes: tuple[Note, ...]


def arrange(slices: Sequence[Slice]) -> Stack:
    """Sort the slices along their normal and build the grid.

    Raises
    ------
    GeometryError
        In one sentence, the defect that keeps the slices from forming a regular grid.
    """
    _check_present(slices)
    _check_frame_of_reference(slices)
    axes, spacing = _common_orientation(slices), _common_spacing(slices)
    positions = np.array([s.frame.position for s in slices])
    normal = np.cross(axes[0], axes[1])
    order = np.argsort(positions @ normal, kind="stable")
    ordered, positions = [slices[n] for n in order], positions[order]
    notes: list[Note] = []
    if len(slices) == 1:
        step = normal * _assumed_step(ordered[0], notes)
    else:
        check_gaps(positions @ normal, ordered)
        step = _fit_step(positions, normal, spacing, notes)
    tilt = _tilt(step, normal, len(ordered), spacing)
    shape = (len(ordered), ordered[0].file.rows, ordered[0].file.columns)
    geometry = VolumeGeometry(shape, _affine(axes, spacing, step, positions[0]))
    notes += _tilt_notes(tilt, ordered) + _order_notes(ordered)
    return Stack(tuple(ordered), geometry, normal, tilt, tuple(notes))


def _check_present(slices: Sequence[Slice]) -> None:
    wanted: tuple[tuple[str, str, Callable[[FrameHeader], Any]], ...] = (
        ("position", "ImagePositionPatient", lambda f: f.position),
        ("orientation", "ImageOrientationPatient", lambda f: f.orientation),
        ("pixel spacing", "PixelSpacing", lambda f: f.pixel_spacing),
    )
    for word, keyword, get in wanted:
        absent = sum(get(s.frame) is None for s in slices)
        if absent:
            message = f"{absent} of {len(slices)} images state no valid {word} ({keyword})."
            hint = "Without it sizes and places are unknown; export the original CT images."
            raise GeometryError(message, hint=hint)


def _check_frame_of_reference(slices: Sequence[Slice]) -> None:
    found = uneven([s for s in slices if s.file.frame_of_reference],
                   lambda s: s.file.frame_of_reference)  # fmt: skip
    if found:
        counts = " + ".join(str(count) for _, count in found)
        message = (
            f"The images lie in {len(found)} different frames of reference ({counts} images): "
            "the patient was moved or scanned again between them."
        )
        raise GeometryError(message, hint="Read the images of one scan at a time.")


def _common_orientation(slices: Sequence[Slice]) -> Floats:
    """Return the orthonormal row and column directions shared by all slices, shape (2, 3)."""
    given = np.array([s.frame.orientation for s in slices]).reshape(-1, 2, 3)
    lengths = np.linalg.norm(given, axis=2)
    dots = np.abs((given[:, 0] * given[:, 1]).sum(axis=1))
    wrong = int(((np.abs(lengths - 1).max(axis=1) > 1e-3) | (dots > 1e-3)).sum())
    if wrong:
        message = (
            f"{wrong} of {len(slices)} images state an impossible orientation: the directions of "
            "rows and columns are not perpendicular unit vectors."
        )
        raise GeometryError(message, hint=AGAIN)
    common = _commonest(given, decimals=3)
    others = int((np.abs(given - common).max(axis=(1, 2)) > 1e-4).sum())
    if others:
        message = f"{others} of {len(slices)} images are oriented differently from the others."
        hint = "Remove scout views and reformatted images, or choose another series."
        raise GeometryError(message, hint=hint)
    row = common[0] / np.linalg.norm(common[0])
    column = common[1] - row * (row @ common[1])
    return np.array([row, column / np.linalg.norm(column)])


def _common_spacing(slices: Sequence[Slice]) -> Floats:
    """Return the distance between rows and between columns in mm, shape (2,)."""
    given = np.array([s.frame.pixel_spacing for s in slices])
    if given.min() <= 0:
        message = f"The images state a pixel spacing of {given.min():g} mm."
        raise GeometryError(message, hint=AGAIN)
    common = _commonest(given, decimals=6)
    others = int((np.abs(given / common - 1).max(axis=1) > 1e-5).sum())
    if others:
        message = (
            f"{others} of {len(slices)} images have another pixel spacing than the others: "
            f"from {given.min():.4g} to {given.max():.4g} mm."
        )
        raise GeometryError(message, hint="Keep the images of one reconstruction in the folder.")
    return common


def _commonest(given: Floats, *, decimals: int) -> Floats:
    """Return the most frequent entry along the first axis, of those equal after rounding."""
    keys = [tuple(entry.ravel().tolist()) for entry in np.round(given, decimals)]
    found: Floats = given[keys.index(Counter(keys).most_common(1)[0][0])]
    return found


def _assumed_step(only: Slice, notes: list[Note]) -> float:
    thickness = only.frame.thickness_mm
    known = thickness is not None and thickness > 0
    step = float(thickness) if known and thickness is not None else 1.0
    source = "the slice thickness" if known else "no thickness is stated"
    text = f"The series is a single slice; its depth is taken as {step:g} mm ({source})."
    notes.append(Note("single-slice", text))
    return step


def _fit_step(positions: Floats, normal: Floats, spacing: Floats, notes: list[Note]) -> Floats:
    """Return the vector from slice to slice in mm, shape (3,)."""
    count = len(positions)
    step: Floats = (positions[-1] - positions[0]) / (count - 1)
    misses = positions - (positions[0] + np.arange(count)[:, None] * step)
    along = np.abs(misses @ normal)
    aside = np.linalg.norm(misses - np.outer(misses @ normal, normal), axis=1)
    gap = float(step @ normal)
    if along.max() > max(0.1 * gap, tolerance_mm(gap)):
        message = (
            f"The distance between slices drifts: slice {along.argmax() + 1} of {count} lies "
            f"{along.max():.3g} mm from where an even spacing of {gap:.4g} mm puts it."
        )
        raise GeometryError(message, hint="Resample the series to even spacing first.")
    if aside.max() > max(_ROUNDING_MM * 10, 0.1 * spacing.min()):
        message = (
            f"The slices are shifted against each other within their planes: slice "
            f"{aside.argmax() + 1} of {count} lies {aside.max():.3g} mm beside the line of the "
            "others."
        )
        raise GeometryError(message, hint="Keep the images of one reconstruction in the folder.")
    worst = float(np.linalg.norm(misses, axis=1).max())
    if worst > _ROUNDING_MM:
        text = f"Slice positions miss an even grid by up to {worst:.3f} mm (rounded positions)."
        notes.append(Note("positions-rounded", text))
    return step


def _tilt(step: Floats, normal: Floats, count: int, spacing: Floats) -> float:
    """Return the gantry tilt in degrees; 0 if the whole stack shifts by less than 0.1 pixel."""
    along = float(step @ normal)
    shear = float(np.linalg.norm(step - along * normal))
    if shear * (count - 1) <= _SHEAR_PIXELS * spacing.min():
        return 0.0
    return math.degrees(math.atan2(shear, along))


def _affine(axes: Floats, spacing: Floats, step: Floats, origin: Floats) -> Floats:
    matrix = np.eye(4)
    matrix[:3, 0] = axes[0] * spacing[1]
    matrix[:3, 1] = axes[1] * spacing[0]
    matrix[:3, 2] = step
    matrix[:3, 3] = origin
    return matrix


def _tilt_notes(tilt: float, ordered: Sequence[Slice]) -> list[Note]:
    stated = abs(ordered[0].file.tilt_tag_deg)
    if tilt == 0 and stated > 0.5 and len(ordered) > 1:
        text = (
            f"The header states a gantry tilt of {stated:.1f} degrees, but the slice positions "
            "form an upright stack; the positions were believed."
        )
        return [Note("tilt-tag-disagrees", text)]
    return []


def _order_notes(ordered: Sequence[Slice]) -> list[Note]:
    found = [s.frame.number for s in ordered]
    numbers = [n for n in found if n is not None]
    if len(numbers) < 2 or numbers == sorted(numbers):
        return []
    if numbers == sorted(numbers, reverse=True):
        text = "Instance numbers run against the slice positions; slices are ordered by position."
        return [Note("order-reversed", text)]
    text = "Instance numbers do not follow the slice positions; slices are ordered by position."
    return [Note("order-irregular", text)]
