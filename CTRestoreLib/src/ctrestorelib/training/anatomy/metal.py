"""Metal implants without their streaks: stems, screws, plates, wires (layer: training)."""

from __future__ import annotations

import numpy as np

from ctrestorelib.training.anatomy.canvas import Canvas, Tube


def add_metal(canvas: Canvas) -> None:
    """Paint one to three implants of 2000 to 4000 HU."""
    for _ in range(int(canvas.rng.integers(1, 4))):
        draw = canvas.rng.choice([_stem, _screw, _plate, _wires])  # type: ignore[arg-type]
        draw(canvas, float(canvas.rng.uniform(2000, 4000)))


def _stem(canvas: Canvas, metal: float) -> None:
    rng = canvas.rng
    size = canvas.pixel * float(rng.uniform(4, 18))
    stem = canvas.blob(
        canvas.anywhere(),
        (size, size * float(rng.uniform(0.4, 1)), float(rng.uniform(10, 200))),
        angle=float(rng.uniform(0, 3)),
        tilt=(float(rng.normal(0, 0.3)), float(rng.normal(0, 0.3))),
    )
    canvas.paint(stem, metal)
    if rng.random() < 0.3:
        canvas.paint(stem, float(rng.uniform(50, 1500)), inset=0.4 * size)


def _screw(canvas: Canvas, metal: float) -> None:
    rng = canvas.rng
    x, y, z = canvas.anywhere()
    length, turn = canvas.pixel * float(rng.uniform(15, 70)), float(rng.uniform(0, 2 * np.pi))
    core, rise = canvas.pixel * float(rng.uniform(1.2, 3.5)), float(rng.normal(0, 0.15))
    count = max(3, int(length / (1.6 * core)))
    points = [
        (x + t * length * np.cos(turn), y + t * length * np.sin(turn), z + t * length * rise)
        for t in np.linspace(0, 1, count)
    ]
    shaft = [Tube(points[0], points[-1], core, 0.7 * core)]
    thread = [Tube(p, p, 1.35 * core, 1.35 * core) for p in points[1:]]
    head = [Tube(points[0], points[0], 2.2 * core, 2.2 * core)]
    canvas.paint(canvas.tubes(shaft + thread + head), metal)


def _plate(canvas: Canvas, metal: float) -> None:
    rng = canvas.rng
    half = (
        canvas.pixel * float(rng.uniform(5, 30)),
        canvas.pixel * float(rng.uniform(0.8, 3)),
        float(rng.uniform(5, 60)),
    )
    canvas.paint(canvas.block(canvas.anywhere(), half, angle=float(rng.uniform(0, 3))), metal)


def _wires(canvas: Canvas, metal: float) -> None:
    rng = canvas.rng
    tubes = []
    for _ in range(int(rng.integers(1, 5))):
        x, y, z = canvas.anywhere()
        dx, dy, dz = rng.normal(0, 1, 3) * canvas.extent[0] * 0.3
        radius = canvas.pixel * float(rng.uniform(0.4, 1.5))
        tubes.append(Tube((x, y, z), (x + dx, y + dy, z + 0.5 * dz), radius, radius))
    canvas.paint(canvas.tubes(tubes), metal)
