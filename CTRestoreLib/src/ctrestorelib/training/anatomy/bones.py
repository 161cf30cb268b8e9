"""Bones: cortical shell, spongy inside, vertebrae, ribs (layer: training)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ctrestorelib.training.anatomy.canvas import Canvas, Point, Region, Tube
from ctrestorelib.training.anatomy.fields import Array


def paint_bone(
    canvas: Canvas, region: Region, inside: float | Array, *, shell: float | None = None
) -> None:
    """Paint a cortical shell of 600 to 1800 HU and what it encloses.

    Parameters
    ----------
    canvas, region
        Where.
    inside
        HU of marrow, or spongy bone over the whole canvas.
    shell
        Thickness of the shell in mm; drawn between 0.6 and 4 where None.
    """
    rng = canvas.rng
    shell = shell or float(np.exp(rng.uniform(np.log(0.6), np.log(4.0))))
    cortex = float(rng.uniform(600, 1800))
    canvas.paint(region, cortex)
    # The shell is not equally thick all round.
    varied = region.distance + np.float32(0.3 * shell) * canvas.field(12.0, region.box)
    canvas.paint(Region(region.box, varied), inside, inset=shell)


def paint_vertebra(canvas: Canvas, centre: Point, size: float, spongy: Array) -> None:
    """Paint a vertebra in a slice-wise view: body, arch with processes, and the canal.

    ``size`` is the half width of the body in mm. The back of the patient is towards +y.
    """
    rng = canvas.rng
    x, y, z = centre
    tilt = (float(rng.normal(0, 0.1)), float(rng.normal(0, 0.2)))
    high = float(rng.uniform(8, 16)) * size / 20
    disc = canvas.blob(centre, (size, 0.8 * size, 4000.0), tilt=tilt, rough=0.03 * size)
    canvas.paint(disc, float(rng.uniform(60, 120)))
    arms = [
        (x + s * size * rng.uniform(1.5, 2.2), y + size * rng.uniform(0.8, 1.5), z + high)
        for s in (-1, 1)
    ]
    root: Point = (x, y + 1.4 * size, z)
    tip: Point = (x + float(rng.normal(0, 2)), y + size * float(rng.uniform(2.2, 3.0)), z - high)
    arch = [Tube(root, tip, 0.22 * size, 0.16 * size)]
    for side, arm in zip((-1, 1), arms, strict=True):
        foot: Point = (x + side * 0.6 * size, y + 0.7 * size, z)
        arch += [
            Tube(foot, arm, 0.25 * size, 0.14 * size),
            Tube(foot, root, 0.2 * size, 0.22 * size),
        ]
    paint_bone(canvas, canvas.tubes(arch), spongy, shell=0.07 * size)
    place: Point = (x, y, z + float(rng.uniform(-0.6, 0.6)) * high)
    body = canvas.blob(place, (size, 0.75 * size, high * 1.8), tilt=tilt, rough=0.04 * size)
    paint_bone(canvas, body, spongy, shell=float(rng.uniform(0.5, 1.5)))
    canal = canvas.blob((x, y + 1.05 * size, z), (0.42 * size, 0.33 * size, 4000.0), tilt=tilt)
    canvas.paint(canal, float(rng.uniform(-20, 20)))
    canvas.paint(canal, float(rng.uniform(20, 45)), inset=0.1 * size)


def ribs(canvas: Canvas, semi: tuple[float, float], spread: float) -> list[Tube]:
    """Return ribs that run round an ellipse and down towards the front.

    ``semi`` are the ellipse's half axes and ``spread`` the distance of the ribs along z, mm.
    """
    rng = canvas.rng
    radius, fall = float(rng.uniform(3.0, 5.5)), float(rng.uniform(20, 60))
    reach = canvas.extent[2] / 2 + fall
    start = -reach + float(rng.uniform(0, spread))
    tubes = []
    for height in np.arange(start, reach, spread):
        for side in (-1, 1):
            turns = np.linspace(1.2, -1.2, 14)
            points = [
                (
                    side * semi[0] * np.cos(t),
                    semi[1] * np.sin(t),
                    height + fall * (t / 1.2) / 2 + rng.normal(0, 0.4),
                )
                for t in turns
            ]
            tubes += [Tube(p, q, radius, radius) for p, q in pairwise(points)]
    return tubes
