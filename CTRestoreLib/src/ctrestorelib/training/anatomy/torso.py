"""Cross-sections of chest and abdomen (layer: training)."""

from __future__ import annotations

import numpy as np

from ctrestorelib.training.anatomy.bones import paint_bone, paint_vertebra, ribs
from ctrestorelib.training.anatomy.canvas import Canvas, Region
from ctrestorelib.training.anatomy.fields import Array
from ctrestorelib.training.anatomy.spongy import spongy_texture
from ctrestorelib.training.anatomy.tissues import (
    add_lesions,
    fat_texture,
    fine_vessels,
    muscle_texture,
    organ_texture,
)
from ctrestorelib.training.anatomy.trees import grow_tree, random_direction, winding_path

_LONG = 4000.0  # semi-axis, mm, of what passes through all slices


def draw_chest(canvas: Canvas) -> None:
    """Draw skin, fat, muscle, ribs, lungs with vessels and airways, heart, aorta and spine."""
    semi, spongy = _aim(canvas), spongy_texture(canvas)
    cavity, wall = _paint_wall(canvas, semi)
    inner = (semi[0] - wall, semi[1] - wall)
    canvas.paint(cavity, fat_texture(canvas))
    inside = canvas.mask(cavity)
    lungs = _paint_lungs(canvas, inner, inside)
    _fill_lungs(canvas, inner, lungs)
    _paint_heart(canvas, inner)
    paint_vertebra(canvas, (0.0, 0.75 * inner[1], 0.0), float(canvas.rng.uniform(13, 20)), spongy)
    rib = canvas.tubes(
        ribs(canvas, (inner[0] + 4, inner[1] + 4), float(canvas.rng.uniform(22, 35)))
    )
    paint_bone(canvas, rib, spongy, shell=float(canvas.rng.uniform(0.7, 1.8)))


def draw_abdomen(canvas: Canvas) -> None:
    """Draw skin, fat, muscle, liver, spleen, kidneys, bowel, great vessels and spine."""
    rng = canvas.rng
    semi, spongy = _aim(canvas), spongy_texture(canvas)
    cavity, wall = _paint_wall(canvas, semi)
    inner = (semi[0] - wall, semi[1] - wall)
    canvas.paint(cavity, fat_texture(canvas))
    inside = canvas.mask(cavity)
    if rng.random() < 0.7:
        mesentery = fine_vessels(canvas) * inside
        canvas.hu += mesentery * (np.float32(rng.uniform(20, 150)) - canvas.hu)
    _paint_organs(canvas, inner, inside)
    _paint_bowel(canvas, inner, inside)
    _paint_great_vessels(canvas, inner)
    paint_vertebra(canvas, (0.0, 0.6 * inner[1], 0.0), float(rng.uniform(16, 24)), spongy)
    if rng.random() < 0.5:
        rib = canvas.tubes(ribs(canvas, (inner[0] + 4, inner[1] + 4), float(rng.uniform(22, 35))))
        paint_bone(canvas, rib, spongy, shell=float(rng.uniform(0.7, 1.8)))
    add_lesions(canvas, int(rng.integers(0, 12)), inside)


def _aim(canvas: Canvas) -> tuple[float, float]:
    """Return the body's half axes in mm, and look at a random part of it."""
    rng = canvas.rng
    semi = (float(rng.uniform(120, 200)), float(rng.uniform(85, 140)))
    free = [max(0.0, s - 0.3 * e) for s, e in zip(semi, canvas.extent, strict=False)]
    turn, far = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
    canvas.look_at(free[0] * far * np.cos(turn), free[1] * far * np.sin(turn))
    return semi


def _paint_wall(canvas: Canvas, semi: tuple[float, float]) -> tuple[Region, float]:
    """Paint skin, fat and muscle; return the cavity and how deep below the skin it begins."""
    rng = canvas.rng
    tilt = (float(rng.normal(0, 0.1)), float(rng.normal(0, 0.1)))
    body = canvas.blob(
        (0.0, 0.0, 0.0), (*semi, _LONG), tilt=tilt, rough=float(rng.uniform(1, 5)), cell=45.0
    )
    fat, muscle = float(np.exp(rng.uniform(np.log(4), np.log(35)))), float(rng.uniform(8, 28))
    canvas.paint(body, float(rng.uniform(0, 60)))
    canvas.paint(body, fat_texture(canvas), inset=float(rng.uniform(1, 2.5)))
    layer = Region(body.box, body.distance + np.float32(0.25 * fat) * canvas.field(30.0, body.box))
    canvas.paint(layer, muscle_texture(canvas), inset=fat)
    bumps = np.float32(0.2 * muscle) * canvas.field(25.0, body.box)
    return Region(body.box, body.distance + np.float32(fat + muscle) + bumps), fat + muscle


def _paint_lungs(canvas: Canvas, inner: tuple[float, float], inside: Array) -> Array:
    rng = canvas.rng
    lungs = np.zeros(canvas.shape, np.float32)
    for side in (-1, 1):
        region = canvas.blob(
            (side * 0.54 * inner[0], 0.0, float(rng.normal(0, 20))),
            (0.47 * inner[0], 0.95 * inner[1], float(rng.uniform(60, 160))),
            angle=side * float(rng.uniform(0, 0.25)),
            rough=float(rng.uniform(1, 4)),
            cell=30.0,
        )
        np.maximum(lungs, canvas.mask(region), out=lungs)
    lungs *= inside
    air = rng.uniform(-900, -760) + rng.uniform(5, 25) * canvas.field(25.0)
    haze = rng.uniform(0, 150) * np.clip(canvas.field(18.0) - 1, 0, 2)  # here and there
    lobules = rng.uniform(0, 25) * canvas.field(float(rng.uniform(2, 6)))
    air = (air + haze + lobules).astype(np.float32)
    canvas.hu += lungs * (air - canvas.hu)
    return lungs


def _fill_lungs(canvas: Canvas, inner: tuple[float, float], lungs: Array) -> None:
    rng = canvas.rng
    vessels, airways = [], []
    for _ in range(int(rng.integers(10, 35))):
        radius = float(np.exp(rng.uniform(np.log(0.5), np.log(4.0))))
        way = random_direction(rng, 0.6)
        vessels += grow_tree(rng, canvas.anywhere(-10.0), way, radius, thinnest=0.3, most=40)
    for _ in range(int(rng.integers(2, 7))):
        radius = float(np.exp(rng.uniform(np.log(0.9), np.log(5))))
        way = random_direction(rng, 0.3)
        airways += grow_tree(rng, canvas.anywhere(-10.0), way, radius, thinnest=0.7, most=30)
    blood = float(rng.uniform(10, 300))
    fine = fine_vessels(canvas) * lungs
    canvas.hu += fine * (np.float32(blood) - canvas.hu)
    canvas.paint(canvas.tubes(vessels), blood, within=lungs)
    for _ in range(int(rng.integers(0, 6))):
        size = float(np.exp(rng.uniform(np.log(1), np.log(8))))
        nodule = canvas.blob(canvas.anywhere(), (size, size, size), rough=0.15 * size)
        canvas.paint(nodule, float(rng.uniform(-700, 150)), within=lungs)
    tree, wall = canvas.tubes(airways), float(rng.uniform(0.5, 1.3))
    canvas.paint(tree, float(rng.uniform(-150, 50)), inset=-0.5 * wall, within=lungs)
    canvas.paint(tree, -1000 + float(rng.uniform(0, 60)), inset=0.5 * wall, within=lungs)
    trachea = canvas.blob(
        (0.0, 0.35 * inner[1], 0.0), (9.0, 8.0, _LONG), tilt=(0.1, 0.1), rough=0.6
    )
    canvas.paint(trachea, 40.0)
    canvas.paint(trachea, -995.0, inset=1.5)


def _paint_heart(canvas: Canvas, inner: tuple[float, float]) -> None:
    rng = canvas.rng
    blood = float(rng.choice([rng.uniform(35, 55), rng.uniform(120, 400)]))
    x, y = 0.15 * inner[0], -0.2 * inner[1]
    heart = canvas.blob(
        (x, y, float(rng.normal(-10, 30))),
        (0.42 * inner[0], 0.42 * inner[1], float(rng.uniform(40, 80))),
        angle=float(rng.uniform(-0.6, 0.6)),
        rough=2.0,
    )
    canvas.paint(heart, float(rng.uniform(-90, 10)), inset=-3.0)
    canvas.paint(heart, organ_texture(canvas, float(rng.uniform(40, 130)), heart))
    within = canvas.mask(heart, 6.0)
    for dx, dy in ((-18, -8), (12, -14), (-10, 18), (22, 12)):
        room = canvas.blob(
            (x + dx, y + dy, float(rng.normal(0, 15))),
            (17.0, 14.0, 30.0),
            angle=float(rng.uniform(0, 3)),
            rough=2.0,
        )
        canvas.paint(room, blood + float(rng.normal(0, 15)), within=within)
    _paint_great_vessels(canvas, inner, blood)


def _paint_great_vessels(
    canvas: Canvas, inner: tuple[float, float], blood: float | None = None
) -> None:
    rng = canvas.rng
    blood = blood or float(rng.choice([rng.uniform(35, 55), rng.uniform(120, 400)]))
    for side, radius in ((0.12, rng.uniform(8, 15)), (-0.15, rng.uniform(8, 13))):
        vessel = canvas.blob(
            (side * inner[0], 0.35 * inner[1], 0.0),
            (radius, 0.85 * radius, _LONG),
            tilt=(float(rng.normal(0, 0.15)), float(rng.normal(0, 0.15))),
            bend=(float(rng.normal(0, 0.003)), 0.0),
            rough=0.4,
        )
        canvas.paint(vessel, float(rng.uniform(40, 70)), inset=-1.2)
        canvas.paint(vessel, blood + float(rng.normal(0, 10)))
        if rng.random() < 0.3:
            plaque = canvas.blob(
                (side * inner[0] + radius, 0.35 * inner[1], 0.0), (1.5, 3.5, 6.0), rough=0.5
            )
            canvas.paint(plaque, float(rng.uniform(300, 1100)))


def _paint_organs(canvas: Canvas, inner: tuple[float, float], inside: Array) -> None:
    rng = canvas.rng
    places = [(-0.5, -0.15, 0.45, 0.6), (0.65, 0.2, 0.25, 0.38), (0.2, -0.35, 0.33, 0.3)]
    for x, y, a, b in places:
        organ = canvas.blob(
            (x * inner[0], y * inner[1], float(rng.normal(0, 25))),
            (a * inner[0], b * inner[1], float(rng.uniform(30, 90))),
            angle=float(rng.uniform(-0.7, 0.7)),
            tilt=(float(rng.normal(0, 0.3)), 0.0),
            rough=4.0,
        )
        level = float(rng.uniform(30, 130))
        canvas.paint(organ, organ_texture(canvas, level, organ), within=inside)
        branches = grow_tree(
            rng,
            (x * inner[0], y * inner[1], 0.0),
            random_direction(rng, 0.4),
            float(rng.uniform(1.5, 5)),
            thinnest=0.6,
            most=80,
        )
        veins = canvas.mask(organ, 2.0) * inside
        canvas.add(canvas.tubes(branches), float(rng.uniform(10, 80)), within=veins)
    muscle = muscle_texture(canvas)
    for side in (-1, 1):
        centre = (side * 0.42 * inner[0], 0.5 * inner[1], float(rng.normal(0, 20)))
        kidney = canvas.blob(centre, (26.0, 20.0, 50.0), angle=side * 0.6, rough=1.5)
        canvas.paint(kidney, float(rng.uniform(30, 220)), within=inside)
        canvas.paint(
            kidney, float(rng.uniform(30, 160)), inset=float(rng.uniform(4, 8)), within=inside
        )
        pelvis = canvas.blob((centre[0] - side * 12, *centre[1:]), (10.0, 6.0, 15.0), rough=2.0)
        canvas.paint(pelvis, float(rng.uniform(-80, 20)))
        psoas = canvas.blob(
            (side * 0.25 * inner[0], 0.62 * inner[1], 0.0),
            (16.0, 20.0, _LONG),
            tilt=(side * 0.2, 0.0),
            rough=1.5,
        )
        canvas.paint(psoas, muscle, within=inside)


def _paint_bowel(canvas: Canvas, inner: tuple[float, float], inside: Array) -> None:
    rng = canvas.rng
    for _ in range(int(rng.integers(3, 8))):
        start = (
            float(rng.uniform(-0.8, 0.8)) * inner[0],
            float(rng.uniform(-0.8, 0.3)) * inner[1],
            float(rng.uniform(-20, 20)),
        )
        radius = float(rng.uniform(7, 20))
        loop = canvas.tubes(
            winding_path(
                rng, start, random_direction(rng, 0.5), radius, steps=8, step=radius, wander=0.5
            )
        )
        folds = np.float32(rng.uniform(0.3, 2)) * canvas.field(7.0)
        loop = Region(loop.box, loop.distance + folds)
        canvas.paint(loop, float(rng.uniform(30, 110)), within=inside)
        canvas.paint(
            loop,
            _bowel_content(canvas, start[1]),
            inset=float(rng.uniform(1.5, 3.5)),
            within=inside,
        )


def _bowel_content(canvas: Canvas, level: float) -> Array:
    """Return gas, fluid with a gas level above, or mixed stool, over the canvas."""
    rng = canvas.rng
    fluid = np.float32(rng.uniform(-10, 40) if rng.random() < 0.8 else rng.uniform(150, 400))
    kind = rng.random()
    if kind < 0.25:
        return np.full(canvas.shape, -980, np.float32)
    if kind < 0.6:
        line = np.where(canvas.y < level, np.float32(-980), fluid)[None, :, None]
        return np.broadcast_to(line, canvas.shape)
    bubbles = np.clip(canvas.field(3.5) - 0.7, 0, 1)
    mixed: Array = (fluid - rng.uniform(100, 900) * bubbles).astype(np.float32)
    return mixed
