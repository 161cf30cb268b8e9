"""Batches for a stage: patches of stored estimates in all orientations (layer: training)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError

Floats = NDArray[np.float32]

HELD_OUT_EVERY = 12
"""Every so manieth item is kept for validation during training."""
MATTER = 0.15
"""From this attenuation on, in units of water, there is an object."""
_TRIES = 8
_COVERAGE = 3  # number of the channel
_RESIDUAL = 2
_UNSEEN_WEIGHT = 0.1
_LARGEST_FACTOR = 1.2
"""Denser and thinner objects: estimate, backprojection and residual scale with the truth."""


@dataclass(frozen=True, eq=False)
class StoredItem:
    """One item of :mod:`~.items` with the truth of its scan, mapped from files."""

    number: int
    channels: NDArray[np.float16]
    truth: NDArray[np.float16]
    condition: Floats
    unit_in_water: float


@dataclass(frozen=True, kw_only=True)
class PatchSettings:
    """How batches are drawn.

    Parameters
    ----------
    size
        Patches per batch.
    patch
        Edge of a patch in voxels; smaller items go in whole.
    margin
        Voxels at a patch's cut faces whose error does not count: the network sees only half of
        their surroundings.
    object_share
        Share of patches whose centre is sought within the object.
    scaled
        Whether the attenuation of each patch is multiplied by a random factor, up to a fifth.
    late_share
        Last part of the training, which minimises the squared error alone.
    """

    size: int = 2
    patch: int = 64
    margin: int = 6
    object_share: float = 0.85
    scaled: bool = True
    late_share: float = 0.25


class PatchBatches:
    """Draws batches from a folder of items; ``held_out`` draws from the items kept aside.

    A batch has ``channels [n, 5, p, p, p]`` and ``condition [n, 6]`` as
    :class:`~ctrestorelib.networks.volume_unet.VolumeUNet` wants them, ``target [n, 1, p, p, p]``:
    truth minus estimate in the channels' unit, ``weight`` of the same shape, and ``late``: 1 in the
    last part of the training, else 0.
    """

    def __init__(
        self,
        folder: Path,
        scans: Path,
        settings: PatchSettings | None = None,
        *,
        steps: int = 1,
        held_out: bool = False,
    ) -> None:
        self.settings, self.steps = settings or PatchSettings(), steps
        items = load_items(folder, scans)
        kept = min(5, len(items) - 1)  # the last one of a small collection
        self.items = [
            item for n, item in enumerate(items) if (n % HELD_OUT_EVERY == kept) == held_out
        ]
        if not self.items:
            message = f"The folder {folder.name!r} holds too few items to train on."
            raise InputError(message, hint="Train on at least two scans.")

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Return batch ``step``; it depends on ``step`` and the state of ``rng`` alone."""
        drawn = [self._sample(rng) for _ in range(self.settings.size)]
        smallest = [min(d["target"].shape[axis] for d in drawn) for axis in (1, 2, 3)]
        batch = {
            name: torch.from_numpy(np.stack([_fitted(d[name], smallest) for d in drawn]))
            for name in ("channels", "target", "weight")
        }
        batch["channels"] = batch["channels"].contiguous(memory_format=torch.channels_last_3d)
        batch["condition"] = torch.from_numpy(np.stack([d["condition"] for d in drawn]))
        batch["late"] = torch.tensor(float(step >= (1 - self.settings.late_share) * self.steps))
        return batch

    def _sample(self, rng: np.random.Generator) -> dict[str, Floats]:
        item = self.items[int(rng.integers(len(self.items)))]
        window = self._window(item, rng)
        channels = np.asarray(item.channels[(slice(None), *window)], dtype=np.float32)
        truth = np.asarray(item.truth[window], dtype=np.float32)
        target = truth * np.float32(1.0 / item.unit_in_water) - channels[0]
        if self.settings.scaled:
            _scale(channels, target, rng)
        weight = np.where(channels[_COVERAGE] > 0, np.float32(1), np.float32(_UNSEEN_WEIGHT))
        for axis, (cut, size) in enumerate(zip(window, item.truth.shape, strict=True)):
            _trim(weight, axis, cut, size, self.settings.margin)
        turn = (rng.permutation(3), rng.random(3) < 0.5)
        made = {"channels": channels, "target": target[None], "weight": weight[None]}
        return {n: _turned(a, *turn) for n, a in made.items()} | {"condition": item.condition}

    def _window(self, item: StoredItem, rng: np.random.Generator) -> tuple[slice, slice, slice]:
        """Return a window, its centre within the object if that is found in a few tries."""
        shape = item.truth.shape
        edge = [min(self.settings.patch, n) for n in shape]
        tries = _TRIES if rng.random() < self.settings.object_share else 1
        start = [0, 0, 0]
        for _ in range(tries):
            start = [int(rng.integers(n - e + 1)) for n, e in zip(shape, edge, strict=True)]
            middle = tuple(s + e // 2 for s, e in zip(start, edge, strict=True))
            if item.truth[middle] > MATTER:
                break
        k, j, i = (slice(s, s + e) for s, e in zip(start, edge, strict=True))
        return k, j, i


def load_items(folder: Path, scans: Path) -> list[StoredItem]:
    """Map all usable items of a folder, in the order of their numbers."""
    items = []
    for path in sorted(folder.glob("*.json")):
        record: dict[str, Any] = json.loads(path.read_text())
        if "unusable" in record:
            continue
        channels = np.load(folder / f"{path.stem}_channels.npy", mmap_mode="r")
        truth = np.load(scans / f"{path.stem}_truth.npy", mmap_mode="r")
        condition = np.array(record["condition"], dtype=np.float32)
        unit = float(record["unit_in_water"])
        items.append(StoredItem(int(path.stem), channels, truth, condition, unit))
    return items


def _scale(channels: Floats, target: Floats, rng: np.random.Generator) -> None:
    """Multiply the attenuation of a patch, in place, by a random factor."""
    factor = np.float32(_LARGEST_FACTOR ** rng.uniform(-1.0, 1.0))
    channels[:_RESIDUAL] *= factor
    residual = np.arctanh(np.clip(channels[_RESIDUAL], -0.999, 0.999))
    channels[_RESIDUAL] = np.tanh(residual * factor)
    target *= factor


def _trim(weight: Floats, axis: int, cut: slice, size: int, margin: int) -> None:
    """Set the weight to 0 near faces at which the patch, and not the volume, ends."""
    view = np.moveaxis(weight, axis, 0)
    if cut.start > 0:
        view[:margin] = 0
    if cut.stop < size:
        view[-margin:] = 0


def _turned(values: Floats, order: NDArray[np.int64], flips: NDArray[np.bool_]) -> Floats:
    """Return one of the 48 orientations of the last three axes."""
    out = values.transpose(0, *(1 + order))
    out = out[(slice(None), *(slice(None, None, -1 if f else 1) for f in flips))]
    return np.ascontiguousarray(out)


def _fitted(values: Floats, sizes: list[int]) -> Floats:
    k, j, i = sizes
    return values[:, :k, :j, :i]
