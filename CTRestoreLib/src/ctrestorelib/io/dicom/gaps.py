"""Judge the distances between neighbouring slices (layer: io)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.io.dicom.series import Slice


def tolerance_mm(gap_mm: float) -> float:
    """Return by how much a distance may differ: positions are often rounded to 0.01 mm."""
    return max(min(0.015, 0.1 * gap_mm), 0.02 * gap_mm)


def check_gaps(along_mm: NDArray[np.float64], ordered: Sequence[Slice]) -> None:
    """Check that slices at ``along_mm`` (sorted, on the normal) are evenly spaced.

    Raises
    ------
    GeometryError
        If slices coincide, are missing, or have uneven distances.
    """
    gaps = np.diff(along_mm)
    positive = np.sort(gaps[gaps > 1e-3])
    usual = float(positive[(len(positive) - 1) // 2]) if len(positive) else 0.0
    _check_duplicates(gaps, usual, ordered)
    off = np.abs(gaps - usual) > tolerance_mm(usual)
    if not off.any():
        return
    steps = np.rint(gaps / usual)
    whole = np.abs(gaps - steps * usual) <= tolerance_mm(usual) * np.maximum(steps, 1)
    if whole.all() and steps.min() >= 1 and (steps > 1).sum() <= max(1, len(gaps) // 3):
        raise _missing(gaps, steps, usual, along_mm)
    raise _uneven(gaps, off, usual, along_mm)


def _check_duplicates(gaps: NDArray[np.float64], usual: float, ordered: Sequence[Slice]) -> None:
    same = int((gaps < min(0.01, 0.1 * usual) if usual else gaps <= 1e-3).sum())
    if not same:
        return
    message = f"{same} of {len(ordered)} images lie at the position of another image (duplicates)."
    raise GeometryError(message, hint=_duplicate_hint(ordered))


def _duplicate_hint(ordered: Sequence[Slice]) -> str:
    acquisitions = len({s.file.acquisition for s in ordered})
    if acquisitions > 1:
        return (
            f"The series mixes {acquisitions} acquisitions (a repeated or dynamic scan); "
            "put the images of one acquisition into a folder of their own."
        )
    return "Keep one reconstruction: remove the second set of images from the folder."


def _missing(
    gaps: NDArray[np.float64],
    steps: NDArray[np.float64],
    usual: float,
    along_mm: NDArray[np.float64],
) -> GeometryError:
    count = int((steps - 1).sum())
    places = [_place(int(n), gaps, along_mm) for n in np.flatnonzero(steps > 1)]
    slices = "slice is" if count == 1 else "slices are"
    message = (
        f"{count} {slices} missing: the distance between slices is {usual:.4g} mm, "
        f"but {_listed(places)}."
    )
    return GeometryError(
        message, hint="Export the complete series; missing slices are not invented."
    )


def _uneven(
    gaps: NDArray[np.float64],
    off: NDArray[np.bool_],
    usual: float,
    along_mm: NDArray[np.float64],
) -> GeometryError:
    places = [_place(int(n), gaps, along_mm) for n in np.flatnonzero(off)]
    message = (
        f"The slices are unevenly spaced: mostly {usual:.4g} mm apart, but {_listed(places)} "
        f"({int(off.sum())} of {len(gaps)} distances differ)."
    )
    hint = "Reconstruct or resample the series with even spacing first."
    return GeometryError(message, hint=hint)


def _place(index: int, gaps: NDArray[np.float64], along_mm: NDArray[np.float64]) -> str:
    return f"{gaps[index]:.4g} mm after slice {index + 1} (at {along_mm[index]:.1f} mm)"


def _listed(places: Sequence[str]) -> str:
    return ", ".join(places[:3]) + (", ..." if len(places) > 3 else "")
