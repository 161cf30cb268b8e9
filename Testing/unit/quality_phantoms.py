"""Volumes with known noise, edges and anatomy, shared by the quality tests."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry


def volume(values, spacing_mm=(0.8, 0.8, 1.0), unit=Unit.HU) -> Volume:
    return Volume(values, VolumeGeometry.from_spacing(values.shape, spacing_mm), unit)


def ct_noise(shape, seed, sigma=20.0, cutoff=0.3, next_slice=0.3):
    """Noise with the ramp spectrum of filtered backprojection, correlated with the next slice."""
    rng = np.random.default_rng(seed)
    white = rng.normal(size=(shape[0] + 1, *shape[1:]))
    f = np.hypot(np.fft.fftfreq(shape[1])[:, None], np.fft.fftfreq(shape[2]))
    shaped = np.fft.ifft2(np.fft.fft2(white) * np.sqrt(f) * np.exp(-((f / cutoff) ** 2))).real
    noise = shaped[1:] + next_slice * shaped[:-1]
    return (noise / noise.std() * sigma).astype(np.float32)


def leg(shape=(16, 144, 144)):
    """Air, fat, muscle, a cortical shell around trabecular bone; returns HU and the marrow mask."""
    rng = np.random.default_rng(3)
    k, j, i = np.mgrid[: shape[0], : shape[1], : shape[2]].astype(np.float32)
    c = (shape[1] - 1) / 2
    body = np.hypot(j - c, (i - c) / 1.1)
    values = np.full(shape, -1000.0)
    values[body < 60] = -100
    values[body < 48] = 50
    bone = np.hypot(j - c - 5 - 0.1 * k, i - c + 8)
    texture = gaussian_filter(rng.normal(size=shape), 1.2)
    marrow = bone < 22
    values[marrow] = (150 + 200 * np.clip(texture / texture.std(), -1, 1))[marrow]
    values[(bone >= 22) & (bone < 26)] = 1200
    return gaussian_filter(values, (0.5, 0.8, 0.8)).astype(np.float32), marrow
