"""The 3-D decoder across scales and the decoder of single points (layer: networks)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ctrestorelib.networks.dice.blocks import Residual, layer


class VolumeDecoder(nn.Module):
    """Merges the quantised 3-D features, coarsest 2-D scale first, all on one grid.

    Parameters
    ----------
    widths
        Channels of the scales, coarsest first.
    channels
        Channels of the merged features.
    """

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        seen = [widths[0], *(width + channels for width in widths[1:])]
        self.stages = nn.ModuleList(_stage(before, channels) for before in seen)

    def forward(self, scales: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return ``[batch, channels, k, j, i]`` of ``[batch, width, k, j, i]`` for each scale."""
        merged: torch.Tensor = self.stages[0](scales[0])
        for stage, features in zip(self.stages[1:], scales[1:], strict=True):
            merged = stage(torch.cat([features, merged], 1))
        return merged


def _stage(before: int, channels: int) -> nn.Sequential:
    entry = [layer(3, before, channels, 3)] if before != channels else []
    return nn.Sequential(*entry, Residual(3, channels), Residual(3, channels))


class PointDecoder(nn.Module):
    """A small network per point; from its second layer on each layer sees the input again.

    Parameters
    ----------
    before
        Features of a point.
    hidden
        Widths between input and answer.
    published_head
        Whether normalisation and rectifier follow the last layer too.
    """

    def __init__(self, before: int, hidden: Sequence[int], *, published_head: bool) -> None:
        super().__init__()
        sizes = [before, *(width + before for width in hidden)]
        layers: list[nn.Module] = [
            layer(1, a, b, 1) for a, b in zip(sizes[:-1], hidden, strict=True)
        ]
        layers.append(layer(1, sizes[-1], 1, 1) if published_head else nn.Conv1d(sizes[-1], 1, 1))
        self.layers = nn.ModuleList(layers)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return one value ``[batch, point]`` of the features ``[batch, channel, point]``."""
        x = self.layers[0](features)
        for step in self.layers[1:]:
            x = step(torch.cat([x, features], 1))
        value: torch.Tensor = x[:, 0]
        return value
