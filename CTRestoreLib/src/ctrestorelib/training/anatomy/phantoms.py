"""Test objects: resolution bars, Catphan-like inserts, low-contrast discs (layer: training)."""

from __future__ import annotations

import numpy as np

from ctrestorelib.training.anatomy.canvas import Canvas, Tube
from ctrestorelib.training.anatomy.tissues import add_lesions

_INSERTS = (-1000.0, -200.0, -100.0, -35.0, 120.0, 340.0, 480.0, 990.0)
"""HU of air, PMP, LDPE, polystyrene, acrylic, Delrin, bone and Teflon, about."""


def draw_bars(canvas: Canvas) -> None:
    """Draw groups of parallel bars, fine to coarse, turned and slightly slanted along k."""
    rng = canvas.rng
    _paint_dish(canvas)
    for _ in range(int(rng.integers(8, 28))):
        x, y, _z = canvas.anywhere(10 * canvas.pixel)
        width = canvas.pixel * float(np.exp(rng.uniform(np.log(0.8), np.log(5))))
        angle = float(rng.uniform(0, np.pi))
        tilt = (float(rng.normal(0, 0.1)), float(rng.normal(0, 0.1)))
        value = float(rng.choice([-1, 1])) * float(np.exp(rng.uniform(np.log(30), np.log(1500))))
        half = (width / 2, width * float(rng.uniform(3, 8)), canvas.extent[2])
        for n in range(int(rng.integers(3, 8))):
            place = (x + 2 * n * width * np.cos(angle), y + 2 * n * width * np.sin(angle), 0.0)
            canvas.add(canvas.block(place, half, angle=angle, tilt=tilt), value)


def draw_inserts(canvas: Canvas) -> None:
    """Draw a water-like dish with rods of plastics on a ring, wires and a slanted ramp."""
    rng = canvas.rng
    _paint_dish(canvas)
    ring = canvas.extent[0] * float(rng.uniform(0.2, 0.4))
    count = int(rng.integers(5, 13))
    for n in range(count):
        turn = 2 * np.pi * n / count + float(rng.normal(0, 0.05))
        size = canvas.extent[0] * float(rng.uniform(0.015, 0.06))
        rod = canvas.blob(
            (ring * np.cos(turn), ring * np.sin(turn), float(rng.normal(0, 10))),
            (size, size, float(rng.choice([1e4, 12.0]))),
            tilt=(float(rng.normal(0, 0.08)), float(rng.normal(0, 0.08))),
        )
        canvas.paint(rod, float(rng.choice(_INSERTS)) + float(rng.normal(0, 15)))
    for _ in range(int(rng.integers(2, 8))):
        start = canvas.anywhere(8 * canvas.pixel)
        lean = rng.normal(0, 0.5, 2)
        wire = Tube(
            (start[0] - 40 * lean[0], start[1] - 40 * lean[1], -40.0),
            (start[0] + 40 * lean[0], start[1] + 40 * lean[1], 40.0),
            0.35,
            0.35,
        )
        canvas.add(canvas.tubes([wire]), float(rng.uniform(200, 2000)))
    add_lesions(canvas, int(rng.integers(5, 25)))


def draw_low_contrast(canvas: Canvas) -> None:
    """Draw discs and spheres of 2 to 15 mm and 5 to 50 HU in an even or gently varying bed."""
    rng = canvas.rng
    if rng.random() < 0.5:
        _paint_dish(canvas)
    else:
        canvas.hu[:] = float(rng.uniform(-100, 120)) + float(rng.uniform(0, 10)) * canvas.field(
            40.0
        )
    add_lesions(canvas, int(rng.integers(25, 80)))


def _paint_dish(canvas: Canvas) -> None:
    rng = canvas.rng
    size = canvas.extent[0] * float(rng.uniform(0.4, 0.9))
    dish = canvas.blob(
        (float(rng.normal(0, 0.1)) * size, float(rng.normal(0, 0.1)) * size, 0.0),
        (size, size, 1e4),
        tilt=(float(rng.normal(0, 0.03)), 0.0),
    )
    canvas.paint(dish, float(rng.uniform(0, 150)))
    canvas.paint(
        dish, float(rng.uniform(-120, 120)), inset=canvas.pixel * float(rng.uniform(3, 15))
    )
