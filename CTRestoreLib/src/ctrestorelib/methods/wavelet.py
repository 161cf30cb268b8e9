"""Wavelet shrinkage: damp wavelet coefficients that noise explains, band by band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import Volume
from ctrestorelib.inference.slabs import (
    PRESETS,
    Factor,
    Floats,
    Noise,
    Sigma,
    SlabCost,
    SlabDenoiser,
    SlabFilter,
    each_slice,
)
from ctrestorelib.quality.flatness import flat_slices
from ctrestorelib.restorer.spec import Kind, Needs, Reference, RestorerSpec, Role

WAVELET = "sym4"
LEVELS = 3
DAMPING = 1.8
"""How many times its measured power a band's noise is taken for."""
_WINDOW = 7
_MARGIN = 16  # the transform is periodic: opposite borders must not meet


@dataclass(frozen=True, kw_only=True)
class WaveletParams:
    """Parameters of wavelet shrinkage."""

    sigma: Sigma = None
    factor: Factor = 1.0


class WaveletShrinkage(SlabDenoiser[WaveletParams]):
    """Undecimated wavelets in each slice; every band is damped by its own measured noise."""

    spec: ClassVar[RestorerSpec] = RestorerSpec(
        id="wavelet",
        title="Fine-detail damping (wavelet shrinkage)",
        summary="Splits each slice into coarse and fine detail and damps what is no stronger than "
        "the noise of that fineness. Leaves a natural, slightly grainy look.",
        kind=Kind.DENOISER,
        needs=Needs((Role.VOLUME,), (Role.MASK,), packages=("pywt",)),
        references=(
            Reference("Johnstone IM, Silverman BW. Wavelet threshold estimators for data with "
                      "correlated noise. J R Stat Soc B 59(2), 1997.", "10.1111/1467-9868.00071"),
            Reference("Mihcak MK et al. Low-complexity image denoising based on statistical "
                      "modeling of wavelet coefficients. IEEE Signal Process Lett 6(12), 1999.",
                      "10.1109/97.803428"),
        ),
        presets=PRESETS,
    )  # fmt: skip
    Params: ClassVar[type] = WaveletParams
    cost: ClassVar[SlabCost] = SlabCost("pywavelets", 0, 40, 0.45, block_slices=8)

    def halo(self, params: WaveletParams) -> int:
        """Return 0: slices are independent."""
        del params
        return 0

    def filter_for(self, noise: Noise, params: WaveletParams, threads: int) -> SlabFilter:
        """Measure the noise of every band where the volume is flat."""
        levels = band_noise(noise.volume, noise.estimate.sigma)
        power = [DAMPING * params.factor**2 * level**2 for level in levels]

        def work(slab: Floats, first: int, last: int) -> Floats:
            return each_slice(lambda k: _shrink(slab[k], power), first, last, threads)

        return work


def band_noise(volume: Volume, sigma: float) -> list[float]:
    """Return the noise of each detail band in units of ``sigma``, coarse to fine.

    White noise halves from level to level; CT noise does not. Only what is left of flat windows
    after their local mean is transformed, so that edges nearby cannot pass for noise. Without flat
    windows the noise is taken for white.
    """
    white = [2.0 ** (-level) for level in range(LEVELS, 0, -1) for _ in range(3)]
    found, window = [], 0
    for (measured,) in flat_slices(volume, groups=6, run=1):
        calm = tuple({"soft_tissue", "fat"} & set(measured.flat))
        flat = measured.any_flat(calm)  # all classes, if there is neither
        if flat.any():
            bands = _details(np.where(flat, measured.residual, np.float32(0)))
            found.append([float(np.median(np.abs(b[flat]))) / 0.6745 for b in bands])
            window = measured.window
    if not found or sigma <= 0:
        return white
    return list(np.median(found, axis=0) / sigma / _mean_removal(window))


def _details(plane: Floats) -> list[Floats]:
    coefficients, inner = _transform(plane)
    return [band[inner] for level in coefficients[1:] for band in level]


def _mean_removal(window: int) -> NDArray[np.float64]:
    """Return the share of each band's deviation that survives taking the local mean away."""
    from scipy.ndimage import uniform_filter

    noise = np.random.default_rng(0).standard_normal((128, 128), dtype=np.float32)
    without = _details(noise - uniform_filter(noise, window))
    pairs = zip(without, _details(noise), strict=True)
    return np.array([float(a.std() / b.std()) for a, b in pairs])


def _shrink(plane: Floats, power: Sequence[float]) -> Floats:
    """Multiply each detail by the share of its local power that noise does not explain."""
    import pywt
    from scipy.ndimage import uniform_filter

    coefficients, inner = _transform(plane)
    powers = iter(power)
    shrunk: list[Any] = [coefficients[0]]
    for level in coefficients[1:]:
        kept = []
        for band in level:
            local = np.maximum(uniform_filter(band**2, _WINDOW), 1e-12)
            kept.append(band * np.maximum(0.0, 1.0 - np.float32(next(powers)) / local))
        shrunk.append(tuple(kept))
    return np.asarray(pywt.iswt2(shrunk, WAVELET, norm=True)[inner], dtype=np.float32)


def _transform(plane: Floats) -> tuple[list[Any], tuple[slice, slice]]:
    """Return the stationary transform of the mirrored-out slice, and where in it the slice lies."""
    import pywt

    step = 2**LEVELS
    pads = [(_MARGIN, _MARGIN + (-n) % step) for n in plane.shape]
    padded = np.pad(plane, pads, mode="symmetric")
    coefficients = pywt.swt2(padded, WAVELET, LEVELS, trim_approx=True, norm=True)
    rows, cols = (slice(_MARGIN, _MARGIN + n) for n in plane.shape)
    return coefficients, (rows, cols)


RESTORER = WaveletShrinkage()
