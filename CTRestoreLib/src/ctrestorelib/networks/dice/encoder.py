"""Projections to 2-D features at several scales, the same for every view (layer: networks)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from ctrestorelib.networks.dice.blocks import Residual, layer


class Encoder(nn.Module):
    """A stem, then one stage a scale that halves the pixels.

    Parameters
    ----------
    widths
        Channels of the scales, finest first.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = layer(2, 1, widths[0], 3)
        self.stages = nn.ModuleList(
            nn.Sequential(layer(2, a, a, 2, stride=2), layer(2, a, b, 3), Residual(2, b))
            for a, b in pairwise(widths)
        )

    def forward(self, projections: torch.Tensor) -> list[torch.Tensor]:
        """Return the features of ``projections``, coarsest scale first.

        Parameters
        ----------
        projections
            ``[batch, view, row, col]``.

        Returns
        -------
        list
            One tensor ``[batch, view, channel, row, col]`` for each scale.
        """
        batch, views = projections.shape[:2]
        x = self.stem(projections.flatten(0, 1)[:, None])
        scales = [x]
        for stage in self.stages:
            x = stage(x)
            scales.append(x)
        return [s.unflatten(0, (batch, views)) for s in reversed(scales)]
