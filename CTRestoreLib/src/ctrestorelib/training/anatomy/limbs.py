"""Limbs, joints and pelvis: bones among muscles (layer: training)."""

from __future__ import annotations

import numpy as np

from ctrestorelib.training.anatomy.bones import paint_bone
from ctrestorelib.training.anatomy.canvas import Canvas, Region
from ctrestorelib.training.anatomy.fields import Array
from ctrestorelib.training.anatomy.spongy import spongy_texture
from ctrestorelib.training.anatomy.tissues import fat_texture, muscle_texture
from ctrestorelib.training.anatomy.trees import winding_path

_LONG = 4000.0

_Stuff = tuple[Array, Array, Array]  # fat, muscle and spongy bone over the whole canvas


def draw_limb(canvas: Canvas) -> None:
    """Draw one or two limbs: skin, fat, muscle groups, vessels, one or two shaft bones."""
    rng = canvas.rng
    radius = float(rng.uniform(25, 90))
    stuff = fat_texture(canvas), muscle_texture(canvas), spongy_texture(canvas)
    pair = rng.random() < 0.3
    free = max(0.0, radius - 0.3 * canvas.extent[0])
    canvas.look_at(*rng.uniform(-free, free, 2).tolist())
    for side in (-1, 1) if pair else (0,):
        _paint_limb(canvas, side * 1.15 * radius, radius, stuff)


def _paint_limb(canvas: Canvas, x: float, radius: float, stuff: _Stuff) -> None:
    rng = canvas.rng
    fat, muscle, spongy = stuff
    tilt = (float(rng.normal(0, 0.15)), float(rng.normal(0, 0.15)))
    limb = canvas.blob(
        (x, 0.0, 0.0),
        (radius, radius * float(rng.uniform(0.75, 1.2)), _LONG),
        tilt=tilt,
        rough=0.03 * radius,
    )
    layer = float(rng.uniform(0.06, 0.3)) * radius
    canvas.paint(limb, float(rng.uniform(0, 60)))
    canvas.paint(limb, fat, inset=float(rng.uniform(1, 2)))
    canvas.paint(limb, muscle, inset=layer)
    inside = canvas.mask(limb, layer)
    _paint_groups(canvas, x, radius, stuff, inside)
    _paint_bundle(canvas, x, radius, inside)
    count = int(rng.integers(1, 3))
    for n in range(count):
        size = radius * float(rng.uniform(0.16, 0.34)) / np.sqrt(count)
        away = radius * (0.1 if count == 1 else 0.4)
        turn = n * np.pi + float(rng.uniform(0, 1.5))
        bone = canvas.blob(
            (x + away * np.cos(turn), away * np.sin(turn), 0.0),
            (size, size * float(rng.uniform(0.7, 1.2)), _LONG),
            tilt=tilt,
            rough=0.07 * size,
        )
        marrow = spongy if rng.random() < 0.5 else float(rng.uniform(-90, 40))
        paint_bone(canvas, bone, marrow, shell=size * float(rng.uniform(0.08, 0.4)))


def _paint_groups(canvas: Canvas, x: float, radius: float, stuff: _Stuff, inside: Array) -> None:
    """Part the muscle into bellies with fat planes between them."""
    rng = canvas.rng
    fat, muscle, _ = stuff
    for place in np.linspace(0, 2 * np.pi, int(rng.integers(4, 11)), endpoint=False):
        turn = place + rng.normal(0, 0.2)
        away, size = radius * rng.uniform(0.3, 0.65), radius * rng.uniform(0.15, 0.35)
        belly = canvas.blob(
            (x + float(away * np.cos(turn)), float(away * np.sin(turn)), float(rng.normal(0, 15))),
            (size, 0.6 * size, 6 * size),
            angle=turn + float(rng.normal(1.5, 0.4)),
            tilt=(float(rng.normal(0, 0.2)), float(rng.normal(0, 0.2))),
            rough=0.06 * size,
        )
        canvas.paint(belly, fat, inset=-float(rng.uniform(0.4, 2)), within=inside)
        canvas.paint(belly, muscle + np.float32(rng.normal(0, 8)), within=inside)


def _paint_bundle(canvas: Canvas, x: float, radius: float, inside: Array) -> None:
    """Paint vessels that run along the limb, with or without contrast medium."""
    rng = canvas.rng
    blood = float(rng.choice([rng.uniform(35, 60), rng.uniform(150, 450)]))
    low = float(canvas.z[0]) - 10
    for _ in range(int(rng.integers(3, 9))):
        turn, away = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.25, 0.9)
        start = (x + float(away * np.cos(turn)), float(away * np.sin(turn)), low)
        step = (canvas.extent[2] + 20) / 8
        path = winding_path(
            rng,
            start,
            (float(rng.normal(0, 0.4)), float(rng.normal(0, 0.4)), 1.0),
            float(np.exp(rng.uniform(np.log(0.5), np.log(4)))),
            steps=9,
            step=step,
        )
        vessel = canvas.tubes(path)
        canvas.paint(vessel, -95.0, inset=-1.5, within=inside)
        canvas.paint(vessel, blood)


def draw_joint(canvas: Canvas) -> None:
    """Draw ball and socket or two opposed bone ends with a narrow joint space."""
    rng = canvas.rng
    _paint_bed(canvas)
    spongy = spongy_texture(canvas)
    size = float(rng.uniform(0.25, 0.5)) * canvas.extent[0]
    turn = float(rng.uniform(0, 2 * np.pi))
    gap = float(rng.uniform(1.0, 4.0))
    ball = canvas.blob(
        (0.0, 0.0, float(rng.normal(0, 5))), (size, size * 0.9, size * 1.2), rough=0.02 * size
    )
    thick = size * float(rng.uniform(0.25, 0.6))
    reach = (0.7 * (size + thick) * float(np.cos(turn)), 0.7 * (size + thick) * float(np.sin(turn)))
    socket = canvas.blob((*reach, 0.0), (size, size, 1.5 * size), rough=0.05 * size)
    hollow = np.full(canvas.shape, 1e3, np.float32)
    hollow[ball.box] = ball.distance
    shaped = np.maximum(socket.distance, np.float32(gap) - hollow[socket.box])
    canvas.paint(ball, float(rng.uniform(0, 80)), inset=-gap)
    paint_bone(canvas, Region(socket.box, shaped), spongy)
    spongy = spongy_texture(canvas) if rng.random() < 0.5 else spongy
    paint_bone(canvas, ball, spongy)
    if rng.random() < 0.6:
        physis = Region(ball.box, np.abs(ball.distance + np.float32(size * 0.5)) - np.float32(0.8))
        canvas.add(physis, float(rng.uniform(100, 500)), within=canvas.mask(ball))


def draw_pelvis(canvas: Canvas) -> None:
    """Draw thin curved bones with spongy filling, some meeting at joints, among muscles."""
    rng = canvas.rng
    _paint_bed(canvas)
    spongy = spongy_texture(canvas)
    width = canvas.extent[0]
    for _ in range(int(rng.integers(2, 7))):
        x, y, z = canvas.anywhere()
        bone = canvas.blob(
            (x, y, z),
            (
                width * float(rng.uniform(0.15, 0.45)),
                width * float(rng.uniform(0.04, 0.16)),
                float(rng.uniform(20, 90)),
            ),
            angle=float(rng.uniform(0, np.pi)),
            rough=0.02 * width,
            cell=0.2 * width,
            tilt=(float(rng.normal(0, 0.5)), float(rng.normal(0, 0.5))),
        )
        canvas.paint(bone, -30.0, inset=-float(rng.uniform(0.5, 2.5)))
        paint_bone(canvas, bone, spongy, shell=float(rng.uniform(0.5, 2.5)))


def _paint_bed(canvas: Canvas) -> None:
    """Fill the frame with muscle and fat, now and then with the skin in view."""
    rng = canvas.rng
    muscle, fat = muscle_texture(canvas), fat_texture(canvas)
    share = np.clip(
        0.5
        + float(rng.uniform(0.6, 3))
        * (canvas.field(float(rng.uniform(12, 40))) + rng.normal(0.3, 0.5)),
        0,
        1,
    )
    bed: Array = (muscle * share + fat * (1 - share)).astype(np.float32)
    if rng.random() < 0.5:
        canvas.hu[:] = bed
        return
    size = canvas.extent[0] * float(rng.uniform(0.45, 0.8))
    body = canvas.blob(
        (float(rng.normal(0, 0.2)) * size, float(rng.normal(0, 0.2)) * size, 0.0),
        (size, size * float(rng.uniform(0.7, 1.1)), _LONG),
        rough=0.03 * size,
    )
    canvas.paint(body, 30.0)
    canvas.paint(body, bed, inset=1.6)
