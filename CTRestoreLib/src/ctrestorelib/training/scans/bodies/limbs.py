"""Legs and arms: long bones that flare at their ends, muscles, vessels (layer: training)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctrestorelib.training.anatomy.canvas import Point, Region
from ctrestorelib.training.scans.bodies.sketch import Sketch, chain, curve, profile
from ctrestorelib.training.scans.bodies.trunk import fat_hu, muscle_hu, oval


@dataclass(frozen=True)
class Shaft:
    """A long bone between two heights, its place, and radii at its lower end, middle, upper end."""

    low: float
    high: float
    x: float
    y: float
    radii: tuple[float, float, float]


_THIGH = (Shaft(-190, 400, 0, -4, (34, 14, 22)),)
_SHIN = (Shaft(-170, 175, -6, -12, (20, 13, 34)), Shaft(-185, 160, 26, 8, (10, 6.5, 11)))
_FOREARM = (Shaft(-120, 130, -16, 0, (15, 7, 9)), Shaft(-118, 150, 14, 2, (8, 6.5, 15)))
_UPPER_ARM = (Shaft(-150, 180, 0, 0, (24, 11, 22)),)


def draw_limb(canvas: Sketch) -> list[tuple[Point, Point]]:
    """Draw one or two limbs; return the ends of the axis of each bone, to put implants on."""
    rng = canvas.rng
    kind = int(rng.integers(4))
    bones = (_THIGH, _SHIN, _FOREARM, _UPPER_ARM)[kind]
    radius = (76.0, 52.0, 40.0, 48.0)[kind] * float(rng.uniform(0.85, 1.2))
    pair = kind < 2 and canvas.extent[0] > 4.4 * radius
    axes: list[tuple[Point, Point]] = []
    for side in (-1, 1) if pair else (0,):
        axes += _draw_one(canvas, side * 1.12 * radius, radius, bones)
    return axes


def _draw_one(
    canvas: Sketch, x: float, radius: float, bones: tuple[Shaft, ...]
) -> list[tuple[Point, Point]]:
    rng = canvas.rng
    whole = (slice(None), slice(None), slice(None))
    swell = {z: float(rng.uniform(0.72, 1.05)) for z in (-300, -180, -80, 20, 120, 220, 320)}
    wide = profile(canvas.z, swell) * np.float32(radius)
    skin = oval(canvas, wide, wide * np.float32(rng.uniform(0.85, 1.15)), middle=(x, 0.0))
    skin += np.float32(0.02 * radius) * canvas.field(30.0)
    fat = float(rng.uniform(0.05, 0.28)) * radius
    limb = Region(whole, skin)
    canvas.fill(limb, float(rng.uniform(0, 50)))
    canvas.fill(limb, fat_hu(canvas), inset=float(rng.uniform(1, 2.2)))
    uneven = Region(whole, skin + np.float32(0.2 * fat) * canvas.field(25.0))
    canvas.fill(uneven, muscle_hu(canvas), inset=fat)
    _draw_bundle(canvas, x, radius)
    return [_draw_shaft(canvas, x, shaft) for shaft in bones]


def _draw_shaft(canvas: Sketch, x: float, shaft: Shaft) -> tuple[Point, Point]:
    rng = canvas.rng
    low, middle, high = (r * float(rng.uniform(0.92, 1.08)) for r in shaft.radii)
    heights = np.linspace(shaft.low, shaft.high, 26)
    share = np.linspace(0, 1, 26)
    radii = np.interp(
        share,
        [0, 0.06, 0.22, 0.5, 0.8, 0.95, 1],
        [0.7 * low, low, 1.15 * middle, middle, 1.15 * middle, high, 0.7 * high],
    )
    bow = float(rng.normal(0, 5))
    path = np.stack([x + shaft.x + 0 * heights, shaft.y - bow * np.sin(np.pi * share), heights], 1)
    bone = canvas.rods(chain(path, radii.tolist()))
    thick = float(rng.uniform(0.25, 0.45)) * middle
    z = canvas.z[bone.box[0]]
    shell = np.interp(
        z, np.quantile(heights, [0, 0.15, 0.3, 0.7, 0.85, 1]), [1.2, 1.5, thick, thick, 1.5, 1.2]
    ).astype(np.float32)[:, None, None]
    ends = np.interp(
        z, np.quantile(heights, [0, 0.15, 0.3, 0.7, 0.85, 1]), [1, 1, 0, 0, 1, 1]
    ).astype(np.float32)[:, None, None]
    canvas.fill(bone, float(rng.uniform(1100, 1700)))
    marrow = canvas.soft(bone, float(rng.uniform(-70, 0)), 12.0, 10.0)
    spongy = canvas.soft(bone, float(rng.uniform(120, 320)), 60.0, 3.0)
    inner = Region(bone.box, bone.distance + shell)
    canvas.fill(inner, marrow + ends * (spongy - marrow))
    first, last = path[3].tolist(), path[-4].tolist()
    return (first[0], first[1], first[2]), (last[0], last[1], last[2])


def _draw_bundle(canvas: Sketch, x: float, radius: float) -> None:
    rng = canvas.rng
    blood = float(rng.uniform(35, 60) if rng.random() < 0.6 else rng.uniform(150, 400))
    for _ in range(int(rng.integers(4, 10))):
        turn, away = float(rng.uniform(0, 2 * np.pi)), radius * float(rng.uniform(0.3, 0.75))
        spot = np.array([x + away * np.cos(turn), away * np.sin(turn)])
        places = [(*(spot + rng.normal(0, 0.06 * radius, 2)), z) for z in np.linspace(-320, 320, 9)]
        vessel = canvas.rods(chain(curve(places, 40), float(rng.uniform(1.0, 3.5))))
        canvas.fill(vessel, -90.0, inset=-1.5)
        canvas.fill(vessel, blood)
