"""Neighbor2Neighbor-style: neighbouring pixels are two noisy views of nearly the same thing.

In every cell of 2 x 2 pixels two adjacent ones are drawn; they make two images of half the size,
one the input and one the target. A second term keeps the difference of the two images in place.
Its assumption, independent noise in neighbouring pixels, does not hold in CT.

References
----------
.. [1] Huang T et al. Neighbor2Neighbor: self-supervised denoising from single noisy images. CVPR
   2021. doi:10.1109/CVPR46437.2021.01454
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

_ADJACENT = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 3), (3, 1), (2, 3), (3, 2))
_WEIGHT = 2.0  # of the second term, at the end


def denoise(values: Floats, settings: Settings | None = None) -> Floats:
    """Return ``values`` ``[k, j, i]`` (noise units) denoised, slice by slice."""
    settings = settings or Settings()
    torch.manual_seed(settings.seed)
    network = SmallNetwork()

    def draw(rng: np.random.Generator) -> dict[str, torch.Tensor]:
        k, boxes = random_crops(values, settings.batch, settings.patch, rng)
        batch = turned({"seen": cut(values, k, boxes)}, rng)
        batch["which"] = draw_cells(batch["seen"], rng)
        return batch

    def loss(batch: dict[str, torch.Tensor], progress: float) -> torch.Tensor:
        seen = batch["seen"]
        first, second = subsample(seen, batch["which"])
        with torch.no_grad():
            whole = seen - network(seen)
            one, two = subsample(whole, batch["which"])
        apart = first - network(first) - second
        return (apart**2).mean() + _WEIGHT * progress * ((apart - (one - two)) ** 2).mean()

    train(network, draw, loss, settings)
    return denoise_slices(values, network)


def draw_cells(plane: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return, for every cell of 2 x 2 pixels, which two pixels were drawn: ``(n, 2, rows, cols)``.

    Pixels of a cell are numbered along rows.
    """
    n, _, rows, cols = plane.shape
    pairs = np.array(_ADJACENT)[rng.integers(0, len(_ADJACENT), (n, rows // 2, cols // 2))]
    return torch.from_numpy(pairs).permute(0, 3, 1, 2)


def subsample(plane: torch.Tensor, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the two images of half the size that the drawn pixels make."""
    cells = functional.pixel_unshuffle(plane, 2)
    return cells.gather(1, which[:, :1]), cells.gather(1, which[:, 1:])
