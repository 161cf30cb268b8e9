"""Spine of separate vertebrae with discs, ribs that run obliquely, breastbone (layer: training)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ctrestorelib.training.anatomy.canvas import Tube
from ctrestorelib.training.scans.bodies.sketch import Points, Sketch, chain, curve, profile

_SPINE_Y = {-20: 58, 40: 42, 90: 38, 180: 48, 260: 60, 330: 66, 420: 58, 500: 38, 560: 22, 640: 18}


@dataclass(frozen=True)
class Vertebra:
    """Middle height and half sizes of a vertebral body, and the disc below, in mm."""

    z: float
    width: float
    depth: float
    half_height: float
    disc: float


def _levels() -> list[Vertebra]:
    """Return L5 to L1, T12 to T1, C7 to C3."""
    sizes = [(25.0, 17.0, 13.5, 9.0)] * 5
    sizes += [(21 - 0.6 * n, 16 - 0.4 * n, 12 - 0.3 * n, 5.5 - 0.15 * n) for n in range(12)]
    sizes += [(12.5, 9.0, 7.0, 5.0)] * 5
    out, z = [], 0.0
    for width, depth, half, disc in sizes:
        out.append(Vertebra(z + disc + half, width, depth, half, disc))
        z += disc + 2 * half
    return out


LEVELS = _levels()
THORACIC = LEVELS[16:4:-1]
"""T1 to T12."""


class Wall(Protocol):
    """Tells where the wall of the chest is."""

    def wall(self, z: float) -> tuple[float, float, float]:
        """Return half width, half depth and middle y at a height."""
        ...


def spine_y(z: float) -> float:
    """Return how far back the middle of the vertebral body lies at a height."""
    return float(profile(np.array([z], np.float32), _SPINE_Y)[0])


def draw_spine(canvas: Sketch) -> None:
    """Draw vertebrae, discs, canal and cord of the part of the spine in view."""
    rng = canvas.rng
    low, high = float(canvas.z[0]) - 60, float(canvas.z[-1]) + 60
    cortex, inside = float(rng.uniform(650, 1100)), float(rng.uniform(110, 280))
    for v in LEVELS:
        if low < v.z < high:
            _draw_vertebra(canvas, v, cortex, inside)
    heights = np.arange(max(low, -60), min(high, 620), 12.0)
    if len(heights) > 1:
        deep = np.array([spine_y(z) + 25 - 0.018 * z for z in heights])
        path = np.stack([np.zeros(len(heights)), deep, heights], axis=1)
        canvas.fill(canvas.rods(chain(path, 8.0)), float(rng.uniform(5, 25)))
        canvas.fill(canvas.rods(chain(path, 5.0)), float(rng.uniform(35, 50)))


def _draw_vertebra(canvas: Sketch, v: Vertebra, cortex: float, inside: float) -> None:
    rng = canvas.rng
    y = spine_y(v.z)
    slope = -(spine_y(v.z + 5) - spine_y(v.z - 5)) / 10
    under = (0.0, spine_y(v.z - v.half_height - v.disc / 2), v.z - v.half_height - v.disc / 2)
    disc = canvas.drum(under, (0.98 * v.width, 0.98 * v.depth, v.disc / 2), slope)
    canvas.fill(disc, float(rng.uniform(70, 120)))
    half = (v.width * float(rng.uniform(0.96, 1.04)), v.depth, v.half_height)
    body = canvas.drum((0.0, y, v.z), half, slope, waist=0.1)
    canvas.bone(body, shell=0.9, cortex=cortex, inside=inside)
    back, size = y + v.depth, v.width
    root = (0.0, back + 0.95 * size, v.z - 0.2 * v.half_height)
    tip = (0.0, back + 1.9 * size, v.z - (1.0 if v.z > 180 else 0.5) * v.half_height - 6)
    arch = [Tube(root, tip, 0.17 * size, 0.2 * size)]
    for side in (-1, 1):
        foot = (side * 0.62 * size, back - 2, v.z + 0.3 * v.half_height)
        knot = (side * 0.75 * size, back + 0.45 * size, v.z)
        wing = (side * 1.75 * size, back + 0.55 * size, v.z + 0.3 * v.half_height)
        arch += [
            Tube(foot, knot, 0.2 * size, 0.24 * size),
            Tube(knot, root, 0.24 * size, 0.17 * size),
            Tube(knot, wing, 0.2 * size, 0.14 * size),
        ]
        facet = (side * 0.8 * size, back + 0.5 * size, v.z - 1.1 * v.half_height)
        arch.append(Tube(knot, facet, 0.2 * size, 0.17 * size))
    canvas.bone(canvas.rods(arch), shell=1.2, cortex=cortex, inside=inside)


def draw_rib_cage(canvas: Sketch, chest: Wall) -> None:
    """Draw twelve pairs of ribs, their cartilage, breastbone, collarbones, shoulder blades."""
    rng = canvas.rng
    radius, fall = float(rng.uniform(3.4, 4.8)), float(rng.uniform(45, 75))
    cortex = float(rng.uniform(700, 1200))
    for n, v in enumerate(THORACIC):
        for side in (-1, 1):
            bony, soft = _rib(chest, v, n, side, fall)
            canvas.bone(canvas.rods(chain(bony, radius)), shell=1.0, cortex=cortex, inside=150.0)
            if len(soft):
                gristle = canvas.rods(chain(soft, radius + 0.5))
                canvas.fill(gristle, float(rng.uniform(70, 160)))
    _draw_breastbone(canvas, chest, cortex)
    _draw_shoulders(canvas, cortex)


def _rib(chest: Wall, v: Vertebra, number: int, side: int, fall: float) -> tuple[Points, Points]:
    """Return the points of a rib and of its cartilage; number 0 is the first."""
    ends = [-70, -70, -66, -64, -62, -60, -56, -48, -38, -26, 10, 35]
    turns = np.deg2rad(np.linspace(72, ends[number], 16))
    drop = fall * (0.45 + 0.55 * min(number, 6) / 6)
    points = [(side * 17.0, spine_y(v.z) + v.depth, v.z)]
    for n, turn in enumerate(turns):
        z = v.z - drop * n / 15
        a, b, y = chest.wall(z)
        points.append((side * (a + 4) * np.cos(turn), y + (b + 4) * np.sin(turn), z))
    bony = curve(points, 26)
    if number > 6:
        return bony, np.zeros((0, 3))
    _, b, y = chest.wall(v.z - drop)
    sternal = (side * 15.0, y - b - 4, v.z - 0.75 * drop)
    return bony, np.asarray([points[-1], sternal], float)


def _draw_breastbone(canvas: Sketch, chest: Wall, cortex: float) -> None:
    heights = np.linspace(290, 425, 8)
    walls = [chest.wall(float(z)) for z in heights]
    for side in (-0.5, 0.0, 0.5):
        path = np.array(
            [(side * 18, y - b - 5, z) for z, (_, b, y) in zip(heights, walls, strict=True)]
        )
        canvas.bone(canvas.rods(chain(path, 6.5)), shell=1.0, cortex=0.8 * cortex, inside=130.0)


def _draw_shoulders(canvas: Sketch, cortex: float) -> None:
    rng = canvas.rng
    for side in (-1, 1):
        b, y = 60.0, -10.0
        collar = curve([(side * 18, y - b, 430), (side * 60, y - b - 6, 445),
                        (side * 105, y - 20, 458), (side * 128, 10, 458)], 14)  # fmt: skip
        canvas.bone(canvas.rods(chain(collar, 5.5)), shell=1.6, cortex=cortex, inside=150.0)
        lean = float(rng.normal(0, 0.08))
        blade = canvas.ellipsoid(
            (side * 92.0, 68.0, 385.0), (42.0, 4.0, 68.0), (0.1, 0.1, side * (0.55 + lean)), 1.0
        )
        canvas.bone(blade, shell=1.2, cortex=cortex, inside=200.0)
        ridge = curve([(side * 62, 78, 415), (side * 100, 82, 435), (side * 130, 26, 455)], 10)
        canvas.bone(canvas.rods(chain(ridge, 5.5)), shell=1.3, cortex=cortex, inside=180.0)
        head = canvas.ellipsoid((side * 134.0, 16.0, 428.0), (23.0, 23.0, 24.0), rough=0.6)
        canvas.bone(head, shell=1.0, cortex=cortex, inside=180.0)
