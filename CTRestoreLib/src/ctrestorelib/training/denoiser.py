"""Training of the default denoiser: from volumes to weights (layer: training)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ctrestorelib.networks.residual_unet import ResidualUNet
from ctrestorelib.training.clean_volumes import training_files
from ctrestorelib.training.denoiser_batches import BatchSettings, DenoiserBatches
from ctrestorelib.training.denoiser_items import item_tasks, make_items
from ctrestorelib.training.denoiser_loss import denoiser_loss
from ctrestorelib.training.export import load_weights
from ctrestorelib.training.loop import TrainingRun, TrainingSettings, train

Report = Callable[[str], None]

_HELD_OUT_BATCHES = 8


@dataclass(frozen=True, kw_only=True)
class DenoiserSettings:
    """Settings of a denoiser's training.

    Parameters
    ----------
    width
        Channels of the network's first level: 32 is the standard variant, 16 the fast one.
    anatomies
        Procedural stacks beside the volumes.
    processes
        Processes that make the training material.
    item_seed
        Seed of the training material.
    batches
        How batches are drawn.
    loop
        Steps, learning rate and the rest.
    """

    width: int = 32
    anatomies: int = 200
    processes: int = 2
    item_seed: int = 7
    batches: BatchSettings = field(default_factory=BatchSettings)
    loop: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(
            steps=16000, learning_rate=8e-4, warmup_steps=200, precision="bfloat16"
        )
    )


def train_denoiser(
    data: Path,
    folder: Path,
    settings: DenoiserSettings | None = None,
    *,
    split: Path | None = None,
    start: Path | None = None,
    teacher: Path | None = None,
    report: Report | None = None,
) -> TrainingRun:
    """Train the default denoiser on the volumes of a folder and on procedural anatomy.

    The noise is physical (see :mod:`ctrestorelib.training.noise_images`), so clean scans are not
    needed: what is left of a volume's own noise after binning is known, and much more is added.

    Parameters
    ----------
    data
        Folder of volumes.
    folder
        Receives the training material (``items``), checkpoints, curves and final weights. Called
        again with the same folder, the training goes on where it stopped.
    settings
        See :class:`DenoiserSettings`.
    split
        JSON file that says which volumes may be trained on.
    start
        Weights to start from.
    teacher
        Weights of a larger network of the same kind to distil: its noise is half of the target.
    report
        Receives lines for people.

    Raises
    ------
    InputError
        If there is no volume, or the split does not fit the folder.
    """
    settings = settings or DenoiserSettings()
    say = report or print
    items = folder / "items"
    tasks = item_tasks(training_files(data, split), settings.anatomies, settings.item_seed)
    say(f"Training material: {make_items(tasks, items, settings.processes, say)} items.")
    torch.manual_seed(settings.loop.seed)
    network = ResidualUNet(settings.width)
    if start is not None:
        load_weights(start, network)
    loss = denoiser_loss if teacher is None else Distillation(teacher)
    batches = DenoiserBatches(items, settings.batches)
    validate = HeldOut(items, settings.batches)
    return train(network, batches, loss, settings.loop, folder, validate=validate, report=say)


class HeldOut:
    """Error on patches of items that are never trained on, the same ones each time."""

    def __init__(self, items: Path, settings: BatchSettings) -> None:
        source = DenoiserBatches(items, settings, held_out=True)
        self.batches = [source(n, np.random.default_rng([1, n])) for n in range(_HELD_OUT_BATCHES)]

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Return the RMSE in noise units, and the share of the noise's power that is left in dB."""
        device = next(network.parameters()).device
        left, power = [], []
        with torch.inference_mode():
            for batch in self.batches:
                moved = {name: value.to(device) for name, value in batch.items()}
                mean, _ = network(moved["stack"], moved["context"])
                left.append(((mean - moved["target"]) ** 2).mean(dim=(1, 2, 3)).cpu())
                power.append((moved["target"] ** 2).mean(dim=(1, 2, 3)).cpu())
        error, noise = torch.cat(left), torch.cat(power)
        gain = 10.0 * torch.log10(noise / error).mean()
        return {"held_out_rmse": float(error.mean().sqrt()), "held_out_gain_db": float(gain)}


class Distillation:
    """A loss whose target is half the truth, half what a larger network makes of it.

    The larger network's guess lacks what cannot be known from the input, so that it teaches with
    less scatter than the truth does.
    """

    def __init__(self, weights: Path) -> None:
        self.teacher = load_weights(weights)

    def __call__(
        self, network: nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of a batch and its parts."""
        self.teacher.to(batch["stack"].device, memory_format=torch.channels_last)
        with torch.no_grad():
            mean, _ = self.teacher(batch["stack"], batch["context"])
        mixed = {**batch, "target": 0.5 * (batch["target"] + mean.float())}
        return denoiser_loss(network, mixed)
