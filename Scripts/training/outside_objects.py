"""Objects unlike any training subject, for the limits of the few-view default's checks."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.training.scans.subjects import make_subject, subject_tasks

KINDS = ("foam", "grating", "ellipsoids", "inverted")
AIR_HU = -1000.0
_BODY_HU = -500.0


def outside_object(kind: str, rng: np.random.Generator, cells: int) -> Volume:
    """Return a cube of HU with an object of one of :data:`KINDS` in air.

    Parameters
    ----------
    rng
        Decides size, place and details.
    cells
        Voxels along each edge.
    """
    edge = float(np.exp(rng.uniform(np.log(30.0), np.log(400.0))))
    grid = VolumeGeometry.from_spacing((cells,) * 3, (edge / cells,) * 3)
    if kind == "inverted":
        return _inverted(rng, cells)
    at = (np.indices((cells,) * 3, dtype=np.float32) + 0.5) * 2 / cells - 1
    draw = {"foam": _foam, "grating": _grating, "ellipsoids": _ellipsoids}[kind]
    inside = at[1] ** 2 + at[2] ** 2 < rng.uniform(0.4, 0.75)
    hu = np.where(inside, draw(rng, at), AIR_HU).astype(np.float32)
    return Volume(np.clip(hu, AIR_HU, 4000.0), grid, Unit.HU)


def _foam(rng: np.random.Generator, at: Any) -> Any:
    """Walls and pores of one width."""
    field = gaussian_filter(
        rng.standard_normal(at.shape[1:]), at.shape[1] * rng.uniform(0.01, 0.05)
    )
    share = rng.uniform(0.3, 0.7)
    return np.where(field > np.quantile(field, share), rng.uniform(200, 2500), rng.uniform(-900, 0))


def _grating(rng: np.random.Generator, at: Any) -> Any:
    """Bars in a random direction, in a solid."""
    way = rng.standard_normal(3)
    phase = np.tensordot(way / np.linalg.norm(way), at, axes=1)
    waves = np.sin(phase * np.pi * rng.uniform(3, 14))
    return np.where(waves > 0, rng.uniform(200, 1500), rng.uniform(-800, 0))


def _ellipsoids(rng: np.random.Generator, at: Any) -> Any:
    """A heap of ellipsoids whose attenuations add up."""
    hu = np.full(at.shape[1:], rng.uniform(-300, 100), dtype=np.float32)
    for _ in range(30):
        middle, axes = rng.uniform(-0.7, 0.7, 3), rng.uniform(0.03, 0.35, 3)
        distance = sum(((a - m) / r) ** 2 for a, m, r in zip(at, middle, axes, strict=True))
        hu[distance < 1] += rng.uniform(-600, 900)
    return hu


def _inverted(rng: np.random.Generator, cells: int) -> Volume:
    """A procedural body whose bone is dark and whose fat is bright."""
    volume = make_subject(subject_tasks([], 1, int(rng.integers(2**31)))[0], cells)
    hu = np.where(volume.values > _BODY_HU, np.clip(-2.0 * volume.values, AIR_HU, 2000.0), AIR_HU)
    return volume.with_values(hu.astype(np.float32))
