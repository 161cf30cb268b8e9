"""Pack volumes into a web page: 16-bit values, row differences, deflate, base64 (layer: apps).

A browser cannot read float volumes from a PNG without loss, and pictures that pass through a canvas
may be altered to protect privacy; plain compressed numbers arrive as they were.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.apps.pictures import PLANES
from ctrestorelib.core.units import Unit

BUDGET_BYTES = 27_000_000
"""Compressed bytes at most: base64 adds a third, so the page stays below about 37 MB."""


@dataclass(frozen=True)
class Scale:
    """How values are stored as whole numbers: value = low + step * number."""

    low: float
    step: float

    @classmethod
    def of(cls, arrays: Sequence[NDArray[np.float32]], unit: Unit) -> Scale:
        """Return a scale that holds all arrays: steps of 1 HU, or 1/4000 of the grey range."""
        low = float(min(a.min() for a in arrays))
        high = float(max(a.max() for a in arrays))
        if unit == Unit.HU:
            return cls(float(np.floor(low)), max(1.0, float(np.ceil((high - low) / 65000))))
        return cls(low, max((high - low) / 4000, 1e-12))

    def encode(self, values: NDArray[np.float32]) -> NDArray[np.uint16]:
        """Return the numbers of ``values``."""
        numbers = np.rint((values - np.float32(self.low)) / np.float32(self.step))
        return np.asarray(np.clip(numbers, 0, 65535), dtype=np.uint16)


@dataclass(frozen=True)
class Embedded:
    """Which slices of every volume the page holds.

    Parameters
    ----------
    full
        Whether the whole volumes are held (then every slice of every plane can be shown).
    slices
        Slice numbers held, by plane.
    """

    full: bool
    slices: dict[str, list[int]]


def choose_slices(arrays: Sequence[NDArray[np.float32]], scale: Scale, budget: int) -> Embedded:
    """Choose as many slices as fit into ``budget`` compressed bytes, spread evenly."""
    shape = arrays[0].shape
    sample = [pack(scale.encode(a[:: max(1, shape[0] // 4)][:4])) for a in arrays]
    voxels = len(arrays) * min(4, len(arrays[0][:: max(1, shape[0] // 4)])) * shape[1] * shape[2]
    per_voxel = sum(len(s) for s in sample) / voxels
    whole = per_voxel * len(arrays) * float(np.prod(shape))
    every = {plane: list(range(n)) for plane, n in zip(PLANES, shape, strict=True)}
    if whole <= budget:
        return Embedded(True, every)
    shares = {"axial": 0.5, "coronal": 0.25, "sagittal": 0.25}
    slices = {}
    for axis, plane in enumerate(PLANES):
        area = float(np.prod(shape)) / shape[axis] * per_voxel * len(arrays)
        count = int(np.clip(shares[plane] * budget / area, 1, shape[axis]))
        middle = np.linspace(0, shape[axis], count, endpoint=False) + shape[axis] / count / 2
        slices[plane] = sorted({int(m) for m in middle})
    return Embedded(False, slices)


def chunks(values: NDArray[np.float32], scale: Scale, embedded: Embedded) -> dict[str, str]:
    """Return the base64 texts of one volume: ``full``, or one for each plane."""
    if embedded.full:
        return {"full": base64.b64encode(pack(scale.encode(values))).decode("ascii")}
    texts = {}
    for axis, plane in enumerate(PLANES):
        stack = np.moveaxis(np.take(values, embedded.slices[plane], axis=axis), axis, 0)
        texts[plane] = base64.b64encode(pack(scale.encode(stack))).decode("ascii")
    return texts


def pack(numbers: NDArray[np.uint16]) -> bytes:
    """Return row differences of ``[.., row, col]``, low bytes before high bytes, deflated."""
    # Differences wrap around modulo 65536; folding the sign into bit 0 keeps high bytes zero.
    step = np.diff(numbers, axis=-1, prepend=np.uint16(0)).view(np.int16)
    folded = ((step << 1) ^ (step >> 15)).view(np.uint16).ravel()
    planes = np.concatenate([(folded & 0xFF).astype(np.uint8), (folded >> 8).astype(np.uint8)])
    return zlib.compress(planes.tobytes(), 6)


def unpack(data: bytes, shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """Return what :func:`pack` packed; the page does the same in JavaScript."""
    planes = np.frombuffer(zlib.decompress(data), np.uint8).reshape(2, -1).astype(np.uint16)
    folded = planes[0] | (planes[1] << 8)
    step = (folded >> 1) ^ (-(folded & 1).astype(np.int32)).astype(np.uint16)
    out: NDArray[Any] = np.cumsum(step.reshape(shape), axis=-1, dtype=np.uint16)
    return out
