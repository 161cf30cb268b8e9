"""Head and neck: skull, brain, face with air cells, jaws with teeth, neck spine (layer: training).

The origin lies between the ears; the top of the head is near z = 100, the chin near z = -105.
"""

from __future__ import annotations

import numpy as np

from ctrestorelib.training.anatomy.canvas import Point, Region
from ctrestorelib.training.anatomy.fields import Array
from ctrestorelib.training.scans.bodies.sketch import Sketch, chain, curve

_FILLING_HU = (3000.0, 8000.0)


def draw_head(canvas: Sketch, *, fillings: bool = False) -> None:
    """Draw a head and its neck, with dental fillings if asked."""
    rng = canvas.rng
    cortex = float(rng.uniform(900, 1500))
    _draw_flesh(canvas)
    _draw_neck(canvas, cortex)
    _draw_face(canvas, cortex)
    _draw_brain_case(canvas, cortex)
    _draw_air_cells(canvas, cortex)
    _draw_eyes(canvas)
    _draw_jaws(canvas, cortex, fillings)
    _draw_ears(canvas, cortex)


def _draw_flesh(canvas: Sketch) -> None:
    rng = canvas.rng
    fat = float(rng.uniform(2, 8))
    crown = canvas.ellipsoid((0.0, 6.0, 32.0), (77.0, 99.0, 80.0), rough=1.0)
    face = canvas.ellipsoid((0.0, -46.0, -40.0), (71.0, 53.0, 72.0), rough=2.0)
    nose = canvas.ellipsoid((0.0, -102.0, -32.0), (13.0, 17.0, 24.0), (0.35, 0.0, 0.0))
    chin = canvas.ellipsoid((0.0, -70.0, -88.0), (40.0, 30.0, 24.0), rough=1.5)
    neck = canvas.rods(
        chain(
            curve([(0, 12, -20), (0, 16, -90), (0, 22, -190)], 8), (70.0, 66.0, 60.0, *[56.0] * 5)
        )
    )
    parts = (crown, face, nose, chin, neck)
    for part in parts:
        canvas.fill(part, float(rng.uniform(10, 50)))
    for part in parts:
        canvas.fill(part, canvas.soft(part, -95.0, 10.0, 6.0), inset=2.0)
    for part in parts[1:]:
        inner = canvas.soft(part, 50.0, 5.0, 8.0)
        planes = np.clip(1 - np.abs(canvas.field(14.0, part.box)) / np.float32(0.3), 0, 1)
        belly: Array = (inner - np.float32(120) * planes).astype(np.float32)
        canvas.fill(part, belly, inset=2.0 + fat)


def _draw_neck(canvas: Sketch, cortex: float) -> None:
    rng = canvas.rng
    inside = float(rng.uniform(180, 320))
    for n, z in enumerate(np.arange(-42.0, -200.0, -18.0)):
        y = 12 + 0.03 * (z + 110) ** 2 / 20
        disc = canvas.drum((0.0, y, z - 9), (12.0, 9.0, 2.6))
        canvas.fill(disc, float(rng.uniform(70, 110)))
        body = canvas.drum((0.0, y, z), (12.5, 9.0, 6.6), waist=0.1)
        canvas.bone(body, shell=0.9, cortex=cortex, inside=inside)
        arch = []
        for side in (-1, 1):
            knot = (side * 19.0, y + 10, z)
            arch += chain(np.array([(side * 10.0, y + 4, z), knot]), 4.0)
            arch += chain(np.array([knot, (0.0, y + 28, z - 3)]), 3.2)
        arch += chain(
            np.array([(0.0, y + 28, z - 3), (0.0, y + (34 if n else 24) + n, z - 8)]), 3.5
        )
        canvas.bone(canvas.rods(arch), shell=1.0, cortex=cortex, inside=inside)
    cord = chain(np.array([(0.0, 24.0, -20.0), (0.0, 32.0, -110.0), (0.0, 40.0, -210.0)]), 5.0)
    canvas.fill(canvas.rods(cord), 38.0)
    way = chain(curve([(0, -25, -42), (0, -12, -80), (0, -16, -130), (0, -20, -200)], 12), 8.0)
    airway = canvas.rods(way)
    canvas.fill(airway, 50.0, inset=-2.5)
    canvas.fill(airway, -985.0)


def _draw_face(canvas: Sketch, cortex: float) -> None:
    """Draw the bones of the midface: upper jaw, cheek bones, walls of the orbits."""
    upper = canvas.ellipsoid((0.0, -68.0, -30.0), (36.0, 26.0, 28.0), rough=1.0)
    canvas.bone(upper, shell=2.0, cortex=cortex, inside=300.0)
    for side in (-1, 1):
        arch = curve([(side * 30, -80, -22), (side * 50, -68, -20), (side * 62, -40, -16),
                      (side * 63, -12, -12)], 14)  # fmt: skip
        radii = np.interp(np.linspace(0, 1, 14), [0, 0.35, 1], [9, 8, 4])
        canvas.bone(canvas.rods(chain(arch, radii.tolist())), shell=1.8, cortex=cortex, inside=250)
        frame = curve([(side * 14, -80, 2), (side * 34, -84, 20), (side * 50, -70, 12),
                       (side * 50, -68, -14)], 14)  # fmt: skip
        canvas.bone(canvas.rods(chain(frame, 5.0)), shell=1.6, cortex=cortex, inside=250)
    base = canvas.ellipsoid((0.0, -8.0, -26.0), (44.0, 46.0, 13.0), rough=2.0)
    canvas.bone(base, shell=2.0, cortex=cortex, inside=280.0)


def _draw_brain_case(canvas: Sketch, cortex: float) -> None:
    rng = canvas.rng
    thick, scalp = float(rng.uniform(4.5, 9)), float(rng.uniform(3, 7))
    size = np.array([77.0, 99.0, 80.0]) - scalp
    case = canvas.ellipsoid((0.0, 6.0, 32.0), (size[0], size[1], size[2]), rough=1.0)
    canvas.fill(case, cortex)
    spongy = canvas.soft(case, float(rng.uniform(250, 600)), 90.0, 4.0)
    canvas.fill(case, spongy, inset=0.28 * thick)
    canvas.fill(case, cortex, inset=0.72 * thick)
    canvas.fill(case, float(rng.uniform(4, 12)), inset=thick)
    grey = float(rng.uniform(34, 40))
    folds = np.abs(canvas.field(11.0, case.box)) * np.float32(7)
    deep = -case.distance - np.float32(thick)
    cortex_depth = np.minimum(deep, folds + np.clip(deep - 14, 0, None)) - np.float32(0.8)
    brain = Region(case.box, -cortex_depth)
    canvas.fill(brain, grey)
    canvas.fill(brain, grey - float(rng.uniform(6, 10)), inset=3.5)
    share = np.zeros(canvas.shape, np.float32)
    share[case.box] = canvas.cover(case, thick + 2)
    _draw_inside(canvas, share, grey)


def _draw_inside(canvas: Sketch, within: Array, grey: float) -> None:
    rng = canvas.rng
    for side in (-1, 1):
        wide = float(rng.uniform(3, 9))
        horn = canvas.ellipsoid((side * 11.0, 2.0, 40.0), (wide, 32.0, 11.0), (0.2, 0, -side * 0.2))
        canvas.fill(horn, 8.0, within=within)
        core = canvas.ellipsoid((side * 20.0, 2.0, 30.0), (11.0, 20.0, 13.0), (0, 0, side * 0.2), 1)
        canvas.fill(core, grey, within=within)
        lobe = canvas.ellipsoid((side * 24.0, 58.0, -18.0), (27.0, 30.0, 20.0), rough=1.0)
        canvas.fill(lobe, grey, within=within)
    falx = canvas.plate((0.0, 6.0, 60.0), (0.8, 90.0, 42.0), (0.0, 0.0, 0.0))
    canvas.fill(falx, 60.0, within=within)
    if rng.random() < 0.25:
        spot = (float(rng.uniform(-45, 45)), float(rng.uniform(-50, 60)), float(rng.uniform(0, 80)))
        clot = canvas.ellipsoid(spot, tuple(rng.uniform(4, 22, 3).tolist()), rough=2.0)
        canvas.fill(clot, float(rng.uniform(50, 80)), within=within)


def _draw_air_cells(canvas: Sketch, cortex: float) -> None:
    """Draw nasal cavity, sinuses and mastoid cells: air between thin walls of bone."""
    rng = canvas.rng
    opaque = -985.0 if rng.random() < 0.85 else float(rng.uniform(10, 40))
    rooms: list[tuple[Point, Point]] = [
        ((0.0, -58.0, -26.0), (15.0, 34.0, 24.0)),
        ((0.0, -32.0, -10.0), (12.0, 13.0, 11.0)),
        ((-11.0, -84.0, 24.0), (13.0, 6.0, 13.0)),
        ((12.0, -84.0, 24.0), (14.0, 6.0, 11.0)),
    ]
    for side in (-1, 1):
        rooms.append(((side * 27.0, -60.0, -28.0), (13.0, 18.0, 18.0)))
    for n, (centre, semi) in enumerate(rooms):
        size = float(rng.uniform(0.8, 1.1))
        room = canvas.ellipsoid(centre, (semi[0] * size, semi[1] * size, semi[2] * size), rough=1.5)
        canvas.fill(room, 0.8 * cortex, inset=-1.2)
        canvas.fill(room, 30.0)
        canvas.fill(room, opaque if n == 4 else -985.0, inset=float(rng.uniform(0.3, 1.5)))
    wall = canvas.plate((1.0, -60.0, -24.0), (0.9, 28.0, 19.0), (0.0, float(rng.normal(0, 0.1)), 0))
    canvas.fill(wall, 350.0)
    for side in (-1, 1):
        for z in (-38.0, -28.0, -18.0):
            shelf = canvas.ellipsoid((side * 8.0, -58.0, z), (4.0, 24.0, 2.6), (0, side * 0.5, 0))
            canvas.fill(shelf, 60.0)
            canvas.fill(shelf, 400.0, inset=1.6)


def _draw_ears(canvas: Sketch, cortex: float) -> None:
    rng = canvas.rng
    for side in (-1, 1):
        rock = canvas.ellipsoid((side * 46.0, 14.0, -22.0), (26.0, 14.0, 13.0), (0, 0, -side * 0.5))
        canvas.bone(rock, shell=2.5, cortex=1.2 * cortex, inside=900.0)
        mastoid = canvas.ellipsoid((side * 53.0, 28.0, -34.0), (12.0, 17.0, 22.0), rough=1.0)
        canvas.fill(mastoid, cortex)
        walls = np.abs(canvas.field(5.0, mastoid.box)) < np.float32(0.55)
        cells = np.where(walls, np.float32(700), np.float32(-900)).astype(np.float32)
        canvas.fill(mastoid, cells, inset=2.0)
        ear = chain(np.array([(side * 62.0, 6.0, -18.0), (side * 84.0, 4.0, -16.0)]), 3.5)
        canvas.fill(canvas.rods(ear), -985.0)
        shell = canvas.ellipsoid((side * 77.0, 10.0, -12.0), (4.0, 15.0, 28.0), (0, 0, side * 0.35))
        canvas.fill(shell, float(rng.uniform(0, 60)))


def _draw_eyes(canvas: Sketch) -> None:
    for side in (-1, 1):
        socket = canvas.ellipsoid((side * 31.0, -58.0, 0.0), (19.0, 25.0, 18.0), (0, 0, side * 0.3))
        canvas.fill(socket, 700.0, inset=-1.0)
        canvas.fill(socket, -90.0)
        eye = canvas.ellipsoid((side * 32.0, -68.0, 0.0), (12.2, 12.2, 12.2))
        canvas.fill(eye, 60.0)
        canvas.fill(eye, 10.0, inset=1.2)
        lens = canvas.ellipsoid((side * 32.5, -76.0, 0.0), (4.6, 2.4, 4.6))
        canvas.fill(lens, 75.0)
        nerve = curve([(side * 31, -57, 0), (side * 22, -43, 0), (side * 10, -32, 4)], 8)
        canvas.fill(canvas.rods(chain(nerve, 2.2)), 40.0)


def _arch(z: float, wide: float, deep: float, count: int) -> Array:
    turn = np.linspace(np.deg2rad(8), np.deg2rad(172), count)
    x, y = wide * np.cos(turn), -52.0 - deep * np.sin(turn)
    return np.stack([x, y, np.full(count, z)], axis=1)


def _draw_jaws(canvas: Sketch, cortex: float, fillings: bool) -> None:
    rng = canvas.rng
    lower = _arch(-84.0, 34.0, 46.0, 24)
    canvas.bone(canvas.rods(chain(lower, 9.0)), shell=2.6, cortex=1.15 * cortex, inside=250.0)
    for side in (-1, 1):
        ramus = curve([(side * 36, -50, -84), (side * 50, -22, -72), (side * 54, -14, -40),
                       (side * 54, -12, -14)], 16)  # fmt: skip
        canvas.bone(canvas.rods(chain(ramus, np.linspace(9, 6, 16).tolist())), shell=2.0,
                    cortex=1.1 * cortex, inside=250.0)  # fmt: skip
    ridge = canvas.rods(chain(_arch(-50.0, 30.0, 44.0, 20), 8.0))
    canvas.bone(ridge, shell=1.6, cortex=cortex, inside=300.0)
    tongue = canvas.ellipsoid((0.0, -52.0, -66.0), (22.0, 34.0, 14.0))
    canvas.fill(tongue, 55.0)
    for z, way, wide, deep in ((-56.0, -1, 30.0, 44.5), (-76.0, 1, 31.0, 44.0)):
        for spot in _arch(z, wide, deep, 14):
            if rng.random() < 0.92:
                _draw_tooth(canvas, spot, way, fillings and rng.random() < 0.35)


def _draw_tooth(canvas: Sketch, spot: Array, way: int, filled: bool) -> None:
    """Draw one tooth; ``way`` is -1 where the crown points down."""
    rng = canvas.rng
    x, y, z = (float(v) for v in spot)
    wide = 3.6 + 1.6 * min(1.0, abs(x) / 28)
    crown = canvas.ellipsoid((x, y, z), (wide, wide, 5.5), rough=0.2)
    root = chain(np.array([(x, y, z), (x * 0.96, y + 1.5, z - way * 15.0)]), (0.75 * wide, 1.2))
    dentine = canvas.rods(root)
    canvas.fill(dentine, 100.0, inset=-0.4)
    canvas.fill(dentine, float(rng.uniform(1300, 1700)))
    canvas.fill(crown, float(rng.uniform(2200, 2900)))
    canvas.fill(crown, 1500.0, inset=1.4)
    pulp = chain(np.array([(x, y, z + way * 1.0), (x, y + 1.2, z - way * 11.0)]), (1.2, 0.5))
    canvas.fill(canvas.rods(pulp), 60.0)
    if filled:
        metal = canvas.ellipsoid((x, y, z + way * 3.0), (0.75 * wide, 0.75 * wide, 3.0))
        canvas.fill(metal, float(rng.uniform(*_FILLING_HU)))
