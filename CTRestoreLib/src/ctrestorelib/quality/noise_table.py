"""The noise of a scan as rows of a table, in words a person reads (layer: quality)."""

from __future__ import annotations

import math

from ctrestorelib.quality.scan_noise import ScanNoise

Row = tuple[str, str, str]

_TISSUES = {"soft_tissue": "soft tissue", "fat": "fat", "lung": "lung", "bone": "bone"}


def noise_rows(noise: ScanNoise) -> list[Row]:
    """Return (what, value, how it was measured or what it means) for each figure."""
    return [*_level_rows(noise), *_slice_rows(noise), *_texture_rows(noise)]


def _level_rows(noise: ScanNoise) -> list[Row]:
    unit, estimate = noise.unit.label, noise.estimate
    low, high = estimate.interval
    rows = [("Noise (standard deviation)", f"{estimate.sigma:.3g} {unit}",
             f"95 % interval {low:.3g} to {high:.3g}")]  # fmt: skip
    for name, tissue in estimate.tissues.items():
        told = "its fine structure included" if name in ("lung", "bone") else ""
        rows.append((f"Noise in {_TISSUES[name]}", f"{tissue.sigma:.3g} {unit}", told))
    low, middle, high = noise.sigma_range
    rows.append(("Noise from place to place", f"{low:.3g} to {high:.3g} {unit}",
                 f"nine tenths of the scan; typical {middle:.3g}"))  # fmt: skip
    return rows


def _slice_rows(noise: ScanNoise) -> list[Row]:
    if not noise.rho:
        return [("Noise shared by neighbouring slices", "-", "could not be measured")]
    step = noise.independent_step
    told = f"independent from {step} slices apart on" if step else "no slices are independent"
    first = "neighbouring slices are independent" if step == 1 else told
    return [("Noise shared by neighbouring slices", f"{noise.rho[0]:.2f}", first)]


def _texture_rows(noise: ScanNoise) -> list[Row]:
    spectrum = noise.spectrum
    if spectrum is None:
        return [("Texture of the noise", "-", "could not be measured")]
    low, high = spectrum.f_av_interval
    mean = ("Mean frequency of the noise", f"{spectrum.f_av_per_mm:.3g} 1/mm",
            f"95 % interval {low:.3g} to {high:.3g}")  # fmt: skip
    end = ("Nine tenths of the noise below", f"{spectrum.f_90_per_mm:.3g} 1/mm", "")
    where = f"{spectrum.regions} regions of {spectrum.size_px} pixels in {spectrum.tissue}"
    # Streaks lie across the direction in which the noise is strongest.
    degrees = (math.degrees(spectrum.streak_rad) + 90.0) % 180.0
    streaks = ("Streaks", f"{100 * spectrum.streak:.0f} %",
               f"mostly at {degrees:.0f} degrees from the rows")  # fmt: skip
    return [("Sharpness of the kernel", noise.sharpness, "told from the noise"), mean, end,
            *([streaks] if spectrum.streak >= 0.2 else []),
            ("Trust in texture and correlation", noise.trust, where)]  # fmt: skip
