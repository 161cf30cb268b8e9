"""Smooth bodies from signed distances, for procedural phantoms (layer: geometry; numpy only).

A :class:`Shape` knows, for any points, about how far they are from its surface: negative inside,
positive outside, exact near the surface. Bodies are joined by smooth minima, so that a condyle
flows into its shaft. The formulas are the usual ones of implicit modelling (Ricci 1973,
doi:10.1093/comjnl/16.2.157; Quilez, "Distance functions", 2008).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Points = tuple[Array, Array, Array]
Box = tuple[tuple[float, float, float], tuple[float, float, float]]

EVERYWHERE: Box = ((-1e6,) * 3, (1e6,) * 3)


@dataclass(frozen=True)
class Shape:
    """A body: its signed distance in mm, and an axis-aligned box that holds it."""

    distance: Callable[[Points], Array]
    box: Box

    def grown(self, by_mm: float) -> Shape:
        """Return the body with its surface moved outwards (negative: inwards)."""
        low, high = self.box
        pad = max(by_mm, 0.0)
        box = (_shift(low, -pad), _shift(high, pad))
        return Shape(lambda p: self.distance(p) - np.float32(by_mm), box)

    def without(self, other: Shape, blend_mm: float = 1.0) -> Shape:
        """Return this body with another one carved out."""

        def distance(p: Points) -> Array:
            return -smooth_minimum(-self.distance(p), other.distance(p), blend_mm)

        return Shape(distance, self.box)

    def within(self, other: Shape, blend_mm: float = 1.0) -> Shape:
        """Return the part of this body that lies in another one."""

        def distance(p: Points) -> Array:
            return -smooth_minimum(-self.distance(p), -other.distance(p), blend_mm)

        low = tuple(max(a, b) for a, b in zip(self.box[0], other.box[0], strict=True))
        high = tuple(min(a, b) for a, b in zip(self.box[1], other.box[1], strict=True))
        return Shape(distance, (low, high))  # type: ignore[arg-type]


def smooth_minimum(a: Array, b: Array, blend_mm: float) -> Array:
    """Return the minimum of two distances, rounded where they differ by less than ``blend_mm``."""
    overlap = np.maximum(np.float32(blend_mm) - np.abs(a - b), 0)
    out: Array = np.minimum(a, b) - overlap * overlap * np.float32(0.25 / blend_mm)
    return out


def joined(*shapes: Shape, blend_mm: float = 2.0) -> Shape:
    """Return the union of bodies, its seams rounded over ``blend_mm``."""

    def distance(p: Points) -> Array:
        out = shapes[0].distance(p)
        for shape in shapes[1:]:
            out = smooth_minimum(out, shape.distance(p), blend_mm)
        return out

    low = tuple(min(s.box[0][n] for s in shapes) - blend_mm for n in range(3))
    high = tuple(max(s.box[1][n] for s in shapes) + blend_mm for n in range(3))
    return Shape(distance, (low, high))  # type: ignore[arg-type]


def ellipsoid(centre: Sequence[float], radii: Sequence[float]) -> Shape:
    """Return an ellipsoid with axes along x, y, z; centre and radii in mm."""
    c, r = np.asarray(centre, np.float32), np.asarray(radii, np.float32)

    def distance(p: Points) -> Array:
        x, y, z = ((v - c[n]) / r[n] for n, v in enumerate(p))
        return _scaled(x * x + y * y + z * z, (x / r[0]) ** 2 + (y / r[1]) ** 2 + (z / r[2]) ** 2)

    return Shape(distance, (_corner(c - r), _corner(c + r)))


def rod(
    start: Sequence[float],
    end: Sequence[float],
    radius_mm: float,
    end_radius_mm: float | None = None,
) -> Shape:
    """Return a rod with round ends, its radius changing evenly from start to end."""
    a, b = np.asarray(start, np.float32), np.asarray(end, np.float32)
    axis = b - a
    length2 = np.float32(axis @ axis)
    taper = np.float32((radius_mm if end_radius_mm is None else end_radius_mm) - radius_mm)
    widest = max(radius_mm, radius_mm + float(taper))

    def distance(p: Points) -> Array:
        x, y, z = (v - a[n] for n, v in enumerate(p))
        t = np.clip((x * axis[0] + y * axis[1] + z * axis[2]) / length2, 0, 1)
        gap = (x - t * axis[0]) ** 2 + (y - t * axis[1]) ** 2 + (z - t * axis[2]) ** 2
        out: Array = np.sqrt(gap) - (np.float32(radius_mm) + t * taper)
        return out

    low, high = np.minimum(a, b) - widest, np.maximum(a, b) + widest
    return Shape(distance, (_corner(low), _corner(high)))


def ring(centre: Sequence[float], radii: tuple[float, float], tube: tuple[float, float]) -> Shape:
    """Return a flat ring about z.

    ``radii`` are those of its middle line in x and y, ``tube`` those of its cross-section in the
    plane and along z, in mm.
    """
    c = np.asarray(centre, np.float32)
    squeeze = np.float32(radii[0] / radii[1])
    flat = np.float32(tube[0] / tube[1])

    def distance(p: Points) -> Array:
        x, y, z = (v - c[n] for n, v in enumerate(p))
        off = np.hypot(x, y * squeeze) - np.float32(radii[0])
        out: Array = np.hypot(off, z * flat) - np.float32(tube[0])
        return out

    reach = np.array([radii[0] + tube[0], radii[1] + tube[0], tube[1]], np.float32)
    return Shape(distance, (_corner(c - reach), _corner(c + reach)))


def below(normal: Sequence[float], at: Sequence[float]) -> Shape:
    """Return the half-space on the far side of a plane: ``normal`` points out of it."""
    n = np.asarray(normal, np.float32) / np.float32(np.linalg.norm(normal))
    offset = np.float32(n @ np.asarray(at, np.float32))
    return Shape(lambda p: p[0] * n[0] + p[1] * n[1] + p[2] * n[2] - offset, EVERYWHERE)


def above(z_mm: float) -> Shape:
    """Return everything higher than ``z_mm``."""
    return below((0.0, 0.0, -1.0), (0.0, 0.0, z_mm))


def loft(sections: Sequence[tuple[float, float, float, float, float]]) -> Shape:
    """Return a limb-like body along z through elliptical sections.

    Each section is ``(z, x centre, y centre, x radius, y radius)`` in mm, z ascending; between them
    the outline changes smoothly, beyond the last ones it goes on unchanged.
    """
    table = np.asarray(sections, dtype=np.float64)
    fine = np.arange(table[0, 0] - 8, table[-1, 0] + 8.5, 0.5)
    rounded = [_rounded(np.interp(fine, table[:, 0], column)) for column in table[:, 1:].T]
    cx, cy, rx, ry = (np.asarray(column, np.float32) for column in rounded)

    def distance(p: Points) -> Array:
        # Looking up the nearest half millimetre and mixing by hand keeps float32 and is fast.
        at = np.clip((p[2] - np.float32(fine[0])) * 2, 0, len(fine) - 1.001)
        low = at.astype(np.int32)
        part = at - low
        x0, y0, a, b = (v[low] + part * (v[low + 1] - v[low]) for v in (cx, cy, rx, ry))
        x, y = (p[0] - x0) / a, (p[1] - y0) / b
        return _scaled(x * x + y * y, (x / a) ** 2 + (y / b) ** 2)

    low = (float((cx - rx).min()), float((cy - ry).min()), -1e6)
    high = (float((cx + rx).max()), float((cy + ry).max()), 1e6)
    return Shape(distance, (low, high))


def between(shape: Shape, z_low: float, z_high: float, round_mm: float = 2.0) -> Shape:
    """Return the part of a body between two heights, its rims rounded."""
    slab = Shape(
        lambda p: (
            np.abs(p[2] - np.float32((z_low + z_high) / 2)) - np.float32((z_high - z_low) / 2)
        ),
        ((-1e6, -1e6, z_low), (1e6, 1e6, z_high)),
    )
    return shape.within(slab, round_mm)


def _scaled(square: Array, gradient_square: Array) -> Array:
    """First-order distance of a quadric: f / |grad f|, finite at the centre."""
    level = np.sqrt(square)
    slope = np.sqrt(np.maximum(gradient_square, np.float32(1e-8)))
    out: Array = level * (level - 1) / slope
    return out


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    kernel = np.hanning(17)[1:-1]
    padded = np.pad(values, len(kernel) // 2, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def _corner(values: NDArray[Any]) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z


def _shift(corner: tuple[float, float, float], by: float) -> tuple[float, float, float]:
    return corner[0] + by, corner[1] + by, corner[2] + by


@dataclass(frozen=True)
class Layer:
    """A body and what it is made of.

    Parameters
    ----------
    shape
        The body.
    value
        One HU value, or a function of points and signed distances (flat arrays of the points
        inside) that returns HU values.
    edge_mm
        Width over which the surface mixes with what lies outside.
    """

    shape: Shape
    value: float | Callable[[Points, Array], Array]
    edge_mm: float = 0.5

    def paint(self, hu: Array, points: Points) -> None:
        """Paint the body over ``hu`` at flat ``points``, in place."""
        distance = self.shape.distance(points)
        inside = np.flatnonzero(distance < np.float32(self.edge_mm / 2))
        if inside.size == 0:
            return
        d = distance[inside]
        if callable(self.value):
            x, y, z = points
            new = self.value((x[inside], y[inside], z[inside]), d)
        else:
            new = np.full(d.shape, self.value, np.float32)
        share = np.clip(np.float32(0.5) - d / np.float32(self.edge_mm), 0, 1)
        hu[inside] += share * (new - hu[inside])
