"""Vector quantisation whose codes follow the features as running means (layer: networks).

References
----------
A. van den Oord, O. Vinyals, K. Kavukcuoglu, arXiv:1711.00937 (appendix A.1: running means).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import distributed, nn

DECAY = 0.99
"""Of the running means."""
EPSILON = 1e-5
"""Of the Laplace smoothing of the counts."""
DEAD = 1.0
"""A code with a smaller running count is given up and starts again at a current feature."""
_NEW_COUNT = 2.0  # of a code that starts again: it has some 70 steps to find followers
_ROUNDS = 8  # of k-means
_SEEDS_PER_CODE = 32


class Quantised(NamedTuple):
    """Features after quantisation, and how far they were from their codes (mean square)."""

    values: torch.Tensor
    loss: torch.Tensor


class Codebook(nn.Module):
    """A 1x1x1 convolution, the nearest of some codes for each voxel, and another convolution.

    The codes begin as the k-means centres of the first batch and then follow the features as
    running means, over all processes of a team. Nothing changes in evaluation mode.

    Parameters
    ----------
    channels
        Of the features and of the codes.
    codes
        How many codes.
    """

    codes: torch.Tensor
    counts: torch.Tensor
    sums: torch.Tensor
    begun: torch.Tensor

    def __init__(self, channels: int, codes: int) -> None:
        super().__init__()
        self.before = nn.Conv3d(channels, channels, 1)
        self.after = nn.Conv3d(channels, channels, 1)
        self.register_buffer("codes", torch.zeros(codes, channels))
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("sums", torch.zeros(codes, channels))
        self.register_buffer("begun", torch.zeros((), dtype=torch.int64))

    def forward(self, features: torch.Tensor) -> Quantised:
        """Return the quantised ``features`` ``[batch, channel, k, j, i]`` and the loss.

        Gradients pass as if nothing had been replaced; the loss draws the features to their codes.
        """
        mixed = self.before(features)
        with torch.autocast(features.device.type, enabled=False):
            found = mixed.float().movedim(1, -1)
            flat = found.reshape(-1, found.shape[-1])
            with torch.no_grad():
                chosen = self._replaced(flat)
            loss = (flat - chosen).square().mean()
            passed = (flat + (chosen - flat).detach()).reshape(found.shape).movedim(-1, 1)
        return Quantised(self.after(passed), loss)

    def _replaced(self, flat: torch.Tensor) -> torch.Tensor:
        """Return the nearest code of each feature ``[feature, channel]``, then follow them."""
        if self.training and not bool(self.begun):
            self._begin(flat)
        nearest = nearest_code(flat, self.codes)
        chosen = self.codes[nearest]
        if self.training:
            self._follow(flat, nearest)
        return chosen

    def _begin(self, flat: torch.Tensor) -> None:
        """Set the codes to k-means centres; dead centres restart at random features."""
        seeds = _drawn(flat, min(len(flat), _SEEDS_PER_CODE * len(self.codes)))
        codes = _drawn(seeds, len(self.codes))
        counts = torch.ones_like(self.counts)
        for _ in range(_ROUNDS):
            counts, sums = _tally(seeds, nearest_code(seeds, codes), len(codes))
            codes = torch.where(
                counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], _drawn(seeds, len(codes))
            )
        share = len(flat) / max(len(seeds), 1)
        self.codes.copy_(_agreed(codes))
        self.counts.copy_(_agreed(counts * share).clamp_min(_NEW_COUNT))
        self.sums.copy_(self.codes * self.counts[:, None])
        self.begun.fill_(1)

    def _follow(self, flat: torch.Tensor, nearest: torch.Tensor) -> None:
        counts, sums = (_added(t) for t in _tally(flat, nearest, len(self.codes)))
        self.counts.lerp_(counts, 1.0 - DECAY)
        self.sums.lerp_(sums, 1.0 - DECAY)
        dead = self.counts < DEAD
        if bool(dead.any()):
            fresh = _agreed(_drawn(flat, len(self.codes)))
            self.counts[dead] = _NEW_COUNT
            self.sums[dead] = _NEW_COUNT * fresh[dead]
        total = self.counts.sum()
        smooth = (self.counts + EPSILON) / (total + len(self.counts) * EPSILON) * total
        self.codes.copy_(self.sums / smooth[:, None])


def nearest_code(flat: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Return the index of the code nearest to each feature, by float32 squared distance."""
    flat, codes = flat.float(), codes.float()
    # |z|^2 is the same for all codes of a feature and left out.
    return (codes.square().sum(1) - 2.0 * flat @ codes.T).argmin(1)


def _tally(
    flat: torch.Tensor, nearest: torch.Tensor, codes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how many features each code has, and their sum."""
    chosen = nn.functional.one_hot(nearest, codes).to(flat.dtype)
    return chosen.sum(0), chosen.T @ flat


def _drawn(flat: torch.Tensor, count: int) -> torch.Tensor:
    """Return features drawn at random; every one at most once where there are enough."""
    if count <= len(flat):
        return flat[torch.randperm(len(flat), device=flat.device)[:count]]
    return flat[torch.randint(len(flat), (count,), device=flat.device)]


def _in_team() -> bool:
    return bool(distributed.is_available() and distributed.is_initialized())


def _added(values: torch.Tensor) -> torch.Tensor:
    """Return the sum over all processes."""
    if _in_team():
        distributed.all_reduce(values)
    return values


def _agreed(values: torch.Tensor) -> torch.Tensor:
    """Return what the first process has."""
    if _in_team():
        values = values.contiguous()
        distributed.broadcast(values, 0)
    return values
