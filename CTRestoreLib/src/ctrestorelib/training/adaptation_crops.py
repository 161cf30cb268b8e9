"""Crops of one noisy volume, as examples for a network's adaptation to it (layer: training).

Two kinds of examples need no clean scan. *Recorrupted*: noise ``n'`` of the scan's own kind is
added to the input and taken off the target, ``y + a n'`` and ``y - n'/a``; if ``n'`` has the
covariance of the scan's noise, the two carry independent noise. *Neighbour*: the target is a slice
so far away that its noise is another, the input has no slice nearer to it than the middle one.

Pang T et al. Recorrupted-to-recorrupted: unsupervised deep learning for image denoising. CVPR
2021, doi 10.1109/CVPR46437.2021.00208. Niu C et al. Noise suppression with similarity-based
self-supervised deep learning. IEEE Trans Med Imaging 42(6), 2023, doi 10.1109/TMI.2022.3231428.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.slices import mirrored
from ctrestorelib.core.units import Unit, hu_from_mu
from ctrestorelib.core.volume import PADDING_BELOW_HU, Volume
from ctrestorelib.quality.sigma_map import SigmaMap

Floats = NDArray[np.float32]
DrawNoise = Callable[[np.random.Generator], Floats]
"""Returns noise of the volume's shape ``[k, j, i]``, in its unit."""

HALF = 2
"""Slices on each side of the middle one."""
_GRID = 16
_AIR_HU, _MATERIAL = -900.0, 0.3
_NOISE_SLICES = 160  # slices of noise kept; each is used at many places and with both signs


@dataclass(frozen=True)
class Place:
    """A crop of the slice ``k``; ``toward`` is the side (+1, -1) on which its target lies."""

    k: int
    j: int
    i: int
    toward: int = 1


class VolumeCrops:
    """Cuts examples out of one volume.

    Parameters
    ----------
    volume
        Any unit; attenuation is seen as HU.
    sigma
        Its noise, in its unit.
    size
        Rows and columns of a crop; less if the volume is smaller, a multiple of 16.

    Raises
    ------
    InputError
        If a slice is smaller than 32 pixels, or the map belongs to another volume.
    """

    def __init__(self, volume: Volume, sigma: SigmaMap, size: int) -> None:
        if sigma.shape != volume.shape:
            message = f"The noise map has shape {sigma.shape}, the volume {volume.shape}."
            raise InputError(message, hint="Measure the noise of this very volume.")
        self.size = min(size, *volume.shape[1:]) // _GRID * _GRID
        if self.size < 2 * _GRID:
            message = f"Slices of at least 32 x 32 pixels were expected, got {volume.shape[1:]}."
            raise InputError(message, hint="Adapt to a larger region.")
        self._sigma, self._volume, self.slices = sigma, volume, volume.shape[0]
        self._to_hu = volume.unit is Unit.PER_MM
        self.is_hu = volume.unit is not Unit.GREY
        self._noise: list[NDArray[np.float16]] = []

    def prepare_noise(self, draw: DrawNoise, rng: np.random.Generator) -> None:
        """Keep noise realisations, in units of the noise level.

        Raises
        ------
        InputError
            If the noise has another shape than the volume.
        """
        level = self._sigma.slab(0, self.slices)
        for _ in range(-(-_NOISE_SLICES // self.slices)):
            noise = draw(rng)
            if noise.shape != self._volume.shape:
                message = f"Noise of shape {self._volume.shape} was expected, got {noise.shape}."
                raise InputError(message, hint="Make the noise for this very volume.")
            self._noise.append((noise / level).astype(np.float16))

    def places(self, slices: Sequence[int], step: int) -> list[Place]:
        """Return the places in some slices, every half crop, that show material and no padding.

        Parameters
        ----------
        slices
            Indices of slices.
        step
            Distance to the target slice; a place is left out where there is none on either side.
        """
        rows, columns = (self._starts(n) for n in self._volume.shape[1:])
        found = []
        for k in slices:
            sides = [side for side in (1, -1) if 0 <= k + side * step < self.slices]
            plane = self.values(k)
            for count, (j, i) in enumerate((j, i) for j in rows for i in columns):
                crop = plane[j : j + self.size, i : i + self.size]
                if sides and self._useful(crop):
                    found.append(Place(k, j, i, sides[count % len(sides)]))
        return found

    def values(self, k: int) -> Floats:
        """Return slice ``k`` in HU or grey values."""
        plane = np.asarray(self._volume.values[k], dtype=np.float32)
        return hu_from_mu(plane) if self._to_hu else plane

    def recorrupted(
        self, place: Place, amount: float, rng: np.random.Generator
    ) -> dict[str, Floats]:
        """Return ``stack``, ``context`` and ``target`` of a recorrupted example.

        ``target`` is the noise to predict, in units of the *input's* noise level: with u = n' /
        level, ``(y1 - y2) / level1`` = u (a + 1/a) / sqrt(1 + a^2).
        """
        around = [mirrored(place.k + d, self.slices) for d in range(-HALF, HALF + 1)]
        unit = self._unit_noise(place, around, rng)
        level = self._level(place)
        stack = self._stack(place, around) + np.float32(amount) * level * unit
        growth = np.float32(np.sqrt(1.0 + amount**2))
        example = self._as_seen(stack, level * growth)
        example["target"] = unit[HALF][None] * (growth / np.float32(amount))
        return example

    def neighbour(self, place: Place, step: int, rho: float) -> dict[str, Floats]:
        """Return an example whose target is the slice ``step`` away.

        The noise of that slice may share ``rho`` with the middle one's: the target is corrected
        for it, ``(y_t - rho y_z) / (1 - rho)``. Slices on the target's side are replaced by their
        mirror images on the other side.
        """
        level = self._level(place)
        away = [place.k - place.toward * d for d in (2, 1, 0, 1, 2)]
        stack = self._stack(place, [mirrored(k, self.slices) for k in away])
        target = self._cut(place, place.k + place.toward * step)
        example = self._as_seen(stack, level)
        example["target"] = (stack[HALF] - target)[None] / (level * np.float32(1.0 - rho))
        return example

    def beyond(self, place: Place, step: int) -> dict[str, Floats]:
        """Return an example as at denoising, whose target is the slice ``step`` away.

        That slice must lie outside the input, and its noise be independent of all the input's.
        """
        example = self.plain(place)
        target = self._cut(place, place.k + place.toward * step)
        example["target"] = (example["middle"] - target) / example["level"]
        return example

    def plain(self, place: Place, offset: int = 0) -> dict[str, Floats]:
        """Return ``stack``, ``context``, ``middle`` and ``level`` as a denoiser sees them."""
        place = Place(place.k + offset, place.j, place.i)
        around = [mirrored(place.k + d, self.slices) for d in range(-HALF, HALF + 1)]
        stack, level = self._stack(place, around), self._level(place)
        return {**self._as_seen(stack, level), "middle": stack[HALF][None], "level": level[None]}

    def _as_seen(self, stack: Floats, level: Floats) -> dict[str, Floats]:
        context = np.zeros((2, *level.shape), dtype=np.float32)
        if self.is_hu:
            context[0] = np.clip(stack[HALF] / 1000.0, -1.0, 3.0)
            context[1] = np.clip(np.log2(level / 20.0), -4.0, 4.0)
        return {"stack": stack / level, "context": context}

    def _unit_noise(self, place: Place, around: list[int], rng: np.random.Generator) -> Floats:
        """Return unit noise of the same pixels from other slices: their texture is alike."""
        source = self._noise[int(rng.integers(len(self._noise)))]
        shift = int(rng.integers(-min(around), self.slices - max(around)))
        sign = np.float32(rng.choice((-1.0, 1.0)))
        window = (slice(place.j, place.j + self.size), slice(place.i, place.i + self.size))
        return np.stack([source[k + shift][window] for k in around]).astype(np.float32) * sign

    def _stack(self, place: Place, around: list[int]) -> Floats:
        return np.stack([self._cut(place, k) for k in around])

    def _cut(self, place: Place, k: int) -> Floats:
        crop = self._volume.values[
            k, place.j : place.j + self.size, place.i : place.i + self.size
        ].astype(np.float32)
        return hu_from_mu(crop) if self._to_hu else crop

    def _level(self, place: Place) -> Floats:
        level = self._sigma.slice(place.k)[
            place.j : place.j + self.size, place.i : place.i + self.size
        ]
        return hu_from_mu(level) + np.float32(1000.0) if self._to_hu else level

    def _starts(self, length: int) -> list[int]:
        last = length - self.size
        return sorted({*range(0, last + 1, max(self.size // 2, 1)), last})

    def _useful(self, crop: Floats) -> bool:
        if not self.is_hu:
            return bool(crop.std() > 0)
        return bool(crop.min() >= PADDING_BELOW_HU and (crop > _AIR_HU).mean() > _MATERIAL)


def batch_of(examples: Sequence[dict[str, Floats]]) -> dict[str, torch.Tensor]:
    """Return examples as tensors ``[n, ...]`` by name."""
    return {
        name: torch.from_numpy(np.stack([example[name] for example in examples]))
        for name in examples[0]
    }
