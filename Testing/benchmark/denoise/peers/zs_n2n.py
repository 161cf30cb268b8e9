"""Zero-shot-Noise2Noise-style: two diagonal averages of a slice are two noisy views of it.

A network of three small convolutions predicts the noise of one from the other, in both directions,
and must say the same at full size. It assumes independent noise too.

References
----------
.. [1] Mansour Y, Heckel R. Zero-shot Noise2Noise: efficient image denoising without any data. CVPR
   2023. doi:10.1109/CVPR52729.2023.01347
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ctrestorelib.networks.residual_unet import local_contrast
from denoise.peers.common import (
    Floats,
    Settings,
    cut,
    denoise_slices,
    limited,
    random_crops,
    train,
    turned,
)

CHANNELS = 48


def denoise(values: Floats, settings: Settings | None = None) -> Floats:
    """Return ``values`` ``[k, j, i]`` (noise units) denoised; one network for all slices."""
    # Each step costs four times that of the other peers' network at full size.
    settings = settings or Settings()
    settings = replace(settings, patch=min(settings.patch, 48))
    torch.manual_seed(settings.seed)
    network = nn.Sequential(
        nn.Conv2d(1, CHANNELS, 3, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(CHANNELS, 1, 1),
    )

    def noise(plane: torch.Tensor) -> torch.Tensor:
        return limited(network(local_contrast(plane)))

    def draw(rng: np.random.Generator) -> dict[str, torch.Tensor]:
        k, boxes = random_crops(values, settings.batch, settings.patch, rng)
        return turned({"seen": cut(values, k, boxes)}, rng)

    def loss(batch: dict[str, torch.Tensor], _progress: float) -> torch.Tensor:
        seen = batch["seen"]
        first, second = diagonals(seen)
        one, two = first - noise(first), second - noise(second)
        whole_one, whole_two = diagonals(seen - noise(seen))
        across = ((one - second) ** 2).mean() + ((two - first) ** 2).mean()
        same = ((one - whole_one) ** 2).mean() + ((two - whole_two) ** 2).mean()
        return 0.5 * (across + same)

    train(network, draw, loss, settings)
    return denoise_slices(values, noise)


def diagonals(plane: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the means of the two diagonals of every 2 x 2 cell."""
    cells = functional.pixel_unshuffle(plane, 2)
    return 0.5 * (cells[:, 1:2] + cells[:, 2:3]), 0.5 * (cells[:, :1] + cells[:, 3:4])
