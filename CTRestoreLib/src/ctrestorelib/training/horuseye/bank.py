"""The noise bank: patches of real noise, drawn with augmentation (layer: training)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.training.horuseye.purify import Patch

Floats = NDArray[np.float32]

SHIFT_PX, TURN_DEG, SCALE = 128.0, 30.0, (-0.8, 0.2)
"""Published ranges of the noise's affine augmentation, on slices of 512 pixels."""
CLEAN_SHIFT_PX, CLEAN_TURN_DEG, CLEAN_SCALE = 64.0, 18.0, (-0.4, 0.5)
"""Published ranges for clean slices."""
GRAIN = (0.7, 1.5)
"""How much finer or coarser we make the grain: other kernels than the training scans have."""
_ENOUGH_PATCHES = 16  # of a scan, to make whole fields of noise from them


@dataclass(frozen=True, eq=False)
class NoiseBank:
    """Noise patches of mean 0 and deviation 1.

    Parameters
    ----------
    patches
        ``[n, size, size]``.
    scans
        Number of the scan of each patch: one noise field is made of one scan's noise.
    """

    patches: NDArray[np.float16]
    scans: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.patches)

    def draw(self, rng: np.random.Generator, size: int, *, published: bool = False) -> Floats:
        """Return one augmented noise field ``[size, size]``.

        Parameters
        ----------
        rng
            Source of randomness: the same state gives the same noise.
        size
            Side in pixels.
        published
            True: shift, turn and scale with zeros where nothing is left (probability 0.5), as in
            HorusEye. False: the grain is made finer or coarser (probability 0.5) and brought back
            to deviation 1, so that every pixel has noise of known strength. Flips and quarter
            turns follow either way.
        """
        if published:
            field = self.fill(rng, (size, size))
            return flipped(affine(field, rng, SHIFT_PX, TURN_DEG, SCALE, p=0.5), rng)
        if rng.random() < 0.5:
            return flipped(self.fill(rng, (size, size)), rng)
        zoom = float(np.exp(rng.uniform(*np.log(GRAIN))))
        small = int(np.ceil(size / zoom)) + 1
        return flipped(_regrained(self.fill(rng, (small, small)), zoom, size), rng)

    def fill(self, rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
        """Return noise of deviation 1 for a whole slice, from overlapping patches of one scan.

        Patches fade into each other with weights whose squares sum to 1, which keeps the variance.
        """
        members = np.flatnonzero(self.scans == self._some_scan(rng))
        step = self.patches.shape[-1] // 2
        weight = np.sin(np.pi * (np.arange(2 * step) + 0.5) / (2 * step)).astype(np.float32)
        fade = weight[:, None] * weight
        rows, cols = (n + 2 * step + (-n) % step for n in shape)
        out = np.zeros((rows, cols), dtype=np.float32)
        for j in range(0, rows - step, step):
            for i in range(0, cols - step, step):
                patch = self.patches[members[int(rng.integers(len(members)))]]
                patch = flipped(patch[: 2 * step, : 2 * step].astype(np.float32), rng)
                out[j : j + 2 * step, i : i + 2 * step] += fade * patch
        return out[step : step + shape[0], step : step + shape[1]]

    def _some_scan(self, rng: np.random.Generator) -> int:
        """Return a scan, more often one with many patches; few patches would only repeat."""
        scans, counts = np.unique(self.scans, return_counts=True)
        enough = counts >= min(_ENOUGH_PATCHES, counts.max())
        weights = np.sqrt(counts * enough)
        return int(rng.choice(scans, p=weights / weights.sum()))

    def save(self, path: Path) -> None:
        """Write the bank as plain NumPy arrays (``.npz``), as a whole or not at all."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, patches=self.patches, scans=self.scans)

    @classmethod
    def load(cls, path: Path) -> NoiseBank:
        """Read a bank written by :meth:`save`."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["patches"], arrays["scans"])


def bank_of(patches: Sequence[Patch], limit: int, rng: np.random.Generator) -> NoiseBank:
    """Return a bank of at most ``limit`` patches; scans with few keep all of theirs.

    Raises
    ------
    InputError
        If there is none.
    """
    if not patches:
        message = "No residual passed for noise: the noise bank would be empty."
        hint = (
            "Train the extractor for longer, use thinner slices, or relax max_gradient_correlation "
            "and max_spectrum_error."
        )
        raise InputError(message, hint=hint)
    chosen: list[int] = []
    by_scan = [[n for n, p in enumerate(patches) if p.scan == s] for s in {p.scan for p in patches}]
    by_scan.sort(key=len)
    for done, members in enumerate(by_scan):
        share = (limit - len(chosen)) // (len(by_scan) - done)
        chosen += rng.permutation(members)[:share].tolist()
    kept = [patches[n] for n in sorted(chosen)]
    values = np.stack([p.values for p in kept]).astype(np.float16)
    return NoiseBank(values, np.array([p.scan for p in kept], dtype=np.int32))


def flipped(image: Floats, rng: np.random.Generator) -> Floats:
    """Return the image flipped (probability 0.5) and turned by a quarter (probability 0.5)."""
    if rng.random() < 0.5:
        image = image[:, ::-1]
    if rng.random() < 0.5:
        image = np.rot90(image)
    return np.ascontiguousarray(image)


def affine(
    image: Floats,
    rng: np.random.Generator,
    shift_px: float,
    turn_deg: float,
    scale: tuple[float, float],
    *,
    p: float,
) -> Floats:
    """Return the image shifted, turned and scaled at random (probability ``p``), zeros outside.

    Parameters
    ----------
    shift_px
        Largest shift along each axis, for 512 pixels; in proportion for smaller images.
    turn_deg
        Largest turn either way.
    scale
        Range of the relative change of size.
    """
    from scipy.ndimage import affine_transform

    if rng.random() >= p:
        return image
    limit = shift_px * np.asarray(image.shape) / 512.0
    shift = rng.uniform(-limit, limit)
    turn = np.deg2rad(rng.uniform(-turn_deg, turn_deg))
    zoom = 1.0 + rng.uniform(*scale)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / zoom
    middle = (np.asarray(image.shape) - 1) / 2.0
    offset = middle - matrix @ (middle + shift)
    moved: Floats = affine_transform(image, matrix, offset, order=1, mode="constant")
    return moved


def _regrained(field: Floats, zoom: float, size: int) -> Floats:
    """Return the field with its grain ``zoom`` times as coarse, cut to ``size``, deviation 1."""
    from scipy.ndimage import affine_transform

    grown = affine_transform(
        field, np.full(2, 1.0 / zoom), output_shape=(size, size), order=1, mode="mirror"
    )
    out: Floats = grown / max(float(grown.std()), 1e-6)
    return out
