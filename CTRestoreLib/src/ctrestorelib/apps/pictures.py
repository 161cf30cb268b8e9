"""Slices of volumes as small PNG pictures for a web page (layer: apps; numpy, Pillow).

Slices are turned the radiological way: the patient's right at the left, the front at the top of
axial slices, the head at the top of the others, sagittal slices seen from the left.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume

PLANES = ("axial", "coronal", "sagittal")


@dataclass(frozen=True)
class Grey:
    """Which values become black and white."""

    low: float
    high: float

    def apply(self, picture: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the picture as grey levels 0 to 255."""
        scaled = (picture - self.low) * (255.0 / (self.high - self.low))
        levels: NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        return levels


def png_uri(grey: NDArray[np.uint8]) -> str:
    """Return a grey picture ``[row, col]`` as a ``data:`` address that a page can hold."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@dataclass(frozen=True, eq=False)
class Stack:
    """A volume's values with axes (head to foot, front to back, right to left) for display.

    Oblique grids are shown along their own axes, named after the nearest patient axis.
    """

    values: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]

    @classmethod
    def of(cls, volume: Volume) -> Stack:
        """Return the volume turned for display."""
        order, flips = display_axes(volume)
        values = np.transpose(volume.values, order)
        kji_spacing = volume.geometry.spacing_mm[::-1]
        for axis, flip in enumerate(flips):
            values = np.flip(values, axis) if flip else values
        a, b, c = (kji_spacing[n] for n in order)
        return cls(values, (a, b, c))

    def plane(self, name: str, index: int) -> NDArray[np.float32]:
        """Return slice ``index`` of the axial, coronal or sagittal planes, ``[row, col]``."""
        return np.asarray(np.take(self.values, index, axis=PLANES.index(name)), np.float32)

    def size_mm(self, name: str) -> tuple[float, float]:
        """Return height and width of a plane in mm."""
        lengths = [n * s for n, s in zip(self.values.shape, self.spacing_mm, strict=True)]
        del lengths[PLANES.index(name)]
        return lengths[0], lengths[1]

    def telling(self, name: str, unit: Unit) -> int:
        """Return the slice with most edges (in HU: of everything between fat and bone)."""
        axis = PLANES.index(name)
        values = self.values
        if unit is Unit.HU:
            values = np.clip(values, -150, 900)
        scores = [
            sum(float(np.abs(np.diff(part, axis=a)).sum(dtype=np.float64)) for a in (0, 1))
            for part in np.moveaxis(values, axis, 0)
        ]
        return int(np.argmax(scores))


def display_axes(volume: Volume) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Return the numpy axis nearest to each of S, P, L, and whether it must be flipped."""
    direction = np.array(volume.geometry.direction)  # columns i, j, k; rows L, P, S
    weight = np.abs(direction)
    order: list[int] = []
    flips: list[bool] = []
    for world, wanted in ((2, -1.0), (1, 1.0), (0, 1.0)):
        free = [c for c in range(3) if 2 - c not in order]
        column = max(free, key=lambda c: weight[world, c])
        order.append(2 - column)
        flips.append(bool(direction[world, column] * wanted < 0))
    return (order[0], order[1], order[2]), (flips[0], flips[1], flips[2])
