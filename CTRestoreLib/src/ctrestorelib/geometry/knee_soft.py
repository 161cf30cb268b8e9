"""Skin, fat, muscles, tendons and vessels of the procedural knee (layer: geometry; numpy only).

Patient axes as in :mod:`ctrestorelib.geometry.knee_bones`; lengths in mm.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ctrestorelib.geometry.knee_bones import Bones
from ctrestorelib.geometry.shapes import (
    Array,
    Layer,
    Points,
    Shape,
    between,
    ellipsoid,
    joined,
    loft,
    rod,
)
from ctrestorelib.geometry.texture import RandomField

SKIN_HU = 30.0
FAT_HU = -105.0
MUSCLE_HU = 58.0
TENDON_HU = 95.0
BLOOD_HU = 42.0
FLUID_HU = 15.0


def limb() -> Shape:
    """Return the outline of the leg."""
    leg = loft(
        [(-140, 1, 8, 47, 50), (-64, 1, 10, 48, 47), (-30, 0, 6, 47, 47), (0, 0, 1, 50, 48),
         (25, 0, 0, 53, 51), (64, 1, 1, 57, 56), (140, 2, 3, 66, 64)]
    )  # fmt: skip
    cap = ellipsoid((-1, -38, 26), (27, 23, 30))
    return joined(leg, cap, blend_mm=16)


def muscles() -> list[Shape]:
    """Return the muscles about the knee, each a spindle along the leg."""
    thigh = [
        # vastus medialis, vastus lateralis, vastus intermedius
        loft([(14, 30, -22, 1, 1), (26, 29, -21, 10, 13),
              (48, 26, -15, 21, 23), (140, 24, -12, 28, 30)]),
        loft([(24, -31, -22, 1, 1), (38, -30, -20, 10, 14),
              (56, -28, -13, 20, 25), (140, -26, -10, 28, 32)]),
        loft([(40, 0, -26, 1, 1), (52, 0, -25, 17, 8), (140, 0, -24, 24, 14)]),
        # biceps femoris, semimembranosus with semitendinosus, sartorius, gracilis
        loft([(-14, -35, 20, 1, 1), (4, -37, 18, 4, 9),
              (36, -31, 25, 12, 15), (140, -24, 32, 20, 20)]),
        loft([(-16, 30, 22, 1, 1), (2, 31, 24, 7, 9), (36, 24, 31, 15, 15), (140, 18, 36, 22, 20)]),
        loft([(-34, 34, 8, 1, 1), (-8, 40, 14, 3, 8), (30, 41, 17, 5, 12), (140, 36, 10, 9, 16)]),
        loft([(-30, 33, 16, 1, 1), (0, 38, 25, 3, 4), (40, 36, 31, 5, 6), (140, 32, 34, 7, 8)]),
    ]  # fmt: skip
    calf = [
        # gastrocnemius inner and outer head, popliteus with soleus, tibialis anterior, peroneus
        loft([(-140, 17, 30, 24, 20), (-60, 18, 34, 23, 17), (-14, 19, 34, 18, 12),
              (24, 20, 29, 9, 7), (36, 20, 27, 1, 1)]),
        loft([(-140, -16, 30, 22, 20), (-60, -16, 34, 21, 16), (-14, -17, 33, 16, 11),
              (22, -20, 27, 9, 7), (34, -21, 25, 1, 1)]),
        loft([(-140, 0, 20, 28, 14), (-50, 0, 23, 25, 10), (-22, 2, 27, 21, 6), (-8, 0, 29, 1, 1)]),
        loft([(-140, -22, -8, 15, 22), (-60, -23, -6, 14, 18),
              (-36, -28, -3, 10, 13), (-22, -32, -2, 1, 1)]),
        loft([(-140, -32, 12, 9, 13), (-60, -36, 11, 8, 12),
              (-34, -40, 12, 3, 7), (-24, -40, 13, 1, 1)]),
    ]  # fmt: skip
    return [*thigh, *calf]


def tendons() -> list[Shape]:
    """Return the tendons of the kneecap, the cruciate and the side ligaments."""
    below_cap = loft(
        [
            (-40, 3, -31, 12, 2.6),
            (-28, 2, -34.5, 12, 2.4),
            (-8, 0, -39.5, 13, 2.4),
            (12, -1, -47, 14, 2.6),
        ]
    )
    above_cap = loft([(40, -1, -46, 17, 3.2), (70, 0, -39, 14, 3.4), (140, 0, -36, 9, 3)])
    cross = [rod((4, -8, -5), (-8, 17, 20), 4), rod((-2, 21, -8), (8, 4, 14), 4.5)]
    sides = [rod((38, 0, 24), (33, -2, -36), 2.0), rod((-38, 2, 24), (-35, 19, -16), 2.0)]
    return [between(below_cap, -38, 14), between(above_cap, 42, 400), *cross, *sides]


def vessels() -> list[Shape]:
    """Return artery, vein and nerve behind the knee, and a vein under the skin."""
    path = [(2, 28, 140), (3, 32, 40), (1, 33, 0), (-1, 31, -40), (-2, 24, -140)]
    artery = joined(*_along(path, 3.2), blend_mm=1)
    vein = joined(*_along([(x - 6, y + 5, z) for x, y, z in path], 4.3), blend_mm=1)
    nerve = joined(*_along([(x - 11, y + 8, z) for x, y, z in path[:3]], 3.4), blend_mm=1)
    surface = joined(*_along([(42, 28, 140), (36, 25, 0), (36, 30, -140)], 2.0), blend_mm=1)
    return [artery, vein, nerve, surface]


def _along(path: Sequence[tuple[float, float, float]], radius_mm: float) -> list[Shape]:
    return [rod(a, b, radius_mm) for a, b in itertools.pairwise(path)]


@dataclass(frozen=True)
class MuscleTissue:
    """Muscle with fine fat between its bundles."""

    bundles: RandomField

    def __call__(self, points: Points, distance: Array) -> Array:
        """Return HU at points inside a muscle."""
        x, y, z = points
        grain = self.bundles.at(x, y, z)
        deep = np.clip(-distance / np.float32(2), 0, 1)
        return np.asarray(
            MUSCLE_HU + 7 * grain - 60 * deep * np.maximum(grain - np.float32(1.7), 0), np.float32
        )


def soft_layers(bones: Bones, bundles: RandomField, outline: Shape) -> list[Layer]:
    """Return everything but bones and joint, from the skin inwards."""
    fat_tissue = lambda p, _d: FAT_HU + 6 * bundles.at(*p)  # noqa: E731 - one line says it
    inner = outline.grown(-7.5)
    sheath = between(joined(bones.femur, bones.tibia, blend_mm=10).grown(4.5), -26, 44, 6)
    pouch = ellipsoid((0, -33, 50), (17, 3.0, 15))
    return [
        Layer(outline, SKIN_HU),
        Layer(outline.grown(-1.6), fat_tissue),
        *(Layer(m.within(inner, 3), MuscleTissue(bundles)) for m in muscles()),
        Layer(sheath.within(inner, 3), MUSCLE_HU - 8),
        Layer(pouch, FLUID_HU),
        *(Layer(t, TENDON_HU) for t in tendons()),
        *(Layer(v, BLOOD_HU) for v in vessels()),
    ]
