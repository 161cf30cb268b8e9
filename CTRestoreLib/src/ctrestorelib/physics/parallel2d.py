"""A small parallel-beam scanner for one slice: forward projection, ramp filter, FBP.

Layer: physics. It serves noise simulation, which needs thousands of slices and no full scan
geometry; reconstructions go through :mod:`ctrestorelib.physics.operators`.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctrestorelib.core.errors import UsageError

Floats = NDArray[np.float32]

CROSSTALK = (0.1, 0.8, 0.1)
"""Share of a reading that a detector bin's left neighbour, itself and its right neighbour see."""


@dataclass(frozen=True)
class Kernel:
    """A reconstruction kernel: the ramp times ``W(f) = exp(-(f / cutoff) ** power)``.

    Parameters
    ----------
    cutoff_lp_mm
        Frequency at which W has fallen to 1/e, in line pairs per mm. Soft kernels lie near 0.4,
        sharp ones near 0.9.
    power
        How steeply it falls.
    """

    cutoff_lp_mm: float
    power: float = 2.0

    def __post_init__(self) -> None:
        if not (self.cutoff_lp_mm > 0 and self.power > 0):
            message = f"A kernel's cutoff and power must be positive; got {self}."
            raise UsageError(message)

    def response(self, frequency_lp_mm: ArrayLike) -> NDArray[np.float64]:
        """Return W at the given frequencies (line pairs per mm)."""
        f = np.abs(np.asarray(frequency_lp_mm, dtype=np.float64))
        return np.exp(-((f / self.cutoff_lp_mm) ** self.power))


@dataclass(frozen=True)
class ParallelScan:
    """Parallel views over 180 degrees of one slice.

    Parameters
    ----------
    shape
        ``(rows j, columns i)`` of the slice.
    spacing_mm
        Voxel size ``(along i, along j)``.
    views
        Number of views, evenly spread over 180 degrees.
    bin_mm
        Width of a detector bin; the detector covers the slice's diagonal.
    """

    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    views: int
    bin_mm: float

    @cached_property
    def bins(self) -> int:
        """Number of detector bins."""
        height, width = self.shape[0] * self.spacing_mm[1], self.shape[1] * self.spacing_mm[0]
        return math.ceil(math.hypot(height, width) / self.bin_mm) + 2

    @cached_property
    def angles_rad(self) -> NDArray[np.float64]:
        """Direction of the detector's axis in each view."""
        return np.linspace(0.0, np.pi, self.views, endpoint=False, dtype=np.float64)

    @cached_property
    def offsets_mm(self) -> NDArray[np.float64]:
        """Positions of the bins along the detector."""
        half = 0.5 * (self.bins - 1) * self.bin_mm
        return np.linspace(-half, half, self.bins, dtype=np.float64)


def forward_project(slice_mu: ArrayLike, scan: ParallelScan) -> Floats:
    """Return line integrals ``[view, bin]`` of attenuation ``[j, i]`` (1/mm), by sampling rays."""
    from scipy.ndimage import map_coordinates

    mu = np.asarray(slice_mu, dtype=np.float32)
    dx, dy = scan.spacing_mm
    step = min(dx, dy)
    reach = 0.5 * math.hypot(scan.shape[0] * dy, scan.shape[1] * dx)
    along = np.arange(-reach, reach + step, step)[:, None]  # (sample, 1)
    out = np.empty((scan.views, scan.bins), dtype=np.float32)
    for view, angle in enumerate(scan.angles_rad):
        x = scan.offsets_mm * math.cos(angle) - along * math.sin(angle)
        y = scan.offsets_mm * math.sin(angle) + along * math.cos(angle)
        i, j = x / dx + 0.5 * (scan.shape[1] - 1), y / dy + 0.5 * (scan.shape[0] - 1)
        out[view] = step * map_coordinates(mu, (j, i), order=1, mode="constant").sum(axis=0)
    return out


def filter_views(views: Floats, bin_mm: float, kernel: Kernel | None) -> Floats:
    """Apply the ramp filter, and the kernel's window if given, to ``[..., bin]``.

    The ramp is the transform of its band-limited impulse response (Kak and Slaney 1988, chapter 3,
    doi:10.1137/1.9780898719277), so that flat regions keep their level.
    """
    from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

    bins = views.shape[-1]
    padded = next_fast_len(2 * bins, real=True)
    lag = np.minimum(np.arange(padded), padded - np.arange(padded)).astype(np.float64)
    impulse = np.zeros(padded)
    odd = lag % 2 == 1
    impulse[odd] = -1.0 / (np.pi * lag[odd] * bin_mm) ** 2
    impulse[0] = 0.25 / bin_mm**2
    response = rfft(impulse).real * bin_mm
    if kernel is not None:
        response = response * kernel.response(rfftfreq(padded, bin_mm))
    spectrum = rfft(views, padded, axis=-1) * response.astype(np.float32)
    return np.asarray(irfft(spectrum, padded, axis=-1)[..., :bins], dtype=np.float32)


def backproject(filtered: Floats, scan: ParallelScan) -> Floats:
    """Return the slice ``[j, i]`` that filtered views give (linear interpolation in the bins)."""
    dx, dy = scan.spacing_mm
    steps = np.array([dx, dy]) / scan.bin_mm
    cosines, sines = np.cos(scan.angles_rad), np.sin(scan.angles_rad)
    out = np.zeros(scan.shape, dtype=np.float32)
    if importlib.util.find_spec("numba"):
        from ctrestorelib.physics.parallel_kernels import backproject_slice

        backproject_slice(np.ascontiguousarray(filtered), cosines, sines, steps, out)
    else:
        _backproject_numpy(filtered, cosines, sines, steps, out)
    return out * np.float32(np.pi / scan.views)


def _backproject_numpy(
    filtered: Floats,
    cosines: NDArray[np.float64],
    sines: NDArray[np.float64],
    steps: NDArray[np.float64],
    out: Floats,
) -> None:
    rows, cols = out.shape
    x = (np.arange(cols) - 0.5 * (cols - 1)) * steps[0]
    y = (np.arange(rows) - 0.5 * (rows - 1))[:, None] * steps[1]
    bins = np.arange(filtered.shape[1])
    middle = 0.5 * (filtered.shape[1] - 1)
    for row, cosine, sine in zip(filtered, cosines, sines, strict=True):
        out += np.interp(x * cosine + y * sine + middle, bins, row, left=0.0, right=0.0)


def reconstruct(line_integrals: Floats, scan: ParallelScan, kernel: Kernel | None = None) -> Floats:
    """Return attenuation ``[j, i]`` in 1/mm by filtered backprojection of ``[view, bin]``."""
    return backproject(filter_views(line_integrals, scan.bin_mm, kernel), scan)
