"""Threshold ranges: presets in HU, a suggestion for grey values, islands (layer: mrml)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError, UnitError, UsageError
from ctrestorelib.core.units import Unit, mu_from_hu
from ctrestorelib.quality.surface_elements import bounding_box

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ThresholdRange:
    """Which values belong to a segment.

    Parameters
    ----------
    name
        What the segment is: ``bone``. A second threshold of the same name on the same volume
        replaces the first.
    low, high
        Both included; None leaves that end open.
    unit
        Unit of the two numbers.
    source
        Where the numbers come from, for the tooltip.

    Raises
    ------
    UsageError
        If the name is empty, both ends are open, an end is not a number, or low is above high.
    """

    name: str
    low: float | None
    high: float | None
    unit: Unit
    source: str = ""

    def __post_init__(self) -> None:
        ends = [e for e in (self.low, self.high) if e is not None]
        if not self.name.strip():
            message = "A threshold needs a name, such as bone; got none."
            raise UsageError(message)
        if not ends or not all(math.isfinite(e) for e in ends) or ends != sorted(ends):
            message = (
                f"A threshold goes from a lower to a higher value; got {self.low} to {self.high}."
            )
            raise UsageError(message, hint="Give at least one of the two numbers.")

    @property
    def text(self) -> str:
        """The range as a person reads it."""
        unit = "" if self.unit == Unit.GREY else f" {self.unit.label}"
        if self.high is None:
            return f"{self.low:g}{unit} and above"
        if self.low is None:
            return f"{self.high:g}{unit} and below"
        return f"{self.low:g} to {self.high:g}{unit}"

    def to_unit(self, unit: Unit) -> ThresholdRange:
        """Return the same range for values in another unit.

        Raises
        ------
        UnitError
            If one of the two is grey values, which have no scale.
        """
        if unit == self.unit:
            return self
        if self.unit != Unit.HU or unit != Unit.PER_MM:
            message = (
                f"The range {self.name} is given in {self.unit.label}, "
                f"but the volume has {unit.label}."
            )
            hint = "Type a range for these values, or use the suggested threshold."
            raise UnitError(message, hint=hint)
        low, high = (None if e is None else float(mu_from_hu(e)) for e in (self.low, self.high))
        return ThresholdRange(self.name, low, high, unit, self.source)

    def inside(self, values: NDArray[Any]) -> Mask:
        """Return where ``values`` lie in the range; NaN never does."""
        out = np.ones(values.shape, dtype=bool)
        if self.low is not None:
            out &= values >= self.low
        if self.high is not None:
            out &= values <= self.high
        return out


BONE = ThresholdRange(
    "bone",
    226.0,
    None,
    Unit.HU,
    "226 HU is the lower limit from which planning programs for bone models usually start",
)
SOFT_TISSUE = ThresholdRange(
    "soft tissue",
    -29.0,
    150.0,
    Unit.HU,
    "range of muscle used in body composition, Aubrey et al. 2014, doi:10.1111/apha.12224",
)
LUNG = ThresholdRange(
    "lung",
    -900.0,
    -500.0,
    Unit.HU,
    "normally aerated lung, Gattinoni et al. 2001, doi:10.1164/ajrccm.164.9.2103121",
)
PRESETS: Mapping[str, ThresholdRange] = MappingProxyType(
    {r.name: r for r in (BONE, SOFT_TISSUE, LUNG)}
)
"""Ranges in HU by name: a place to start from, not a diagnosis."""


@dataclass(frozen=True)
class Islands:
    """Which connected parts (through voxel faces) of a threshold to keep.

    Parameters
    ----------
    largest_only
        Keep the largest part alone.
    smallest_mm3
        Drop parts smaller than this.
    """

    largest_only: bool = False
    smallest_mm3: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.smallest_mm3 < math.inf:
            message = (
                f"The smallest island is a volume in mm^3, 0 or more; got {self.smallest_mm3}."
            )
            raise UsageError(message)

    def kept(self, mask: Mask, voxel_mm3: float) -> Mask:
        """Return the parts of ``mask`` to keep, given the volume of a voxel."""
        box = bounding_box(mask)
        if box is None or not (self.largest_only or self.smallest_mm3 > voxel_mm3):
            return mask
        from scipy.ndimage import label

        # Only the voxels inside are counted: an index array of the whole image would be huge.
        inside = mask[box]
        labels = label(inside)[0][inside]
        size = np.bincount(labels)
        # Half a voxel of slack: an island of exactly the smallest size stays.
        keep = size * voxel_mm3 >= self.smallest_mm3 - 0.5 * voxel_mm3
        if self.largest_only:
            keep &= np.arange(len(size)) == size.argmax()
        out = np.zeros_like(mask)
        out[box][inside] = keep[labels]
        return out


def otsu(values: NDArray[Any]) -> float:
    """Return the value that parts dark from bright best (Otsu, doi:10.1109/TSMC.1979.4310076).

    256 bins between the 0.1th and 99.9th percentile, so that one metal voxel does not stretch
    the scale.

    Raises
    ------
    InputError
        If all values are equal, or none is a number.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    low, high = np.percentile(finite, (0.1, 99.9)) if len(finite) else (0.0, 0.0)
    if not high > low:
        message = "No threshold can be suggested: all voxels have the same value."
        raise InputError(message, hint="Choose another volume, or type a range.")
    count, edges = np.histogram(finite.clip(low, high), bins=256, range=(low, high))
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(count)[:-1]
    above = count.sum() - below
    total = np.cumsum(count * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = total[:-1] / below - (total[-1] - total[:-1]) / above
        between = np.nan_to_num(below * above * gap**2)
    # A valley without any voxel gives equally good cuts: take the middle of them.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return float(edges[1:-1][best].mean())
