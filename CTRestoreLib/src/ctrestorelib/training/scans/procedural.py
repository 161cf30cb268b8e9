"""Procedural subjects: bodies with and without implants, and objects (layer: training)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.knee import knee_phantom
from ctrestorelib.training.anatomy.fields import Array
from ctrestorelib.training.scans.bodies import implants, objects
from ctrestorelib.training.scans.bodies.limbs import draw_limb
from ctrestorelib.training.scans.bodies.sketch import Sketch
from ctrestorelib.training.scans.bodies.skull import draw_head
from ctrestorelib.training.scans.bodies.trunk import draw_trunk
from ctrestorelib.training.scans.posing import LARGEST_MM, draw_pose, posed

IMPLANT_SHARE = 0.18
"""Share of the bodies that have an implant."""

Range = tuple[float, float]


@dataclass(frozen=True)
class BodyKind:
    """Where the cube of a kind of body lies, in mm of a middle-sized adult.

    Parameters
    ----------
    weight
        How often it is drawn.
    draw
        Draws it, with implants or without.
    edge, x, y, z
        Ranges of the cube's edge and of the place of its middle.
    """

    weight: float
    draw: Callable[[Sketch, bool], None]
    edge: Range
    x: Range = (0.0, 0.0)
    y: Range = (0.0, 0.0)
    z: Range = (0.0, 0.0)


def _chest(canvas: Sketch, metal: bool) -> None:
    draw_trunk(canvas)
    if metal:
        choice = canvas.rng.integers(3)
        if choice == 0:
            implants.add_sternal_wires(canvas)
        elif choice == 1:
            implants.add_spine_screws(canvas)
        spot = (float(canvas.rng.uniform(-60, 60)), -10.0, float(canvas.rng.uniform(250, 400)))
        implants.add_staples(canvas, spot, 15.0)


def _abdomen(canvas: Sketch, metal: bool) -> None:
    draw_trunk(canvas)
    if metal and canvas.rng.random() < 0.6:
        implants.add_spine_screws(canvas)
    elif metal:
        spot = (float(canvas.rng.uniform(-60, 60)), 0.0, float(canvas.rng.uniform(0, 180)))
        implants.add_staples(canvas, spot, 20.0)


def _pelvis(canvas: Sketch, metal: bool) -> None:
    draw_trunk(canvas)
    if metal:
        add = (implants.add_hip_joint, implants.add_hip_nail, implants.add_hip_joint)
        add[int(canvas.rng.integers(3))](canvas)


def _limb(canvas: Sketch, metal: bool) -> None:
    axes = draw_limb(canvas)
    if metal:
        ends = axes[int(canvas.rng.integers(len(axes)))]
        if canvas.rng.random() < 0.5:
            implants.add_plate(canvas, ends, float(canvas.rng.uniform(11, 18)))
        else:
            implants.add_nail(canvas, ends)


def _knee(canvas: Sketch, metal: bool) -> None:
    rng = canvas.rng
    kind = int(rng.integers(2))
    grid = VolumeGeometry.from_spacing(canvas.shape, canvas.spacing)
    side = "left" if rng.random() < 0.5 else "right"
    plate = metal and kind == 0
    canvas.hu = knee_phantom(grid, seed=int(rng.integers(2**31)), implant=plate, side=side).values
    if metal and kind == 1:
        canvas.hu = canvas.hu.copy()
        implants.add_knee_joint(canvas)


BODIES: dict[str, BodyKind] = {
    "chest": BodyKind(3, _chest, (330, 410), z=(290, 370)),
    "abdomen": BodyKind(3, _abdomen, (330, 410), z=(40, 190)),
    "pelvis": BodyKind(3, _pelvis, (330, 410), z=(-110, 0)),
    "hip": BodyKind(1, _pelvis, (180, 260), x=(-95, 95), y=(-10, 10), z=(-120, -50)),
    "spine": BodyKind(1, _abdomen, (160, 220), y=(20, 50), z=(0, 160)),
    "knee": BodyKind(3.5, _knee, (150, 205)),
    "limb": BodyKind(2, _limb, (160, 380), z=(-120, 120)),
    "head": BodyKind(2, lambda c, m: draw_head(c, fillings=m), (225, 270), z=(-30, 0)),
    "jaws": BodyKind(
        0.7, lambda c, m: draw_head(c, fillings=m), (140, 180), y=(-50, -30), z=(-70, -45)
    ),
}
"""Kinds of body."""

OBJECTS: dict[str, Callable[[Sketch], None]] = {
    "foam": objects.draw_foam,
    "spongy": objects.draw_spongy,
    "shells": objects.draw_shells,
    "snail": objects.draw_snail,
    "disc": objects.draw_disc,
    "ellipsoids": objects.draw_ellipsoids,
    "tooth": objects.draw_tooth,
    "grains": objects.draw_grains,
    "inserts": objects.draw_inserts,
}
"""Kinds of object that is no body."""

OBJECT_WEIGHT = 0.33
KINDS: dict[str, float] = {
    **{name: kind.weight for name, kind in BODIES.items()},
    **dict.fromkeys(OBJECTS, OBJECT_WEIGHT),
}
"""All procedural kinds and how often each is drawn (weights)."""


def procedural_subject(kind: str, rng: np.random.Generator, cells: int) -> Volume:
    """Return a body or an object in HU in a cube of ``cells`` voxels along each edge.

    Raises
    ------
    UsageError
        If the kind is none of :data:`KINDS`.
    """
    if kind in OBJECTS:
        canvas = Sketch(rng, cells, float(np.exp(rng.uniform(np.log(51.2), np.log(200)))))
        OBJECTS[kind](canvas)
        size = 1.0
    elif kind in BODIES:
        canvas, size = _body(BODIES[kind], rng, cells)
    else:
        message = f"The kind of a subject is one of {', '.join(KINDS)}; got {kind!r}."
        raise UsageError(message)
    edge = canvas.extent[0] * size
    grid = VolumeGeometry.from_spacing((cells,) * 3, (edge / cells,) * 3)
    volume = Volume(canvas.hu, grid, Unit.HU)
    if rng.random() < 0.6:
        pose = draw_pose(rng, np.full(3, edge), edge, scale=(0.9, 1.1))
        return volume.with_values(posed(volume, grid, pose))
    flips = tuple(n for n in range(3) if rng.random() < 0.5)
    turns = int(rng.integers(4))
    return volume.with_values(np.rot90(np.flip(volume.values, flips), turns, (1, 2)))


def _body(kind: BodyKind, rng: np.random.Generator, cells: int) -> tuple[Sketch, float]:
    """Return a drawing, and the size of this person by that of a middle-sized adult."""
    size = float(rng.uniform(0.85, 1.15) if rng.random() < 0.9 else rng.uniform(0.4, 0.85))
    edge = min(float(rng.uniform(*kind.edge)), LARGEST_MM / size)
    x, y, z = (float(rng.uniform(*place)) for place in (kind.x, kind.y, kind.z))
    canvas = Sketch(rng, cells, edge, (x, y, z))
    kind.draw(canvas, bool(rng.random() < IMPLANT_SHARE))
    if rng.random() < 0.25:
        _add_couch(canvas)
    return canvas, size


def _add_couch(canvas: Sketch) -> None:
    """Put a couch behind the back where the cube has room for it."""
    rng = canvas.rng
    rows = np.flatnonzero((canvas.hu > -500).any(axis=(0, 2)))
    back = float(canvas.y[rows[-1]]) + float(rng.uniform(0, 6))
    thick = float(rng.uniform(5, 22))
    if back + 2 * thick > canvas.y[-1]:
        return
    middle = (float(canvas.x.mean()), back + thick, float(canvas.z.mean()))
    couch = canvas.plate(middle, (0.42 * canvas.extent[0], thick, 1e4), (0.0, 0.0, 0.0))
    free: Array = np.clip((-400 - canvas.hu) / np.float32(400), 0, 1).astype(np.float32)
    canvas.fill(couch, float(rng.uniform(-500, 100)), within=free)
    foam = float(rng.uniform(-980, -880))
    canvas.fill(couch, foam, inset=float(rng.uniform(1.0, 2.5)), within=free)


__all__ = ["BODIES", "IMPLANT_SHARE", "KINDS", "OBJECTS", "procedural_subject"]
