"""A synthetic knee to try things on: no network, no patient (layer: mrml)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.knee import knee_phantom
from ctrestorelib.mrml.display import same_display, set_window
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.volumes import new_volume_node

NOISE_HU = 60.0
"""Standard deviation of the added noise: a low-dose scan of a knee."""


def add_knee(
    context: SceneContext, *, shape: tuple[int, int, int] = (80, 128, 128), seed: int = 0
) -> tuple[Node, Node]:
    """Add a synthetic knee twice, without and with noise; return both nodes.

    Parameters
    ----------
    context
        The scene.
    shape
        Voxels ``(k, j, i)`` of 1 x 1 x 1.5 mm.
    seed
        Fixes anatomy and noise.
    """
    clean = knee_phantom(VolumeGeometry.from_spacing(shape, (1.0, 1.0, 1.5)), seed=seed)
    noise = reconstruction_noise(shape, np.random.default_rng(seed)) * np.float32(NOISE_HU)
    first = new_volume_node(context, "Knee phantom", clean)
    set_window(first, 100.0, 1000.0)
    second = new_volume_node(context, "Knee phantom, noisy", noisy(clean, noise))
    same_display(first, second)
    return first, second


def noisy(clean: Volume, noise: NDArray[np.float32]) -> Volume:
    """Return the sum, cut at -1024 HU as scanners do."""
    return clean.with_values(np.maximum(clean.values + noise, -1024))


def reconstruction_noise(
    shape: tuple[int, int, int], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return noise of standard deviation 1 with the spectrum that filtered backprojection leaves.

    White noise in each slice times ``|f|`` with a Hann window: the noise of neighbouring pixels is
    correlated, unlike that of a camera.
    """
    _, rows, cols = shape
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(rows), np.fft.rfftfreq(cols), indexing="ij"))
    gain = np.sqrt(f) * np.cos(np.pi * np.minimum(f, 0.5)) ** 2
    white = rng.standard_normal(shape)
    shaped = np.fft.irfft2(np.fft.rfft2(white) * gain, s=(rows, cols))
    return np.asarray(shaped / shaped.std(), dtype=np.float32)
