"""Batches for the denoiser: level, place and orientation drawn anew each time (layer: training)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import zoom

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.slices import mirrored
from ctrestorelib.training.denoiser_items import STORED_PER_HU, STORED_PER_UNIT
from ctrestorelib.training.textures import share, texture

Floats = NDArray[np.float32]

_HELD_OUT_EVERY = 20  # every twentieth item is kept for validation during training
_HALO = 2
_TEXTURE_SEED = 11
_TEXTURE_SHAPE = (12, 160, 160)


@dataclass(frozen=True)
class Item:
    """One item of :mod:`ctrestorelib.training.denoiser_items`, mapped from its files."""

    clean: NDArray[np.int16]
    noise: NDArray[np.int16]
    level: NDArray[np.int16]
    is_hu: bool
    sigma: float
    real: bool


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How batches are drawn.

    Parameters
    ----------
    size
        Patches per batch.
    patch
        Rows and columns of a patch, a multiple of 16.
    real_share
        Share of patches from real volumes; the others are procedural.
    sigma_range
        Noise levels, in HU; drawn evenly in the logarithm.
    cleaner_by
        How many times the noise left in a real volume the added noise is at least.
    level_error
        Relative error of the noise level that the network must live with.
    textures
        How many random structures are held ready (:mod:`ctrestorelib.training.textures`).
    texture_share
        Share of procedural patches, and half as much of real ones, that get one.
    texture_range
        Its strength as a multiple of the noise level; drawn evenly in the logarithm.
    """

    size: int = 16
    patch: int = 128
    real_share: float = 0.5
    sigma_range: tuple[float, float] = (3.0, 150.0)
    cleaner_by: float = 3.0
    level_error: float = 0.2
    textures: int = 60
    texture_share: float = 0.7
    texture_range: tuple[float, float] = (0.15, 3.0)


class DenoiserBatches:
    """Draws batches from a folder of items; ``held_out`` draws from the items kept aside.

    A batch has ``stack [n, 5, p, p]`` and ``context [n, 2, p, p]`` as
    :class:`~ctrestorelib.networks.residual_unet.ResidualUNet` wants them, ``target [n, 1, p, p]``:
    the noise of the middle slice, in noise units.
    """

    def __init__(
        self, folder: Path, settings: BatchSettings | None = None, *, held_out: bool = False
    ) -> None:
        self.settings = settings or BatchSettings()
        items = load_items(folder)
        kept = min(7, len(items) - 1)  # the last one of a small collection
        chosen = [i for n, i in enumerate(items) if (n % _HELD_OUT_EVERY == kept) == held_out]
        self.real = [i for i in chosen if i.real]
        self.made = [i for i in chosen if not i.real]
        if not (self.real or self.made):
            message = f"The folder {folder.name!r} holds no training items."
            raise InputError(message, hint="Make them first with make_items.")
        sizes = np.array([i.clean.size for i in self.real], dtype=float)
        drawn = np.random.default_rng(_TEXTURE_SEED)
        self.textures = [texture(drawn, _TEXTURE_SHAPE) for _ in range(self.settings.textures)]
        self._weights = np.sqrt(sizes) / np.sqrt(sizes).sum() if len(sizes) else sizes

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Return batch ``step``; it depends on the state of ``rng`` alone."""
        del step
        drawn = [self._sample(rng) for _ in range(self.settings.size)]
        return {
            name: torch.from_numpy(np.stack([d[name] for d in drawn]))
            for name in ("stack", "context", "target")
        }

    def _item(self, rng: np.random.Generator) -> Item:
        if self.real and (not self.made or rng.random() < self.settings.real_share):
            return self.real[int(rng.choice(len(self.real), p=self._weights))]
        return self.made[int(rng.integers(len(self.made)))]

    def _sample(self, rng: np.random.Generator) -> dict[str, Floats]:
        item, settings = self._item(rng), self.settings
        which = int(rng.integers(len(item.noise)))
        rows, cols = item.clean.shape[1:]
        p = settings.patch
        j, i = (int(rng.integers(max(1, n - p + 1))) for n in (rows, cols))
        middle = int(rng.integers(len(item.clean)))
        window = (slice(j, j + p), slice(i, i + p))
        stride = 2 if rng.random() < 0.2 else 1
        near = [mirrored(middle + d, len(item.clean)) for d in range(-_HALO, _HALO + 1)]
        far = [mirrored(middle + d * stride, len(item.clean)) for d in range(-_HALO, _HALO + 1)]
        gain = 1.0 if item.is_hu else float(rng.uniform(0.3, 1.5))
        clean = _cut(item.clean, far, window, p) * np.float32(gain / STORED_PER_HU)
        sigma = _sigma(rng, item.sigma * gain, settings)
        clean = self._structured(rng, item, clean, sigma)
        noise = _cut(item.noise[which], near, window, p) * np.float32(sigma / STORED_PER_UNIT)
        level = _cut(item.level[which], [middle], window, p) * np.float32(sigma / STORED_PER_UNIT)
        level = np.hypot(level, np.float32(item.sigma * gain))
        if rng.random() < 0.05:  # a single slice: its neighbours are itself
            clean, noise = (np.repeat(a[_HALO : _HALO + 1], 5, axis=0) for a in (clean, noise))
        known = level * _level_error(rng, p, settings.level_error)
        noisy = clean + noise
        context = np.zeros((2, p, p), dtype=np.float32)
        if item.is_hu and rng.random() > 0.2:
            context[0] = np.clip(noisy[_HALO] / 1000.0, -1.0, 3.0)
            context[1] = np.clip(np.log2(known[0] / 20.0), -4.0, 4.0)
        out = {"stack": noisy / known, "context": context, "target": noise[_HALO][None] / known}
        turn = int(rng.integers(8))
        return {n: _turned(np.asarray(a, dtype=np.float32), turn) for n, a in out.items()}

    def _structured(
        self, rng: np.random.Generator, item: Item, clean: Floats, sigma: float
    ) -> Floats:
        """Add fine structure to some patches."""
        settings = self.settings
        chance = settings.texture_share * (0.5 if item.real else 1.0)
        if not self.textures or rng.random() >= chance:
            return clean
        chosen = self.textures[int(rng.integers(len(self.textures)))]
        low, high = settings.texture_range
        strength = sigma * float(np.exp(rng.uniform(np.log(low), np.log(high))))
        k, j, i = (
            int(rng.integers(max(1, n - m + 1)))
            for n, m in zip(chosen.shape, clean.shape, strict=True)
        )
        n, p = clean.shape[:2]
        cut = chosen[k : k + n, j : j + p, i : i + p]
        return clean + np.float32(strength) * share(rng, clean, is_hu=item.is_hu) * cut


def load_items(folder: Path) -> list[Item]:
    """Map all items of a folder, in the order of their numbers."""
    items = []
    for path in sorted(folder.glob("*.json")):
        facts: dict[str, Any] = json.loads(path.read_text())
        if facts.get("usable"):
            clean, noise, level = (
                np.load(folder / f"{path.stem}_{what}.npy", mmap_mode="r")
                for what in ("clean", "noise", "level")
            )
            items.append(Item(clean, noise, level, facts["is_hu"], facts["sigma"], facts["real"]))
    return items


def _cut(
    values: NDArray[Any], slices: list[int], window: tuple[slice, slice], patch: int
) -> Floats:
    """Return the window of some slices as float32, mirrored where it is smaller than the patch."""
    cut = np.stack([values[k][window] for k in slices]).astype(np.float32)
    missing = [(0, patch - n) for n in cut.shape[1:]]
    return cut if not any(b for _, b in missing) else np.pad(cut, [(0, 0), *missing], "symmetric")


def _sigma(rng: np.random.Generator, left: float, settings: BatchSettings) -> float:
    low, high = settings.sigma_range
    low = min(max(low, settings.cleaner_by * left), high)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _level_error(rng: np.random.Generator, patch: int, size: float) -> Floats:
    """Return a smooth factor around 1: what the measured noise level is wrong by."""
    coarse = rng.standard_normal((4, 4)) * size + rng.standard_normal() * size
    return np.asarray(np.exp(zoom(coarse, patch / 4, order=1)[None]), dtype=np.float32)


def _turned(values: Floats, turn: int) -> Floats:
    """Return one of the eight orientations of the last two axes."""
    if turn & 4:
        values = values.swapaxes(-1, -2)
    return np.ascontiguousarray(np.rot90(values, turn & 3, axes=(-2, -1)))
