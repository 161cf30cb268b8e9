"""What a stage of the default reconstructor is trained for (layer: training)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

GRADIENT_WEIGHT = 0.5
SCALE_WEIGHT = 0.05
SQUARE_WEIGHT = 20.0
"""Makes squared errors of a twentieth of water as large as absolute ones."""
_EPSILON = 1e-3


def stage_loss(
    network: nn.Module, batch: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss of a batch and its parts; all in the channels' unit.

    Squared errors, which PSNR counts, and, except in the last part of the training, absolute errors
    (Charbonnier), which do not let a few hard places rule, and those of the gradients, which keep
    edges. Without squared errors a training hardly begins: most of an estimate of total variation
    is right, so that changing nothing is the best median. The log scale is trained by the
    likelihood of a Laplace distribution all the time; it does not pull at the correction.

    Parameters
    ----------
    network
        As :class:`~ctrestorelib.networks.volume_unet.VolumeUNet`.
    batch
        As :class:`~ctrestorelib.training.sparse_view.batches.PatchBatches` makes them.
    """
    mean, log_scale = network(batch["channels"], batch["condition"])
    weight, late = batch["weight"], batch["late"]
    total = weight.sum().clamp(min=1.0)
    error = mean.float() - batch["target"]
    square = (weight * error**2).sum() / total
    absolute = (weight * torch.sqrt(error**2 + _EPSILON**2)).sum() / total
    gradient = sum(
        (_both(weight, axis) * error.diff(dim=axis).abs()).sum() / total for axis in (2, 3, 4)
    )
    log_scale = log_scale.float().clamp(-8.0, 4.0)
    likelihood = log_scale + error.detach().abs() * torch.exp(-log_scale)
    scale = (weight * likelihood).sum() / total
    early = absolute + GRADIENT_WEIGHT * gradient
    loss = (1 - late) * early + SQUARE_WEIGHT * square + SCALE_WEIGHT * scale
    left = (weight * batch["target"] ** 2).sum() / total
    gain = 10.0 * torch.log10(left.clamp(min=1e-12) / square.detach().clamp(min=1e-12))
    parts = {"rmse": square.detach().sqrt(), "absolute": absolute.detach(), "gain_db": gain}
    return loss, {name: float(value) for name, value in parts.items()}


def _both(weight: torch.Tensor, axis: int) -> torch.Tensor:
    """Return the weight of differences: that of the lesser of the two voxels."""
    size = weight.shape[axis] - 1
    return torch.minimum(weight.narrow(axis, 0, size), weight.narrow(axis, 1, size))
