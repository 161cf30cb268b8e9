"""A compact HorusEye pair of our own, for processors without a GPU (layer: networks).

Same tasks as the published networks at under half a percent of their size. Values are in noise
units, so that one network serves every dose and no display window is needed.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ctrestorelib.networks.unet_body import UNetBody

CLIPS = (6.0, 60.0)
"""Soft limits, in noise units, of the two views of a slice: fine grain, and edges of bone."""
_CELL = 4  # pixels per cell of the coarse grid on which the local mean is taken


class CompactDenoiser(nn.Module):
    """H_D: a small U-Net on the pixel-unshuffled slice that predicts its noise.

    Parameters
    ----------
    width
        Channels of the first level; each of the three levels below has twice as many.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.unet = _UNet(len(CLIPS), width)

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """Return the denoised ``slices`` ``(n, 1, h, w)`` in noise units; h, w multiples of 16."""
        restored: torch.Tensor = slices - self.unet(_views(slices, local_mean(slices)))
        return restored


class CompactExtractor(nn.Module):
    """H_E: the same U-Net on the two neighbours; it corrects their average."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.unet = _UNet(2 * len(CLIPS), width)

    def forward(self, neighbours: torch.Tensor) -> torch.Tensor:
        """Return the slices ``(n, 1, h, w)`` between ``neighbours`` ``(n, 2, h, w)``."""
        average = neighbours.mean(1, keepdim=True)
        seen = _views(neighbours, local_mean(average))
        predicted: torch.Tensor = average + self.unet(seen)
        return predicted


class _UNet(UNetBody):
    """The body as a network of its own, one channel out; weights are named below ``unet``."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(seen=channels, width=width, made=1)

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        return self.through(views)


def local_mean(slices: torch.Tensor) -> torch.Tensor:
    """Return a smooth mean over about 10 pixels of ``(n, 1, h, w)``, taken on a coarse grid."""
    coarse = functional.avg_pool2d(slices, _CELL)
    coarse = functional.avg_pool2d(functional.pad(coarse, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return functional.interpolate(
        coarse, scale_factor=float(_CELL), mode="bilinear", align_corners=False
    )


def _views(slices: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Return the local contrast under each soft limit, scaled to about 1 for noise."""
    contrast = slices - mean
    fine, coarse = CLIPS
    return torch.cat([fine * torch.tanh(contrast / fine), 4.0 * torch.tanh(contrast / coarse)], 1)
