"""The U-Net under our small networks: pixel-unshuffled slices in and out (layer: networks)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

LEVELS = 4


class UNetBody(nn.Module):
    """Four levels, two 3x3 convolutions each, no normalisation; zero output at the start.

    Parameters
    ----------
    seen
        Channels of the slices that go in.
    width
        Channels of the first level; each of the three levels below has twice as many.
    made
        Channels of the slices that come out.

    Notes
    -----
    The names of the layers are those in the files of released weights.
    """

    def __init__(self, seen: int, width: int, made: int) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(LEVELS)]
        self.down = nn.ModuleList(
            _pair(a, b) for a, b in zip([4 * seen, *channels], channels, strict=False)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * c, c, kernel_size=2, stride=2) for c in channels[:-1]
        )
        self.merge = nn.ModuleList(_pair(2 * c, c) for c in channels[:-1])
        self.head = nn.Conv2d(channels[0], 4 * made, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def through(self, slices: torch.Tensor) -> torch.Tensor:
        """Return ``(n, made, h, w)`` for ``slices`` ``(n, seen, h, w)``; h, w multiples of 16."""
        x = functional.pixel_unshuffle(slices, 2)
        skips = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for level in reversed(range(LEVELS - 1)):
            x = self.merge[level](torch.cat([self.up[level](x), skips[level]], 1))
        return functional.pixel_shuffle(self.head(x), 2)


def _pair(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1),
        nn.ReLU(inplace=True),
    )
