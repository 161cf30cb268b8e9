"""Metal in bodies: screws, rods, plates, nails, artificial joints, wires (layer: training).

HU are those of titanium and steel as attenuation, not as a scanner clips them.
"""

from __future__ import annotations

import numpy as np

from ctrestorelib.training.anatomy.canvas import Point, Tube
from ctrestorelib.training.scans.bodies.hips import HEAD_RADIUS, HIP
from ctrestorelib.training.scans.bodies.sketch import Sketch, chain, curve
from ctrestorelib.training.scans.bodies.spine import LEVELS, spine_y

METAL_HU = (3000.0, 8000.0)
_CEMENT_HU = 2200.0


def metal_hu(canvas: Sketch) -> float:
    """Return the HU of one implant."""
    return float(canvas.rng.uniform(*METAL_HU))


def screw(canvas: Sketch, head: Point, tip: Point, radius: float, metal: float) -> None:
    """Draw a threaded screw."""
    ends = np.asarray([head, tip], float)
    count = max(3, int(np.linalg.norm(ends[1] - ends[0]) / (1.8 * radius)))
    spots = ends[0] + np.linspace(0.1, 1, count)[:, None] * (ends[1] - ends[0])
    places: list[Point] = [(float(p[0]), float(p[1]), float(p[2])) for p in spots]
    thread = [Tube(p, p, 1.3 * radius, 1.3 * radius) for p in places[:-1]]
    cap = [Tube(head, head, 2.1 * radius, 2.1 * radius)]
    canvas.fill(canvas.rods([*chain(ends, (radius, 0.6 * radius)), *thread, *cap]), metal)


def add_spine_screws(canvas: Sketch) -> None:
    """Put screws into the pedicles of neighbouring vertebrae in view, and join them by rods."""
    rng, metal = canvas.rng, metal_hu(canvas)
    seen = [v for v in LEVELS[:14] if canvas.z[0] + 10 < v.z < canvas.z[-1] - 10]
    if len(seen) < 2:
        return
    first = int(rng.integers(len(seen) - 1))
    held = seen[first : first + int(rng.integers(2, 5))]
    for side in (-1, 1):
        heads = []
        for v in held:
            y = spine_y(v.z)
            head = (side * 1.0 * v.width, y + v.depth + 24, v.z + 6)
            screw(canvas, head, (side * 0.4 * v.width, y - 4, v.z), 2.8, metal)
            heads.append(head)
        path = np.asarray(heads, float)
        canvas.fill(canvas.rods(chain(path, 2.8)), metal)


def add_hip_joint(canvas: Sketch) -> None:
    """Replace one hip joint, or both: cup, liner, head, stem."""
    rng = canvas.rng
    for side in _sides(canvas)[: int(rng.integers(1, 3))]:
        metal = metal_hu(canvas)
        x, y, z = side * HIP[0], HIP[1], HIP[2]
        cup = canvas.ellipsoid((x, y, z), (HEAD_RADIUS + 4,) * 3)
        canvas.fill(cup, metal)
        canvas.fill(cup, -60.0, inset=3.5)  # polyethylene
        lip = canvas.plate((x + side * 26, y - 6, z - 22), (26, 40, 40), (0, side * 0.75, 0))
        canvas.fill(lip, 50.0, within=canvas.mask(cup))
        ball = canvas.ellipsoid((x, y, z), (float(rng.uniform(14, 18)),) * 3)
        stem = curve([(side * 124, 4, -112), (side * 126, 1, -170), (side * 121, -2, -245)], 12)
        if rng.random() < 0.4:
            mantle = canvas.rods(chain(stem, np.linspace(13.5, 7.5, 12).tolist()))
            canvas.fill(mantle, _CEMENT_HU)
        neck = chain(np.asarray([(x, y, z), (side * 122, 3, -108)], float), (7.0, 8.5))
        shaft = chain(stem, np.linspace(11, 5.5, 12).tolist())
        canvas.fill(canvas.rods([*neck, *shaft]), metal)
        canvas.fill(ball, metal if rng.random() < 0.6 else 4500.0)


def add_hip_nail(canvas: Sketch) -> None:
    """Put a nail into one thigh bone with a screw up into the femoral head."""
    metal = metal_hu(canvas)
    sides = _sides(canvas)
    if not sides:
        return
    side = sides[0]
    nail = curve([(side * 132, 8, -78), (side * 126, 1, -170), (side * 116, -3, -300)], 14)
    canvas.fill(canvas.rods(chain(nail, 5.5)), metal)
    x, y, z = side * HIP[0], HIP[1], HIP[2]
    screw(canvas, (side * 142.0, 8.0, -136.0), (x + side * 4, y, z - 2), 5.0, metal)


def add_sternal_wires(canvas: Sketch) -> None:
    """Close the breastbone with wire loops, as after heart surgery."""
    metal = metal_hu(canvas)
    for z in np.linspace(300, 415, int(canvas.rng.integers(4, 8))):
        turn = np.linspace(0, 2 * np.pi, 12)
        y = -96.0 if z < 380 else -80.0
        ring = np.stack([16 * np.cos(turn), y + 8 * np.sin(turn), z + 0 * turn], axis=1)
        canvas.fill(canvas.rods(chain(ring, 0.7)), metal)


def add_staples(canvas: Sketch, middle: Point, spread: float) -> None:
    """Scatter surgical staples and clips about a place."""
    rng, metal = canvas.rng, metal_hu(canvas)
    for _ in range(int(rng.integers(5, 25))):
        start = np.asarray(middle) + rng.normal(0, spread, 3)
        way = rng.standard_normal(3)
        end = start + way * 4 / np.linalg.norm(way)
        canvas.fill(canvas.rods(chain(np.stack([start, end]), 0.6)), metal)


def add_plate(canvas: Sketch, ends: tuple[Point, Point], depth: float) -> None:
    """Screw a plate onto a bone whose axis runs between two points."""
    rng, metal = canvas.rng, metal_hu(canvas)
    a, b = (np.asarray(p) for p in ends)
    low, high = sorted(rng.uniform(0.0, 1.0, 2))
    high = max(high, min(1.0, low + 0.35))
    turn = float(rng.uniform(0, 2 * np.pi))
    out = np.array([np.cos(turn), np.sin(turn), 0.0])
    along = (b - a) / max(float(np.linalg.norm(b - a)), 1e-6)
    aside = np.cross(along, out)
    spots = a + np.linspace(low, high, int(rng.integers(4, 9)))[:, None] * (b - a) + depth * out
    strips = [chain(spots + s * 4.0 * aside, 2.0) for s in (-1, 0, 1)]
    canvas.fill(canvas.rods([tube for strip in strips for tube in strip]), metal)
    for spot in spots:
        tip = spot - 2.1 * depth * out
        screw(canvas, _point(spot), _point(tip), 1.9, metal)


def add_nail(canvas: Sketch, ends: tuple[Point, Point]) -> None:
    """Put a nail into the marrow of a long bone, with two locking screws."""
    metal = metal_hu(canvas)
    path = np.asarray(ends, float)
    canvas.fill(canvas.rods(chain(path, 4.5)), metal)
    for share in (0.06, 0.94):
        spot = path[0] + share * (path[1] - path[0])
        x, y, z = _point(spot)
        screw(canvas, (x - 18, y, z), (x + 18, y, z), 2.2, metal)


def add_knee_joint(canvas: Sketch) -> None:
    """Replace the knee of :func:`~ctrestorelib.geometry.knee.knee_phantom` (joint at z = 0)."""
    rng, metal = canvas.rng, metal_hu(canvas)
    spacer = canvas.plate((0.0, 2.0, 1.0), (36.0, 24.0, 6.0), (0, 0, 0))
    canvas.fill(spacer, -60.0)
    tray = canvas.plate((0.0, 2.0, -7.0), (37.0, 25.0, 2.2), (0, 0, 0))
    canvas.fill(tray, metal)
    keel = chain(np.array([(0.0, 2.0, -8.0), (0.0, 4.0, -46.0)]), (8.0, 5.5))
    canvas.fill(canvas.rods(keel), metal)
    shield = []
    for x in (-30.0, -22.0, -14.0, 14.0, 22.0, 30.0):
        turns = np.deg2rad(np.linspace(-120, 55, 14))
        radius = float(rng.uniform(21, 23))
        arc = np.stack([np.full(14, x), 4 - radius * np.cos(turns - np.pi / 2) * 1.1,
                        26 + radius * np.sin(turns - np.pi / 2)], axis=1)  # fmt: skip
        shield += chain(arc, 4.6)
    canvas.fill(canvas.rods(shield), metal)


def _sides(canvas: Sketch) -> list[int]:
    """Return the sides (-1 right, 1 left) whose hip joint lies in the cube, in random order."""
    seen = [s for s in (-1, 1) if canvas.x[0] < s * HIP[0] < canvas.x[-1]]
    return [int(s) for s in canvas.rng.permutation(seen)]


def _point(spot: np.ndarray) -> Point:
    x, y, z = (float(v) for v in spot)
    return x, y, z
