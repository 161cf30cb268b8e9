"""The figures of one restored volume against its reference."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.quality.reference import psnr, rmse, ssim
from denoise.cases import Case

Floats = NDArray[np.float32]


def scores(case: Case, values: Floats) -> dict[str, float]:
    """Return RMSE (HU, body, no window), PSNR and SSIM (whole slices, the region's window).

    The window is clipped before PSNR and SSIM; its width is the data range. SSIM: Gaussian 11 x 11,
    mean over slices.
    """
    low, high = case.region.window
    image, truth = (np.clip(v, low, high) for v in (values, case.reference.values))
    width = high - low
    return {
        "rmse": float(rmse(values, case.reference.values, mask=case.body)),
        "psnr": float(psnr(image, truth, data_range=width)),
        "ssim": float(ssim(image, truth, data_range=width, protocol="2d-gaussian11")),
    }


def gain_db(input_rmse: float, output_rmse: float) -> float:
    """Return by how much the error fell, in dB."""
    return float(20.0 * np.log10(input_rmse / output_rmse))


def best_strength(case: Case, restored: Floats) -> float:
    """Return the strength in 0..1 that leaves the smallest error: an oracle, it knows the answer.

    The error is a parabola in the strength, so its lowest point needs no search.
    """
    inside = case.body
    step = (restored - case.noisy.values)[inside].astype(np.float64)
    wanted = (case.reference.values - case.noisy.values)[inside].astype(np.float64)
    power = float(step @ step)
    return 0.0 if power == 0 else float(np.clip(step @ wanted / power, 0.0, 1.0))


def at_strength(case: Case, restored: Floats, strength: float) -> Floats:
    """Return the mixture of input and restored values."""
    mixed: Any = case.noisy.values + np.float32(strength) * (restored - case.noisy.values)
    return np.asarray(mixed, dtype=np.float32)
