"""Training of the default reconstructor's networks, one stage after the other (layer: training)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ctrestorelib.training.clean_volumes import training_files
from ctrestorelib.training.export import load_weights
from ctrestorelib.training.loop import TrainingRun, TrainingSettings, train
from ctrestorelib.training.scans.store import make_items as make_scans
from ctrestorelib.training.scans.store import scan_tasks
from ctrestorelib.training.scans.subjects import SCAN, SubjectTask, subject_tasks
from ctrestorelib.training.sparse_view.batches import PatchBatches, PatchSettings
from ctrestorelib.training.sparse_view.items import item_tasks, make_items
from ctrestorelib.training.sparse_view.loss import stage_loss
from ctrestorelib.training.sparse_view.stages import (
    DEFAULT_SIZES,
    NetworkSize,
    TrainingStage,
    weights_before,
)

Report = Callable[[str], None]

_HELD_OUT_BATCHES = 8
_HELD_OUT_SIZE = 2


@dataclass(frozen=True, kw_only=True)
class SparseViewSettings:
    """Settings of one stage's training.

    Parameters
    ----------
    stage
        Which correction is trained.
    network
        Width and depth; None takes what a processor can train.
    scans
        Virtual scans to learn from.
    scanned_share
        Share of them whose subject is cut from a training volume; the others are procedural.
    cells
        Voxels along each edge of a scan; scan ``n`` takes number ``n`` modulo how many there are,
        so that several teach several scales.
    pixels
        Detector pixels along each edge; None takes twice the cells.
    processes
        Processes that make the material.
    item_seed
        Seed of the scans.
    patches
        How batches are drawn.
    loop
        Steps, learning rate and the rest.
    """

    stage: TrainingStage = TrainingStage.PRIOR
    network: NetworkSize | None = None
    scans: int = 300
    scanned_share: float = 0.4
    cells: tuple[int, ...] = (128,)
    pixels: int | None = None
    processes: int = 1
    item_seed: int = 11
    patches: PatchSettings = field(default_factory=PatchSettings)
    loop: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(
            steps=8000, learning_rate=6e-4, warmup_steps=200, precision="bfloat16"
        )
    )

    @property
    def size(self) -> NetworkSize:
        """Width and depth of the network."""
        return self.network or DEFAULT_SIZES[self.stage]

    def sizes(self, number: int) -> tuple[int, int]:
        """Return cells and pixels along each edge of a scan."""
        cells = self.cells[number % len(self.cells)]
        return cells, self.pixels or 2 * cells


def train_stage(
    data: Path,
    folder: Path,
    settings: SparseViewSettings | None = None,
    *,
    split: Path | None = None,
    start: Path | None = None,
    report: Report | None = None,
) -> TrainingRun:
    """Train one stage on virtual scans of the volumes of a folder and of procedural subjects.

    Parameters
    ----------
    data
        Folder of volumes.
    folder
        Receives the scans (``scans``, shared by all stages) and, for each stage, a folder of its
        own with estimates, checkpoints, curves and final weights. Called again with the same
        folder and stage, the training goes on where it stopped.
    settings
        See :class:`SparseViewSettings`.
    split
        JSON file that says which volumes may be trained on.
    start
        Weights of the same network to start from.
    report
        Receives lines for people.

    Raises
    ------
    InputError
        If there is no volume, an earlier stage is missing, or the folder holds other material.
    """
    settings = settings or SparseViewSettings()
    say = report or print
    weights = weights_before(folder, settings.stage)
    make_material(training_files(data, split), folder, settings, weights, say)
    items, scans = folder / settings.stage.value / "items", folder / "scans"
    torch.manual_seed(settings.loop.seed)
    network = settings.size.build()
    if start is not None:
        load_weights(start, network)
    network.to(memory_format=torch.channels_last_3d)
    batches = PatchBatches(items, scans, settings.patches, steps=settings.loop.steps)
    return train(
        network, batches, stage_loss, settings.loop, folder / settings.stage.value,
        validate=HeldOut(items, scans, settings.patches), report=say,
    )  # fmt: skip


def make_material(
    files: list[Path],
    folder: Path,
    settings: SparseViewSettings,
    weights: dict[str, Path],
    say: Report,
) -> None:
    """Make the scans, and the stage's estimates of them, that the folder does not hold yet."""
    subjects = chosen_subjects(files, settings)
    scans = [task for n, s in enumerate(subjects) for task in scan_tasks([s], *settings.sizes(n))]
    say(f"Scans: {make_scans(scans, folder / 'scans', settings.processes, say)}.")
    numbers = [task.subject.number for task in scans]
    tasks = item_tasks(numbers, folder / "scans", settings.stage, weights)
    items = folder / settings.stage.value / "items"
    say(f"Estimates: {make_items(tasks, items, settings.processes, say)}.")


def chosen_subjects(files: list[Path], settings: SparseViewSettings) -> list[SubjectTask]:
    """Return the subjects: files in turn, procedural ones between them in the wanted share.

    More scans keep the first ones as they are, so that a collection can grow.
    """
    share, seed = settings.scanned_share if files else 0.0, settings.item_seed
    chosen = subject_tasks([], settings.scans, seed)
    for number, task in enumerate(chosen):
        turn = int(number * share)
        if int((number + 1) * share) > turn:
            chosen[number] = replace(task, kind=SCAN, path=files[turn % len(files)])
    return chosen


class HeldOut:
    """Error on patches of scans that are never trained on, the same ones each time."""

    def __init__(self, items: Path, scans: Path, settings: PatchSettings) -> None:
        small = PatchSettings(
            size=_HELD_OUT_SIZE, patch=settings.patch, margin=settings.margin, object_share=1.0,
            scaled=False,
        )  # fmt: skip
        source = PatchBatches(items, scans, small, held_out=True)
        self.batches = [source(n, np.random.default_rng([1, n])) for n in range(_HELD_OUT_BATCHES)]

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Return the mean gain in PSNR over the estimate that goes in, in dB, and the RMSE."""
        device = next(network.parameters()).device
        gains, squares = [], []
        with torch.inference_mode():
            for batch in self.batches:
                moved = {name: value.to(device) for name, value in batch.items()}
                mean, _ = network(moved["channels"], moved["condition"])
                axes = (1, 2, 3, 4)
                weight = moved["weight"]
                total = weight.sum(axes).clamp(min=1.0)
                left = (weight * (mean - moved["target"]) ** 2).sum(axes) / total
                before = (weight * moved["target"] ** 2).sum(axes) / total
                gains.append(10.0 * torch.log10(before.clamp(min=1e-9) / left.clamp(min=1e-9)))
                squares.append(left)
        gain, square = torch.cat(gains), torch.cat(squares)
        return {"held_out_gain_db": float(gain.mean()), "held_out_worst_db": float(gain.min()),
                "held_out_rmse": float(square.mean().sqrt())}  # fmt: skip
