"""A volume to draw soft-edged objects on, in mm (layer: training)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.training.anatomy.fields import Array, smooth_field

Point = tuple[float, float, float]
Corner = Sequence[float] | NDArray[Any]
Box = tuple[slice, slice, slice]
WHOLE: Box = (slice(None), slice(None), slice(None))


@dataclass(frozen=True)
class Tube:
    """A round rod from one point to another, with rounded ends; x, y, z and radii in mm."""

    start: Point
    end: Point
    radius: float
    end_radius: float


@dataclass(frozen=True)
class Region:
    """Where an object may be: a box of the canvas and the distance to the object's surface.

    ``distance`` is float32 ``[k, j, i]`` over the box, in mm, negative inside.
    """

    box: Box
    distance: Array


class Canvas:
    """HU values on a grid with the origin in the middle, and tools to draw on it.

    Parameters
    ----------
    rng
        The one source of chance of everything drawn.
    shape
        (k, j, i).
    spacing
        (dx, dy, dz) in mm.
    """

    def __init__(
        self, rng: np.random.Generator, shape: Sequence[int], spacing: Sequence[float]
    ) -> None:
        self.rng = rng
        self.shape = (int(shape[0]), int(shape[1]), int(shape[2]))
        self.spacing = (float(spacing[0]), float(spacing[1]), float(spacing[2]))
        self.hu: Array = np.full(self.shape, -1000, np.float32)
        self.softness = float(rng.uniform(0.3, 1.2))
        """Width of an edge, in pixels."""
        self.z, self.y, self.x = (
            ((np.arange(n) - (n - 1) / 2) * d).astype(np.float32)
            for n, d in zip(self.shape, self.spacing[::-1], strict=True)
        )

    @property
    def pixel(self) -> float:
        """The in-plane spacing in mm."""
        return self.spacing[0]

    @property
    def extent(self) -> Point:
        """The size of the frame along x, y and z in mm."""
        k, j, i = self.shape
        return i * self.spacing[0], j * self.spacing[1], k * self.spacing[2]

    def box(self, low: Corner, high: Corner) -> Box:
        """Return the box between two corners (x, y, z), may be empty."""
        sides = zip((self.x, self.y, self.z), low, high, strict=True)
        i, j, k = (_within(axis, a, b) for axis, a, b in sides)
        return k, j, i

    def grid(self, box: Box) -> tuple[Array, Array, Array]:
        """Return x, y and z of a box, ready to be broadcast."""
        return self.x[box[2]], self.y[box[1]][:, None], self.z[box[0]][:, None, None]

    def look_at(self, x: float, y: float) -> None:
        """Move the frame so that its middle lies at (x, y) mm of the scene."""
        self.x = self.x - np.float32(self.x.mean() - x)
        self.y = self.y - np.float32(self.y.mean() - y)

    def anywhere(self, margin: float = 0.0) -> Point:
        """Return a random point of the frame, at least ``margin`` mm from its sides in-plane."""
        low_x, high_x = float(self.x[0]) + margin, float(self.x[-1]) - margin
        low_y, high_y = float(self.y[0]) + margin, float(self.y[-1]) - margin
        return (
            float(self.rng.uniform(min(low_x, high_x), max(low_x, high_x))),
            float(self.rng.uniform(min(low_y, high_y), max(low_y, high_y))),
            float(self.rng.uniform(self.z[0], self.z[-1])),
        )

    def field(self, cell: float, box: Box | None = None) -> Array:
        """Return a smooth random field with structures of about ``cell`` mm, over a box."""
        shape = self.hu[box].shape if box else self.shape
        dx, dy, dz = self.spacing
        cells = [max(cell / d, 1.0) for d in (dz, dy, dx)]
        return smooth_field(self.rng, shape, cells)

    def blob(
        self,
        centre: Point,
        semi: Point,
        *,
        angle: float = 0.0,
        tilt: tuple[float, float] = (0.0, 0.0),
        bend: tuple[float, float] = (0.0, 0.0),
        rough: float = 0.0,
        cell: float | None = None,
    ) -> Region:
        """Return an ellipsoid with an irregular surface.

        Parameters
        ----------
        centre, semi
            Centre and semi-axes (x, y, z) in mm.
        angle
            Rotation of the semi-axes in the plane, radians.
        tilt, bend
            How its centre moves in x and y: per mm, and per square mm, along z.
        rough, cell
            Standard deviation and size, in mm, of the surface's bumps.
        """
        height = self.z - np.float32(centre[2])
        shift_x = tilt[0] * height + bend[0] * height**2
        shift_y = tilt[1] * height + bend[1] * height**2
        reach = max(semi[0], semi[1]) + 3 * rough + 2 * self.pixel
        box = (
            _within(height, -semi[2] - 3 * rough, semi[2] + 3 * rough),
            _within(self.y - centre[1], shift_y.min() - reach, shift_y.max() + reach),
            _within(self.x - centre[0], shift_x.min() - reach, shift_x.max() + reach),
        )
        x = self.x[box[2]] - np.float32(centre[0]) - shift_x[box[0]][:, None, None]
        y = (self.y[box[1]] - np.float32(centre[1]))[:, None] - shift_y[box[0]][:, None, None]
        distance = _ellipsoid_distance(x, y, height[box[0]][:, None, None], semi, angle)
        if rough:
            bumps = self.field(cell or 0.7 * min(semi[0], semi[1]), box)
            distance += np.float32(rough) * bumps
        return Region(box, distance)

    def block(
        self,
        centre: Point,
        half: Point,
        *,
        angle: float = 0.0,
        tilt: tuple[float, float] = (0.0, 0.0),
    ) -> Region:
        """Return a box with half widths ``half`` (x, y, z) in mm; angle and tilt as in blob."""
        height = self.z - np.float32(centre[2])
        shift_x, shift_y = tilt[0] * height, tilt[1] * height
        reach = float(np.hypot(half[0], half[1])) + 2 * self.pixel
        box = (
            _within(height, -half[2], half[2]),
            _within(self.y - centre[1], shift_y.min() - reach, shift_y.max() + reach),
            _within(self.x - centre[0], shift_x.min() - reach, shift_x.max() + reach),
        )
        x = self.x[box[2]] - np.float32(centre[0]) - shift_x[box[0]][:, None, None]
        y = (self.y[box[1]] - np.float32(centre[1]))[:, None] - shift_y[box[0]][:, None, None]
        u, v = _turn(x, y, angle)
        high = np.abs(height[box[0]])[:, None, None] - np.float32(half[2])
        flat = np.maximum(np.abs(u) - np.float32(half[0]), np.abs(v) - np.float32(half[1]))
        return Region(box, np.maximum(flat, high))

    def tubes(self, tubes: Iterable[Tube]) -> Region:
        """Return the union of tubes, over the whole canvas."""
        return self._union(((tube, self._tube_box(tube)) for tube in tubes), WHOLE)

    def rods(self, tubes: Sequence[Tube]) -> Region:
        """Return the union of tubes in the smallest box that holds them."""
        boxes = [self._tube_box(tube) for tube in tubes]
        k, j, i = (
            slice(min(b[n].start for b in boxes), max(b[n].stop for b in boxes)) for n in range(3)
        )
        return self._union(zip(tubes, boxes, strict=True), (k, j, i))

    def _union(self, tubes: Iterable[tuple[Tube, Box]], whole: Box) -> Region:
        """Return the union of tubes, each in its own box, over a box that holds them all."""
        x, y, z = self.grid(whole)
        distance = np.full((z.size, y.size, x.size), 1e6, np.float32)
        for tube, box in tubes:
            k, j, i = (_moved(own, all_.start) for own, all_ in zip(box, whole, strict=True))
            part = distance[k, j, i]
            if part.size:
                np.minimum(part, _tube_distance(tube, *self.grid(box)), out=part)
        return Region(whole, distance)

    def _tube_box(self, tube: Tube) -> Box:
        # The far field of the distance is used nowhere but within a few mm of the wall.
        reach = max(tube.radius, tube.end_radius) * 1.6 + 2 * self.pixel
        ends = list(zip(tube.start, tube.end, strict=True))
        return self.box([min(e) - reach for e in ends], [max(e) + reach for e in ends])

    def cover(self, region: Region, inset: float = 0.0) -> Array:
        """Return how much of each voxel of the box the object covers, 0 to 1.

        ``inset`` (mm) moves the surface inwards.
        """
        share = region.distance * np.float32(-1 / (self.softness * self.pixel))
        share += np.float32(0.5 - inset / (self.softness * self.pixel))
        return np.clip(share, 0, 1, out=share)

    def paint(
        self,
        region: Region,
        value: float | Array,
        *,
        inset: float = 0.0,
        within: Array | None = None,
        amount: float = 1.0,
    ) -> None:
        """Replace what is inside an object.

        Parameters
        ----------
        region, inset
            As of :meth:`cover`.
        value
            HU, or an array of HU over the whole canvas.
        within
            Shares 0 to 1 over the whole canvas that limit the object.
        amount
            Below 1, what was there shows through.
        """
        fill = value[region.box] if isinstance(value, np.ndarray) else np.float32(value)
        self.fill(region, fill, inset=inset, within=within, amount=amount)

    def fill(
        self,
        region: Region,
        value: float | np.float32 | Array,
        *,
        inset: float = 0.0,
        within: Array | None = None,
        amount: float = 1.0,
    ) -> None:
        """Paint a number, or an array over the region's own box; the rest as of :meth:`paint`."""
        share = self._share(region, inset, within, amount)
        there = self.hu[region.box]
        there += share * (value - there)

    def add(
        self,
        region: Region,
        value: float | Array,
        *,
        inset: float = 0.0,
        within: Array | None = None,
    ) -> None:
        """Add ``value`` HU inside an object; arguments as of :meth:`paint`."""
        share = self._share(region, inset, within, 1.0)
        fill = value[region.box] if isinstance(value, np.ndarray) else np.float32(value)
        self.hu[region.box] += share * fill

    def _share(self, region: Region, inset: float, within: Array | None, amount: float) -> Array:
        share = self.cover(region, inset)
        if within is not None:
            share *= within[region.box]
        if amount != 1.0:
            share *= np.float32(amount)
        return share

    def mask(self, region: Region, inset: float = 0.0) -> Array:
        """Return :meth:`cover` over the whole canvas."""
        whole = np.zeros(self.shape, np.float32)
        whole[region.box] = self.cover(region, inset)
        return whole


def first_order(level: Array, slope: Array, shortest: np.float32) -> Array:
    """Return about the distance to where ``level`` is 1: exact to first order there.

    Parameters
    ----------
    level, slope
        Distance from the middle in radii of the surface, and its growth per mm times itself.
    shortest
        Shortest semi-axis in mm: keeps the middle, where both are 0, finite.
    """
    tiny = np.float32(1e-6)
    away: Array = (level - 1) * (level + tiny) / (slope + tiny / shortest)
    return away


def _moved(part: slice, start: int | None) -> slice:
    """Return a slice of an axis as one of what begins at ``start`` of that axis."""
    return slice(part.start - (start or 0), part.stop - (start or 0))


def _within(axis: Array, low: float, high: float) -> slice:
    """Return the slice of an ascending axis that lies between two places, may be empty."""
    first, last = np.searchsorted(axis, [low, high])
    return slice(int(first), int(last))


def _turn(x: Array, y: Array, angle: float) -> tuple[Array, Array]:
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * x + sin * y, cos * y - sin * x


def _ellipsoid_distance(x: Array, y: Array, z: Array, semi: Point, angle: float) -> Array:
    """Return about the distance to an ellipsoid's surface: exact to first order there."""
    a, b, c = (np.float32(s) for s in semi)
    u, v = _turn(x, y, angle)
    u, v, w = (u / a) ** 2, (v / b) ** 2, (z / c) ** 2
    level = np.sqrt(u + v + w)
    slope = np.sqrt(u / a**2 + v / b**2 + w / c**2)
    return first_order(level, slope, min(a, b))


def _tube_distance(tube: Tube, x: Array, y: Array, z: Array) -> Array:
    (px, py, pz), (qx, qy, qz) = tube.start, tube.end
    dx, dy, dz = (np.float32(d) for d in (qx - px, qy - py, qz - pz))
    x, y, z = x - np.float32(px), y - np.float32(py), z - np.float32(pz)
    length = max(float(dx * dx + dy * dy + dz * dz), 1e-9)
    along = (x * dx + y * dy + z * dz) * np.float32(1 / length)
    np.clip(along, 0, 1, out=along)
    square = (x - along * dx) ** 2 + (y - along * dy) ** 2 + (z - along * dz) ** 2
    radius = np.float32(tube.radius) + along * np.float32(tube.end_radius - tube.radius)
    away: Array = np.sqrt(square) - radius
    return away
