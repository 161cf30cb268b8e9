"""What extractor and denoiser are shown in each step (layer: training)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ctrestorelib.training.horuseye.bank import (
    CLEAN_SCALE,
    CLEAN_SHIFT_PX,
    CLEAN_TURN_DEG,
    NoiseBank,
    affine,
    flipped,
)
from ctrestorelib.training.horuseye.scans import Scan
from ctrestorelib.training.horuseye.settings import HorusEyeSettings, InputMode
from ctrestorelib.training.horuseye.windows import draw_window, through

Floats = NDArray[np.float32]

WHITE_STD = 0.05
"""Published deviation of the white noise on the extractor's inputs, in windows."""
AMPLITUDE = (0.001, 0.05)
"""Published range of the mean size of bank noise, in windows."""
INJECTED = (0.5, 2.0)
"""Noise on the extractor's inputs, in noise units."""
_LEVEL_ERROR = 0.15  # how far off the measured noise level may be: logarithmic deviation
_TRIES = 4  # crops drawn until one shows more than air
_MATERIAL = 0.25  # share of a crop that must


@dataclass(frozen=True, eq=False)
class CleanSet:
    """The current clean version of every scan, and how much of its noise is left in it.

    Parameters
    ----------
    values
        ``[k, j, i]`` for each scan; at first the scan's own values.
    left
        Noise left in each, as a share of the scan's own: 1 at first.
    """

    values: tuple[Floats, ...]
    left: tuple[float, ...]


class _Crops:
    """Draws crops from scans, large scans more often."""

    def __init__(self, scans: Sequence[Scan], settings: HorusEyeSettings) -> None:
        self.scans, self.settings = scans, settings
        weights = np.sqrt([s.values.size for s in scans])
        self.share = weights / weights.sum()
        self.floors = [_material_level(s) for s in scans]

    def draw(self, rng: np.random.Generator, margin: int) -> tuple[int, int, tuple[slice, slice]]:
        """Return scan, slice (``margin`` from the ends) and window of a crop."""
        n = int(rng.choice(len(self.scans), p=self.share))
        scan, size = self.scans[n], self.settings.crop
        for _ in range(_TRIES):
            k = int(rng.integers(margin, len(scan.values) - margin))
            j, i = (int(rng.integers(max(1, m - size + 1))) for m in scan.values.shape[1:])
            window = (slice(j, j + size), slice(i, i + size))
            if (scan.values[k][window] > self.floors[n]).mean() > _MATERIAL:
                break
        return n, k, window

    def fitted(self, image: Floats) -> Floats:
        """Return a crop mirrored up to the full size where the scan is smaller."""
        widths = [(0, self.settings.crop - m) for m in image.shape]
        return np.pad(image, widths, mode="symmetric") if any(w for _, w in widths) else image


class ExtractorBatches:
    """Neighbours with added noise, and the slice between them."""

    def __init__(
        self,
        scans: Sequence[Scan],
        clean: CleanSet,
        bank: NoiseBank | None,
        settings: HorusEyeSettings,
    ) -> None:
        self.crops, self.clean, self.bank = _Crops(scans, settings), clean, bank
        self.scans, self.settings = scans, settings

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Return ``input`` ``(n, 2, h, w)`` and ``target`` ``(n, 1, h, w)``."""
        del step
        return _stacked([self._one(rng) for _ in range(self.settings.batch)])

    def _one(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        n, k, window = self.crops.draw(rng, 1)
        scan = self.scans[n]
        images = [scan.values[k - 1], scan.values[k + 1], self.clean.values[n][k]]
        crops = np.stack([self.crops.fitted(image[window]) for image in images])
        if self.settings.mode is InputMode.WINDOWS:
            crops = through(crops, *draw_window(rng, is_hu=scan.is_hu))
        else:
            crops = crops / self.crops.fitted(scan.sigma[k][window])
        if rng.random() < 0.5:
            crops = crops[:, :, ::-1]
        seen = crops[:2] + self._added(rng)
        return np.ascontiguousarray(seen), np.ascontiguousarray(crops[2:])

    def _added(self, rng: np.random.Generator) -> Floats:
        """Independent noise for both neighbours: white, or from the bank once there is one."""
        size, windows = self.settings.crop, self.settings.mode is InputMode.WINDOWS
        if self.bank is None or rng.random() < 0.5:
            level = WHITE_STD if windows else rng.uniform(*INJECTED)
            return np.float32(level) * rng.standard_normal((2, size, size), dtype=np.float32)
        fields = np.stack([self.bank.draw(rng, size, published=windows) for _ in range(2)])
        if windows:
            levels = [rng.uniform(*AMPLITUDE) / max(float(np.abs(f).mean()), 1e-6) for f in fields]
        else:
            levels = [rng.uniform(*INJECTED)] * 2
        added: Floats = np.array(levels, dtype=np.float32)[:, None, None] * fields
        return added


class DenoiserBatches:
    """Clean slices with noise from the bank, and without."""

    def __init__(
        self, scans: Sequence[Scan], clean: CleanSet, bank: NoiseBank, settings: HorusEyeSettings
    ) -> None:
        self.crops, self.clean, self.bank = _Crops(scans, settings), clean, bank
        self.scans, self.settings = scans, settings

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Return ``input`` and ``target``, both ``(n, 1, h, w)``."""
        del step
        one = self._windowed if self.settings.mode is InputMode.WINDOWS else self._in_units
        return _stacked([one(rng) for _ in range(self.settings.batch)])

    def _windowed(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        n, k, window = self.crops.draw(rng, 0)
        image = self.crops.fitted(self.clean.values[n][k][window])
        image = through(image, *draw_window(rng, is_hu=self.scans[n].is_hu))
        image = flipped(affine(image, rng, CLEAN_SHIFT_PX, CLEAN_TURN_DEG, CLEAN_SCALE, p=0.5), rng)
        noise = self.bank.draw(rng, self.settings.crop, published=True)
        level = rng.uniform(*AMPLITUDE) / max(float(np.abs(noise).mean()), 1e-6)
        return (image + np.float32(level) * noise)[None], image[None]

    def _in_units(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        n, k, window = self.crops.draw(rng, 0)
        left = self.clean.left[n]
        ratio = draw_ratio(rng, left, self.settings.noise_ratio)
        # What counts as one unit is all the noise that is in the picture, as it will be in use.
        units = np.hypot(ratio, left) * np.exp(rng.normal(0, _LEVEL_ERROR))
        unit = self.scans[n].sigma[k][window] * np.float32(units)
        image = flipped(self.crops.fitted(self.clean.values[n][k][window] / unit), rng)
        size = self.settings.crop
        if rng.random() < self.settings.white_share:
            noise = rng.standard_normal((size, size), dtype=np.float32)
        else:
            noise = self.bank.draw(rng, size)
        return (image + np.float32(ratio / units) * noise)[None], image[None]


def draw_ratio(rng: np.random.Generator, left: float, limits: tuple[float, float]) -> float:
    """Return how much noise to add, in units of the scan's own; at least twice what is left."""
    low = max(limits[0], 2.0 * left)
    return float(np.exp(rng.uniform(np.log(low), np.log(max(limits[1], 1.25 * low)))))


def _material_level(scan: Scan) -> float:
    """Value above which there is more than air: -500 HU, or the lower quarter of grey values."""
    return -500.0 if scan.is_hu else 250.0


def _stacked(pairs: Sequence[tuple[Floats, Floats]]) -> dict[str, torch.Tensor]:
    seen, target = (np.stack([pair[part] for pair in pairs]) for part in (0, 1))
    return {"input": torch.from_numpy(seen), "target": torch.from_numpy(target)}
