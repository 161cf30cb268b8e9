"""Co-refinement: denoised slices replace raw ones in the clean set (layer: training)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.quality.noise import estimate_noise
from ctrestorelib.training.horuseye.apply import Worker
from ctrestorelib.training.horuseye.bank import NoiseBank
from ctrestorelib.training.horuseye.batches import AMPLITUDE
from ctrestorelib.training.horuseye.scans import Scan
from ctrestorelib.training.horuseye.settings import HorusEyeSettings, InputMode
from ctrestorelib.training.horuseye.windows import reference_window

Floats = NDArray[np.float32]
_LEAST_LEFT = 0.05
_OVER_MEAN = float(np.sqrt(np.pi / 2))  # deviation of normal noise over its mean size


@dataclass(frozen=True, eq=False)
class Refined:
    """A scan's clean version.

    Parameters
    ----------
    values
        ``[k, j, i]``: denoised slices where the gain sufficed, raw ones elsewhere.
    replaced
        Share of slices that were replaced.
    left
        Noise left, as a share of the scan's own.
    """

    values: Floats
    replaced: float
    left: float


def gain(raw: Floats, noisy: Floats, denoised: Floats) -> float:
    """Return mean |raw - noisy| - mean |raw - denoised|: how far denoising brings a slice back."""
    return float(np.abs(raw - noisy).mean() - np.abs(raw - denoised).mean())


def refined(
    scan: Scan, denoiser: Worker, bank: NoiseBank, settings: HorusEyeSettings, seed: Sequence[int]
) -> Refined:
    """Return the clean version of a scan: every slice with noise added, then denoised.

    A slice is replaced only if its gain, averaged over the draws, exceeds the settings' threshold;
    see :attr:`HorusEyeSettings.min_gain`.

    Parameters
    ----------
    seed
        Root of the random numbers; every slice has its own.
    """
    values = scan.values.copy()
    replaced = 0
    for k in range(len(values)):
        rng = np.random.default_rng([*seed, k])
        draws = [
            _once(scan, k, denoiser, _noise(scan, k, bank, settings, rng))
            for _ in range(settings.refine_draws)
        ]
        if np.mean([g for g, _ in draws]) > settings.needed_gain:
            mean = np.mean([d for _, d in draws], axis=0)
            visible = denoiser.visible(scan.values[k], scan) == scan.values[k]
            values[k] = np.where(visible, mean, scan.values[k])
            replaced += 1
    before = estimate_noise(scan.as_volume(scan.values)).sigma
    after = estimate_noise(scan.as_volume(values)).sigma
    left = float(np.clip(after / before, _LEAST_LEFT, 1.0))
    return Refined(values, replaced / len(values), left)


def _noise(
    scan: Scan, k: int, bank: NoiseBank, settings: HorusEyeSettings, rng: np.random.Generator
) -> Floats:
    """Return noise for a whole slice, in the scan's unit."""
    noise = bank.fill(rng, (scan.values.shape[1], scan.values.shape[2]))
    if settings.mode is InputMode.NOISE_UNITS:
        added: Floats = np.float32(settings.refine_ratio) * scan.sigma[k] * noise
        return added
    width = reference_window(is_hu=scan.is_hu)[1]
    return np.float32(width * rng.uniform(*AMPLITUDE) / float(np.abs(noise).mean())) * noise


def _once(scan: Scan, k: int, denoiser: Worker, noise: Floats) -> tuple[float, Floats]:
    """Return the gain of one draw, in the mode's terms, and the denoised slice."""
    raw, sigma = denoiser.visible(scan.values[k], scan), scan.sigma[k]
    noisy = raw + noise
    added = float((np.abs(noise) / sigma).mean())  # 0.8 for one unit of normal noise
    unit = sigma * np.float32(np.hypot(1.0, _OVER_MEAN * added))
    denoised = denoiser(noisy[None], unit, scan)
    if denoiser.mode is InputMode.WINDOWS:
        return gain(raw, noisy, denoised) / reference_window(is_hu=scan.is_hu)[1], denoised
    return gain(raw / sigma, noisy / sigma, denoised / sigma) / added, denoised
