"""How much texture of cancellous bone a restoration keeps (layer: quality; scipy inside).

Trabecular bone has the size and the contrast of noise, so denoisers take it for noise. In the band
of 0.3 to 1.0 line pairs per mm, well inside cancellous bone, the original is ``y = s + n`` with
structure ``s`` and noise ``n`` of known variance ``N`` (measured in the flat tissue around), and a
restoration acts about like ``x = g s + h n``. Three variances settle both factors::

    var(y) = S + N        cov(x, y) = g S + h N        var(x) = g^2 S + h^2 N

so the kept variance of the structure is ``g^2``, whatever is left of the noise. Taking only the
noise of soft tissue off the result would call noise that was left in the bone structure. Of the
two solutions the one is right in which noise is reduced at least as much as structure; where both
are reduced alike (a blur) they are one.

The noise in bone is that of the tissue around it, which is not exactly true: 10 % of doubt about
its variance goes into the interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.pairs import check_pair
from ctrestorelib.quality.result import Measure, Verdict, plain
from ctrestorelib.quality.tissue import hu_like, spread

TARGET = 0.80
"""Share of the structure's variance that must be kept."""

_NAME, _TITLE = "trabecular_kept", "Texture of cancellous bone kept"
_SLICES, _FEWEST, _TILE_PX, _RESAMPLES = 24, 1500, 24, 400
_BONE_HU, _CORTEX_HU, _DENSE_HU, _NOT_BONE_HU = 120.0, 600.0, 350.0, 80.0
_RIM_MM, _BANDS_MM, _SMOOTH_MM, _NEAR_MM = 2.5, (0.187, 0.35, 0.62), 0.8, 25.0
_NOISE_DOUBT, _WEAKEST = 0.10, 0.2


@dataclass(frozen=True)
class TrabecularTexture:
    """How much of the texture of cancellous bone was kept.

    Parameters
    ----------
    kept
        Variance of the structure after over before; None where it could not be measured.
    interval
        95 % interval: bootstrap over tiles of bone, and doubt about the noise in bone.
    structure, noise
        Standard deviations of structure and noise in the band before, in HU.
    voxels, slices
        Size of the measured bone.
    why_not
        Why it could not be measured; empty if it was.
    """

    kept: float | None
    interval: tuple[float, float] | None = None
    structure: float = 0.0
    noise: float = 0.0
    voxels: int = 0
    slices: int = 0
    why_not: str = ""

    @property
    def verdict(self) -> Verdict:
        """Green from 80 %, amber where that is in doubt, red clearly below."""
        if self.kept is None or self.interval is None:
            return Verdict.NONE
        if self.kept >= TARGET:
            return Verdict.GREEN
        doubtful = self.interval[1] >= TARGET or self.kept >= TARGET - 0.1
        return Verdict.AMBER if doubtful else Verdict.RED

    def to_measure(self) -> Measure:
        """Return the share as one line of a table."""
        if self.kept is None:
            return Measure.missing(_NAME, _TITLE, self.why_not)
        told = f"{100 * self.kept:.0f} % of the trabecular texture is kept (wanted: 80 %)"
        if self.verdict is Verdict.RED:
            told += "; do not judge bone texture here, or use less strength"
        protocol = (f"variance at 0.3 to 1.0 lp/mm in {self.voxels} voxels of cancellous bone in "
                    f"{self.slices} slices, noise taken off")  # fmt: skip
        return Measure(_NAME, _TITLE, self.kept, "", self.interval, self.verdict, f"{told}.",
                       protocol, details=plain(self.__dict__))  # fmt: skip


def trabecular_texture(
    original: Volume, restored: Volume, *, mask: NDArray[np.bool_] | None = None
) -> TrabecularTexture:
    """Measure the kept variance of structure in cancellous bone, in up to 24 slices.

    Parameters
    ----------
    original, restored
        HU volumes on one grid.
    mask
        Boolean ``[k, j, i]``: look only here.

    Raises
    ------
    GeometryError, UnitError
        If the volumes differ in grid or unit.
    """
    check_pair(restored, original, what="the original")
    if not hu_like(original):
        return TrabecularTexture(None, why_not="bone is told by HU, and the volume is not in HU.")
    if max(original.geometry.spacing_mm[:2]) > 1.2:
        return TrabecularTexture(None, why_not="pixels over 1.2 mm do not show trabecular texture.")
    tiles = [t for k in spread(original.shape[0], _SLICES)
             for t in _tiles(original, restored, int(k), mask)]  # fmt: skip
    voxels = int(sum(t.count for t in tiles))
    if voxels < _FEWEST:
        return TrabecularTexture(None, voxels=voxels, why_not="too little cancellous bone in view.")
    return _judge(tiles, voxels)


def cancellous(plane: NDArray[Any], spacing_mm: tuple[float, float]) -> NDArray[np.bool_]:
    """Return the interior of cancellous bone in a slice ``[j, i]`` of HU values.

    Bone is what is above 120 HU after smoothing and touches dense bone; cortex and everything
    within 2.5 mm of cortex or of the outside is left out. Contrast-filled organs and vessels have
    no cortex, so they do not count.

    Parameters
    ----------
    plane
        HU values, noisy or not.
    spacing_mm
        Pixel size along (i, j).
    """
    from scipy.ndimage import binary_dilation, binary_fill_holes, gaussian_filter, label, maximum

    dx, dy = spacing_mm
    size = min(dx, dy)
    smooth = gaussian_filter(np.asarray(plane, np.float32), 1.2 * _SMOOTH_MM / size, mode="nearest")
    bone = binary_fill_holes(smooth > _BONE_HU)
    bone &= smooth > _NOT_BONE_HU - 60.0
    numbers, count = label(bone)
    if not count:
        return np.zeros(plane.shape, bool)
    dense = np.asarray(maximum(smooth, numbers, np.arange(count + 1))) > _DENSE_HU
    dense[0] = False
    bone = dense[numbers]
    rim = int(np.ceil(_RIM_MM / size))
    outside = binary_dilation(~bone | (smooth > _CORTEX_HU), iterations=rim)
    inside: NDArray[np.bool_] = bone & ~outside
    return inside


def has_trabecular_bone(volume: Volume, slices: int = 6) -> bool:
    """Return whether at least 1 cm^2 of cancellous bone shows in two of a few slices."""
    if not hu_like(volume) or max(volume.geometry.spacing_mm[:2]) > 1.2:
        return False
    dx, dy, _ = volume.geometry.spacing_mm
    areas = [cancellous(volume.values[k], (dx, dy)).sum() * dx * dy
             for k in spread(volume.shape[0], slices)]  # fmt: skip
    return bool(sum(area >= 100.0 for area in areas) >= min(2, volume.shape[0]))


@dataclass(frozen=True)
class _Tile:
    """A tile of bone: sums of yy, xx, xy and noise per band, shape ``(bands, 4)``; its size."""

    sums: NDArray[np.float64]
    count: int
    slice_: int


def _tiles(
    original: Volume, restored: Volume, k: int, mask: NDArray[np.bool_] | None
) -> Iterator[_Tile]:
    dx, dy, _ = original.geometry.spacing_mm
    # Told from both: neither noise nor smoothing alone decides what counts as bone.
    guide = 0.5 * (original.values[k] + restored.values[k])
    inside = cancellous(guide, (dx, dy))
    if mask is not None:
        inside &= mask[k]
    if not inside.any():
        return
    columns = inside.shape[1] // _TILE_PX + 1
    j, i = np.nonzero(inside)
    number = (j // _TILE_PX) * columns + i // _TILE_PX
    sums = []
    for y, x in zip(*(_bands(v.values[k], (dx, dy)) for v in (original, restored)), strict=True):
        noise = _noise_around(y, guide, (dx, dy))
        if noise is None:
            return
        products = (y * y, x * x, x * y, noise)
        sums.append([np.bincount(number, p[inside]) for p in products])
    table, count = np.array(sums), np.bincount(number)
    for n in np.flatnonzero(count):
        yield _Tile(table[:, :, n], int(count[n]), k)


def _bands(plane: NDArray[Any], spacing_mm: tuple[float, float]) -> list[NDArray[np.float64]]:
    """Return two bands between about 0.3 and 1.0 lp/mm; the filters reach less than 2.5 mm."""
    from scipy.ndimage import gaussian_filter

    values = np.asarray(plane, dtype=np.float64)
    dx, dy = spacing_mm
    levels = [gaussian_filter(values, (s / dy, s / dx), mode="nearest") for s in _BANDS_MM]
    return [np.asarray(a - b) for a, b in pairwise(levels)]


def _noise_around(
    y: NDArray[np.float64], guide: NDArray[Any], spacing_mm: tuple[float, float]
) -> NDArray[np.float64] | None:
    """Return the variance of the noise in the band at every pixel, from flat tissue around."""
    from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude, minimum_filter

    size = min(spacing_mm)
    smooth = gaussian_filter(guide, 1.5 * _SMOOTH_MM / size, mode="nearest")
    steep = gaussian_gradient_magnitude(guide, 2.0 * _SMOOTH_MM / size, mode="nearest")
    tissue = (smooth > -150.0) & (smooth < 110.0)
    if tissue.sum() < _FEWEST:
        return None
    flat = tissue & (steep < 2.0 * np.percentile(steep[tissue], 20))
    flat = minimum_filter(flat, 3)
    if flat.sum() < _TILE_PX**2:
        return None
    reach = _NEAR_MM / size
    limit = 9.0 * float(np.median(np.square(y[flat]))) / 0.455  # a stray edge is not noise
    flat &= np.square(y) < limit
    weight = gaussian_filter(flat.astype(np.float64), reach, mode="constant")
    total = gaussian_filter(np.where(flat, np.square(y), 0.0), reach, mode="constant")
    everywhere = float(np.square(y[flat]).mean())
    return np.asarray((total + 1e-6 * everywhere) / (weight + 1e-6))


def _judge(tiles: list[_Tile], voxels: int) -> TrabecularTexture:
    sums = np.stack([t.sums for t in tiles])
    slices = len({t.slice_ for t in tiles})
    total = sums.sum(axis=0)
    noise = float(np.sqrt(total[:, 3].sum() / voxels))
    structure = float(np.sqrt(max((total[:, 0] - total[:, 3]).sum() / voxels, 0.0)))
    kept = _over_bands(total)
    if kept is None:
        why = "the noise in bone is too strong to tell texture from it."
        return TrabecularTexture(None, None, structure, noise, voxels, slices, why)
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(sums), (_RESAMPLES, len(sums)))
    doubt = rng.normal(1.0, _NOISE_DOUBT, _RESAMPLES)
    scaled = (_over_bands(sums[p].sum(axis=0) * (1.0, 1.0, 1.0, d))
              for p, d in zip(picks, doubt, strict=True))  # fmt: skip
    drawn = [share for share in scaled if share is not None]
    low, high = np.quantile(drawn or [kept], (0.025, 0.975))
    return TrabecularTexture(kept, (float(low), float(high)), structure, noise, voxels, slices)


def _over_bands(sums: NDArray[np.float64]) -> float | None:
    """Return the kept share of all bands in which structure can be told from noise."""
    shares = [(kept_share(*band), band[0] - band[3]) for band in sums]
    known = [(share, weight) for share, weight in shares if share is not None]
    if not known:
        return None
    return float(sum(s * w for s, w in known) / sum(w for _, w in known))


def kept_share(yy: float, xx: float, xy: float, noise: float) -> float | None:
    """Return g^2 of the model ``x = g s + h n``; None where noise hides the structure.

    Parameters
    ----------
    yy, xx, xy
        Variances of original and restored values and their covariance (or all as sums).
    noise
        Variance of the noise in the original, in the same measure.
    """
    structure = yy - noise
    if structure <= _WEAKEST * noise or structure <= 0:
        return None
    if noise <= 0:
        return float(xx / structure)
    # h from var(x) with g = (cov - h N) / S put in; rounding may push the root below zero.
    root = np.sqrt(max(noise * structure * (xx * yy - xy * xy), 0.0))
    h = (xy - root / noise) / yy
    gain = (xy - h * noise) / structure
    return float(gain * abs(gain))
