"""The noise of a scan in one picture: map, spectrum, slice correlation (layer: apps; Pillow)."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.apps.pictures import Grey
from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.scan_noise import LAGS, ScanNoise

SIDE, _GAP, _TOP = 300, 60, 40
_INK, _AXIS, _CURVE, _FAINT = (30, 30, 30), (120, 120, 120), (20, 90, 170), (225, 225, 225)


def noise_picture(volume: Volume, noise: ScanNoise) -> bytes:
    """Return a PNG: middle slice, its noise map, spectrum and correlation of slices.

    Parameters
    ----------
    volume
        The scan.
    noise
        As just measured in it, map included.
    """
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (4 * SIDE + 5 * _GAP, SIDE + 2 * _TOP + 20), "white")
    draw = ImageDraw.Draw(picture)
    k = volume.shape[0] // 2
    slices = [(_grey(volume.values[k]), f"Slice {k}")]
    if noise.sigma is not None:
        slices.append((_heat(noise.sigma.slice(k), noise.sigma_range), _map_title(noise)))
    for n, (image, title) in enumerate(slices):
        scale = SIDE / max(image.shape[:2])
        size = (round(scale * image.shape[1]), round(scale * image.shape[0]))
        left = _GAP + n * (SIDE + _GAP)
        picture.paste(Image.fromarray(image).resize(size), (left, _TOP))
        draw.text((left, _TOP - 20), title, _INK)
    _spectrum(draw, _GAP + 2 * (SIDE + _GAP), noise)
    _correlation(draw, _GAP + 3 * (SIDE + _GAP), noise)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _map_title(noise: ScanNoise) -> str:
    low, _, high = noise.sigma_range
    return f"Noise: dark {low:.3g}, bright {high:.3g} {noise.unit.label}"


def _grey(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = (float(x) for x in np.percentile(values, (1, 99)))
    return Grey(low, max(high, low + 1e-6)).apply(values)


def _heat(levels: NDArray[np.float32], span: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Return the map as colours from black over red and yellow to white ``[j, i, rgb]``."""
    t = np.clip((levels - span[0]) / max(span[2] - span[0], 1e-12), 0, 1)
    rgb = np.stack([np.clip(3 * t - n, 0, 1) for n in range(3)], axis=-1)
    return np.asarray(255 * rgb, dtype=np.uint8)


def _spectrum(draw: Any, left: int, noise: ScanNoise) -> None:
    spectrum = noise.spectrum
    draw.text((left, _TOP - 20), "Noise power over frequency [1/mm]", _INK)
    _frame(draw, left)
    if spectrum is None:
        draw.text((left + 20, _TOP + SIDE // 2), "could not be measured", _INK)
        return
    end = 0.5 / max(noise.spacing_mm[:2])
    inside = spectrum.frequency_per_mm <= end * 1.001
    x = left + SIDE * spectrum.frequency_per_mm[inside] / end
    y = _TOP + SIDE * (1 - 0.95 * spectrum.power[inside] / spectrum.power[inside].max())
    draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), _CURVE, 2)
    for share in (0.25, 0.5, 0.75, 1.0):
        draw.text((left + SIDE * share - 12, _TOP + SIDE + 5), f"{end * share:.2f}", _INK)
    at = left + SIDE * min(1.0, spectrum.f_av_per_mm / end)
    draw.line([(at, _TOP), (at, _TOP + SIDE)], _AXIS, 1)
    draw.text((at + 4, _TOP + 4), f"mean {spectrum.f_av_per_mm:.2f}", _INK)


def _correlation(draw: Any, left: int, noise: ScanNoise) -> None:
    draw.text((left, _TOP - 20), "Noise shared with the slice 1, 2, ... away", _INK)
    _frame(draw, left)
    zero, unit = _TOP + 0.8 * SIDE, 0.8 * SIDE
    draw.line([(left, zero), (left + SIDE, zero)], _AXIS, 1)
    limit = zero - 0.1 * unit
    draw.line([(left, limit), (left + SIDE, limit)], _FAINT, 1)
    width = SIDE / LAGS
    for n, rho in enumerate(noise.rho):
        a, b = sorted((zero - rho * unit, zero))
        x = left + n * width
        draw.rectangle([x + 0.2 * width, a, x + 0.8 * width, b], _CURVE)
        draw.text((x + 0.25 * width, a - 14), f"{rho:.2f}", _INK)
        draw.text((x + 0.45 * width, _TOP + SIDE + 5), str(n + 1), _INK)
    if not noise.rho:
        draw.text((left + 20, _TOP + SIDE // 2), "could not be measured", _INK)


def _frame(draw: Any, left: int) -> None:
    draw.rectangle([left, _TOP, left + SIDE, _TOP + SIDE], None, _AXIS)
