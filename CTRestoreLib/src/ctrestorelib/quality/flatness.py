"""Where a slice is flat: local mean, standard deviation and gradient veto (layer: quality).

Noise can only be measured where nothing but noise changes. A window is *flat* if the mean gradient
in it is not much above that of the calmest windows of the same tissue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import PADDING_BELOW_HU, Volume

TISSUES_HU: Mapping[str, tuple[float, float]] = {
    "soft_tissue": (-20.0, 100.0),
    "fat": (-150.0, -50.0),
    "lung": (-950.0, -700.0),
    "bone": (300.0, 1500.0),
}
"""Local mean values, in HU, by which a window counts as a tissue."""

MATERIAL = "material"
"""Name of the class of windows of volumes without known tissues: anything but empty background."""

_WINDOW_MM = 6.0
VETO = 1.5
"""Flat: mean gradient at most this multiple of the tissue's calm level."""

_CALM_PERCENTILE = 15
_MIN_WINDOWS = 60


@dataclass(frozen=True)
class FlatSlice:
    """Local statistics of one slice; every array has the shape ``[j, i]`` of the slice.

    Parameters
    ----------
    index
        Slice number k.
    residual
        Values minus their local mean, in the volume's unit.
    mean, sd
        Local mean and standard deviation, in the volume's unit.
    flat
        By class of tissue (or ``"material"``): the centres of its flat windows. Classes with too
        few windows are absent.
    window
        Width of the windows in pixels.
    """

    index: int
    residual: NDArray[np.float32]
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    flat: Mapping[str, NDArray[np.bool_]]
    window: int

    def any_flat(self, names: tuple[str, ...] = ()) -> NDArray[np.bool_]:
        """Return the union of the flat windows of the named classes (all if none is named)."""
        out = np.zeros(self.mean.shape, dtype=bool)
        for name in names or tuple(self.flat):
            out |= self.flat.get(name, False)
        return out


def window_pixels(volume: Volume) -> int:
    """Return the odd width, in pixels, of the measuring window: about 6 mm, 7 to 15 pixels."""
    if volume.unit == Unit.GREY:
        return 7  # micro-CT voxels may be micrometres, or of unknown size; walls are thin
    size = round(_WINDOW_MM / max(volume.geometry.spacing_mm[:2]))
    return int(np.clip(size | 1, 7, 15))


def sampled_slices(slices: int, groups: int = 8, run: int = 4) -> list[list[int]]:
    """Return up to ``groups`` runs of ``run`` consecutive slice numbers, spread over the volume."""
    run = min(run, slices)
    starts = np.unique(np.linspace(0, slices - run, min(groups, max(1, slices // run))).round())
    if len(starts) == 1:
        starts = np.array([(slices - run) // 2])
    return [list(range(int(s), int(s) + run)) for s in starts]


def flat_slice(
    volume: Volume, k: int, mask: NDArray[np.bool_] | None = None, veto: float = VETO
) -> FlatSlice:
    """Measure slice ``k``; ``mask`` ``[k, j, i]`` restricts it to voxels of interest.

    A larger ``veto`` lets windows pass whose noise is well above that of the calmest.
    """
    from scipy.ndimage import gaussian_gradient_magnitude, uniform_filter

    window = window_pixels(volume)
    values = volume.values[k].astype(np.float64)
    usable = _usable(volume, k, mask)
    # Padding would dominate the statistics of the windows beside it; they are dropped below.
    values[~usable] = np.median(values[usable]) if usable.any() else 0.0
    level = float(np.median(values))
    values -= level
    mean = uniform_filter(values, window)
    variance = uniform_filter(values**2, window) - mean**2
    scale = window**2 / (window**2 - 1.0)
    # Cancellation leaves about 1e-14 of the largest square where the slice is constant.
    variance[variance <= 1e-12 * float(np.abs(values).max()) ** 2] = 0.0
    sd = np.sqrt(scale * variance)
    whole = uniform_filter(usable.astype(np.float32), window) > 0.999
    gradient = uniform_filter(gaussian_gradient_magnitude(values, 1.2), window)
    clipped = uniform_filter((values <= values.min()).astype(np.float32), window) > 0.1
    classes = _classes(volume, mean + level, whole, clipped | (sd == 0))
    flat = {name: _calm(gradient, where, veto) for name, where in classes.items()}
    return FlatSlice(
        index=k,
        residual=(values - mean).astype(np.float32),
        mean=(mean + level).astype(np.float32),
        sd=sd.astype(np.float32),
        flat={name: f for name, f in flat.items() if f.any()},
        window=window,
    )


def flat_slices(
    volume: Volume, mask: NDArray[np.bool_] | None = None, groups: int = 8, run: int = 4
) -> Iterator[list[FlatSlice]]:
    """Yield measured runs of consecutive slices, spread over the volume."""
    for indices in sampled_slices(volume.shape[0], groups, run):
        yield [flat_slice(volume, k, mask) for k in indices]


def _usable(volume: Volume, k: int, mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    usable: NDArray[np.bool_] = np.isfinite(volume.values[k])
    if volume.unit == Unit.HU:
        usable &= volume.values[k] >= PADDING_BELOW_HU
    return usable if mask is None else np.logical_and(usable, mask[k])


def _classes(
    volume: Volume, mean: NDArray[np.float64], whole: NDArray[np.bool_], empty: NDArray[np.bool_]
) -> dict[str, NDArray[np.bool_]]:
    """Return the whole windows by tissue, and all that are not empty as "material"."""
    material = whole & ~empty
    if volume.unit == Unit.GREY:
        return {MATERIAL: material}
    hu = mean if volume.unit == Unit.HU else 1000.0 * (mean / MU_WATER_PER_MM - 1.0)
    out = {n: whole & (hu > low) & (hu < high) for n, (low, high) in TISSUES_HU.items()}
    dense = material & (hu > -500.0)
    out[MATERIAL] = dense if dense.sum() > _MIN_WINDOWS else material
    return out


def _calm(
    gradient: NDArray[np.float64], where: NDArray[np.bool_], veto: float
) -> NDArray[np.bool_]:
    if where.sum() < _MIN_WINDOWS:
        return np.zeros_like(where)
    limit = veto * np.percentile(gradient[where], _CALM_PERCENTILE)
    return where & (gradient <= limit)
