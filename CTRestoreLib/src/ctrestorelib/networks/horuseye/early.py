"""HorusEye's networks of 2024: full-resolution residual blocks, and RED (layer: networks)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

_CHANNELS = (64, 128, 256, 512, 256, 128, 64, 32)


class ResidualExtractor(nn.Module):
    """H_E of 2024: eight residual blocks without down-sampling.

    Parameters
    ----------
    channels
        Width of each block; the published ones by default.
    """

    def __init__(self, channels: tuple[int, ...] = _CHANNELS) -> None:
        super().__init__()
        pairs = zip((2, *channels), channels, strict=False)
        self.blocks = nn.Sequential(*(_Block(a, b) for a, b in pairs))
        self.head = nn.Conv2d(channels[-1], 1, 3, padding=1)

    def forward(self, neighbours: torch.Tensor) -> torch.Tensor:
        """Return the slices ``(n, 1, h, w)`` between ``neighbours`` ``(n, 2, h, w)``."""
        predicted: torch.Tensor = self.head(self.blocks(neighbours))
        return predicted


class _Block(nn.Module):
    """Convolution, instance norm and leaky ReLU, and a second convolution added to them."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1),
            nn.InstanceNorm2d(after, affine=True),
            nn.LeakyReLU(0.1),
        )
        self.second = nn.Conv2d(after, after, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        added: torch.Tensor = y + self.second(y)
        return added


class RedDenoiser(nn.Module):
    """H_D of 2024: a residual encoder-decoder of 5 x 5 convolutions (RED).

    It sees the slice and its gradient magnitude. Convolutions are unpadded, and transposed ones
    bring the size back: the slice is mirrored at its border first, so that nothing is lost there.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        channels = (width, 2 * width, 4 * width, 4 * width, 4 * width)
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 5) for a, b in zip((2, *channels), channels, strict=False)
        )
        back = (*reversed(channels), 1)
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 5) for a, b in pairwise(back))

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """Return the denoised ``slices`` ``(n, 1, h, w)``; h and w are at least 24."""
        x = torch.cat([slices, gradient_magnitude(slices)], 1)
        kept = []
        for index, layer in enumerate(self.down):
            x = functional.relu(layer(x))
            if index in (1, 3):
                kept.append(x)
        for index, layer in enumerate(self.up):
            x = layer(x)
            if index in (0, 2):
                x = x + kept.pop()
            elif index == 4:
                x = x + slices
            x = functional.relu(x) if index < 4 else x
        return x


def gradient_magnitude(slices: torch.Tensor) -> torch.Tensor:
    """Return sqrt(gx^2 + gy^2 + 1e-6) with central differences; borders are repeated."""
    padded = functional.pad(slices, (1, 1, 1, 1), mode="replicate")
    across = 0.5 * (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2])
    down = 0.5 * (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1])
    return torch.sqrt(across**2 + down**2 + 1e-6)
