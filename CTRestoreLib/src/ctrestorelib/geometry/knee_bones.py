"""Bones, cartilage and an implant of the procedural knee (layer: geometry; numpy only).

A right knee: the patient's right, the lateral side, is -x; the front is -y; the head is +z. Lengths
in mm. Cortical bone is 1200 to 1800 HU and 1 to 4 mm thick; cancellous bone is a thresholded random
field with grains along the load.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctrestorelib.geometry.shapes import (
    Array,
    Layer,
    Points,
    Shape,
    above,
    below,
    between,
    ellipsoid,
    joined,
    loft,
    ring,
    rod,
)
from ctrestorelib.geometry.texture import RandomField

MARROW_HU = -55.0
CARTILAGE_HU = 95.0
MENISCUS_HU = 105.0
_TRABECULA_HU = 360.0


@dataclass(frozen=True)
class BoneTissue:
    """What one bone is made of: cortical shell, cancellous bone, marrow.

    Parameters
    ----------
    trabeculae
        The random field of the cancellous bone.
    joint_z_mm
        Height of the bone's joint surface; cancellous bone thins out away from it.
    cancellous_mm
        Distance from there at which only marrow is left.
    shell_mm
        Thickness of the cortex at the joint and in the shaft.
    scar_z_mm
        Height of the closed growth plate, a thin dense line.
    """

    trabeculae: RandomField
    joint_z_mm: float
    cancellous_mm: float
    shell_mm: tuple[float, float]
    scar_z_mm: float = 1e6

    def __call__(self, points: Points, distance: Array) -> Array:
        """Return HU at points inside the bone."""
        x, y, z = points
        away = np.abs(z - np.float32(self.joint_z_mm)) / np.float32(self.cancellous_mm)
        shaft = _smooth_step((away - np.float32(0.55)) / np.float32(0.5))
        cancellous = self._cancellous(points, 1 - shaft)
        depth = -distance
        thin, thick = self.shell_mm
        thickness = np.float32(thin) + np.float32(thick - thin) * shaft
        cortex = np.clip((thickness - depth) / np.float32(0.9) + np.float32(0.5), 0, 1)
        cortex_hu = np.float32(1300) + np.float32(380) * shaft + np.float32(60) * np.sin(y * 0.31)
        # Below the cortex of the joint the cancellous bone is denser: the subchondral plate.
        plate = np.exp(-np.maximum(depth - thickness, 0) / np.float32(2.2)) * (1 - shaft)
        inner = cancellous + plate * np.float32(260) + self._scar(x, z)
        return np.asarray(inner + cortex * (cortex_hu - inner), np.float32)

    def _cancellous(self, points: Points, fill: Array) -> Array:
        out = np.full(fill.shape, MARROW_HU, np.float32)
        some = np.flatnonzero(fill > 0.02)
        if some.size:
            x, y, z = (v[some] for v in points)
            share = fill[some]
            # The threshold keeps about half of the space near the joint, less further away.
            level = np.float32(0.9) * (1 - share)
            bone = np.clip((self.trabeculae.at(x, y, z) - level) * np.float32(0.7) + 0.5, 0, 1)
            out[some] += np.float32(_TRABECULA_HU) * bone * np.sqrt(share) + 60 * share
        return out

    def _scar(self, x: Array, z: Array) -> Array:
        height = np.float32(self.scar_z_mm) + np.float32(1.6) * np.cos(x * np.float32(0.11))
        out: Array = np.float32(230) * np.exp(-(((z - height) / np.float32(0.7)) ** 2))
        return out


def _smooth_step(t: Array) -> Array:
    t = np.clip(t, 0, 1)
    out: Array = t * t * (3 - 2 * t)
    return out


def femur() -> Shape:
    """Return the lower end of the thigh bone: shaft, two condyles, notch and kneecap groove."""
    shaft = loft(
        [(12, 0, -4, 29, 21), (20, 0, -5, 36, 26), (29, 0, -5, 38, 26.5), (38, 0, -5, 33, 22),
         (48, 0, -5, 24.5, 18), (60, 0, -4, 18, 15.5), (76, 0, -3, 14.5, 14),
         (120, -1, -2, 13.5, 13.5)]
    )  # fmt: skip
    upper = between(shaft, 8, 400, 6)
    medial = joined(
        ellipsoid((23, -4, 22.5), (15.5, 29, 21.5)),
        ellipsoid((24, 17, 22), (13.5, 19, 20)),
        blend_mm=4,
    )
    lateral = joined(
        ellipsoid((-23, -6, 22), (15, 30.5, 22)),
        ellipsoid((-24, 15, 22), (13, 19, 19.5)),
        blend_mm=4,
    )
    body = joined(upper, medial, lateral, blend_mm=5)
    notch = joined(rod((0, 4, -7), (0, 36, 14), 10), rod((0, 18, 6), (0, 44, 22), 10), blend_mm=4)
    groove = rod((0, -42, 6), (0, -44, 46), 13)
    popliteal = ellipsoid((0, 27, 46), (19, 9, 26))
    return body.without(notch, 4).without(groove, 5).without(popliteal, 10)


def tibia() -> Shape:
    """Return the upper end of the shin bone: plateau, eminence, tuberosity, triangular shaft."""
    shaft = loft(
        [(-140, 2, 3, 11.5, 13.5), (-70, 3, 3, 13.5, 15.5), (-55, 3, 3, 15.5, 17),
         (-42, 2, 3, 19.5, 19), (-30, 1, 3, 26.5, 22), (-19, 0, 4, 34, 24.5),
         (-11, 0, 4, 38, 26), (-4, 0, 4, 37.5, 25.5)]
    )  # fmt: skip
    # The plateau leans back by some seven degrees and carries a shallow dish under each condyle.
    plateau = shaft.within(below((0, 0.12, 1), (0, 4, -4.6)), 3)
    dishes = joined(
        ellipsoid((22, 3, 10.5), (24, 26, 16.5)), ellipsoid((-22, 3, 11), (23, 26, 16.5))
    )
    spines = joined(
        rod((5.5, 6, -9), (4, 6, 0.5), 5, 1.8),
        rod((-5.5, 8, -9), (-4, 8, -0.3), 5, 1.8),
        blend_mm=3,
    )
    tuberosity = ellipsoid((1, -15, -34), (12, 10, 24))
    flat = below((0.7, -0.6, 0), (11, -9, 0))  # the inner front face of the shin
    body = joined(plateau.without(dishes, 2), spines, tuberosity, blend_mm=7)
    return body.within(joined(flat, above(-28), blend_mm=12), 4)


def fibula() -> Shape:
    """Return the head, neck and shaft of the calf bone, on the outer side behind."""
    head = ellipsoid((-33, 21, -22), (8.5, 9.5, 11))
    shaft = rod((-32, 20, -26), (-28, 17, -56), 7, 5.2)
    return joined(head, shaft, rod((-28, 17, -56), (-27, 16, -150), 5.2), blend_mm=3)


def patella() -> Shape:
    """Return the kneecap: a rounded triangle with a ridge behind."""
    disc = joined(
        ellipsoid((-1, -45.5, 29), (21.5, 8, 19)),
        ellipsoid((-1, -46, 18), (11, 6.5, 12)),
        blend_mm=5,
    )
    ridge = ellipsoid((0, -40, 28), (9, 6, 14))
    return joined(disc, ridge, blend_mm=6)


@dataclass(frozen=True)
class Bones:
    """The four bones and what covers their ends."""

    femur: Shape
    tibia: Shape
    fibula: Shape
    patella: Shape

    @classmethod
    def build(cls) -> Bones:
        """Return the bones of an average right knee."""
        return cls(femur(), tibia(), fibula(), patella())

    def layers(self, trabeculae: RandomField) -> list[Layer]:
        """Return the bones with their tissue, to be painted last."""
        return [
            Layer(self.tibia, BoneTissue(trabeculae, -4, 62, (1.3, 4.0), -19)),
            Layer(self.fibula, BoneTissue(trabeculae, -12, 46, (1.1, 2.2))),
            Layer(self.femur, BoneTissue(trabeculae, 14, 62, (1.2, 3.6), 36)),
            Layer(self.patella, BoneTissue(trabeculae, 28, 200, (1.8, 1.8))),
        ]

    def joint_layers(self) -> list[Layer]:
        """Return joint fluid, menisci and cartilage, to be painted before the bones."""
        thigh = between(self.femur.grown(2.3), -8, 33, 3)
        shin = between(self.tibia.grown(2.0), -14, 6, 3)
        cap = self.patella.grown(2.2).within(below((0, -1, 0), (0, -44, 0)), 2)
        discs = joined(
            ring((22, 4, -1.8), (16, 19), (4.5, 3.6)), ring((-22, 3, -1.8), (15, 16), (4.5, 3.6)),
            blend_mm=0.5,
        )  # fmt: skip
        return [Layer(discs, MENISCUS_HU), *(Layer(s, CARTILAGE_HU) for s in (thigh, shin, cap))]


def implant_layers(metal_hu: float) -> list[Layer]:
    """Return a plate on the outer side of the shin bone with four screws through it."""
    plate = joined(
        rod((-38, 2, -16), (-30, -1, -34), 2.6), rod((-30, -1, -34), (-21, -3, -58), 2.6),
        rod((-38, -8, -15), (-38, 12, -16), 2.6), rod((-21, -3, -58), (-19, -3, -90), 2.6),
        blend_mm=2,
    )  # fmt: skip
    screws = [
        rod((-39, -6, -14.5), (26, -4, -14.5), 2.2), rod((-39, 9, -14.5), (26, 11, -14.5), 2.2),
        rod((-31, -1, -33), (20, 4, -33), 2.2), rod((-24, -3, -50), (14, 2, -50), 2.0),
    ]  # fmt: skip
    return [Layer(joined(plate, *screws, blend_mm=0.5), metal_hu)]
