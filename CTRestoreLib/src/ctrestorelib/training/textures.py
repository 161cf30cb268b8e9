"""Random fine structure for training stacks (layer: training).

Drawn organs are smooth inside, real ones are not: lung, marrow, muscle and spongy bone are full of
structure down to the pixel. A network that has only seen smooth organs takes such structure for
noise. What tells the two apart is their spectrum and that structure goes on from slice to slice, so
these fields have the falling spectra of natural images, in three dimensions.

References
----------
.. [1] Field DJ. Relations between the statistics of natural images and the response properties of
   cortical cells. J Opt Soc Am A 4(12), 1987. doi:10.1364/JOSAA.4.002379
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfftn, rfftn
from scipy.ndimage import gaussian_filter, zoom

Floats = NDArray[np.float32]

_TISSUES_HU = ((-980.0, -400.0), (-180.0, -20.0), (-20.0, 120.0), (120.0, 700.0))
"""Lung, fat, soft tissue, spongy bone: a texture often fills one of them."""


def texture(rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    """Return a random structure ``[k, j, i]`` with mean 0 and standard deviation 1.

    Five kinds: a plain field with power falling as a power of the frequency; the same with rare
    bright spots; islands with sharp borders; walls; threads, which are where two walls cross.
    """
    kind = int(rng.integers(5))
    aspect = float(np.exp(rng.uniform(0.0, 1.4)))  # slice distance over pixel size
    field = _field(rng, shape, float(rng.uniform(1.5, 4.0)), aspect)
    if kind == 1:
        field = np.exp(np.float32(rng.uniform(0.5, 1.2)) * field)
    elif kind == 2:
        field = np.tanh((field - np.float32(rng.uniform(-1.0, 1.0))) * np.float32(6.0))
    elif kind >= 3:
        width = np.float32(rng.uniform(0.15, 0.5))
        field = np.exp(-((field / width) ** 2))
        if kind == 4:
            other = _field(rng, shape, float(rng.uniform(2.5, 4.0)), aspect)
            field = field * np.exp(-((other / width) ** 2))
    field = gaussian_filter(field, (0.0, *[float(rng.uniform(0.0, 1.0))] * 2))
    field -= field.mean()
    return np.asarray(field / max(float(field.std()), 1e-6), dtype=np.float32)


def share(rng: np.random.Generator, clean: Floats, *, is_hu: bool) -> Floats:
    """Return where a texture shows, 0 to 1, in slices ``clean`` ``[k, j, i]``.

    One tissue, everywhere, or a smooth random region.
    """
    kind = rng.random()
    if is_hu and kind < 0.5:
        low, high = _TISSUES_HU[int(rng.integers(len(_TISSUES_HU)))]
        inside = ((clean > low) & (clean < high)).astype(np.float32)
        return np.asarray(gaussian_filter(inside, (0, 0.7, 0.7)), dtype=np.float32)
    if kind < 0.75:
        return np.ones_like(clean)
    coarse = rng.standard_normal((5, 5))
    grown = zoom(coarse, [n / 5 for n in clean.shape[1:]], order=1)
    return np.broadcast_to(np.clip(0.5 + grown, 0.0, 1.0).astype(np.float32), clean.shape)


def _field(
    rng: np.random.Generator, shape: tuple[int, int, int], slope: float, aspect: float
) -> Floats:
    """Return a Gaussian field whose power falls as frequency to the power of ``-slope``."""
    spectrum = rfftn(rng.standard_normal(shape, dtype=np.float32))
    fz, fy = np.fft.fftfreq(shape[0]) / aspect, np.fft.fftfreq(shape[1])
    fx = np.fft.rfftfreq(shape[2])
    square = fz[:, None, None] ** 2 + fy[:, None] ** 2 + fx**2
    corner = float(np.exp(rng.uniform(np.log(0.01), np.log(0.1))))  # coarser, it is flat
    spectrum *= ((square + corner**2) ** (-slope / 4)).astype(np.float32)
    field = irfftn(spectrum, shape)
    return np.asarray(field / field.std(), dtype=np.float32)
