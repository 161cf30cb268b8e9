"""One stage of DeepSparse from volumes to weights (layer: training)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.networks.dice import DiceNetwork
from ctrestorelib.training.deepsparse.batches import DeepSparseBatches
from ctrestorelib.training.deepsparse.loss import DeepSparseLoss, HeldOut
from ctrestorelib.training.deepsparse.settings import DeepSparseSettings
from ctrestorelib.training.deepsparse.stored import StoredScans, mean_truth
from ctrestorelib.training.deepsparse.weights import NAME, network_for, save_trained
from ctrestorelib.training.loop import TrainingRun, train
from ctrestorelib.training.scans.store import ScanTask, make_items, scan_tasks
from ctrestorelib.training.scans.subjects import subject_tasks

Report = Callable[[str], None]

_RECORD = "deepsparse.json"


def item_tasks(files: Sequence[Path], settings: DeepSparseSettings) -> list[ScanTask]:
    """Return what the training material is made of: each file in some poses, then procedures."""
    posed = [path for path in files for _ in range(settings.poses)]
    subjects = subject_tasks(posed, settings.procedural, settings.item_seed)
    return scan_tasks(subjects, settings.cells, settings.network.pixels, settings.candidates)


def train_deepsparse(
    files: Sequence[Path],
    folder: Path,
    settings: DeepSparseSettings,
    *,
    items: Path | None = None,
    start: Path | None = None,
    report: Report | None = None,
) -> TrainingRun:
    """Train one stage of DeepSparse, or go on with it.

    Parameters
    ----------
    files
        Volumes to train on.
    folder
        Receives checkpoints, curves and ``deepsparse.safetensors``. Called again with the same
        folder, the training goes on where it stopped.
    settings
        Stage, network, views and the rest.
    items
        Folder of the training material; ``items`` in ``folder`` if None. The stages of one network
        can share it.
    start
        ``deepsparse.safetensors`` of an earlier stage; it decides the sizes of the network. Without
        it the network starts from nothing, which the stage ``views`` cannot.
    report
        Receives lines for people.

    Raises
    ------
    WeightsError
        If the weights to start from do not fit.
    InputError
        If the folders hold other material or another training.
    """
    say = report or print
    torch.manual_seed(settings.loop.seed)
    network = network_for(settings, start)
    settings = replace(settings, network=network.settings)
    _claim(folder, settings)
    scans = _material(files, items or folder / "items", settings, say)
    training, aside = scans.split()
    validate = None if aside is None else HeldOut(aside, settings.views, mean_truth(training))
    if validate is not None:
        say(f"Mean image of the training subjects: {validate.mean_image_db:.2f} dB held out.")
    batches = DeepSparseBatches(training, settings)
    run = train(
        network, batches, DeepSparseLoss(settings), settings.loop, folder,
        validate=validate, report=say,
    )  # fmt: skip
    if isinstance(run.network, DiceNetwork) and _leads():
        notes = {} if validate is None else {"mean_image_db": round(validate.mean_image_db, 3)}
        found = run.last.get("held_out_psnr_db")
        notes |= {} if found is None else {"held_out_psnr_db": round(found, 3)}
        save_trained(run.network, folder / NAME, settings, steps=run.steps, **notes)
    return run


def make_material(
    files: Sequence[Path],
    folder: Path,
    settings: DeepSparseSettings,
    *,
    items: Path | None = None,
    start: Path | None = None,
    report: Report = print,
) -> None:
    """Make the training material of :func:`train_deepsparse` only; arguments as there."""
    sizes = network_for(settings, start).settings
    _material(files, items or folder / "items", replace(settings, network=sizes), report)


def _material(
    files: Sequence[Path], items: Path, settings: DeepSparseSettings, say: Report
) -> StoredScans:
    tasks = item_tasks(files, settings)
    say(f"Training material: {make_items(tasks, items, settings.processes, say)} subjects.")
    return StoredScans(items, [task.subject.number for task in tasks])


def _claim(folder: Path, settings: DeepSparseSettings) -> None:
    """Note the settings in the folder, or refuse a folder that was trained with others."""
    path, wanted = folder / _RECORD, settings.identity()
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        changed = sorted(name for name in wanted if found.get(name) != wanted[name])
        if changed:
            message = f"{folder.name!r} holds a training with other settings: {', '.join(changed)}."
            raise InputError(message, hint="Use the same settings to go on, or another folder.")
        return
    if not _leads():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")


def _leads() -> bool:
    """Whether this process writes the files of its team."""
    return os.environ.get("RANK", "0") == "0"
