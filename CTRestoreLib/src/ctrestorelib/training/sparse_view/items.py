"""What a stage learns from: the channels of estimates of stored scans (layer: training).

Reconstructing a scan takes seconds to minutes, cutting a patch out of the result milliseconds. So
each scan is reconstructed once per stage, up to where the stage's network comes in, and stored.

Files of item n: ``n_channels.npy`` float16 ``[5, k, j, i]`` (as
:mod:`~ctrestorelib.recon.prior_channels` defines them) and ``n.json``, written last: the task, the
describing vector, and the unit of the channels. The truth stays with the scan.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ctrestorelib.core.errors import CTRestoreError, InputError
from ctrestorelib.core.job import Job, Stage
from ctrestorelib.recon.arrays import Array
from ctrestorelib.recon.chosen_tv import tv_within_reach
from ctrestorelib.recon.coarse_scan import coarse_shape
from ctrestorelib.recon.learned_prior import (
    Level,
    TorchCorrector,
    corrected,
    load_volume_unet,
    on_grid,
    towards_data,
)
from ctrestorelib.recon.session import open_session
from ctrestorelib.recon.tv_choice import choose_target
from ctrestorelib.recon.tv_pyramid import TvLevel
from ctrestorelib.restorer.plan import Plan, PlannedStage
from ctrestorelib.restorer.protocol import Inputs
from ctrestorelib.training.scans.store import read_item
from ctrestorelib.training.sparse_view.stages import (
    TrainingStage,
    weights_identity,
)
from ctrestorelib.training.stored_items import run_tasks, save_array, save_record

Report = Callable[[str], None]
Floats = NDArray[np.float32]

RECIPE = 5
"""Raised whenever the same task would give another item."""
REFINED = 2
"""The refining stage's coarse grid has a voxel for so many of the truth's along each edge."""


@dataclass(frozen=True)
class ItemTask:
    """What one item is made of.

    Parameters
    ----------
    number
        Number of the scan.
    scans
        Folder of stored scans.
    stage
        The stage that learns from it.
    weights
        Final weights of the earlier stages.
    identities
        Their SHA-256.
    """

    number: int
    scans: Path
    stage: TrainingStage
    weights: Mapping[str, Path] = field(default_factory=dict)
    identities: Mapping[str, str] = field(default_factory=dict)

    def identity(self, scan: dict[str, Any]) -> dict[str, object]:
        """Return plain values that tell this task from others."""
        return {
            "recipe": RECIPE,
            "stage": self.stage.value,
            "weights": dict(self.identities),
            "scan": scan,
        }


def item_tasks(
    numbers: Sequence[int], scans: Path, stage: TrainingStage, weights: dict[str, Path]
) -> list[ItemTask]:
    """Return one task per stored scan."""
    identities = weights_identity(weights)
    return [ItemTask(n, scans, stage, weights, identities) for n in numbers]


def make_items(
    tasks: Sequence[ItemTask], folder: Path, processes: int = 1, report: Report | None = None
) -> int:
    """Make the items that ``folder`` does not hold yet; return how many of ``tasks`` it holds.

    A stopped run goes on where it was. A scan that cannot be reconstructed leaves no item.

    Raises
    ------
    InputError
        If the folder holds an item of the same number that was made of something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    todo = [task for task in tasks if not _is_made(task, folder)]
    run_tasks(partial(make_item, folder=folder), todo, processes, report)
    return sum(1 for task in tasks if (folder / f"{task.number:06d}_channels.npy").exists())


def make_item(task: ItemTask, folder: Path) -> None:
    """Make one item; see :func:`make_items`."""
    torch.set_num_threads(1)
    scan = read_item(task.scans, task.number)
    stem = folder / f"{task.number:06d}"
    record: dict[str, Any] = {"task": task.identity(scan.facts)}
    inputs = Inputs(projections=scan.projection_set(), grid=scan.grid)
    try:
        known = stored_estimate(task, scan.facts)
        level, estimate = stage_input(inputs, task.stage, _networks(task), known)
    except CTRestoreError as error:
        record["unusable"] = str(error)
    else:
        channels = level.channels(estimate).astype(np.float16)
        record |= {
            "condition": [float(v) for v in level.fixed.condition],
            "unit_in_water": level.fixed.unit_per_mm / scan.protocol.mu_water_per_mm,
            "chi_squared": level.misfit(estimate),
        }
        save_array(stem.parent / f"{stem.name}_channels.npy", channels)
    save_record(stem.with_suffix(".json"), record)


def stage_input(
    inputs: Inputs,
    stage: TrainingStage,
    networks: Mapping[str, TorchCorrector],
    known: Floats | None = None,
) -> tuple[Level, Array]:
    """Return grid and estimate that the network of ``stage`` gets to see.

    Parameters
    ----------
    inputs
        Scan, and the grid of the truth.
    stage
        What comes next.
    networks
        The networks of the earlier stages.
    known
        The total-variation estimate in 1/mm if it is known; only the refining stage, which needs it
        on two grids, computes it all the same.
    """
    _, grid = inputs.require_scan()
    if stage is not TrainingStage.REFINE:
        if known is None:
            base = _within_reach(inputs, _chosen(inputs))
            session, first = base.session, base.values
        else:
            session = open_session(inputs, _plan(), Job())
            first = session.operator.asarray(known)
        level = Level(session, first)
        return level, _coarse(level, first, stage, networks)
    target, shape = _chosen(inputs), coarse_shape(grid.shape, max(grid.shape) // REFINED)
    base = _within_reach(inputs, target, shape)
    level = Level(base.session, base.values)
    better = _coarse(level, base.values, stage, networks)
    gain = base.session.operator.to_numpy(better - base.values)
    fine = _within_reach(inputs, target, start=base)
    level = Level(fine.session, fine.values)
    x = fine.values + on_grid(fine.session, gain)
    return level, towards_data(level, fine.session.problem.constrain(x))


def _coarse(
    level: Level, x: Array, stage: TrainingStage, networks: Mapping[str, TorchCorrector]
) -> Array:
    """Return the estimate after all earlier stages that work on the coarse grid."""
    for earlier in stage.before:
        if earlier is not TrainingStage.REFINE:
            x = towards_data(level, corrected(level, x, networks[earlier.value]).values)
    return x


def _chosen(inputs: Inputs) -> float:
    """Return the misfit that the method allows total variation."""
    return choose_target(inputs, _plan(), Stage(Job(), "Choice", 0.0, 1.0)).target


def _within_reach(
    inputs: Inputs,
    target: float,
    shape: tuple[int, int, int] | None = None,
    start: TvLevel | None = None,
) -> TvLevel:
    """Return total variation at that misfit as the method computes it, or the next within reach."""
    job = Job()
    stage = Stage(job, "TV", 0.0, 1.0)
    found, _ = tv_within_reach(inputs, _plan(), job, stage, target, shape=shape, start=start)
    return found


def _plan() -> Plan:
    return Plan("auto", "cpu", 1, 0, 1.0, (PlannedStage("TV", 1.0),))


def stored_estimate(task: ItemTask, scan: dict[str, Any]) -> Floats | None:
    """Return the total-variation estimate from the first stage's item of the same scan, if any."""
    if task.stage is TrainingStage.PRIOR:
        return None
    first = TrainingStage.PRIOR
    folder = task.scans.parent / first.value / "items"
    path = folder / f"{task.number:06d}.json"
    if not path.exists():
        return None
    record = json.loads(path.read_text())
    if record["task"] != ItemTask(task.number, task.scans, first).identity(scan):
        return None
    if "unusable" in record:
        return None
    channels = np.load(folder / f"{path.stem}_channels.npy", mmap_mode="r")
    unit = record["unit_in_water"] * read_item(task.scans, task.number).protocol.mu_water_per_mm
    return np.asarray(channels[0], np.float32) * np.float32(unit)


def _networks(task: ItemTask) -> dict[str, TorchCorrector]:
    return {name: TorchCorrector(load_volume_unet(path)) for name, path in task.weights.items()}


def _is_made(task: ItemTask, folder: Path) -> bool:
    path = folder / f"{task.number:06d}.json"
    if not path.exists():
        return False
    scan = json.loads((task.scans / path.name).read_text())["task"]
    if json.loads(path.read_text()).get("task") != task.identity(scan):
        message = f"The folder {folder.name!r} holds items of other scans, networks or settings."
        raise InputError(message, hint="Give another output folder, or delete this one's items.")
    return True
