"""Noise2Sim-style: neighbouring slices are two noisy views of nearly the same anatomy.

Pairs of slices z and z +- 1 or 2 train a network to predict one from the other; pixels whose
surroundings differ by more than noise explains (means over 7 x 7 pixels) do not count.

References
----------
.. [1] Niu C et al. Noise suppression with similarity-based self-supervised deep learning.
   IEEE Trans Med Imaging 42(6), 2023. doi:10.1109/TMI.2022.3231428
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from denoise.peers.common import (
    Floats,
    Settings,
    SmallNetwork,
    cut,
    denoise_slices,
    random_crops,
    train,
    turned,
)

BOX = 7
LIMIT = 1.5
"""Largest difference of two box means, in noise units: correlated noise alone gives about 0.5."""


def denoise(values: Floats, settings: Settings | None = None) -> Floats:
    """Return ``values`` ``[k, j, i]`` (noise units) denoised; needs at least two slices."""
    settings = settings or Settings()
    torch.manual_seed(settings.seed)
    network = SmallNetwork()

    def draw(rng: np.random.Generator) -> dict[str, torch.Tensor]:
        k, boxes = random_crops(values, settings.batch, settings.patch, rng)
        other = partner(k, len(values), rng)
        return turned({"seen": cut(values, k, boxes), "target": cut(values, other, boxes)}, rng)

    def loss(batch: dict[str, torch.Tensor], _progress: float) -> torch.Tensor:
        seen, target = batch["seen"], batch["target"]
        alike = similar(seen, target)
        error = (seen - network(seen) - target) ** 2
        return (error * alike).sum() / alike.sum().clamp(min=1.0)

    train(network, draw, loss, settings)
    return denoise_slices(values, network)


def partner(k: np.ndarray, slices: int, rng: np.random.Generator) -> np.ndarray:
    """Return for each slice another one, 1 or 2 away, inside the volume."""
    far = min(2, slices - 1)
    step = rng.integers(1, far + 1, len(k)) * rng.choice((-1, 1), len(k))
    other = k + step
    outside = (other < 0) | (other >= slices)
    other = np.where(outside, k - step, other)
    return np.where((other < 0) | (other >= slices), np.where(k > 0, k - 1, k + 1), other)


def similar(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return 1 where box means agree, else 0."""
    gap = functional.avg_pool2d(first - second, BOX, 1, BOX // 2, count_include_pad=False)
    return (gap.abs() < LIMIT).to(first.dtype)
