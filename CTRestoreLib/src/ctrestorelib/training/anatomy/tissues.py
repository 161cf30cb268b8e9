"""Soft tissue: HU of tissues, muscle with fat septa, lesions (layer: training)."""

from __future__ import annotations

import numpy as np

from ctrestorelib.training.anatomy.canvas import Canvas, Region
from ctrestorelib.training.anatomy.fields import Array, band_field
from ctrestorelib.training.anatomy.trees import grow_tree, random_direction


def fat_texture(canvas: Canvas) -> Array:
    """Return subcutaneous or visceral fat over the canvas, HU, with fine strands."""
    rng = canvas.rng
    fat = rng.uniform(-120, -75) + rng.uniform(1, 6) * canvas.field(8.0)
    strands = _sheets(canvas, float(rng.uniform(0.04, 0.15)), float(rng.uniform(0.05, 0.2)))
    texture: Array = (fat + rng.uniform(20, 90) * strands).astype(np.float32)
    return texture


def muscle_texture(canvas: Canvas) -> Array:
    """Return muscle over the canvas, HU, with fat septa between its bundles."""
    rng = canvas.rng
    muscle = rng.uniform(40, 70) + rng.uniform(1, 5) * canvas.field(15.0)
    septa = _sheets(canvas, float(rng.uniform(0.03, 0.25)), float(rng.uniform(0.08, 0.35)))
    texture: Array = (muscle - rng.uniform(30, 140) * septa).astype(np.float32)
    return texture


def organ_texture(canvas: Canvas, level: float, region: Region) -> Array:
    """Return an organ over the canvas: ``level`` HU with slight smooth variation in its box."""
    rng = canvas.rng
    texture = np.full(canvas.shape, level, np.float32)
    size = float(np.exp(rng.uniform(np.log(3), np.log(25))))
    texture[region.box] += np.float32(rng.uniform(0.5, 4)) * canvas.field(size, region.box)
    return texture


def _sheets(canvas: Canvas, frequency: float, width: float) -> Array:
    """Return thin curved sheets, 0 to 1, elongated along a random direction."""
    rng = canvas.rng
    field = band_field(
        rng,
        canvas.shape,
        canvas.spacing,
        frequency,
        octaves=0.6,
        axis=random_direction(rng),
        stretch=float(rng.uniform(1, 4)),
    )
    sheets: Array = np.clip(1 - np.abs(field) / np.float32(width), 0, 1)
    patchy = np.clip(0.6 + 0.5 * canvas.field(30.0), 0, 1)
    sheets *= patchy
    return sheets


def fine_vessels(canvas: Canvas) -> Array:
    """Return thin vessels everywhere, 0 to 1: the curves on which two random fields vanish."""
    rng = canvas.rng
    frequency, axis = float(rng.uniform(0.03, 0.09)), random_direction(rng)
    first, second = (
        band_field(rng, canvas.shape, canvas.spacing, frequency, axis=axis, stretch=1.5)
        for _ in range(2)
    )
    slope = 2 * np.pi * frequency  # of a field of unit variance, per mm, about
    radius = rng.uniform(0.4, 1.0) * np.exp(0.4 * canvas.field(10.0))
    ramp = canvas.softness * canvas.pixel
    distance = np.sqrt(first**2 + second**2) / np.float32(slope) - radius
    share: Array = np.clip(0.5 - distance / ramp, 0, 1).astype(np.float32)
    return share


def add_lesions(canvas: Canvas, count: int, within: Array | None = None) -> None:
    """Add low-contrast spheres of 2 to 15 mm and 5 to 50 HU, brighter or darker."""
    rng = canvas.rng
    for _ in range(count):
        radius = float(np.exp(rng.uniform(np.log(1), np.log(7.5))))
        stretch = rng.uniform(0.7, 1.4, 3) * radius
        region = canvas.blob(
            canvas.anywhere(),
            (stretch[0], stretch[1], stretch[2]),
            angle=float(rng.uniform(0, np.pi)),
            rough=0.08 * radius * float(rng.integers(0, 2)),
        )
        contrast = float(rng.choice([-1, 1])) * float(np.exp(rng.uniform(np.log(5), np.log(50))))
        canvas.add(region, contrast, within=within)


def add_vessels(canvas: Canvas, count: int, within: Array | None = None) -> None:
    """Add trees of vessels, 0.5 to 6 mm wide, 50 to 400 HU above what surrounds them."""
    rng = canvas.rng
    tubes = []
    for _ in range(count):
        radius = float(np.exp(rng.uniform(np.log(0.6), np.log(3))))
        tubes += grow_tree(
            rng, canvas.anywhere(), random_direction(rng, 0.3), radius, thinnest=0.25, most=70
        )
    canvas.add(
        canvas.tubes(tubes), float(np.exp(rng.uniform(np.log(50), np.log(400)))), within=within
    )


def add_calcifications(canvas: Canvas, count: int) -> None:
    """Paint small dense specks of 150 to 1200 HU."""
    rng = canvas.rng
    for _ in range(count):
        size = np.exp(rng.uniform(np.log(0.4), np.log(3), 3))
        region = canvas.blob(canvas.anywhere(), (size[0], size[1], size[2]), rough=0.15 * size[0])
        canvas.paint(region, float(rng.uniform(150, 1200)))
