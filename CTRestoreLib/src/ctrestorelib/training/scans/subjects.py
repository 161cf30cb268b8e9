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
from ctrestorelib.core.volume import Volume
from ctrestorelib.training.anatomy.fields import Array
from ctrestorelib.training.clean_volumes import AIR_HU
from ctrestorelib.training.scans.procedural import KINDS, procedural_subject
from ctrestorelib.training.scans.scanned import scanned_subject

__all__ = ["KINDS", "SCAN", "SubjectTask", "make_subject", "subject_tasks"]

SCAN = "scan"
"""The kind of a subject that was scanned for real."""
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
        volume = procedural_subject(task.kind, rng, cells)
    hu = np.clip(volume.values, AIR_HU, HIGHEST_HU)
    return volume.with_values((hu - AIR_HU) * _room(cells) + np.float32(AIR_HU))


def _room(cells: int) -> Array:
    """Return 1 inside and 0 near the four sides, with rounded corners; shape (1, j, i)."""
    at = np.abs((np.arange(cells) + 0.5) * 2 / cells - 1)
    away = (at[:, None] ** 4 + at**4) ** 0.25
    limit = 1 - max(0.03, 1 / cells)
    ramp = np.clip((limit - away) / (6 / cells), 0, 1)
    inside: Array = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    return inside[None]
