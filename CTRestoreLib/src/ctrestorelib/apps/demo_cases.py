"""What the demo works on: the procedural knee, or a person's own scan cut to size (layer: apps)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry, padding_mask
from ctrestorelib.geometry.knee import KNEE_EXTENT_MM, Knee
from ctrestorelib.geometry.resampling import block_mean, refined_grid
from ctrestorelib.io.volumes import read_volume

AIR_HU = -1000.0
_BODY_HU = -400.0
_END_AIR_MM, _END_TAPER_MM = 4.0, 4.0
_AIR_VOXELS = 2


@dataclass(frozen=True)
class DemoSize:
    """How much the demo does.

    Parameters
    ----------
    voxels
        Edge of the volume that is denoised.
    sparse_voxels
        Edge of the volumes from few views (an own scan: of a cube with as many voxels); smaller,
        since those methods take long.
    full_views
        Views of the scan with many views.
    own_box_kji
        Largest part of an own scan that is denoised, in voxels.
    """

    voxels: int = 112
    sparse_voxels: int = 72
    full_views: int = 200
    own_box_kji: tuple[int, int, int] = (48, 224, 224)

    @classmethod
    def quick(cls) -> DemoSize:
        """Return sizes that finish within a minute."""
        return cls(voxels=64, sparse_voxels=40, full_views=120, own_box_kji=(24, 128, 128))


@dataclass(frozen=True, eq=False)
class ScanObject:
    """What the virtual scanner sees.

    Parameters
    ----------
    volume
        In HU.
    refine
        How many times finer the virtual scan interpolates it.
    truth
        The object on the grid of the reconstructions, in HU.
    """

    volume: Volume
    refine: int
    truth: Volume


@dataclass(frozen=True, eq=False)
class DemoCase:
    """One object to scan and to restore.

    Parameters
    ----------
    title
        What it is.
    dense
        What is scanned at low dose with many views; None if ``noisy`` is given.
    sparse
        What is scanned with few views; None if that cannot be done.
    noisy
        A volume to denoise that a person brought.
    notes
        What was assumed or changed, in sentences.
    sop_instance_uids
        DICOM identity of ``noisy``.
    """

    title: str
    dense: ScanObject | None = None
    sparse: ScanObject | None = None
    noisy: Volume | None = None
    notes: tuple[str, ...] = ()
    sop_instance_uids: tuple[str, ...] = ()


def knee_case(size: DemoSize, seed: int, *, implant: bool = False) -> DemoCase:
    """Return the procedural knee, sampled twice as finely as it will be reconstructed."""
    knee = Knee(seed, implant=implant)
    title = "Procedural knee" + (" with a plate" if implant else "")
    dense, sparse = (_knee_object(knee, n) for n in (size.voxels, size.sparse_voxels))
    return DemoCase(title, dense, sparse)


def _knee_object(knee: Knee, voxels: int) -> ScanObject:
    step = KNEE_EXTENT_MM / voxels
    grid = VolumeGeometry.from_spacing((voxels,) * 3, (step,) * 3)
    fine = _specimen(knee.on(refined_grid(grid, 2)))
    mean = block_mean(fine, 2)
    return ScanObject(fine, 1, Volume(mean.values, grid, mean.unit))


def _specimen(fine: Volume) -> Volume:
    """Return the leg cut off smoothly before the volume ends, as a specimen on the table.

    A leg that goes on beyond the volume would darken its first and last slices in every
    reconstruction, and the numbers would speak of that instead of the methods.
    """
    k = np.arange(fine.shape[0])
    z = fine.geometry.origin_lps_mm[2] + k * fine.geometry.spacing_mm[2]
    end = KNEE_EXTENT_MM / 2 - _END_AIR_MM
    share = np.clip((end - np.abs(z)) / _END_TAPER_MM, 0, 1).astype(np.float32)
    smooth = (share * share * (3 - 2 * share))[:, None, None]
    return fine.with_values(AIR_HU + smooth * (fine.values - np.float32(AIR_HU)))


def own_case(path: Path, size: DemoSize) -> DemoCase:
    """Return a person's own scan: a part to denoise, and a small copy to scan virtually.

    Raises
    ------
    InputError
        If the file cannot be read or holds no object.
    """
    read = read_volume(path)
    volume = read.volume
    volume.require_finite()
    notes = [n.text for n in read.notes]
    middle = _middle_kji(volume)
    part = _boxed(volume, middle, size.own_box_kji)
    if part.shape != volume.shape:
        notes.append(
            f"Denoising shows the middle {_size(part.shape)} of {_size(volume.shape)} voxels."
        )
    title = "Your scan"
    if volume.unit is Unit.GREY:
        notes.append(
            "The values have no physical unit, so no X-ray views can be simulated from them: the "
            "sparse-view part is left out."
        )
        return DemoCase(title, None, None, part, tuple(notes), read.sop_instance_uids)
    small, told = _reduced(volume.to_unit(Unit.HU), size.sparse_voxels)
    notes += told
    sparse = ScanObject(small, 2, small)
    return DemoCase(title, None, sparse, part, tuple(notes), read.sop_instance_uids)


def body_mask(truth: Volume) -> NDArray[np.bool_]:
    """Return where an HU volume is not the air around the object, shape ``[k, j, i]``."""
    from scipy.ndimage import binary_fill_holes

    inside = truth.values > _BODY_HU
    return np.stack([binary_fill_holes(part) for part in inside])


def _middle_kji(volume: Volume) -> tuple[int, int, int]:
    """Return the voxel in the middle of the object."""
    values = volume.values
    threshold = _BODY_HU if volume.unit is Unit.HU else float(values.mean(dtype=np.float64))
    inside = values > threshold
    if not inside.any():
        message = "The volume holds nothing but air: there is nothing to restore."
        raise InputError(message, hint="Check the unit of the values (HU, 1/mm or grey).")
    out = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        weight = inside.sum(axis=others, dtype=np.float64)
        out.append(round(float((weight * np.arange(len(weight))).sum() / weight.sum())))
    return out[0], out[1], out[2]


def _boxed(volume: Volume, middle: tuple[int, int, int], most: tuple[int, int, int]) -> Volume:
    ranges = []
    for centre, limit, size in zip(middle, most, volume.shape, strict=True):
        length = min(limit, size)
        start = min(max(0, centre - length // 2), size - length)
        ranges.append(slice(start, start + length))
    return volume.crop((ranges[0], ranges[1], ranges[2]))


def resampled(volume: Volume, grid: VolumeGeometry) -> Volume:
    """Return a volume on another grid with parallel axes, averaged where that one is coarser."""
    from scipy.ndimage import affine_transform, gaussian_filter

    step = (volume.geometry.lps_to_ijk @ grid.ijk_to_lps)[::-1][1:, ::-1][:, 1:]
    factors = np.diag(step)
    blurred = gaussian_filter(
        volume.values, np.where(factors > 1.01, 0.45 * factors, 0), mode="nearest"
    )
    start = volume.geometry.to_ijk(grid.to_world([0.0, 0.0, 0.0]))[::-1]
    values = affine_transform(blurred, step, start, grid.shape, order=1, mode="nearest")
    return Volume(values, grid, volume.unit)


def _reduced(volume: Volume, voxels: int) -> tuple[Volume, list[str]]:
    """Return the volume with about as many voxels as a cube of ``voxels`` along each edge."""
    notes = ["The sparse-view part takes your scan, with its own noise, as the truth."]
    values = np.where(padding_mask(volume), np.float32(AIR_HU), volume.values)
    air = volume.with_values(np.maximum(values, np.float32(AIR_HU)))
    spacing_kji = np.array(volume.geometry.spacing_mm[::-1])
    step = float((spacing_kji * volume.shape).prod()) ** (1 / 3) / (voxels - 2 * _AIR_VOXELS)
    factors = np.maximum(1.0, step / spacing_kji)
    if factors.max() <= 1.0:
        return _with_air(air), notes
    shape = np.maximum(1, np.floor(volume.shape / factors + 1e-6)).astype(int)
    start = (np.array(volume.shape) - 1) / 2 - factors * (shape - 1) / 2
    matrix = np.array(volume.geometry.ijk_to_lps)
    matrix[:3, :3] *= factors[::-1]
    matrix[:3, 3] = volume.geometry.to_world(start[::-1])
    small = _with_air(resampled(air, VolumeGeometry(tuple(shape.tolist()), matrix)))
    spacing = " x ".join(f"{s:.2f}" for s in small.geometry.spacing_mm)
    notes.append(
        f"For the sparse-view part the scan was reduced to {_size(small.shape)} voxels of "
        f"{spacing} mm."
    )
    return small, notes


def _with_air(volume: Volume) -> Volume:
    """Return the volume with a rim of air, so that the cut through the body lies inside it."""
    rim = _AIR_VOXELS
    values = np.pad(volume.values, rim, constant_values=AIR_HU)
    matrix = np.array(volume.geometry.ijk_to_lps)
    matrix[:3, 3] = volume.geometry.to_world([-rim] * 3)
    k, j, i = values.shape
    return Volume(values, VolumeGeometry((k, j, i), matrix), volume.unit)


def _size(shape_kji: tuple[int, int, int]) -> str:
    return " x ".join(str(n) for n in reversed(shape_kji))
