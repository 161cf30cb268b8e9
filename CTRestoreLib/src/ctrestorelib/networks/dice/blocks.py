"""The two building blocks of DiCE, in two and three dimensions (layer: networks)."""

from __future__ import annotations

import torch
from torch import nn

SLOPE = 0.01
"""Of the leaky rectifier."""

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def layer(dims: int, before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return convolution, batch normalisation and leaky rectifier.

    A kernel as wide as its stride takes each group of pixels once; others keep the size.
    """
    padding = 0 if stride > 1 else kernel // 2
    return nn.Sequential(
        _CONV[dims](before, after, kernel, stride, padding),
        _NORM[dims](after),
        nn.LeakyReLU(SLOPE, inplace=True),
    )


class Residual(nn.Module):
    """One convolution of width 3 with normalisation, added to its input, then the rectifier."""

    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        self.convolution = _CONV[dims](channels, channels, 3, padding=1)
        self.norm = _NORM[dims](channels)
        self.rectifier = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the shape of ``x``."""
        out: torch.Tensor = self.rectifier(x + self.norm(self.convolution(x)))
        return out
