"""Volumes that are clean enough to train on, from scans that are not (layer: training).

No scan is free of noise. Averaging pixels in the plane takes out most of it, for the noise of
filtered backprojection has little power at low frequencies: after binning by 2, a third or less is
left, while edges stay as sharp *in pixels* as before. What counts as clean is then known: the noise
that is left is measured, and training adds several times as much.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import PADDING_BELOW_HU, Volume, VolumeGeometry
from ctrestorelib.quality.noise import estimate_noise

Floats = NDArray[np.float32]

VOLUME_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".tif", ".tiff")
AIR_HU = -1000.0


@dataclass(frozen=True)
class CleanVolume:
    """A volume to put noise on.

    Parameters
    ----------
    name
        File name it came from, without folders.
    values
        ``[k, j, i]``; HU, or grey values scaled to 0 to 1000.
    spacing_mm
        Voxel size along (i, j, k).
    is_hu
        Whether the values are HU.
    sigma
        Noise that is still in it, in the unit of ``values``.
    """

    name: str
    values: Floats
    spacing_mm: tuple[float, float, float]
    is_hu: bool
    sigma: float


def training_files(folder: Path, split: Path | None = None, part: str = "train") -> list[Path]:
    """Return the volume files of ``folder``: all of them, or one part of a split file.

    Parameters
    ----------
    folder
        Folder of volumes (NIfTI, NRRD, MetaImage, TIFF stacks).
    split
        JSON file with lists of file names under ``train`` and ``validation``.
    part
        Which list to take.

    Raises
    ------
    InputError
        If there is no such volume, or a file of the split is absent.
    """
    if split is None:
        found = sorted(p for p in folder.iterdir() if p.name.endswith(VOLUME_ENDINGS))
        if not found:
            message = f"No volume was found in {folder.name!r}."
            raise InputError(message, hint=f"Expected files ending in {', '.join(VOLUME_ENDINGS)}.")
        return found
    names = json.loads(split.read_text())[part]
    absent = [n for n in names if not (folder / n).exists()]
    if absent:
        message = f"{len(absent)} volumes of the split are not in {folder.name!r}: {absent[0]}, ..."
        raise InputError(message, hint="Give the folder that the split file was written for.")
    return [folder / n for n in names]


def as_trainable(volume: Volume) -> Volume:
    """Return the volume with padding set to air and grey values scaled to 0 to 1000."""
    values = volume.values.copy()
    if volume.unit == Unit.HU:
        values[values < PADDING_BELOW_HU] = AIR_HU
        return volume.with_values(values)
    low, high = (float(x) for x in np.percentile(values, (0.5, 99.5)))
    return volume.with_values((values - low) * np.float32(1000.0 / max(high - low, 1e-6)))


def binned(volume: Volume, factor: int, name: str) -> CleanVolume:
    """Return ``volume`` averaged over ``factor`` x ``factor`` pixels of each slice.

    The voxel is said to be a cube again as far as it was: slices keep their distance in *pixels*,
    so that binning by 2 stands for a scan of twice the size.
    """
    k, rows, cols = volume.shape
    rows, cols = rows // factor * factor, cols // factor * factor
    cut = volume.values[:, :rows, :cols]
    small = cut.reshape(k, rows // factor, factor, cols // factor, factor).mean(axis=(2, 4))
    spacing_mm = volume.geometry.spacing_mm
    made = Volume(small, VolumeGeometry.from_spacing(small.shape, spacing_mm), volume.unit)
    sigma = estimate_noise(made).sigma
    is_hu = volume.unit == Unit.HU
    return CleanVolume(name, made.values, spacing_mm, is_hu, float(sigma))
