"""What fills chest and belly: lungs, heart, vessels, organs, bowel with gas (layer: training)."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ctrestorelib.training.anatomy.canvas import Region, Tube
from ctrestorelib.training.anatomy.fields import Array
from ctrestorelib.training.anatomy.trees import grow_tree, winding_path
from ctrestorelib.training.scans.bodies.sketch import Sketch, chain, curve
from ctrestorelib.training.scans.bodies.spine import spine_y

DIAPHRAGM = 205.0
_APEX = 458.0


class Cavity(Protocol):
    """The walls that organs lie in."""

    @property
    def cavity(self) -> Array:
        """Distance to the wall over the canvas, mm, negative inside."""
        ...

    @property
    def inside(self) -> Array:
        """Share of each voxel inside."""
        ...

    @property
    def contrast(self) -> float:
        """HU of blood."""
        ...


def draw_belly(canvas: Sketch, trunk: Cavity) -> None:
    """Draw liver, spleen, stomach, kidneys, muscles, bowel, bladder and great vessels."""
    rng = canvas.rng
    _draw_psoas(canvas)
    _draw_bowel(canvas, trunk)
    _draw_solid_organs(canvas, trunk)
    _draw_stomach(canvas, trunk)
    bladder = canvas.ellipsoid(
        (0.0, -32.0, -62.0), (38.0, 30.0, float(rng.uniform(12, 32))), rough=2.0
    )
    canvas.fill(bladder, 40.0, within=trunk.inside)
    canvas.fill(bladder, float(rng.choice([5.0, rng.uniform(50, 350)])), inset=3.5)
    _draw_vessels(canvas, trunk.contrast)


def _draw_solid_organs(canvas: Sketch, trunk: Cavity) -> None:
    rng = canvas.rng
    enhanced = trunk.contrast > 100
    liver = float(rng.uniform(90, 130) if enhanced else rng.uniform(35, 65))
    size = float(rng.uniform(0.88, 1.1))
    lobes = [((-62.0, -4.0, 170.0), (72.0, 76.0, 78.0)), ((2.0, -42.0, 190.0), (66.0, 34.0, 42.0))]
    for centre, semi in lobes:
        part = canvas.ellipsoid(
            centre, (semi[0] * size, semi[1] * size, semi[2] * size), (0.0, 0.25, 0.1), 4.0
        )
        canvas.fill(part, canvas.soft(part, liver, 2.5, 15.0), within=trunk.inside)
        way = (float(rng.normal()), float(rng.normal()), 0.5)
        tree = grow_tree(rng, centre, way, 5.5, thinnest=1.2, most=45)
        veins = canvas.rods(tree)
        canvas.fill(veins, trunk.contrast * 0.8, within=trunk.inside)
    gall = canvas.ellipsoid((-48.0, -48.0, 118.0), (13.0, 15.0, 28.0), (0.3, 0.2, 0.0), 1.0)
    canvas.fill(gall, float(rng.uniform(0, 20)), within=trunk.inside)
    spleen = canvas.ellipsoid((98.0, 34.0, 178.0), (24.0, 36.0, 48.0), (0.5, 0.2, -0.4), 2.5)
    canvas.fill(spleen, liver + float(rng.uniform(-10, 15)), within=trunk.inside)
    for side in (-1, 1):
        _draw_kidney(canvas, trunk, side, enhanced)
    tail = curve([(-30, 6, 108), (0, -4, 122), (40, 8, 135), (80, 24, 150)], 12)
    gland = canvas.rods(chain(tail, np.linspace(13, 8, 12).tolist()))
    canvas.fill(gland, float(rng.uniform(30, 110)), within=trunk.inside)


def _draw_kidney(canvas: Sketch, trunk: Cavity, side: int, enhanced: bool) -> None:
    rng = canvas.rng
    centre = (side * 62.0, 46.0, 128.0 + 8 * side + float(rng.normal(0, 6)))
    turn = (-0.25, -0.25 * side, 0.6 * side)
    kidney = canvas.ellipsoid(centre, (27.0, 22.0, 54.0), turn, 1.5)
    level = float(rng.uniform(110, 200) if enhanced else rng.uniform(25, 40))
    canvas.fill(kidney, level, within=trunk.inside)
    canvas.fill(kidney, level * float(rng.uniform(0.7, 1.0)), inset=7.0)
    sinus = canvas.ellipsoid((centre[0] - side * 9, centre[1] - 4, centre[2]), (11.0, 8.0, 24.0))
    canvas.fill(sinus, float(rng.uniform(-90, 10)))
    if rng.random() < 0.15:
        stone = canvas.ellipsoid(sinus_spot(centre), (4.0, 3.0, 4.0), rough=0.6)
        canvas.fill(stone, float(rng.uniform(400, 1300)))


def sinus_spot(centre: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return a place in the hollow of a kidney."""
    return (0.85 * centre[0], centre[1] - 4, centre[2] - 10)


def _draw_psoas(canvas: Sketch) -> None:
    rng = canvas.rng
    level, size = float(rng.uniform(40, 65)), float(rng.uniform(0.8, 1.15))
    for side in (-1, 1):
        path = curve([(side * 28, 36, 185), (side * 42, 34, 90), (side * 62, 18, 0),
                      (side * 92, -28, -68), (side * 108, 8, -135)], 20)  # fmt: skip
        radii = size * np.interp(np.linspace(0, 1, 20), [0, 0.4, 0.7, 1], [9, 21, 20, 10])
        muscle = canvas.rods(chain(path, radii.tolist()))
        canvas.fill(muscle, canvas.soft(muscle, level, 4.0, 12.0))


def _draw_stomach(canvas: Sketch, trunk: Cavity) -> None:
    rng = canvas.rng
    full = float(rng.uniform(0.5, 1.0))
    path = curve([(22, 16, 232), (58, 10, 205), (52, -30, 160), (8, -44, 128), (-24, -20, 122)], 16)
    radii = full * np.interp(np.linspace(0, 1, 16), [0, 0.3, 0.7, 1], [22, 40, 30, 14])
    bag = canvas.rods(chain(path, radii.tolist()))
    canvas.fill(bag, 45.0, within=trunk.inside)
    canvas.fill(bag, _content(canvas, bag), inset=4.0, within=trunk.inside)


def _draw_bowel(canvas: Sketch, trunk: Cavity) -> None:
    rng = canvas.rng
    for _ in range(int(rng.integers(14, 26))):
        start = (float(rng.uniform(-75, 75)), float(rng.uniform(-60, 15)),
                 float(rng.uniform(-45, 120)))  # fmt: skip
        way = (float(rng.normal()), float(rng.normal(0, 0.5)), float(rng.normal(0, 0.6)))
        radius = float(rng.uniform(8, 14))
        loop = canvas.rods(winding_path(rng, start, way, radius, steps=9, step=13.0, wander=0.6))
        canvas.fill(loop, float(rng.uniform(30, 90)), within=trunk.inside)
        if rng.random() < 0.75:
            canvas.fill(loop, _content(canvas, loop, 0.15), inset=2.5, within=trunk.inside)
    frame = curve([(-82, 18, -25), (-92, 20, 40), (-90, 8, 105), (-45, -52, 110), (10, -62, 85),
                   (60, -50, 125), (96, 16, 150), (98, 26, 70), (88, 18, -5), (35, 0, -15),
                   (8, 34, -40), (0, 44, -95)], 90)  # fmt: skip
    frame += 6 * rng.standard_normal((12, 3)).repeat(8, axis=0)[:90]
    radii = (16 + 4 * np.sin(np.arange(90) * 1.1)) * float(rng.uniform(0.8, 1.35))
    tubes = chain(curve(frame[::3].tolist(), 90), radii.tolist())
    for low in range(0, 89, 11):
        part = canvas.rods(tubes[low : low + 12])
        canvas.fill(part, float(rng.uniform(30, 70)), within=trunk.inside)
        canvas.fill(part, _content(canvas, part, 0.4), inset=3.0, within=trunk.inside)


def _content(canvas: Sketch, region: Region, gas: float = 0.25) -> Array:
    """Return gas, fluid with a gas level above it, or mixed stool, over a region's box."""
    rng = canvas.rng
    shape = canvas.hu[region.box].shape
    fluid = np.float32(rng.uniform(0, 35) if rng.random() < 0.8 else rng.uniform(120, 400))
    kind = rng.random()
    if kind < gas:
        return np.full(shape, -970, np.float32)
    y = canvas.y[region.box[1]]
    if kind < 2 * gas and y.size:
        level = float(rng.uniform(y[0], y[-1]))
        line = np.where(y < level, np.float32(-970), fluid)[None, :, None]
        return np.broadcast_to(line, shape)
    bubbles = np.clip(canvas.field(6.0, region.box) - np.float32(0.4), 0, 1)
    mixed: Array = fluid - np.float32(rng.uniform(0, 900)) * bubbles
    return mixed


def _draw_vessels(canvas: Sketch, blood: float) -> None:
    """Draw aorta and vena cava below the diaphragm, and the arteries to the legs."""
    rng = canvas.rng
    fork = (0.0, spine_y(20) - 24, 22.0)
    top, middle = spine_y(225), spine_y(120) - 26
    aorta = curve([(14, top - 22, 225), (8, middle, 120), fork], 14)
    cava = curve([(-22, top - 26, 225), (-18, middle, 120), (-12, fork[1], 10)], 14)
    _pipe(canvas, chain(aorta, float(rng.uniform(8, 14))), blood)
    _pipe(canvas, chain(cava, 11.0), blood)
    for side in (-1, 1):
        leg = curve([fork, (side * 34, 18, -15), (side * 58, -30, -55), (side * 84, -58, -80),
                     (side * 92, -42, -180), (side * 84, 0, -330)], 24)  # fmt: skip
        _pipe(canvas, chain(leg, 5.0), blood)
        if rng.random() < 0.35:
            spot = leg[int(rng.integers(2, 12))]
            plaque = canvas.ellipsoid((spot[0] + 4, spot[1], spot[2]), (2.0, 4.0, 7.0), rough=0.6)
            canvas.fill(plaque, float(rng.uniform(300, 1200)))


def _pipe(canvas: Sketch, tubes: list[Tube], blood: float) -> None:
    pipe = canvas.rods(tubes)
    canvas.fill(pipe, 50.0, inset=-1.2)
    canvas.fill(pipe, blood + float(canvas.rng.normal(0, 8)))


def draw_thorax(canvas: Sketch, trunk: Cavity) -> None:
    """Draw lungs with vessels and airways, heart, great vessels, windpipe, gullet."""
    rng = canvas.rng
    lungs = _draw_lungs(canvas, trunk)
    _draw_lung_vessels(canvas, trunk, lungs)
    _draw_heart(canvas, trunk.contrast)
    gullet = canvas.rods(
        chain(curve([(4, 36, 215), (6, 34, 300), (0, 34, 400), (0, 24, 520)], 20), 7.0)
    )
    canvas.fill(gullet, float(rng.uniform(25, 50)))
    _draw_airways(canvas, lungs)


def _draw_lungs(canvas: Sketch, trunk: Cavity) -> Array:
    rng = canvas.rng
    whole = (slice(None), slice(None), slice(None))
    box = canvas.box((-1e4, -1e4, DIAPHRAGM - 90), (1e4, 1e4, _APEX + 10))
    x, y, z = canvas.grid(box)
    height = float(rng.uniform(20, 50))
    away = np.abs(x)
    dome = (
        DIAPHRAGM
        - 30
        + float(rng.normal(0, 8))
        + height * (2 - ((away - 62) / 70) ** 2 - ((y + 8) / 62) ** 2)
    )
    middle = 20 + 18 * np.exp(-(((z - 240) / 70) ** 2)) + 4 * np.exp(-(((y - 10) / 30) ** 2))
    distance = np.maximum(trunk.cavity[box] + 3, middle - away + 2 * canvas.field(25.0, box))
    apex = _APEX - 0.012 * (away - 45) ** 2
    np.maximum(distance, np.maximum(0.8 * (dome - z), z - apex), out=distance)
    lungs = Region(box, distance.astype(np.float32))
    air = np.float32(rng.uniform(-890, -780)) + np.float32(rng.uniform(0.2, 1.0)) * y
    air = air + np.float32(12) * canvas.field(22.0, box)
    haze = np.clip(canvas.field(30.0, box) - np.float32(rng.uniform(0.8, 2.5)), 0, 2)
    canvas.fill(lungs, (air + np.float32(rng.uniform(0, 300)) * haze).astype(np.float32))
    share = np.zeros(canvas.shape, np.float32)
    share[whole][box] = canvas.cover(lungs)
    return share


def _draw_lung_vessels(canvas: Sketch, trunk: Cavity, lungs: Array) -> None:
    rng = canvas.rng
    for side in (-1, 1):
        hilum = (side * 34.0, 4.0, 305.0)
        for _ in range(int(rng.integers(9, 15))):
            way = (side * float(rng.uniform(0.3, 1.2)), float(rng.normal(0, 0.9)),
                   float(rng.normal(0, 1.1)))  # fmt: skip
            radius = float(rng.uniform(2.5, 4.5))
            tree = grow_tree(rng, hilum, way, radius, thinnest=0.5, most=120, wander=0.18)
            canvas.fill(canvas.rods(tree), max(trunk.contrast, 40.0), within=lungs)
        for _ in range(int(rng.integers(0, 4))):
            size = float(np.exp(rng.uniform(np.log(1.5), np.log(14))))
            spot = (side * float(rng.uniform(40, 110)), float(rng.uniform(-60, 50)),
                    float(rng.uniform(230, 430)))  # fmt: skip
            nodule = canvas.ellipsoid(spot, (size, size, size), rough=0.12 * size)
            canvas.fill(nodule, float(rng.uniform(-650, 120)), within=lungs)


def _draw_heart(canvas: Sketch, blood: float) -> None:
    rng = canvas.rng
    size = float(rng.uniform(0.88, 1.2))
    middle, turn = (20.0, -26.0, 252.0), (0.5, 0.5, -0.6)
    sac = canvas.ellipsoid(middle, (58 * size, 44 * size, 44 * size), turn, 2.5)
    canvas.fill(sac, float(rng.uniform(-90, 20)), inset=-5.0)
    canvas.fill(sac, canvas.soft(sac, float(rng.uniform(40, 110)), 3.0, 15.0))
    for dx, dy, dz in ((26, -10, -14), (-8, -22, -6), (-26, 2, 12), (4, 20, 22)):
        spot = (middle[0] + dx * size, middle[1] + dy * size, middle[2] + dz * size)
        room = canvas.ellipsoid(spot, (21 * size, 16 * size, 18 * size), turn, 1.5)
        canvas.fill(room, blood)
    if rng.random() < 0.3:
        rim = curve([(45, -30, 270), (20, -55, 272), (-15, -50, 268)], 10)
        for a in rim[:: int(rng.integers(2, 5))].tolist():
            speck = canvas.ellipsoid((a[0], a[1], a[2]), (2.0, 2.0, 3.5), rough=0.5)
            canvas.fill(speck, float(rng.uniform(300, 1100)))
    back = spine_y(300) - 26
    arch = [(4, -22, 278), (-14, -30, 320), (-4, -10, 362), (16, 22, 358), (24, back, 320),
            (22, back, 260), (14, spine_y(200) - 22, 200)]  # fmt: skip
    _pipe(canvas, chain(curve(arch, 30), float(rng.uniform(10.5, 15))), blood)
    _pipe(canvas, chain(curve([(-26, -18, 275), (-26, -16, 340), (-20, -14, 400)], 8), 8.5), blood)
    lung_artery = curve([(14, -42, 290), (16, -22, 318), (-4, -6, 312), (-34, 2, 306)], 12)
    _pipe(canvas, chain(lung_artery, 11.0), blood)
    for x, y in ((-18, -8), (2, 0), (16, 10)):
        neck = curve([(x * 0.5, y, 365), (x, y, 400), (x * 1.6, y - 4, 460), (x * 1.7, y, 560)], 10)
        _pipe(canvas, chain(neck, 4.2), blood)


def _draw_airways(canvas: Sketch, lungs: Array) -> None:
    rng = canvas.rng
    fork = (0.0, 14.0, 328.0)
    pipe = chain(curve([fork, (0, 8, 390), (0, -6, 450), (0, -12, 560)], 14), 8.5)
    tubes = list(pipe)
    for side, drop in ((-1, 26), (1, 22)):
        hilum = (side * 38.0, 12.0, fork[2] - drop)
        tubes += chain(np.array([fork, hilum]), (7.5, 6.0))
        tree: list[Tube] = []
        for way in ((1.0, -0.6, 0.7), (1.0, 0.2, -1.0), (0.7, -0.9, -0.5)):
            tree += grow_tree(
                rng, hilum, (side * way[0], way[1], way[2]), 4.0, thinnest=1.2, most=14
            )
        branches = canvas.rods(tree)
        canvas.fill(branches, float(rng.uniform(-250, 30)), inset=-1.2, within=lungs)
        canvas.fill(branches, -985.0, within=lungs)
    windpipe = canvas.rods(tubes)
    canvas.fill(windpipe, 45.0, inset=-2.0)
    canvas.fill(windpipe, -985.0)
