"""A procedural knee: anatomy for tests and demonstrations without any download (layer: geometry).

Every tissue is a smooth body in patient axes (LPS mm; x to the patient's left, y to the back, z to
the head; the joint line at z = 0, the leg along z), so the same knee can be sampled on any grid: a
fine one to project, a coarse one to compare with. HU values are those of the radiological
literature for 120 kVp; shapes and sizes are those of an average adult, varied by the seed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.knee_bones import Bones, implant_layers
from ctrestorelib.geometry.knee_soft import limb, soft_layers
from ctrestorelib.geometry.resampling import block_mean, refined_grid
from ctrestorelib.geometry.shapes import Array, Layer, Points
from ctrestorelib.geometry.texture import RandomField

AIR_HU = -1000.0
TITANIUM_HU = 8000.0
"""Scanners without an extended scale store 3071 instead."""
KNEE_EXTENT_MM = 128.0
"""Edge of a cube about the joint's middle that holds the leg's width and thickness."""

_BRICK = (16, 24, 64)


class Knee:
    """The knee of one imagined person; sample it with :meth:`on`.

    Parameters
    ----------
    seed
        Fixes size, outline and texture.
    implant
        Whether a titanium plate with screws holds the shin bone.
    side
        ``"right"`` or ``"left"``.
    """

    def __init__(self, seed: int = 0, *, implant: bool = False, side: str = "right") -> None:
        if side not in ("right", "left"):
            message = f"The side must be 'right' or 'left'; got {side!r}."
            raise UsageError(message)
        rng = np.random.default_rng([seed, 20170])
        self._scale = rng.uniform(0.96, 1.02, 3).astype(np.float32)
        if side == "left":
            self._scale[0] *= -1
        self._waves = rng.uniform(0, 2 * np.pi, (3, 3)).astype(np.float32)
        bones = Bones.build()
        bundles = RandomField.band(rng, (0.06, 0.35), size=64, stretch_z=4.0)
        trabeculae = RandomField.band(rng, (0.3, 1.0), stretch_z=1.7)
        self.layers: list[Layer] = [
            *soft_layers(bones, bundles, limb()),
            *bones.joint_layers(),
            *bones.layers(trabeculae),
            *(implant_layers(TITANIUM_HU) if implant else ()),
        ]

    def at(self, lps_mm: Array) -> Array:
        """Return HU values at world points of shape (..., 3), float32."""
        world = np.asarray(lps_mm, np.float32)
        flat = world.reshape(-1, 3)
        return self._paint((flat[:, 0], flat[:, 1], flat[:, 2])).reshape(world.shape[:-1])

    def on(self, grid: VolumeGeometry) -> Volume:
        """Return the knee sampled at the voxel centres of a grid, in HU."""
        values = np.empty(grid.shape, np.float32)
        for brick in _bricks(grid.shape):
            points = _world_points(grid, brick)
            shape = tuple(s.stop - s.start for s in brick)
            values[brick] = self._paint(points).reshape(shape)
        return Volume(values, grid, Unit.HU)

    def _paint(self, world: Points) -> Array:
        points = self._anatomical(world)
        low = [float(v.min()) for v in points]
        high = [float(v.max()) for v in points]
        hu = np.full(points[0].shape, AIR_HU, np.float32)
        for layer in self.layers:
            box_low, box_high = layer.shape.box
            if all(
                a - 1 <= h and b + 1 >= lo
                for a, b, lo, h in zip(box_low, box_high, low, high, strict=True)
            ):
                layer.paint(hu, points)
        return hu

    def _anatomical(self, world: Points) -> Points:
        """Undo this person's size and slight irregularity."""
        x, y, z = (v / s for v, s in zip(world, self._scale, strict=True))
        bend = [
            np.sin(np.float32(0.115) * a + w[0]) + np.sin(np.float32(0.087) * b + w[1])
            for a, b, w in ((y, z, self._waves[0]), (z, x, self._waves[1]), (x, y, self._waves[2]))
        ]
        size = np.float32(0.55)
        return x + size * bend[0], y + size * bend[1], z + size * bend[2]


def knee_phantom(
    grid: VolumeGeometry,
    *,
    seed: int = 0,
    implant: bool = False,
    side: str = "right",
    samples: int = 1,
) -> Volume:
    """Return a procedural knee in HU on ``grid``.

    Parameters
    ----------
    grid
        Where to sample; the joint's middle lies at the world's origin, so
        ``VolumeGeometry.from_spacing((128, 128, 128), (1, 1, 1))`` holds the joint.
    seed
        Which imagined person.
    implant
        Add a titanium plate with screws (8000 HU).
    side
        ``"right"`` or ``"left"`` knee.
    samples
        Points per voxel edge that are averaged, as a scanner does; 1 takes the voxel's centre.
    """
    knee = Knee(seed, implant=implant, side=side)
    if samples <= 1:
        return knee.on(grid)
    fine = knee.on(refined_grid(grid, samples))
    return block_mean(fine, samples)


def _bricks(shape: tuple[int, int, int]) -> Iterator[tuple[slice, slice, slice]]:
    for k in range(0, shape[0], _BRICK[0]):
        for j in range(0, shape[1], _BRICK[1]):
            for i in range(0, shape[2], _BRICK[2]):
                starts = (k, j, i)
                a, b, c = (
                    slice(s, min(s + step, n))
                    for s, step, n in zip(starts, _BRICK, shape, strict=True)
                )
                yield a, b, c


def _world_points(grid: VolumeGeometry, brick: tuple[slice, slice, slice]) -> Points:
    k, j, i = (np.arange(s.start, s.stop, dtype=np.float64) for s in brick)
    x, y, z = (
        (m[2] * k[:, None, None] + m[1] * j[:, None] + (m[0] * i + m[3])).astype(np.float32).ravel()
        for m in grid.ijk_to_lps[:3]
    )
    return x, y, z
