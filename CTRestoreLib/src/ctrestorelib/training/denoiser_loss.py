"""What the denoiser is trained for (layer: training)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

GRADIENT_WEIGHT = 0.2
BLOCK_WEIGHT = 1.0
SCALE_WEIGHT = 0.1
_BLOCK = 16  # pixels of the blocks whose mean must not drift
_EPSILON = 1e-3


def denoiser_loss(
    network: nn.Module, batch: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss of a batch and its parts; all in noise units.

    The mean is trained by squared error, which is what RMSE counts, and by absolute error, which
    does not let a few hard places rule; by the absolute error of its gradients, which keeps edges;
    and by the squared error of block means, which keeps HU. The log scale is trained by the
    likelihood of a Laplace distribution; it does not pull at the mean.

    Parameters
    ----------
    network
        As :class:`~ctrestorelib.networks.residual_unet.ResidualUNet`.
    batch
        As :class:`~ctrestorelib.training.denoiser_batches.DenoiserBatches` makes them.
    """
    mean, log_scale = network(batch["stack"], batch["context"])
    error = mean.float() - batch["target"]
    square = (error**2).mean()
    absolute = torch.sqrt(error**2 + _EPSILON**2).mean()
    across, down = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
    gradient = across.abs().mean() + down.abs().mean()
    block = (functional.avg_pool2d(error, _BLOCK) ** 2).mean()
    log_scale = log_scale.float().clamp(-6.0, 4.0)
    scale = (log_scale + error.detach().abs() * torch.exp(-log_scale)).mean()
    loss = 0.5 * square + 0.5 * absolute + GRADIENT_WEIGHT * gradient
    loss = loss + BLOCK_WEIGHT * block + SCALE_WEIGHT * scale
    parts = {"rmse": square.detach().sqrt(), "absolute": absolute.detach(), "block": block.detach()}
    return loss, {name: float(value) for name, value in parts.items()}
