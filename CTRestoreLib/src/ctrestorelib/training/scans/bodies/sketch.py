"""A canvas for whole bodies: local shapes, cheap textures, bones (layer: training).

A scene of :mod:`ctrestorelib.training.anatomy` fills a thin stack richly. Here a cube of several
hundred millimetres has to be drawn, so every shape touches only its own box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, PchipInterpolator

from ctrestorelib.training.anatomy.canvas import (
    Box,
    Canvas,
    Corner,
    Point,
    Region,
    Tube,
    first_order,
)
from ctrestorelib.training.anatomy.fields import Array

Points = NDArray[np.float64]


class Sketch(Canvas):
    """A cube to draw a body on, in mm of that body: +x its left, +y its back, +z its head.

    Parameters
    ----------
    rng
        The one source of chance.
    cells
        Voxels along each edge.
    edge_mm, centre
        Size of the cube and where its middle lies in the body.
    """

    def __init__(
        self, rng: np.random.Generator, cells: int, edge_mm: float, centre: Point = (0.0, 0.0, 0.0)
    ) -> None:
        super().__init__(rng, (cells,) * 3, (edge_mm / cells,) * 3)
        self.x, self.y, self.z = (
            (axis + np.float32(c)).astype(np.float32)
            for axis, c in zip((self.x, self.y, self.z), centre, strict=True)
        )

    def ellipsoid(
        self,
        centre: Point,
        semi: Point,
        turn: tuple[float, float, float] = (0.0, 0.0, 0.0),
        rough: float = 0.0,
    ) -> Region:
        """Return an ellipsoid turned about x, y and z (radians, in that order)."""
        axes = rotation(*turn)
        reach = np.sqrt((axes**2) @ np.square(semi)) + 3 * rough + 2 * self.pixel
        box = self.box(np.subtract(centre, reach), np.add(centre, reach))
        u, v, w = self._local(box, centre, axes)
        u, v, w = ((a / np.float32(s)) for a, s in zip((u, v, w), semi, strict=True))
        level = np.sqrt(u * u + v * v + w * w)
        a, b, c = (np.float32(s) for s in semi)
        slope = np.sqrt((u / a) ** 2 + (v / b) ** 2 + (w / c) ** 2)
        distance = first_order(level, slope, np.float32(min(semi)))
        if rough:
            distance += np.float32(rough) * self.field(0.7 * min(semi), box)
        return Region(box, distance)

    def drum(self, centre: Point, half: Point, slope: float = 0.0, waist: float = 0.0) -> Region:
        """Return a short oval column: half width, half depth, half height; leaning about x.

        ``waist`` is by how much of its width it is narrower half way up.
        """
        axes = rotation(slope, 0.0, 0.0)
        reach = np.abs(axes) @ np.asarray(half) + 2 * self.pixel
        box = self.box(np.subtract(centre, reach), np.add(centre, reach))
        u, v, w = self._local(box, centre, axes)
        thin = 1 - np.float32(waist) * np.clip(1 - (w / np.float32(half[2])) ** 2, 0, 1)
        level = np.sqrt((u / np.float32(half[0])) ** 2 + (v / np.float32(half[1])) ** 2)
        side = (level - thin) * np.float32(min(half[:2]))
        return Region(box, np.maximum(side, np.abs(w) - np.float32(half[2])))

    def plate(self, centre: Point, half: Point, turn: tuple[float, float, float]) -> Region:
        """Return a turned block with half widths ``half``."""
        axes = rotation(*turn)
        reach = np.abs(axes) @ np.asarray(half) + 2 * self.pixel
        box = self.box(np.subtract(centre, reach), np.add(centre, reach))
        u, v, w = self._local(box, centre, axes)
        sides = [np.abs(a) - np.float32(h) for a, h in zip((u, v, w), half, strict=True)]
        return Region(box, np.maximum(np.maximum(sides[0], sides[1]), sides[2]))

    def _local(self, box: Box, centre: Point, axes: Points) -> tuple[Array, Array, Array]:
        x, y, z = self.grid(box)
        x, y, z = (a - np.float32(c) for a, c in zip((x, y, z), centre, strict=True))
        r = axes.astype(np.float32)
        u, v, w = (r[0, n] * x + r[1, n] * y + r[2, n] * z for n in range(3))
        return u, v, w

    def soft(self, region: Region, level: float, spread: float, cell: float) -> Array:
        """Return ``level`` HU with a smooth variation, over the region's box."""
        out: Array = np.float32(level) + np.float32(spread) * self.field(cell, region.box)
        return out

    def bone(
        self,
        region: Region,
        *,
        shell: float,
        cortex: float = 1000.0,
        inside: float = 200.0,
        within: Array | None = None,
    ) -> None:
        """Paint a cortical shell of ``shell`` mm around spongy bone of about ``inside`` HU."""
        self.fill(region, cortex * float(self.rng.uniform(0.85, 1.15)), within=within)
        grain = self.field(max(2.0, 1.3 * self.pixel), region.box)
        loose = self.field(14.0, region.box)
        spongy = np.float32(inside) + np.float32(60) * grain + np.float32(40) * loose
        self.fill(region, spongy, inset=shell, within=within)


def rotation(about_x: float, about_y: float, about_z: float) -> Points:
    """Return the matrix that turns about x, then y, then z; its columns are the turned axes."""
    (cx, cy, cz), (sx, sy, sz) = (f([about_x, about_y, about_z]) for f in (np.cos, np.sin))
    first = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    second = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    third = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(third @ second @ first)


def curve(points: Sequence[Corner] | Points, count: int) -> Points:
    """Return ``count`` points of a smooth curve through ``points``, shape (count, 3)."""
    knots = np.asarray(points, float)
    at = np.linspace(0, len(knots) - 1, count)
    return np.asarray(CubicSpline(np.arange(len(knots)), knots)(at))


def chain(points: NDArray[Any], radii: float | Sequence[float]) -> list[Tube]:
    """Return tubes that join points; one radius, or one per point."""
    sizes = np.broadcast_to(np.asarray(radii, float), (len(points),)).tolist()
    places: list[Point] = [(float(p[0]), float(p[1]), float(p[2])) for p in points]
    ends = zip(pairwise(places), pairwise(sizes), strict=True)
    return [Tube(p, q, r, s) for (p, q), (r, s) in ends]


def profile(z: Array, knots: Mapping[int, float]) -> Array:
    """Return a smooth function of height through ``{z: value}``; constant beyond the ends."""
    places = sorted(knots)
    f = _interpolator(tuple(places), tuple(float(knots[p]) for p in places))
    return np.asarray(f(np.clip(z, places[0], places[-1])), dtype=np.float32)


@lru_cache(maxsize=256)
def _interpolator(places: tuple[int, ...], values: tuple[float, ...]) -> PchipInterpolator:
    return PchipInterpolator(places, values)
