"""A compact HorusEye pair of our own, for processors without a GPU (layer: networks).

Same tasks as the published networks at under half a percent of their size. Values are in noise
units, so that one network serves every dose and no display window is needed.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

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


class _UNet(nn.Module):
    """Four levels, two 3x3 convolutions each, no normalisation; zero output at the start."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        levels = [width * 2**level for level in range(4)]
        self.down = nn.ModuleList(
            _pair(a, b) for a, b in zip((4 * channels, *levels), levels, strict=False)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * c, c, kernel_size=2, stride=2) for c in levels[:3]
        )
        self.merge = nn.ModuleList(_pair(2 * c, c) for c in levels[:3])
        self.head = nn.Conv2d(levels[0], 4, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        x = functional.pixel_unshuffle(views, 2)
        skips = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for level in (2, 1, 0):
            x = self.merge[level](torch.cat([self.up[level](x), skips[level]], 1))
        return functional.pixel_shuffle(self.head(x), 2)


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


def _pair(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1),
        nn.ReLU(inplace=True),
    )
