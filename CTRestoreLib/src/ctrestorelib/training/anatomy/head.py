"""Head: skull with diploe, grey and white matter, ventricles, sinuses (layer: training)."""

from __future__ import annotations

import numpy as np

from ctrestorelib.training.anatomy.canvas import Canvas, Region
from ctrestorelib.training.anatomy.fields import Array, band_field
from ctrestorelib.training.anatomy.spongy import spongy_texture
from ctrestorelib.training.anatomy.tissues import fat_texture
from ctrestorelib.training.anatomy.trees import grow_tree, random_direction


def draw_head(canvas: Canvas) -> None:
    """Draw scalp, skull (table, diploe, table), brain and what lies inside it."""
    rng = canvas.rng
    semi = (float(rng.uniform(60, 80)), float(rng.uniform(75, 98)), float(rng.uniform(60, 110)))
    free = [max(0.0, s - 0.25 * e) for s, e in zip(semi, canvas.extent, strict=False)]
    turn, far = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
    canvas.look_at(free[0] * far * np.cos(turn), free[1] * far * np.sin(turn))
    height = float(rng.uniform(-0.6, 0.6)) * semi[2]
    head = canvas.blob((0.0, 0.0, height), semi, rough=1.5, cell=35.0)
    scalp, skull = float(rng.uniform(3, 9)), float(rng.uniform(3.5, 10))
    canvas.paint(head, 40.0)
    canvas.paint(head, fat_texture(canvas), inset=1.5)
    canvas.paint(head, float(rng.uniform(30, 60)), inset=0.7 * scalp)
    _paint_skull(canvas, head, scalp, skull)
    brain = canvas.mask(head, scalp + skull)
    _paint_brain(canvas, head, scalp + skull, brain, height)
    if rng.random() < 0.4:
        _paint_sinuses(canvas, semi, canvas.mask(head, 1.5))
    if rng.random() < 0.4:
        start = canvas.anywhere(20.0)
        tree = grow_tree(
            rng, start, random_direction(rng), float(rng.uniform(0.8, 2)), thinnest=0.4
        )
        canvas.add(canvas.tubes(tree), float(rng.uniform(20, 350)), within=brain)


def _paint_skull(canvas: Canvas, head: Region, depth: float, thick: float) -> None:
    rng = canvas.rng
    uneven = Region(
        head.box, head.distance + np.float32(0.12 * thick) * canvas.field(20.0, head.box)
    )
    table = float(rng.uniform(0.2, 0.35)) * thick
    canvas.paint(uneven, float(rng.uniform(900, 1700)), inset=depth)
    if rng.random() < 0.85:
        canvas.paint(
            uneven, spongy_texture(canvas) + np.float32(rng.uniform(100, 350)), inset=depth + table
        )
        canvas.paint(uneven, float(rng.uniform(900, 1700)), inset=depth + thick - table)


def _paint_brain(canvas: Canvas, head: Region, depth: float, brain: Array, height: float) -> None:
    rng = canvas.rng
    water, grey = float(rng.uniform(0, 12)), float(rng.uniform(34, 40))
    canvas.paint(head, water, inset=depth)
    folds = band_field(
        rng, canvas.shape, canvas.spacing, float(rng.uniform(0.04, 0.09)), octaves=0.5
    )
    deep = np.clip(-head.distance - np.float32(depth), 0, None)
    cortex = float(rng.uniform(2.5, 4.5))
    # Sulci reach some 15 mm deep; the cortex follows their walls.
    sulcus = np.abs(folds[head.box]) * np.float32(9) + np.clip(deep - 13, 0, None)
    outer = np.minimum(deep, sulcus) - np.float32(rng.uniform(0.3, 1.5))
    canvas.paint(Region(head.box, -outer), grey, inset=0.0)
    canvas.paint(
        Region(head.box, -outer),
        grey - float(rng.uniform(6, 10)) + canvas.field(25.0),
        inset=cortex,
    )
    for side in (-1, 1):
        for x, y, size in ((18, -12, 9), (13, 8, 8)):
            kernel = canvas.blob(
                (side * x, y, height * 0.3), (size, 1.5 * size, 14.0), angle=-side * 0.4, rough=1.0
            )
            canvas.paint(kernel, grey, within=brain)
        horn = canvas.blob(
            (side * 9.0, -4.0, height * 0.3),
            (float(rng.uniform(2, 8)), float(rng.uniform(15, 32)), 18.0),
            angle=-side * float(rng.uniform(0.1, 0.5)),
            tilt=(side * 0.2, 0.0),
            rough=1.0,
        )
        canvas.paint(horn, water, within=brain)
    if rng.random() < 0.3:
        blood = canvas.blob(
            canvas.anywhere(),
            (float(rng.uniform(3, 18)), float(rng.uniform(3, 18)), 12.0),
            rough=2.0,
        )
        canvas.paint(
            blood, float(rng.choice([rng.uniform(55, 80), rng.uniform(15, 28)])), within=brain
        )
    falx = canvas.blob((0.0, 0.0, 0.0), (0.7, 200.0, 4000.0), rough=0.3, cell=30.0)
    canvas.paint(falx, float(rng.uniform(45, 70)), within=brain, amount=0.8)


def _paint_sinuses(canvas: Canvas, semi: tuple[float, float, float], within: Array) -> None:
    """Paint air cells with thin bony walls, as in mastoid and ethmoid bone."""
    rng = canvas.rng
    centre = (
        float(rng.uniform(-0.6, 0.6)) * semi[0],
        float(rng.uniform(-0.9, -0.4)) * semi[1],
        0.0,
    )
    area = canvas.blob(
        centre, (float(rng.uniform(12, 30)), float(rng.uniform(12, 30)), 30.0), rough=3.0
    )
    walls = band_field(
        rng, canvas.shape, canvas.spacing, float(rng.uniform(0.05, 0.16)), octaves=0.4
    )
    bone = np.clip(1.4 - np.abs(walls) / np.float32(rng.uniform(0.1, 0.3)), 0, 1)
    cells: Array = (-960 + bone * rng.uniform(900, 1800)).astype(np.float32)
    canvas.paint(area, float(rng.uniform(300, 1000)), inset=-1.0, within=within)
    canvas.paint(area, cells, within=within)
