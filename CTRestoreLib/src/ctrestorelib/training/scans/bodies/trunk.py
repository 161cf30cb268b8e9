"""The trunk from thigh to neck; chest, abdomen and pelvis are cubes of it (layer: training).

Heights in mm above the top of the sacrum, of a middle-sized adult: hip joints -70, diaphragm about
215, top of the lungs 455. Everything keeps its place through the whole height, so coronal and
sagittal planes look like a body too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctrestorelib.training.anatomy.canvas import Region
from ctrestorelib.training.anatomy.fields import Array
from ctrestorelib.training.scans.bodies.hips import draw_hips
from ctrestorelib.training.scans.bodies.organs import draw_belly, draw_thorax
from ctrestorelib.training.scans.bodies.sketch import Sketch, profile
from ctrestorelib.training.scans.bodies.spine import draw_rib_cage, draw_spine

_MUSCLE_A = {-400: 60, -150: 130, -70: 158, 0: 150, 80: 132, 180: 138, 300: 150, 380: 166, 435: 166,
             465: 135, 495: 75, 530: 58, 700: 56}  # fmt: skip
_MUSCLE_B = {-400: 60, -150: 80, -70: 95, 0: 92, 80: 84, 200: 92, 300: 100, 380: 97, 440: 78,
             490: 60, 530: 56, 700: 58}  # fmt: skip
_CAVITY_A = {-130: 15, -60: 58, 0: 88, 60: 116, 150: 122, 250: 130, 350: 126, 430: 92, 470: 45,
             500: 18, 700: 16}  # fmt: skip
_CAVITY_B = {-130: 15, -60: 52, 0: 66, 60: 70, 150: 78, 250: 86, 350: 83, 430: 62, 470: 34,
             500: 16, 700: 14}  # fmt: skip
_CAVITY_Y = -10.0
_CROTCH = -140.0


@dataclass(frozen=True, eq=False)
class Trunk:
    """What the parts of a trunk share.

    Parameters
    ----------
    cavity
        Distance to the wall of chest, belly and pelvis over the canvas, mm, negative inside.
    inside
        Share of each voxel in the cavity.
    contrast
        HU of blood.
    girth
        Factor of the cavity's width and depth.
    """

    cavity: Array
    inside: Array
    contrast: float
    girth: tuple[float, float]

    def wall(self, z: float) -> tuple[float, float, float]:
        """Return half width, half depth and middle y of the cavity at a height."""
        at = np.array([z], np.float32)
        a, b = (float(profile(at, k)[0]) for k in (_CAVITY_A, _CAVITY_B))
        return a * self.girth[0], b * self.girth[1], _CAVITY_Y


def draw_trunk(canvas: Sketch) -> None:
    """Draw the part of a trunk that lies in the cube."""
    trunk = _draw_walls(canvas)
    top, bottom = float(canvas.z[-1]), float(canvas.z[0])
    if bottom < 230:
        draw_belly(canvas, trunk)
    if top > 150:
        draw_thorax(canvas, trunk)
    draw_spine(canvas)
    if top > 100:
        draw_rib_cage(canvas, trunk)
    if bottom < 60:
        draw_hips(canvas)


def _draw_walls(canvas: Sketch) -> Trunk:
    rng = canvas.rng
    girth = (float(rng.uniform(0.88, 1.12)), float(rng.uniform(0.88, 1.12)))
    fat = float(np.exp(rng.uniform(np.log(5), np.log(40))))
    muscle = _muscle_distance(canvas, girth)
    whole = (slice(None), slice(None), slice(None))
    padding = np.float32(fat) * (1 + np.float32(0.25) * canvas.field(60.0))
    skin = Region(whole, muscle - np.clip(padding, 2, None))
    canvas.fill(skin, float(rng.uniform(0, 50)))
    canvas.fill(skin, fat_hu(canvas), inset=float(rng.uniform(1, 2.5)))
    canvas.fill(Region(whole, muscle), muscle_hu(canvas))
    a, b = (profile(canvas.z, k) * np.float32(g)
            for k, g in zip((_CAVITY_A, _CAVITY_B), girth, strict=True))  # fmt: skip
    cavity = oval(canvas, a, b, middle=(0.0, _CAVITY_Y)) + 2 * canvas.field(25.0)
    np.maximum(cavity, (_CROTCH + 20 - canvas.z)[:, None, None], out=cavity)
    canvas.fill(Region(whole, cavity), fat_hu(canvas))
    inside = canvas.cover(Region(whole, cavity), 1.0)
    blood = rng.uniform(35, 55) if rng.random() < 0.5 else rng.uniform(120, 380)
    return Trunk(cavity, inside, float(blood), girth)


def _muscle_distance(canvas: Sketch, girth: tuple[float, float]) -> Array:
    a, b = (profile(canvas.z, k) * np.float32(g)
            for k, g in zip((_MUSCLE_A, _MUSCLE_B), girth, strict=True))  # fmt: skip
    trunk = oval(canvas, a, b) + np.float32(1.5) * canvas.field(45.0)
    np.maximum(trunk, (_CROTCH - canvas.z)[:, None, None], out=trunk)
    if canvas.z[0] > _CROTCH:
        return trunk
    legs = profile(
        canvas.z, {-420: 60, -250: 69, -150: 76, -100: 74, -75: 62, -55: 30}
    ) * np.float32(girth[0])
    low = (canvas.z - np.float32(-60))[:, None, None]
    for side in (-1, 1):
        leg = oval(canvas, legs, legs, middle=(side * 82.0 * girth[0], 0.0))
        np.minimum(trunk, np.maximum(leg, low), out=trunk)
    return trunk


def oval(canvas: Sketch, a: Array, b: Array, middle: tuple[float, float] = (0.0, 0.0)) -> Array:
    """Return about the distance to a column whose half axes change with height, whole canvas."""
    x = (canvas.x - np.float32(middle[0]))[None, None, :]
    y = (canvas.y - np.float32(middle[1]))[None, :, None]
    u, v = x / a[:, None, None], y / b[:, None, None]
    level = np.sqrt(u * u + v * v) + np.float32(1e-6)
    slope = np.sqrt((u / a[:, None, None]) ** 2 + (v / b[:, None, None]) ** 2) + np.float32(1e-8)
    return np.asarray((level - 1) * level / slope, dtype=np.float32)


def fat_hu(canvas: Sketch) -> Array:
    """Return fat over the canvas, HU, with strands where voxels show them."""
    rng = canvas.rng
    strands = np.clip(1 - np.abs(canvas.field(9.0)) / np.float32(0.12), 0, 1)
    texture = np.float32(rng.uniform(-115, -85)) + np.float32(rng.uniform(10, 50)) * strands
    return np.asarray(texture, dtype=np.float32)


def muscle_hu(canvas: Sketch) -> Array:
    """Return muscle over the canvas, HU, with planes of fat between its bellies."""
    rng = canvas.rng
    planes = np.clip(1 - np.abs(canvas.field(24.0)) / np.float32(rng.uniform(0.08, 0.25)), 0, 1)
    texture = np.float32(rng.uniform(40, 65)) - np.float32(rng.uniform(40, 150)) * planes
    return np.asarray(texture, dtype=np.float32)
