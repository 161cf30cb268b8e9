"""Things that are no bodies: foam, discs, shells, tablets, teeth, phantoms (layer: training).

A prior that has seen only anatomy draws anatomy into everything. Sizes are shares of the cube.
"""

from __future__ import annotations

import numpy as np

from ctrestorelib.training.anatomy.canvas import Point, Region
from ctrestorelib.training.anatomy.fields import Array
from ctrestorelib.training.scans.bodies.sketch import Sketch, chain, curve

_PLASTICS = (-1000.0, -200.0, -100.0, -35.0, 120.0, 340.0, 480.0, 990.0)


def draw_foam(canvas: Sketch) -> None:
    """Draw a block or cylinder of porous matter with round pores of very different sizes."""
    rng, edge = canvas.rng, canvas.extent[0]
    body = _sample(canvas)
    canvas.fill(body, canvas.soft(body, float(rng.uniform(-400, 1800)), 15.0, 0.1 * edge))
    for _ in range(int(rng.integers(120, 400))):
        size = edge * float(np.exp(rng.uniform(np.log(0.008), np.log(0.06))))
        canvas.fill(canvas.ellipsoid(_anywhere(canvas, 0.42), (size, size, size)), -1000.0)


def draw_spongy(canvas: Sketch) -> None:
    """Draw a biopsy of spongy bone, or a sponge: rods where two random fields vanish."""
    rng, edge = canvas.rng, canvas.extent[0]
    body = _sample(canvas)
    cell = edge * float(np.exp(rng.uniform(np.log(0.03), np.log(0.1))))
    first, second = canvas.field(cell, body.box), canvas.field(cell, body.box)
    width = float(rng.uniform(0.5, 0.9))
    wall = np.minimum(np.sqrt(first**2 + second**2), np.abs(first) + np.float32(0.35))
    solid = np.clip(1.5 - wall / np.float32(width), 0, 1)
    filler = float(rng.choice([-1000.0, -80.0, 20.0]))
    canvas.fill(body, np.float32(filler) + np.float32(rng.uniform(600, 2000)) * solid)


def draw_shells(canvas: Sketch) -> None:
    """Draw hollow and layered bodies within and beside each other."""
    rng, edge = canvas.rng, canvas.extent[0]
    for _ in range(int(rng.integers(4, 13))):
        size = edge * float(np.exp(rng.uniform(np.log(0.08), np.log(0.25))))
        semi: Point = tuple((rng.uniform(0.6, 1.3, 3) * size).tolist())
        body = canvas.ellipsoid(_anywhere(canvas, 0.25), semi, _turn(rng), 0.04 * size)
        depth = 0.0
        for _ in range(int(rng.integers(1, 5))):
            canvas.fill(body, float(rng.choice([-1000.0, rng.uniform(-800, 1600)])), inset=depth)
            depth += edge * float(np.exp(rng.uniform(np.log(0.006), np.log(0.04))))


def draw_snail(canvas: Sketch) -> None:
    """Draw a coiled, chambered shell."""
    rng, edge = canvas.rng, canvas.extent[0]
    turns, count = float(rng.uniform(2.0, 3.5)), 90
    at = np.linspace(0, 1, count)
    grow = np.exp(2.2 * (at - 1))
    away, angle = 0.26 * edge * grow, 2 * np.pi * turns * at
    rise = edge * float(rng.uniform(0, 0.3)) * (grow - 0.5)
    path = np.stack([away * np.cos(angle), away * np.sin(angle), rise], axis=1)
    wide = 0.13 * edge * grow
    wall = float(rng.uniform(0.006, 0.016)) * edge
    shell = canvas.rods(chain(path, wide.tolist()))
    canvas.fill(shell, float(rng.uniform(600, 2400)))
    canvas.fill(shell, float(rng.choice([-1000.0, -1000.0, rng.uniform(0, 500)])), inset=wall)
    for n in range(30, count - 2, int(rng.integers(4, 9))):
        along = path[n + 1] - path[n]
        lean = float(np.arctan2(along[1], along[0]))
        septum = canvas.ellipsoid(_point(path[n]), (0.6 * wall, 0.97 * wide[n], 0.97 * wide[n]),
                                  (0.0, 0.0, lean))  # fmt: skip
        canvas.fill(septum, float(rng.uniform(600, 2000)))


def draw_disc(canvas: Sketch) -> None:
    """Draw a plastic disc or bar with holes and slots, the same along its axis."""
    rng, edge = canvas.rng, canvas.extent[0]
    radius, half = edge * float(rng.uniform(0.25, 0.44)), edge * float(rng.uniform(0.05, 0.45))
    plastic = float(rng.uniform(-100, 400))
    disc = canvas.drum((0.0, 0.0, 0.0), (radius, radius, half))
    canvas.fill(disc, plastic)
    within = canvas.mask(disc)
    for _ in range(int(rng.integers(0, 14))):
        x, y = rng.uniform(-0.75, 0.75, 2) * radius
        size = radius * float(np.exp(rng.uniform(np.log(0.04), np.log(0.25))))
        what = float(rng.choice(_PLASTICS)) if rng.random() < 0.3 else -1000.0
        if rng.random() < 0.5:
            hole = canvas.drum((x, y, 0.0), (size, size, edge))
        else:
            slot = (size, 0.4 * size + canvas.pixel, edge)
            hole = canvas.plate((x, y, 0.0), slot, (0.0, 0.0, float(rng.uniform(0, np.pi))))
        canvas.fill(hole, what, within=within)


def draw_ellipsoids(canvas: Sketch) -> None:
    """Draw nested ellipsoids in the manner of the Shepp-Logan head."""
    rng, edge = canvas.rng, canvas.extent[0]
    semi: Point = tuple((rng.uniform(0.3, 0.44, 3) * edge).tolist())
    head = canvas.ellipsoid((0.0, 0.0, 0.0), semi, (0.0, 0.0, float(rng.uniform(0, np.pi))))
    canvas.fill(head, float(rng.uniform(200, 1500)))
    canvas.fill(head, float(rng.uniform(-50, 60)), inset=edge * float(rng.uniform(0.01, 0.03)))
    within = canvas.mask(head, 0.03 * edge)
    for _ in range(int(rng.integers(5, 16))):
        size = edge * float(np.exp(rng.uniform(np.log(0.015), np.log(0.16))))
        part: Point = tuple((rng.uniform(0.4, 1.6, 3) * size).tolist())
        body = canvas.ellipsoid(_anywhere(canvas, 0.32), part, _turn(rng))
        contrast = float(rng.choice([-1, 1])) * float(np.exp(rng.uniform(np.log(10), np.log(700))))
        canvas.add(body, contrast, within=within)


def draw_tooth(canvas: Sketch) -> None:
    """Draw one big tooth: enamel cap, dentine, pulp, one to three roots."""
    rng, edge = canvas.rng, canvas.extent[0]
    wide = 0.2 * edge * float(rng.uniform(0.8, 1.1))
    crown = canvas.ellipsoid(
        (0.0, 0.0, 0.16 * edge), (wide, 0.85 * wide, 0.18 * edge), rough=1e-2 * edge
    )
    roots, canals = [], []
    count = int(rng.integers(1, 4))
    for n in range(count):
        turn = 2 * np.pi * n / count + float(rng.normal(0, 0.3))
        lean = 0.0 if count == 1 else 0.13 * edge
        x, y = lean * float(np.cos(turn)), lean * float(np.sin(turn))
        top, bottom = 0.14 * edge, -0.38 * edge
        path = curve([(0, 0, top), (0.7 * x, 0.7 * y, -0.12 * edge), (x, y, bottom)], 12)
        roots += chain(path, np.linspace(0.75 * wide, 0.12 * wide, 12).tolist())
        canals += chain(path[1:], np.linspace(0.14 * wide, 0.03 * wide, 11).tolist())
    dentine = float(rng.uniform(1100, 1800))
    canvas.fill(canvas.rods(roots), dentine)
    canvas.fill(crown, float(rng.uniform(2200, 3000)))
    canvas.fill(crown, dentine, inset=0.3 * wide)
    canvas.fill(canvas.rods(canals), float(rng.choice([-900.0, 40.0])))
    if rng.random() < 0.4:
        hole = canvas.ellipsoid((0.4 * wide, 0.0, 0.3 * edge), (0.4 * wide,) * 3, rough=0.02 * edge)
        canvas.fill(hole, float(rng.choice([-1000.0, 3000.0])))


def draw_grains(canvas: Sketch) -> None:
    """Draw a cup filled with stones, tablets or sand."""
    rng, edge = canvas.rng, canvas.extent[0]
    radius, half = 0.4 * edge, 0.42 * edge
    cup = canvas.drum((0.0, 0.0, 0.0), (radius, radius, half))
    canvas.fill(cup, float(rng.uniform(-100, 200)))
    binder = float(rng.choice([-1000.0, -1000.0, rng.uniform(-100, 300)]))
    canvas.fill(cup, binder, inset=0.02 * edge)
    within = canvas.mask(cup, 0.03 * edge)
    size = edge * float(np.exp(rng.uniform(np.log(0.025), np.log(0.09))))
    base, spread = float(rng.uniform(0, 2200)), float(rng.uniform(20, 500))
    count = int(np.clip(0.35 * (0.4 * edge / size) ** 3, 20, 400))
    for _ in range(count):
        shape: Point = tuple((size * np.exp(rng.normal(0, 0.25, 3))).tolist())
        grain = canvas.ellipsoid(_anywhere(canvas, 0.38), shape, _turn(rng), 0.08 * size)
        canvas.fill(grain, base + spread * float(rng.normal()), within=within)


def draw_inserts(canvas: Sketch) -> None:
    """Draw a water-like cylinder with rods, spheres and wires: a quality-control phantom."""
    rng, edge = canvas.rng, canvas.extent[0]
    radius, half = edge * float(rng.uniform(0.3, 0.44)), edge * float(rng.uniform(0.2, 0.6))
    dish = canvas.drum((0.0, 0.0, 0.0), (radius, radius * float(rng.uniform(0.7, 1)), half))
    canvas.fill(dish, float(rng.uniform(0, 400)))
    canvas.fill(dish, float(rng.uniform(-100, 120)), inset=0.02 * edge)
    within = canvas.mask(dish, 0.03 * edge)
    count, ring = int(rng.integers(4, 12)), radius * float(rng.uniform(0.4, 0.7))
    for n in range(count):
        turn = 2 * np.pi * n / count
        x, y = ring * float(np.cos(turn)), ring * float(np.sin(turn))
        size = radius * float(rng.uniform(0.04, 0.15))
        rod = canvas.drum((x, y, 0.0), (size, size, edge * float(rng.choice([0.1, 1.0]))))
        canvas.fill(rod, float(rng.choice(_PLASTICS)), within=within)
        ball = canvas.ellipsoid((0.4 * x, 0.4 * y, 0.1 * edge), (0.7 * size,) * 3)
        canvas.fill(ball, float(rng.uniform(-100, 300)), within=within)
    for _ in range(int(rng.integers(0, 4))):
        ends = np.array([_anywhere(canvas, 0.3), _anywhere(canvas, 0.3)])
        wire = canvas.rods(chain(ends, 0.006 * edge))
        canvas.fill(wire, float(rng.uniform(500, 6000)), within=within)


def _sample(canvas: Sketch) -> Region:
    rng, edge = canvas.rng, canvas.extent[0]
    half: Point = tuple((rng.uniform(0.26, 0.43, 3) * edge).tolist())
    kind = rng.random()
    if kind < 0.4:
        return canvas.drum((0.0, 0.0, 0.0), half)
    if kind < 0.7:
        return canvas.plate((0.0, 0.0, 0.0), (0.75 * half[0], 0.75 * half[1], half[2]),
                            (0.0, 0.0, float(rng.uniform(0, np.pi))))  # fmt: skip
    return canvas.ellipsoid((0.0, 0.0, 0.0), half, _turn(rng), 0.03 * edge)


def _anywhere(canvas: Sketch, share: float) -> Point:
    x, y, z = (canvas.rng.uniform(-share, share, 3) * canvas.extent[0]).tolist()
    return x, y, z


def _turn(rng: np.random.Generator) -> Point:
    x, y, z = rng.uniform(0, np.pi, 3).tolist()
    return x, y, z


def _point(spot: Array) -> Point:
    x, y, z = (float(v) for v in spot)
    return x, y, z
