"""What a stage of the default reconstructor is trained for (layer: training)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

EDGE_WEIGHT = 0.05
SCALE_WEIGHT = 0.05
LEAST_ERROR = 0.01
"""Errors of the estimate count as at least so large, in units of water (10 HU)."""


def stage_loss(
    network: nn.Module, batch: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss of a batch and its parts.

    All by the error of the estimate that goes in, patch by patch, so that a decibel counts the same
    everywhere: for sixty views of a limb, and for four of an implant, whose errors are a hundred
    times as large. Squared errors; except in the last part of the training, also absolute errors of
    the gradients, which keep edges. Absolute errors of the values are no help: most of an estimate
    of total variation is right, so that changing nothing is the best median. The log scale is
    trained by the likelihood of a Laplace distribution; it does not pull at the correction.

    Parameters
    ----------
    network
        As :class:`~ctrestorelib.networks.volume_unet.VolumeUNet`.
    batch
        As :class:`~ctrestorelib.training.sparse_view.batches.PatchBatches` makes them.
    """
    mean, log_scale = network(batch["channels"], batch["condition"])
    weight, late = batch["weight"], batch["late"]
    axes = (1, 2, 3, 4)
    total = weight.sum(axes).clamp(min=1.0)
    error = mean.float() - batch["target"]
    square = (weight * error**2).sum(axes) / total
    before = (weight * batch["target"] ** 2).sum(axes) / total
    size = (before + LEAST_ERROR**2).sqrt()
    edges = sum(
        (
            (_both(weight, axis) * error.diff(dim=axis).abs()).sum(axes) / total
            for axis in (2, 3, 4)
        ),
        start=torch.zeros_like(total),
    )
    log_scale = log_scale.float().clamp(-8.0, 4.0)
    likelihood = log_scale + error.detach().abs() * torch.exp(-log_scale)
    scale = (weight * likelihood).sum(axes) / total
    loss = square / size**2 + (1 - late) * EDGE_WEIGHT * edges / size + SCALE_WEIGHT * scale
    left = square.detach()
    gain = 10.0 * torch.log10(before.clamp(min=1e-12) / left.clamp(min=1e-12))
    parts = {"rmse": left.mean().sqrt(), "gain_db": gain.mean()}
    return loss.mean(), {name: float(value) for name, value in parts.items()}


def _both(weight: torch.Tensor, axis: int) -> torch.Tensor:
    """Return the weight of differences: that of the lesser of the two voxels."""
    size = weight.shape[axis] - 1
    return torch.minimum(weight.narrow(axis, 0, size), weight.narrow(axis, 1, size))
