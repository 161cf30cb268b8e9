"""A small 2.5-D network that predicts the noise of a slice (layer: networks).

It works in *noise units*: slices divided by the local noise level. So it is the same network at
every dose, blind to display windows, and what it returns is noise, which makes the strength of a
restoration exact. It has no normalisation layers: nothing in it depends on the rest of the slice.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from ctrestorelib.networks.unet_body import UNetBody

DOWN = 16
"""Rows and columns of the input must be multiples of this."""
KNEE = 4.0
"""Local contrast, in noise units, above which the network sees differences ever more faintly."""
_BLUR_CELL = 4  # pixels per cell of the coarse grid on which the local mean is taken


class ResidualUNet(UNetBody):
    """U-Net on pixel-unshuffled slices: noise mean and its uncertainty.

    Parameters
    ----------
    width
        Channels of the first level; each of the three levels below has twice as many.
    slices
        Neighbouring slices that go in; the middle one is restored. Odd.

    Notes
    -----
    Convolutions pad with zeros, twice as fast as repeating the border: give it slices with a
    mirrored margin and cut that off again.
    """

    def __init__(self, width: int = 32, slices: int = 5) -> None:
        if slices % 2 == 0 or slices < 1 or width < 4:
            message = f"slices must be odd and width at least 4; got {slices} and {width}."
            raise ValueError(message)
        super().__init__(seen=slices + 2, width=width, made=2)
        self.width, self.slices = width, slices

    def forward(
        self, stack: torch.Tensor, context: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the noise of the middle slice and the logarithm of its error, in noise units.

        Parameters
        ----------
        stack
            ``(n, slices, rows, columns)``: neighbouring slices divided by the noise level of the
            middle one. Rows and columns are multiples of :data:`DOWN`.
        context
            ``(n, 2, rows, columns)``: the middle slice's HU / 1000, clipped to [-1, 3], and
            log2(noise level / 20 HU), clipped to [-4, 4]; both 0 where the unit is not HU.

        Returns
        -------
        tuple
            Two tensors ``(n, 1, rows, columns)``: restored = middle - mean; the error of the mean
            is Laplace-distributed with scale exp(log_scale).
        """
        out = self.through(torch.cat([local_contrast(stack), context], 1))
        return out[:, :1], out[:, 1:]


def local_contrast(stack: torch.Tensor) -> torch.Tensor:
    """Subtract the middle slice's local mean from all slices and compress what is left.

    The mean is a tent of about 10 pixels' width, taken on cells of 4 x 4 pixels. ``asinh`` grows
    like a logarithm: edges of bone and metal stay within the network's range, and the noise on them
    stays visible.
    """
    middle = stack[:, stack.shape[1] // 2 :][:, :1]
    coarse = functional.avg_pool2d(middle, _BLUR_CELL)
    coarse = functional.avg_pool2d(functional.pad(coarse, (1, 1, 1, 1), mode="replicate"), 3, 1)
    mean = functional.interpolate(
        coarse, scale_factor=float(_BLUR_CELL), mode="bilinear", align_corners=False
    )
    return KNEE * torch.asinh((stack - mean) / KNEE)
