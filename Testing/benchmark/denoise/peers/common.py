"""What the self-supervised peers share: crops, one short training loop, whole slices at the end.

All of them see values in noise units and train one small network on the very volume that they
denoise. Large steps (bone, air) are limited the way the released denoiser does it, so that no peer
fails for a reason that has nothing to do with its idea.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ctrestorelib.networks.residual_unet import local_contrast

Floats = NDArray[np.float32]
Draw = Callable[[np.random.Generator], dict[str, torch.Tensor]]
MARGIN, MOST = 16, 4.0
Loss = Callable[[dict[str, torch.Tensor], float], torch.Tensor]


@dataclass(frozen=True)
class Settings:
    """How long a peer trains.

    Parameters
    ----------
    steps, batch, patch
        Training steps, crops per step, pixels per side of a crop.
    learning_rate
        Highest rate of Adam; it rises for a tenth of the steps and falls to 0 as a cosine.
    seed
        The same seed gives the same result on one machine.
    """

    steps: int = 300
    batch: int = 4
    patch: int = 64
    learning_rate: float = 3e-3
    seed: int = 0


class SmallNetwork(nn.Module):
    """Five convolutions of 48 channels on pixel-unshuffled slices; sees 22 pixels around.

    Trained for some hundred steps it does better than a U-Net, which learns too slowly for that.
    """

    def __init__(self, channels: int = 48) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(4, channels, 3, padding=1), nn.LeakyReLU(0.1)]
        for _ in range(3):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(0.1)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 4, 3, padding=1))

    def forward(self, plane: torch.Tensor) -> torch.Tensor:
        """Return the noise in slices ``(n, 1, rows, columns)`` of noise units."""
        cells = functional.pixel_unshuffle(local_contrast(plane), 2)
        return limited(functional.pixel_shuffle(self.layers(cells), 2))


def limited(noise: torch.Tensor) -> torch.Tensor:
    """Return the noise softly limited to four noise levels: more is none, at edges least of all."""
    return MOST * torch.tanh(noise / MOST)


def train(network: torch.nn.Module, draw: Draw, loss: Loss, settings: Settings) -> None:
    """Train in place; ``loss(batch, progress)`` with the progress from 0 to 1."""
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps + 1, pct_start=0.1
    )
    rng = np.random.default_rng(settings.seed)
    for step in range(settings.steps):
        error = loss(draw(rng), step / settings.steps)
        optimizer.zero_grad(set_to_none=True)
        error.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def random_crops(
    values: Floats, count: int, patch: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], list[tuple[slice, slice]]]:
    """Return slice numbers and places of crops; they are smaller where the slices are."""
    slices, rows, cols = values.shape
    height, width = (max(16, min(patch, n) // 16 * 16) for n in (rows, cols))
    k = rng.integers(0, slices, count)
    j, i = rng.integers(0, rows - height + 1, count), rng.integers(0, cols - width + 1, count)
    boxes = [(slice(a, a + height), slice(b, b + width)) for a, b in zip(j, i, strict=True)]
    return k, boxes


def cut(values: Floats, k: NDArray[np.int64], boxes: list[tuple[slice, slice]]) -> torch.Tensor:
    """Return crops ``(n, 1, rows, columns)``."""
    parts = [values[a][box] for a, box in zip(k, boxes, strict=True)]
    return torch.from_numpy(np.stack(parts)[:, None])


def turned(batch: dict[str, torch.Tensor], rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """Return the batch mirrored and turned by quarter circles, all tensors alike."""
    quarter, mirror = int(rng.integers(4)), bool(rng.integers(2))

    def one(tensor: torch.Tensor) -> torch.Tensor:
        out = torch.rot90(tensor, quarter, (2, 3))
        return torch.flip(out, (3,)) if mirror else out

    return {name: one(tensor) for name, tensor in batch.items()}


def denoise_slices(values: Floats, noise: Callable[[torch.Tensor], torch.Tensor]) -> Floats:
    """Return every slice without the noise that the network sees, with mirrored margins."""
    rows, cols = values.shape[1:]
    high, wide = (-(-n // MARGIN) * MARGIN + 2 * MARGIN - n for n in (rows, cols))
    out = np.empty_like(values)
    with torch.no_grad():
        for k, plane in enumerate(values):
            padded = np.pad(
                plane, ((MARGIN, high - MARGIN), (MARGIN, wide - MARGIN)), mode="symmetric"
            )
            seen = torch.from_numpy(padded[None, None].copy())
            out[k] = (seen - noise(seen))[
                0, 0, MARGIN : MARGIN + rows, MARGIN : MARGIN + cols
            ].numpy()
    return out
