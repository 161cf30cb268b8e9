"""A 3-D network that corrects an estimate of a volume and tells how sure it is (layer: networks).

It sees several volumes on one grid (the estimate, a filtered backprojection, what the measurements
still contradict, ...) and a short vector that describes the scan. Small linear filters look at
every voxel; a U-Net on cells of 2 x 2 x 2 voxels, eight times cheaper than on voxels, decides how
much each filter counts in each cell. What differs little from place to place (details of the
estimate, streaks) is shown to it apart and enlarged: beside the estimate itself it would be lost.
There are no normalisation layers: nothing depends on the rest of the volume or its size. The head
begins at zero, so that an untrained network leaves the estimate as it is.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

CELL = 2
"""Voxels along the edge of a cell."""
FILTERS = 16
"""Linear filters whose mixture is the correction."""
MORE_PICTURES = 3
"""So many more pictures than volumes are looked at, see :func:`_pictures`."""
LEAST_EDGE = 8
"""Smaller volumes are filled up: the means that are looked at need this many voxels."""
FINE_GAIN, MIDDLE_GAIN, STREAK_GAIN = 8.0, 4.0, 3.0
"""How much details of the estimate and streaks are enlarged."""
LEAK = 0.1
"""Slope below zero. With none most features died within the first hundred steps."""
FIRST_LOG_SCALE = -3.0
"""What an untrained network says of its error: a twentieth of the estimate's unit."""


class VolumeUNet(nn.Module):
    """U-Net on cells of voxels, steered by a vector that describes the scan.

    Parameters
    ----------
    in_channels
        Volumes that go in, at least two: the estimate and another picture of the same.
    width
        Channels of the first level; each level below has twice as many.
    levels
        Resolutions, the first being that of the cells.
    condition
        Length of the describing vector.

    Raises
    ------
    ValueError
        If a size is not positive, or there are fewer than two volumes.

    Notes
    -----
    The vector scales and shifts the features of every level (FiLM, Perez et al. 2018,
    doi:10.1609/aaai.v32i1.11671).
    """

    def __init__(
        self, in_channels: int = 5, width: int = 32, levels: int = 3, condition: int = 6
    ) -> None:
        super().__init__()
        if min(in_channels - 1, width, levels, condition) < 1:
            message = "in_channels must be at least 2, width, levels and condition 1; got "
            raise ValueError(message + f"{in_channels}, {width}, {levels} and {condition}.")
        self.in_channels, self.width, self.levels = in_channels, width, levels
        self.condition = condition
        channels = [width * 2**level for level in range(levels)]
        pictures = in_channels + MORE_PICTURES
        seen = [pictures * CELL**3, *channels]
        hidden = max(32, width)
        self.describe = nn.Sequential(nn.Linear(condition, hidden), nn.ReLU(inplace=True))
        self.down = nn.ModuleList(_Pair(a, b, hidden) for a, b in zip(seen, channels, strict=False))
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(2 * c, c, kernel_size=2, stride=2) for c in channels[:-1]
        )
        self.merge = nn.ModuleList(_Pair(2 * c, c, hidden) for c in channels[:-1])
        self.filters = nn.Conv3d(pictures, FILTERS, 3, padding=1)
        self.head = nn.Conv3d(width, FILTERS + CELL**3, 3, padding=1)
        self.apply(_begin)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @property
    def multiple(self) -> int:
        """Sizes that are multiples of this need no margin."""
        return CELL * int(2 ** (self.levels - 1))

    def forward(
        self, channels: torch.Tensor, condition: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the correction of the estimate and the logarithm of its error.

        Parameters
        ----------
        channels
            ``(n, in_channels, k, j, i)``. Sizes that are no multiples of :attr:`multiple` are
            filled up by repeating the border (an exported network takes multiples only).
        condition
            ``(n, condition)``.

        Returns
        -------
        tuple
            Two tensors ``(n, 1, k, j, i)`` in the unit of the estimate: better estimate = estimate
            + correction, whose error is Laplace-distributed with scale exp(log_scale).
        """
        size = channels.shape[2:]
        steering = self.describe(condition)
        filled = channels if torch.onnx.is_in_onnx_export() else self._filled_up(channels)
        pictures = _pictures(filled)
        x, skips = _to_cells(pictures), []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool3d(x, 2) if level else x, steering)
            skips.append(x)
        for level in reversed(range(self.levels - 1)):
            x = self.merge[level](torch.cat([self.up[level](x), skips[level]], 1), steering)
        shares, log_scale = self.head(x).split([FILTERS, CELL**3], 1)
        shares = functional.interpolate(shares, scale_factor=float(CELL), mode="nearest")
        mean = (shares * self.filters(pictures)).sum(1, keepdim=True)
        out = torch.cat([mean, _to_voxels(log_scale)], 1)
        if not torch.onnx.is_in_onnx_export():
            out = out[:, :, : size[0], : size[1], : size[2]]
        return out[:, :1], out[:, 1:] + FIRST_LOG_SCALE

    def _filled_up(self, channels: torch.Tensor) -> torch.Tensor:
        least = max(LEAST_EDGE, self.multiple)
        missing = [max(-n % self.multiple, least - n) for n in channels.shape[2:]]
        if not any(missing):
            return channels
        k, j, i = missing
        return functional.pad(channels, (0, i, 0, j, 0, k), mode="replicate")


class _Pair(nn.Module):
    """Two convolutions; the features between them are scaled and shifted by the vector."""

    def __init__(self, before: int, after: int, described: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(before, after, 3, padding=1)
        self.second = nn.Conv3d(after, after, 3, padding=1)
        self.steer = nn.Linear(described, 2 * after)
        nn.init.zeros_(self.steer.weight)
        nn.init.zeros_(self.steer.bias)

    def forward(self, x: torch.Tensor, steering: torch.Tensor) -> torch.Tensor:
        scale, shift = self.steer(steering)[:, :, None, None, None].chunk(2, 1)
        x = functional.leaky_relu(self.first(x) * (1.0 + scale) + shift, LEAK)
        return functional.leaky_relu(self.second(x), LEAK)


def _pictures(volumes: torch.Tensor) -> torch.Tensor:
    """Return what is looked at: the estimate, its details, streaks, and the other volumes.

    Details are differences between means of 1, 3 and 7 voxels; streaks are the difference of the
    second volume from the estimate, smooth and fine.
    """
    estimate, other = volumes[:, :1], volumes[:, 1:2]
    near = _mean(estimate, 3)
    streaks = other - estimate
    smooth = _mean(streaks, 3)
    parts = [
        estimate,
        torch.tanh(FINE_GAIN * (estimate - near)),
        torch.tanh(MIDDLE_GAIN * (near - _mean(near, 5))),
        torch.tanh(STREAK_GAIN * smooth),
        torch.tanh(STREAK_GAIN * (streaks - smooth)),
    ]
    return torch.cat([*parts, volumes[:, 2:]], 1)


def _mean(x: torch.Tensor, width: int) -> torch.Tensor:
    return functional.avg_pool3d(x, width, 1, width // 2, count_include_pad=False)


def _begin(module: nn.Module) -> None:
    """Let features keep their size from layer to layer (He et al. 2015, doi:10.1109/ICCV.2015.123).

    With PyTorch's own start they shrink to less than half in each: without normalisation layers the
    coarse levels would have no say for thousands of steps.
    """
    if isinstance(module, nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    elif isinstance(module, nn.ConvTranspose3d):  # no cells overlap: each sees in_channels inputs
        nn.init.normal_(module.weight, std=module.in_channels**-0.5)
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d) and module.bias is not None:
        nn.init.zeros_(module.bias)


def _to_cells(x: torch.Tensor) -> torch.Tensor:
    """Return ``(n, 8 c, k/2, j/2, i/2)``: the voxels of a cell become channels."""
    n, c, k, j, i = x.shape
    x = x.reshape(n, c, k // CELL, CELL, j // CELL, CELL, i // CELL, CELL)
    x = x.permute(0, 1, 3, 5, 7, 2, 4, 6)
    return x.reshape(n, c * CELL**3, k // CELL, j // CELL, i // CELL)


def _to_voxels(x: torch.Tensor) -> torch.Tensor:
    """Undo :func:`_to_cells`."""
    n, c, k, j, i = x.shape
    x = x.reshape(n, c // CELL**3, CELL, CELL, CELL, k, j, i)
    x = x.permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(n, c // CELL**3, k * CELL, j * CELL, i * CELL)
