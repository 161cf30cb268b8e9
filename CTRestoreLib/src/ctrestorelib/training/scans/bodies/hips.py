"""Pelvis: sacrum, iliac wings, hip joints, rami, upper ends of thigh bones (layer: training)."""

from __future__ import annotations

import numpy as np

from ctrestorelib.training.anatomy.canvas import Region, Tube
from ctrestorelib.training.scans.bodies.sketch import Sketch, chain, curve

HIP = (88.0, -4.0, -72.0)
"""Middle of the left femoral head."""
HEAD_RADIUS = 24.0


def draw_hips(canvas: Sketch) -> None:
    """Draw the bones of the pelvis and the upper ends of the thigh bones."""
    rng = canvas.rng
    cortex, inside = float(rng.uniform(750, 1200)), float(rng.uniform(100, 260))
    _draw_sacrum(canvas, cortex, inside)
    for side in (-1, 1):
        _draw_hip_bone(canvas, side, cortex, inside)
        _draw_thigh_bone(canvas, side, cortex * 1.2, inside)
    gristle = canvas.ellipsoid((0.0, -58.0, -82.0), (4.0, 9.0, 17.0), (0.5, 0.0, 0.0))
    canvas.fill(gristle, float(rng.uniform(60, 130)))


def _draw_sacrum(canvas: Sketch, cortex: float, inside: float) -> None:
    rng = canvas.rng
    spots = curve([(0, 56, -8), (0, 78, -45), (0, 84, -85), (0, 62, -122)], 6)
    widths = (30.0, 27.0, 22.0, 17.0, 11.0, 6.0)
    for (x, y, z), wide in zip(spots.tolist(), widths, strict=True):
        part = canvas.ellipsoid((x, y, z), (wide, 0.45 * wide + 5, 15.0), (-0.5, 0, 0), 0.5)
        canvas.bone(part, shell=1.0, cortex=cortex, inside=inside)
    for side in (-1, 1):
        wing = canvas.ellipsoid(
            (side * 34.0, 66.0, -24.0), (22.0, 14.0, 30.0), (-0.4, 0.0, side * 0.35), 0.8
        )
        canvas.bone(wing, shell=1.0, cortex=cortex, inside=inside)
    crest = chain(curve([(0, 80, -10), (0, 98, -45), (0, 98, -85)], 8), 5.0)
    canvas.bone(canvas.rods(crest), shell=1.5, cortex=cortex, inside=inside)
    for side in (-1, 1):
        for x, y, z in curve([(18, 64, -22), (15, 76, -45), (12, 80, -70)], 3).tolist():
            hole = canvas.ellipsoid((side * x, y, z), (3.5, 12.0, 4.0))
            canvas.fill(hole, float(rng.uniform(-80, 20)))


def _draw_hip_bone(canvas: Sketch, side: int, cortex: float, inside: float) -> None:
    """Draw a fan of rods from the socket to the crest, the rami, and carve the socket."""
    x, y, z = side * HIP[0], HIP[1], HIP[2]
    flare = float(canvas.rng.uniform(0.92, 1.08))
    crest = curve(
        [(side * 112 * flare, -68, 2), (side * 128 * flare, -45, 38), (side * 130 * flare, -5, 62),
         (side * 108, 38, 66), (side * 72, 70, 42), (side * 48, 84, 4), (side * 50, 76, -32)], 30
    )  # fmt: skip
    root = np.array([x - side * 4, y + 14, z + 34])
    tubes: list[Tube] = []
    for tip in crest:
        middle = 0.5 * (root + tip) + np.array([-side * 9.0, 3.0, -4.0])
        tubes += chain(curve([root, middle, tip], 5), (14.0, 9.0, 5.5, 5.0, 6.0))
    tubes += chain(crest, 6.5)
    wing = canvas.rods(tubes)
    canvas.bone(wing, shell=1.3, cortex=cortex, inside=inside)
    cup = canvas.ellipsoid((x - side * 5, y + 4, z + 6), (36.0, 34.0, 36.0))
    hollow = canvas.ellipsoid((x + side * 1, y, z), (HEAD_RADIUS + 4.5,) * 3)
    lip = canvas.plate((x + side * 42, y - 12, z - 24), (32.0, 80.0, 60.0), (0.0, side * 0.75, 0.0))
    rim = _cut(cup, [hollow, lip])
    canvas.bone(rim, shell=1.6, cortex=cortex, inside=inside)
    canvas.fill(hollow, 70.0)
    sit = (side * 62, 34, -132)
    meet = (side * 9, -56, -82)
    rami = chain(curve([(x - side * 6, y + 24, z - 16), (side * 72, 34, -108), sit], 8), 14.0)
    rami += chain(curve([sit, (side * 42, -4, -126), (side * 18, -40, -108), meet], 12), 7.5)
    rami += chain(curve([(x - side * 22, y - 18, z + 8), (side * 44, -48, -62), meet], 10), 8.5)
    rami += chain(curve([meet, (side * 10, -50, -98)], 4), 10.0)
    lower = _cut(canvas.rods(rami), [hollow])
    canvas.bone(lower, shell=1.5, cortex=cortex, inside=inside)


def _draw_thigh_bone(canvas: Sketch, side: int, cortex: float, inside: float) -> None:
    x, y, z = side * HIP[0], HIP[1], HIP[2]
    size = HEAD_RADIUS * float(canvas.rng.uniform(0.94, 1.04))
    shaft = curve([(side * 128, 4, -118), (side * 126, 0, -180), (side * 118, -4, -280),
                   (side * 106, 2, -420)], 16)  # fmt: skip
    below = canvas.rods(chain(shaft, (19.0, 16.5, *[15.0] * 14)))
    canvas.fill(below, cortex * 1.1)
    canvas.fill(below, canvas.soft(below, -20.0, 40.0, 12.0), inset=5.0)
    neck = chain(curve([(x, y, z), (side * 112, 2, -92), (side * 128, 5, -112)], 6), 14.5)
    great = canvas.ellipsoid((side * 136.0, 12.0, -98.0), (15.0, 17.0, 24.0), rough=1.0)
    small = canvas.ellipsoid((side * 112.0, 16.0, -140.0), (10.0, 9.0, 13.0), rough=0.6)
    for part, shell in ((great, 1.2), (small, 1.5), (canvas.rods(neck), 2.0)):
        canvas.bone(part, shell=shell, cortex=cortex, inside=inside)
    ball = canvas.ellipsoid((x, y, z), (size,) * 3, rough=0.2)
    canvas.bone(ball, shell=1.2, cortex=cortex, inside=inside + 60)
    root = canvas.rods(chain(np.asarray([(x, y, z), (side * 108, 1, -88)], float), 11.0))
    canvas.fill(root, canvas.soft(root, inside + 30, 50.0, 4.0))


def _cut(region: Region, holes: list[Region]) -> Region:
    """Return a region without the holes."""
    distance = region.distance.copy()
    for hole in holes:
        box, here, there = _shared(region, hole)
        if box:
            np.maximum(distance[here], -hole.distance[there], out=distance[here])
    return Region(region.box, distance)


def _shared(first: Region, second: Region) -> tuple[bool, tuple[slice, ...], tuple[slice, ...]]:
    here, there, some = [], [], True
    for a, b in zip(first.box, second.box, strict=True):
        low, high = max(a.start, b.start), min(a.stop, b.stop)
        some = some and low < high
        here.append(slice(low - a.start, max(low, high) - a.start))
        there.append(slice(low - b.start, max(low, high) - b.start))
    return some, tuple(here), tuple(there)
