"""Micro-CT-like matter: foam, shells, grains, spongy bone, fibres (layer: training)."""

from __future__ import annotations

import numpy as np

from ctrestorelib.training.anatomy.canvas import Canvas
from ctrestorelib.training.anatomy.fields import Array, band_field
from ctrestorelib.training.anatomy.spongy import spongy_texture
from ctrestorelib.training.anatomy.trees import random_direction


def draw_foam(canvas: Canvas) -> None:
    """Draw a solid cylinder or block full of round bubbles of very different sizes."""
    rng = canvas.rng
    matter = float(rng.uniform(-600, 1500))
    _paint_sample(canvas, matter)
    for _ in range(int(rng.integers(80, 260))):
        size = canvas.pixel * float(np.exp(rng.uniform(np.log(1.0), np.log(16))))
        canvas.paint(canvas.blob(canvas.anywhere(), (size, size, size)), -1000.0)


def draw_shells(canvas: Canvas) -> None:
    """Draw hollow and layered spheres, shells within shells, touching each other."""
    rng = canvas.rng
    canvas.hu[:] = float(rng.choice([-1000, -100, 0, 40]))
    for _ in range(int(rng.integers(8, 40))):
        size = canvas.pixel * float(np.exp(rng.uniform(np.log(5), np.log(50))))
        shape = rng.uniform(0.6, 1.4, 3) * size
        shell = canvas.blob(
            canvas.anywhere(),
            (shape[0], shape[1], shape[2]),
            angle=float(rng.uniform(0, np.pi)),
            rough=0.04 * size,
        )
        depth = 0.0
        for _ in range(int(rng.integers(1, 6))):
            canvas.paint(shell, float(rng.uniform(-900, 1400)), inset=depth)
            depth += canvas.pixel * float(np.exp(rng.uniform(np.log(0.8), np.log(6))))


def draw_grains(canvas: Canvas) -> None:
    """Draw granular matter: stones, tablets, sand, in air or in a binder."""
    rng = canvas.rng
    canvas.hu[:] = float(rng.choice([-1000, -1000, rng.uniform(-200, 300)]))
    size = canvas.pixel * float(np.exp(rng.uniform(np.log(2.5), np.log(14))))
    base, spread = float(rng.uniform(0, 1800)), float(rng.uniform(20, 400))
    for _ in range(int(rng.integers(120, 320))):
        shape = size * np.exp(rng.normal(0, 0.3, 3))
        grain = canvas.blob(
            canvas.anywhere(),
            (shape[0], shape[1], shape[2]),
            angle=float(rng.uniform(0, np.pi)),
            rough=0.12 * size,
            cell=0.5 * size,
        )
        canvas.paint(grain, base + spread * float(rng.normal()))


def draw_spongy(canvas: Canvas) -> None:
    """Fill the frame with spongy bone, as a biopsy in a micro-CT or a large bone's end."""
    rng = canvas.rng
    pixels = float(np.exp(rng.uniform(np.log(2.6), np.log(16))))
    texture = spongy_texture(canvas, frequency=1 / (pixels * canvas.pixel))
    if rng.random() < 0.5:
        texture = texture.min() + (texture - texture.min()) * np.float32(rng.uniform(1, 4))
    canvas.hu[:] = float(rng.choice([-1000, -80, 20]))
    if rng.random() < 0.5:
        _paint_sample(canvas, texture)
    else:
        canvas.hu[:] = texture


def draw_fibres(canvas: Canvas) -> None:
    """Draw layered or fibrous matter: wood, composite, paper, a weave of strands."""
    rng = canvas.rng
    base = np.full(canvas.shape, float(rng.uniform(-900, 600)), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        pixels = float(np.exp(rng.uniform(np.log(2.6), np.log(20))))
        field = band_field(
            rng,
            canvas.shape,
            canvas.spacing,
            1 / (pixels * canvas.pixel),
            octaves=float(rng.uniform(0.15, 0.5)),
            axis=random_direction(rng, 0.5),
            stretch=float(rng.uniform(3, 10)),
        )
        hard = float(rng.uniform(0.5, 4))
        base += np.float32(rng.uniform(20, 300)) * np.tanh(np.float32(hard) * field)
    _paint_sample(canvas, base)


def _paint_sample(canvas: Canvas, matter: float | Array) -> None:
    """Paint a sample that fills the frame, or a cylinder of it in a tube wall."""
    rng = canvas.rng
    if rng.random() < 0.45:
        canvas.hu[:] = matter
        return
    size = canvas.extent[0] * float(rng.uniform(0.3, 0.7))
    sample = canvas.blob(
        (*rng.normal(0, 0.1 * size, 2).tolist(), 0.0),
        (size, size * float(rng.uniform(0.7, 1)), 1e4),
        tilt=(float(rng.normal(0, 0.05)), 0.0),
        rough=0.02 * size,
    )
    if rng.random() < 0.5:
        canvas.paint(
            sample, float(rng.uniform(0, 400)), inset=-canvas.pixel * float(rng.uniform(2, 6))
        )
    canvas.paint(sample, matter)
