"""What is scanned to train reconstructors: scans, procedural bodies, objects (layer: training).

A subject is a cube of HU with an object in air. It follows from a task alone: the same task and the
same number of cells give the same cube, bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.training.anatomy.fields import Array
from ctrestorelib.training.clean_volumes import AIR_HU
from ctrestorelib.training.scans.scanned import scanned_subject

SCAN = "scan"
KINDS: dict[str, float] = {
    "chest": 3, "abdomen": 3, "pelvis": 3, "knee": 3, "limb": 2, "head": 2,
    "foam": 0.5, "shells": 0.5, "inserts": 0.5, "grains": 0.5,
}  # fmt: skip
"""Procedural kinds of subject, and how often each is made (weights)."""
HIGHEST_HU = 8000.0
"""Titanium; nothing attenuates more."""
FEWEST_CELLS = 32


@dataclass(frozen=True)
class SubjectTask:
    """What one subject is made of.

    Parameters
    ----------
    number
        Its number, which with ``seed`` decides everything that is random in it.
    kind
        One of :data:`KINDS`, or :data:`SCAN`.
    path
        The training volume of a scan, else None.
    seed
        Seed of the whole collection.
    """

    number: int
    kind: str
    path: Path | None
    seed: int


def subject_tasks(files: Sequence[Path], procedural: int, seed: int) -> list[SubjectTask]:
    """Return one task per file, then ``procedural`` tasks of random kinds.

    A file that is listed several times gives several subjects of different pose, place and size.
    """
    scans = [SubjectTask(n, SCAN, path, seed) for n, path in enumerate(files)]
    made = [
        SubjectTask(n, _drawn_kind(seed, n), None, seed)
        for n in range(len(scans), len(scans) + procedural)
    ]
    return scans + made


def _drawn_kind(seed: int, number: int) -> str:
    weights = np.array(list(KINDS.values()), float)
    rng = np.random.default_rng([seed, number, 1])
    return list(KINDS)[int(rng.choice(len(weights), p=weights / weights.sum()))]


def make_subject(task: SubjectTask, cells: int) -> Volume:
    """Return the subject of a task.

    Parameters
    ----------
    task
        Which one.
    cells
        Voxels along each edge, at least 32. Other numbers of cells give an object of the same kind
        and size whose details differ.

    Returns
    -------
    Volume
        HU from -1000 to 8000, a cube of isotropic voxels along the LPS axes, centred at the
        world's origin. The object lies in air and keeps away from the four sides; it may run
        through top and bottom.

    Raises
    ------
    UsageError
        If the kind is unknown or there are too few cells.
    """
    if cells < FEWEST_CELLS:
        message = f"A subject needs at least {FEWEST_CELLS} cells along each edge; got {cells}."
        raise UsageError(message)
    rng = np.random.default_rng([task.seed, task.number])
    if task.path is not None:
        volume = scanned_subject(task.path, rng, cells)
    else:
        volume = _procedural(task.kind, rng, cells)
    hu = np.clip(volume.values, AIR_HU, HIGHEST_HU)
    return volume.with_values((hu - AIR_HU) * _room(cells) + np.float32(AIR_HU))


def _procedural(kind: str, rng: np.random.Generator, cells: int) -> Volume:
    from ctrestorelib.geometry.knee import knee_phantom
    from ctrestorelib.training.anatomy import make_anatomy

    if kind not in KINDS:
        message = f"The kind of a subject is one of {', '.join(KINDS)}; got {kind!r}."
        raise UsageError(message)
    if kind == "knee":
        edge = float(rng.uniform(150, 205))
        grid = VolumeGeometry.from_spacing((cells,) * 3, (edge / cells,) * 3)
        return knee_phantom(grid, seed=int(rng.integers(2**31)), implant=bool(rng.random() < 0.3))
    edge = float(np.exp(rng.uniform(np.log(180), np.log(400))))
    grid = VolumeGeometry.from_spacing((cells,) * 3, (edge / cells,) * 3)
    hu = make_anatomy(rng, (cells,) * 3, (edge / cells,) * 3, kind=kind)
    return Volume(hu, grid, Unit.HU)


def _room(cells: int) -> Array:
    """Return 1 inside and 0 near the four sides, with rounded corners; shape (1, j, i)."""
    at = np.abs((np.arange(cells) + 0.5) * 2 / cells - 1)
    away = (at[:, None] ** 4 + at**4) ** 0.25
    ramp = np.clip((0.97 - away) / (6 / cells), 0, 1)
    inside: Array = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    return inside[None]
