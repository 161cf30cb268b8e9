"""Items to train reconstructors on: subjects scanned once, kept on disk (layer: training).

The subject is drawn on voxels half as large as those of the truth and projected there, several rays
a pixel; the truth is the mean of its voxels. So no reconstruction on the grid of the truth can
explain the projections exactly, as with a real object.

Files of item n: ``n_truth.npy`` float16 ``[k, j, i]``, attenuation in units of water;
``n_projections.npy`` float32 ``[view, row, col]``, line integrals in mm of water; ``n.json``, which
is written last: the task, the grid, the geometry that the scanner believes in, and the protocol.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.core.params import params_from, params_to_json
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.resampling import block_mean
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.physics.scan_protocol import ScanProtocol
from ctrestorelib.physics.virtual_scan import virtual_scan
from ctrestorelib.training.anatomy.fields import Array
from ctrestorelib.training.scans.acquisition import anchor_protocol, draw_protocol
from ctrestorelib.training.scans.subjects import SubjectTask, make_subject
from ctrestorelib.training.stored_items import run_tasks, save_array, save_record

RECIPE = 2
"""Raised whenever the same task would give another item."""
FINER = 2
"""Voxels of the scanned subject along each edge of a voxel of the truth."""


@dataclass(frozen=True)
class ScanTask:
    """What one item is made of.

    Parameters
    ----------
    subject
        What is scanned; its number is the item's.
    cells
        Voxels of the truth along each edge, at least 16.
    pixels
        Detector pixels along each edge.
    views
        None for a random acquisition (:func:`~.acquisition.draw_protocol`); else that many views of
        the published geometry, free of noise, to draw subsets of.
    """

    subject: SubjectTask
    cells: int
    pixels: int
    views: int | None = None

    def identity(self) -> dict[str, object]:
        """Return plain values that tell this task from others."""
        path = self.subject.path
        return {
            "recipe": RECIPE,
            "kind": self.subject.kind,
            "source": None if path is None else path.name,
            "number": self.subject.number,
            "seed": self.subject.seed,
            "cells": self.cells,
            "pixels": self.pixels,
            "views": self.views,
        }


@dataclass(frozen=True, eq=False)
class ScanItem:
    """One stored item.

    Parameters
    ----------
    truth
        Attenuation in units of water, float32 ``[k, j, i]`` on ``grid``.
    projections
        Line integrals in mm of water, float32 ``[view, row, col]``.
    grid, geometry
        The voxels of the truth; the scan as the scanner believes it was.
    protocol
        How it was scanned, noise and hidden misalignment included.
    facts
        What the item's JSON says else: ``kind``, ``source``, ``number``, ``seed``, ...
    """

    truth: Array
    projections: Array
    grid: VolumeGeometry
    geometry: ConeBeamGeometry
    protocol: ScanProtocol
    facts: dict[str, Any]

    def volume(self) -> Volume:
        """Return the truth in HU."""
        return Volume((self.truth - 1) * np.float32(1000), self.grid, Unit.HU)

    def projection_set(self) -> ProjectionSet:
        """Return the line integrals of attenuation with dose and geometry."""
        values = self.projections * np.float32(self.protocol.mu_water_per_mm)
        sd = self.protocol.electronic_sd if self.protocol.i0 is not None else 0.0
        kind = ProjectionKind.LINE_INTEGRAL
        return ProjectionSet(values, self.geometry, kind, self.protocol.i0, sd)


def scan_tasks(
    subjects: Sequence[SubjectTask], cells: int, pixels: int, views: int | None = None
) -> list[ScanTask]:
    """Return one task per subject; arguments as of :class:`ScanTask`."""
    if cells < 16 or pixels < 16:
        message = f"Items need at least 16 cells and 16 pixels; got {cells} and {pixels}."
        raise UsageError(message)
    return [ScanTask(subject, cells, pixels, views) for subject in subjects]


def make_items(
    tasks: Sequence[ScanTask],
    folder: Path,
    processes: int = 1,
    report: Callable[[str], None] | None = None,
) -> int:
    """Make the items that ``folder`` does not hold yet; return how many of ``tasks`` it holds.

    An item is complete when its JSON file exists, which is written last: a stopped run goes on
    where it was.

    Raises
    ------
    InputError
        If the folder holds an item of the same number that was made of something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    todo = [task for task in tasks if not _is_made(task, folder)]
    run_tasks(partial(make_item, folder=folder), todo, processes, report)
    return len(tasks)


def make_item(task: ScanTask, folder: Path) -> None:
    """Make one item; see :func:`make_items`."""
    fine = make_subject(task.subject, FINER * task.cells)
    truth = block_mean(fine, FINER)
    protocol = _protocol(task, truth.geometry.spacing_mm[0] * task.cells)
    job = Job(seed=task.subject.seed * 1_000_003 + task.subject.number)
    scan = virtual_scan(fine, replace(protocol, refine=1), job)
    stem = folder / f"{task.subject.number:06d}"
    water = np.maximum(truth.values, -1000) / np.float32(1000) + np.float32(1)
    save_array(_path(stem, "truth"), water.astype(np.float16))
    save_array(_path(stem, "projections"), scan.values / np.float32(protocol.mu_water_per_mm))
    record = {
        "task": task.identity(),
        "grid": truth.geometry.to_json(),
        "geometry": scan.geometry.to_json(),
        "protocol": params_to_json(protocol),
    }
    save_record(stem.with_suffix(".json"), record)


def item_numbers(folder: Path) -> list[int]:
    """Return the numbers of the complete items of a folder, ascending."""
    return sorted(int(p.stem) for p in folder.glob("*.json") if p.stem.isdigit())


def read_item(folder: Path, number: int) -> ScanItem:
    """Return a stored item.

    Raises
    ------
    InputError
        If the folder does not hold it, or it was made by another version of this recipe.
    """
    stem = folder / f"{number:06d}"
    if not stem.with_suffix(".json").exists():
        message = f"There is no item {number} in {folder.name!r}."
        raise InputError(message, hint="Make the training items first.")
    record = json.loads(stem.with_suffix(".json").read_text())
    if record["task"].get("recipe") != RECIPE:
        message = f"Item {number} of {folder.name!r} was made by another version of the recipe."
        raise InputError(message, hint="Delete the folder and make the training items again.")
    return ScanItem(
        truth=np.load(_path(stem, "truth")).astype(np.float32),
        projections=np.load(_path(stem, "projections")),
        grid=VolumeGeometry.from_json(record["grid"]),
        geometry=ConeBeamGeometry.from_json(record["geometry"]),
        protocol=params_from(ScanProtocol, record["protocol"]),
        facts=record["task"],
    )


def load_item(folder: Path, number: int) -> tuple[ProjectionSet, Volume]:
    """Return a stored item as line integrals of attenuation and its truth in HU."""
    item = read_item(folder, number)
    return item.projection_set(), item.volume()


def _protocol(task: ScanTask, cube_mm: float) -> ScanProtocol:
    if task.views is not None:
        return anchor_protocol(cube_mm, task.views, task.pixels)
    rng = np.random.default_rng([task.subject.seed, task.subject.number, 2])
    return draw_protocol(rng, cube_mm, task.pixels)


def _is_made(task: ScanTask, folder: Path) -> bool:
    path = folder / f"{task.subject.number:06d}.json"
    if not path.exists():
        return False
    if json.loads(path.read_text()).get("task") != task.identity():
        message = f"The folder {folder.name!r} holds items of other subjects or settings."
        raise InputError(message, hint="Give another output folder, or delete this one's items.")
    return True


def _path(stem: Path, what: str) -> Path:
    return stem.parent / f"{stem.name}_{what}.npy"
