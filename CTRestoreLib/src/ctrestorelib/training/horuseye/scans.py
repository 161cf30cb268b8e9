"""The scans that HorusEye learns from, and doubts about them (layer: training)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.quality.noise import estimate_noise
from ctrestorelib.quality.sigma_map import sigma_map
from ctrestorelib.training.clean_volumes import as_trainable, training_files

Floats = NDArray[np.float32]

THICK_MM = 1.1
"""Slices further apart than this are more than the published training data allow (1 mm)."""
CORRELATED = 0.3
"""Above this correlation of neighbouring slices, noise is predicted along with anatomy."""
_NAMED = 3  # files named in a warning before "and n more"
_MIN_SLICES = 3


@dataclass(frozen=True, eq=False)
class Scan:
    """One scan to learn from.

    Parameters
    ----------
    name
        File name, without folders.
    values
        ``[k, j, i]``: HU, or grey values scaled to 0 to 1000.
    sigma
        Local noise level ``[k, j, i]``, positive.
    spacing_mm
        Voxel size along (i, j, k).
    is_hu
        Whether the values are HU.
    slice_correlation
        Correlation of the noise of neighbouring slices.
    """

    name: str
    values: Floats
    sigma: Floats
    spacing_mm: tuple[float, float, float]
    is_hu: bool
    slice_correlation: float

    @property
    def pixel_mm(self) -> float:
        """Pixel size in mm for the high-pass filter; 0 without a physical scale."""
        return max(self.spacing_mm[:2]) if self.is_hu else 0.0

    def as_volume(self, values: Floats) -> Volume:
        """Return values on this scan's grid as a volume."""
        grid = VolumeGeometry.from_spacing(values.shape, self.spacing_mm)
        return Volume(values, grid, Unit.HU if self.is_hu else Unit.GREY)


def scan_from(volume: Volume, name: str) -> Scan:
    """Measure a volume's noise and make it a scan to learn from.

    Raises
    ------
    InputError
        If it has fewer than three slices or no noise at all: there is nothing to learn from it.
    """
    if volume.shape[0] < _MIN_SLICES:
        message = f"{name} has {volume.shape[0]} slices; a slice between two others is needed."
        raise InputError(message, hint="Leave it out, or give the whole series.")
    volume = as_trainable(volume)
    estimate = estimate_noise(volume)
    if not estimate.sigma > 0:
        message = f"No noise was found in {name}: there is nothing to learn from it."
        raise InputError(message, hint="Leave it out.")
    sigma = sigma_map(volume).slab(0, volume.shape[0])
    np.maximum(sigma, np.float32(0.25 * estimate.sigma), out=sigma)
    rho = (*estimate.slice_correlation, 0.0)[0]
    spacing_mm = volume.geometry.spacing_mm
    return Scan(name, volume.values, sigma, spacing_mm, volume.unit is Unit.HU, float(rho))


def read_scans(data: Path | Sequence[Volume | Path]) -> list[Scan]:
    """Read the scans of a folder, of a list of files, or take volumes as they are.

    Raises
    ------
    InputError
        If there is none, or one cannot be used.
    """
    items = training_files(data) if isinstance(data, Path) else list(data)
    if not items:
        message = "HorusEye needs at least one volume to learn from; got none."
        raise InputError(message)
    return [
        scan_from(item, f"volume {n}")
        if isinstance(item, Volume)
        else scan_from(read_volume(item).volume, item.name)
        for n, item in enumerate(items)
    ]


def doubts(scans: Sequence[Scan]) -> list[str]:
    """Return warnings about scans that break HorusEye's assumptions, in sentences."""
    thick = [s.name for s in scans if s.is_hu and s.spacing_mm[2] > THICK_MM]
    alike = [s.name for s in scans if s.slice_correlation > CORRELATED]
    told = []
    if thick:
        told.append(
            f"{len(thick)} of {len(scans)} scans have slices more than 1 mm apart "
            f"({_some(thick)}): anatomy changes between neighbours and ends up in the extracted "
            "noise. HorusEye was published for slices of at most 1 mm."
        )
    if alike:
        told.append(
            f"{len(alike)} of {len(scans)} scans repeat part of their noise from slice to slice "
            f"({_some(alike)}): the extractor predicts that part too, and it is missing in the "
            "noise bank."
        )
    return told


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
