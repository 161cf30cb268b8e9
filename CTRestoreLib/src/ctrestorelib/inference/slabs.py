"""Filtering a volume slab by slab, so that memory stays bounded (layer: inference).

A slab is a run of slices with a margin (halo) on both sides that the filter may look at. Classical
denoisers derive from :class:`SlabDenoiser` and only say how one slab is filtered; the noise
measurement, padding, masks, progress, cancelling and planning are here, once.

Filters work in *noise units*: values divided by the noise level, so that HU, 1/mm and grey values
are all the same to them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.job import Job
from ctrestorelib.core.params import Param
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import PADDING_BELOW_HU, Volume
from ctrestorelib.inference.noise_levels import require_measured, unchanged
from ctrestorelib.quality.noise import NoiseEstimate, estimate_noise
from ctrestorelib.restorer.plan import (
    BASE_BYTES,
    Budget,
    InputShapes,
    Plan,
    PlannedStage,
    require_fit,
)
from ctrestorelib.restorer.protocol import Estimate, Inputs
from ctrestorelib.restorer.spec import Needs, RestorerSpec, Role

Floats = NDArray[np.float32]
SlabFilter = Callable[[Floats, int, int], Floats]
"""``(slab, first, last) -> slices first..last of the slab, filtered``; values in noise units."""
P = TypeVar("P")

Sigma = Annotated[
    float | None,
    Param(
        "Noise level",
        "Standard deviation of the noise to remove; automatic measures it in the volume.",
        "volume's unit",
        (0, None),
    ),
]
"""Parameter shared by the classical denoisers: the noise level, None to measure it."""
Factor = Annotated[
    float,
    Param(
        "Smoothing",
        "Multiplies the automatic amount of smoothing: below 1 keeps more texture, above 1 "
        "removes more noise.",
        "",
        (0.1, 5),
    ),
]
"""Parameter shared by the classical denoisers: how strongly to smooth, 1 for automatic."""
PRESETS: dict[str, dict[str, Any]] = {
    "gentle": {"factor": 0.7},
    "standard": {"factor": 1.0},
    "strong": {"factor": 1.4},
}
NEEDS_VOLUME = Needs(required=(Role.VOLUME,), optional=(Role.MASK,))

_MEASURE_SHARE = 0.05
_MEASURING_BYTES = 18  # per pixel of a measured slice: three float32 maps and five masks


@dataclass(frozen=True)
class Noise:
    """What a filter knows of the volume it works on.

    Parameters
    ----------
    estimate
        The measured noise.
    sigma
        The level that counts: measured, or given by the person.
    volume
        The volume itself.
    """

    estimate: NoiseEstimate
    sigma: float
    volume: Volume

    @property
    def anisotropy(self) -> float:
        """Slice distance over pixel size: 1 for cubes, above 1 for thick slices."""
        spacing_mm = self.volume.geometry.spacing_mm
        return spacing_mm[2] / max(spacing_mm[:2])

    @property
    def grain(self) -> float:
        """Area of a noise grain in pixels: the sum of squared correlations, 1 for white noise."""
        rho = (1.0, *self.estimate.pixel_correlation, 0.0)
        lag = np.arange(-len(rho), len(rho) + 1)
        apart = np.interp(np.hypot(lag[:, None], lag), np.arange(len(rho)), rho, right=0.0)
        return float((apart**2).sum())


@dataclass(frozen=True)
class SlabCost:
    """What a filter takes.

    Parameters
    ----------
    backend
        Name of the library that computes.
    slab_copies
        Temporary memory as a multiple of the slab (halo included) in float32.
    slice_copies
        Temporary memory per thread as a multiple of one slice in float32.
    seconds_per_mvoxel
        Time of one core for a million voxels.
    block_slices
        Slices per slab, halo not counted, unless memory is short.
    """

    backend: str
    slab_copies: float
    slice_copies: float
    seconds_per_mvoxel: float
    block_slices: int = 16


class SlabDenoiser(ABC, Generic[P]):
    """A denoiser that filters slab by slab; see the module's docstring."""

    spec: ClassVar[RestorerSpec]
    Params: ClassVar[type]
    cost: ClassVar[SlabCost]

    @abstractmethod
    def halo(self, params: P) -> int:
        """Return how many slices on each side of a slab the filter looks at."""

    @abstractmethod
    def filter_for(self, noise: Noise, params: P, threads: int) -> SlabFilter:
        """Return the filter for a volume with this noise, whose level is not 0."""

    def plan(self, shapes: InputShapes, params: P, budget: Budget) -> Plan:
        """Return how a run of this size goes; halves the slabs until they fit."""
        slices, rows, cols = shapes.volume or (0, 0, 0)
        block = min(self.cost.block_slices, max(1, slices))
        threads = max(1, min(budget.threads, slices))
        given = BASE_BYTES + (4 + shapes.has_mask) * shapes.voxels
        measuring = _MEASURING_BYTES * min(slices, 32) * rows * cols

        def needed(block: int) -> int:
            tall = min(slices, block + 2 * self.halo(params))
            copies = slices + (2 + self.cost.slab_copies) * tall + self.cost.slice_copies * threads
            return given + max(measuring, int(4 * rows * cols * copies))

        while block > 1 and needed(block) > budget.host_bytes:
            block //= 2
        require_fit(needed(block), budget, "Close other programs, or choose a smaller region.")
        rework = 1 + 2 * self.halo(params) / block * (self.cost.slab_copies > 0)
        seconds = self.cost.seconds_per_mvoxel * shapes.voxels * 1e-6 * rework / threads
        stages = (PlannedStage("Measure the noise", _MEASURE_SHARE),
                  PlannedStage("Filter the slices", 1 - _MEASURE_SHARE))  # fmt: skip
        return Plan(self.cost.backend, "cpu", threads, needed(block), 0.5 + seconds, stages,
                    block_slices=block)  # fmt: skip

    def restore(self, inputs: Inputs, params: P, plan: Plan, job: Job) -> Estimate:
        """Denoise the volume; voxels outside the mask and scanner padding keep their values."""
        volume = inputs.require_volume()
        volume.require_finite()
        with job.stage("Measure the noise", _MEASURE_SHARE) as stage:
            noise = _measure(volume, getattr(params, "sigma", None))
            stage.done(1.0)
        report = {"sigma": noise.sigma, "noise": noise.estimate.to_json()}
        with job.stage("Filter the slices", 1 - _MEASURE_SHARE) as stage:
            if noise.sigma == 0:
                return unchanged(volume, report, job)
            work = self.filter_for(noise, params, plan.threads)
            blocks = slabs(volume.shape[0], max(1, plan.block_slices), self.halo(params))
            values = np.empty_like(volume.values)
            for slab in stage.track(blocks):
                _filter_slab(inputs, slab, work, noise.sigma, values)
        return Estimate(volume.with_values(values), report=report)


@dataclass(frozen=True)
class Slab:
    """Slices ``start:stop`` to be filled, seen through slices ``low:high``."""

    start: int
    stop: int
    low: int
    high: int


def slabs(slices: int, block: int, halo: int) -> list[Slab]:
    """Cut ``slices`` into slabs of ``block`` slices that see ``halo`` slices on each side."""
    return [
        Slab(a, min(slices, a + block), max(0, a - halo), min(slices, a + block + halo))
        for a in range(0, slices, block)
    ]


def each_slice(function: Callable[[int], Floats], first: int, last: int, threads: int) -> Floats:
    """Stack ``function(k)`` for slices first..last, on several threads.

    The libraries behind the filters release the interpreter lock, so that threads do help.
    """
    from concurrent.futures import ThreadPoolExecutor

    if threads == 1 or last - first == 1:
        return np.stack([function(k) for k in range(first, last)])
    with ThreadPoolExecutor(threads) as pool:
        return np.stack(list(pool.map(function, range(first, last))))


def fill_padding(slab: Floats, unit: Unit) -> NDArray[np.bool_] | None:
    """Replace scanner padding in ``slab`` ``[k, j, i]`` by the nearest measured value of its slice.

    Returns where it was, or None if there was none. Slices of nothing but padding become air.
    """
    if unit != Unit.HU or slab.min() >= PADDING_BELOW_HU:
        return None
    from scipy.ndimage import distance_transform_edt

    padding = slab < PADDING_BELOW_HU
    for values, hole in zip(slab, padding, strict=True):
        if hole.all():
            values[:] = -1000.0
        elif hole.any():
            nearest = distance_transform_edt(hole, return_distances=False, return_indices=True)
            values[hole] = values[tuple(nearest[:, hole])]
    return np.asarray(padding)


def _filter_slab(inputs: Inputs, slab: Slab, work: SlabFilter, sigma: float, out: Floats) -> None:
    volume, mask = inputs.require_volume(), inputs.mask
    original = volume.values[slab.start : slab.stop]
    target = out[slab.start : slab.stop]
    wanted = None if mask is None else mask[slab.start : slab.stop]
    if wanted is not None and not wanted.any():
        target[:] = original
        return
    seen = volume.values[slab.low : slab.high].copy()
    padding = fill_padding(seen, volume.unit)
    seen /= np.float32(sigma)
    first, last = slab.start - slab.low, slab.stop - slab.low
    np.multiply(work(seen, first, last), np.float32(sigma), out=target)
    if padding is not None:
        hole = padding[first:last]
        target[hole] = original[hole]
    if wanted is not None:
        target[~wanted] = original[~wanted]


def _measure(volume: Volume, given: float | None) -> Noise:
    estimate = estimate_noise(volume)
    sigma = estimate.sigma if given is None else given
    require_measured(sigma)
    return Noise(estimate, sigma, volume)
