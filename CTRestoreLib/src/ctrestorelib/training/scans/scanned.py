"""A scan of the training list as the object of a virtual scan (layer: training).

Most scans are crops: the body ends at the border of the stack because the stack does, not the body.
A limb sawn off in air is a legitimate object, but its cut must not be sharper than a scanner would
show it, so the stack fades to air over a few voxels. Noise of the original scan would be learned as
truth; a self-guided filter takes most of it out and leaves edges.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.quality.noise import estimate_noise
from ctrestorelib.training.anatomy.fields import Array
from ctrestorelib.training.clean_volumes import AIR_HU, as_trainable
from ctrestorelib.training.scans.posing import LARGEST_MM, Pose, draw_pose, posed

_FADE_MM = 4.0
_SHARE_OF_EDGE = (0.7, 1.25)  # edge of the cube by that of the stack's mean width
_CANDIDATES = 3  # poses drawn, of which the one that shows most is taken
_LOOK = 20  # cells along each edge of a coarse look


def scanned_subject(path: Path, rng: np.random.Generator, cells: int) -> Volume:
    """Return a scan as an object in air: a random cube of it, in a random pose.

    Parameters
    ----------
    path
        A volume file; grey values are scaled to a plausible range of HU.
    rng
        Decides place, size, pose, warp and contrast.
    cells
        Voxels along each edge of the cube.
    """
    source = _prepared(path)
    stack = np.array(source.shape[::-1]) * source.geometry.spacing_mm
    edge = min(float(np.mean(stack) * rng.uniform(*_SHARE_OF_EDGE)), LARGEST_MM)
    grid = VolumeGeometry.from_spacing((cells,) * 3, (edge / cells,) * 3)
    poses = [draw_pose(rng, stack, edge) for _ in range(_CANDIDATES)]
    hu = posed(source, grid, max(poses, key=lambda pose: _interest(source, pose, edge)))
    hu = (hu - AIR_HU) * np.float32(rng.uniform(0.97, 1.03)) + np.float32(AIR_HU)
    matter = np.clip((hu + 700) / 300, 0, 1)
    hu += matter * np.float32(rng.uniform(-30, 30))
    return Volume(hu, grid, Unit.HU)


def _interest(source: Volume, pose: Pose, edge_mm: float) -> float:
    """Return how much bone and body a cube would hold, from a coarse look."""
    grid = VolumeGeometry.from_spacing((_LOOK,) * 3, (edge_mm / _LOOK,) * 3)
    hu = posed(source, grid, pose)
    return float((hu > 250).mean() + 0.1 * (hu > -500).mean())


@lru_cache(maxsize=4)
def _prepared(path: Path) -> Volume:
    """Read a file; scale grey values; take out noise; fade the sides of the stack to air."""
    from ctrestorelib.io.volumes import read_volume

    volume = as_trainable(read_volume(path).volume)
    values = volume.values
    if volume.unit is not Unit.HU:
        values = values * np.float32(1.8) + np.float32(AIR_HU)
    sigma = float(estimate_noise(volume.with_values(values)).sigma)
    values = np.maximum(_guided(values, 2 * sigma), np.float32(AIR_HU))
    faded = (values - AIR_HU) * _fade(volume.geometry) + AIR_HU
    spacing = volume.geometry.spacing_mm
    grid = VolumeGeometry.from_spacing(faded.shape, spacing)
    return Volume(faded.astype(np.float32), grid, Unit.HU)


def _guided(values: Array, spread: float) -> Array:
    """Smooth what varies less than ``spread`` HU over a few voxels and keep what varies more.

    References: K. He, J. Sun, X. Tang, doi:10.1109/TPAMI.2012.213.
    """
    size = (3, 5, 5)

    def mean(a: Array) -> Array:
        return np.asarray(ndimage.uniform_filter(a, size, mode="nearest"))

    level = mean(values)
    variance: Array = np.clip(mean(values * values) - level * level, 0, None)
    gain: Array = variance / (variance + np.float32(max(spread, 1e-3) ** 2))
    smooth: Array = mean(gain) * values + mean((1 - gain) * level)
    return smooth


def _fade(grid: VolumeGeometry) -> Array:
    """Return 0 at the sides of the stack and 1 a few millimetres inside."""
    out = np.ones(grid.shape, np.float32)
    for axis, (n, d) in enumerate(zip(grid.shape, grid.spacing_mm[::-1], strict=True)):
        depth = np.minimum(np.arange(n), np.arange(n)[::-1]) * d / max(_FADE_MM, 1.5 * d)
        ramp = np.clip(depth, 0, 1).astype(np.float32)
        shape = [1, 1, 1]
        shape[axis] = n
        out *= (ramp * ramp * (3 - 2 * ramp)).reshape(shape)
    return out
