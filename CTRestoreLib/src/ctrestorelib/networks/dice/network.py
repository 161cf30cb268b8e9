"""DiCE: lifted 2-D features, a quantised coarse volume, a decoder of points (layer: networks).

Every view goes through one 2-D encoder. Its features are read where a coarse grid of voxels
projects to, the strongest over the views is kept, and these 3-D features are quantised and merged
from scale to scale. The value of a point is decoded from the merged 3-D features there and from the
2-D features at its own shadows: the volume knows the anatomy, the views know the detail.

What differs from the released code, and why: projections are neither rounded to 8 bits nor free of
noise; pixels and voxels lie at (i + 0.5) / n everywhere; the last layer is free (see
``published_head``); codes begin as k-means centres and dead ones start again; frozen parts do not
change at all, running statistics included.

References
----------
DeepSparse, arXiv:2505.02628, doi:10.1109/TMI.2026.3674948.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from ctrestorelib.networks.dice.blocks import Residual
from ctrestorelib.networks.dice.codebook import Codebook
from ctrestorelib.networks.dice.decoders import PointDecoder, VolumeDecoder
from ctrestorelib.networks.dice.encoder import Encoder
from ctrestorelib.networks.dice.lifting import (
    cube_centres,
    on_detectors,
    read_cube,
    read_strongest,
    read_views,
)
from ctrestorelib.networks.dice.settings import DiceSettings


class DiceOutput(NamedTuple):
    """Attenuation ``[batch, point]`` in units of water, and two losses (0 where they have none)."""

    values: torch.Tensor
    quantisation: torch.Tensor
    denoising: torch.Tensor


class Seen(NamedTuple):
    """What the network made of a scan: 2-D features of each scale, and the merged 3-D features."""

    views: list[torch.Tensor]
    volume: torch.Tensor


class DiceNetwork(nn.Module):
    """The whole network; see the module.

    Parameters
    ----------
    settings
        Its sizes; the published ones by default.
    denoise
        Whether it has the layers that clean the 3-D features of few views. They come with the last
        stage of the training, in which everything before them is frozen: see :meth:`train`.

    Notes
    -----
    Projections are divided by the edge of the cube that is reconstructed, so that they have no unit
    and a small cube looks like a large one: 1 is a path through water as long as the edge.
    """

    centres: torch.Tensor

    def __init__(self, settings: DiceSettings | None = None, *, denoise: bool = False) -> None:
        super().__init__()
        self.settings = settings or DiceSettings()
        widths = self.settings.widths[::-1]
        self.encoder = Encoder(self.settings.widths)
        self.codebooks = nn.ModuleList(Codebook(width, self.settings.codes) for width in widths)
        self.cleaners = nn.ModuleList(
            nn.Sequential(Residual(3, width), Residual(3, width)) for width in widths if denoise
        )
        self.volume_decoder = VolumeDecoder(widths, self.settings.channels)
        self.point_decoder = PointDecoder(
            self.settings.channels + sum(widths),
            self.settings.hidden,
            published_head=self.settings.published_head,
        )
        self.register_buffer("centres", cube_centres(self.settings.grid), persistent=False)
        if denoise:
            for part in (self.encoder, self.codebooks):
                part.requires_grad_(False)
        self.train()

    @property
    def denoises(self) -> bool:
        """Whether the network has denoise layers, and so frozen parts."""
        return len(self.cleaners) > 0

    def train(self, mode: bool = True) -> DiceNetwork:
        """Set training mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        if self.denoises:
            self.encoder.eval()
            self.codebooks.eval()
        return self

    def forward(
        self,
        projections: torch.Tensor,
        matrices: torch.Tensor,
        points: torch.Tensor,
        near: int,
    ) -> DiceOutput:
        """Return the attenuation at points, for training.

        Parameters
        ----------
        projections
            ``[batch, view, row, col]``, divided by the edge of the cube.
        matrices
            ``[batch, view, 3, 4]``: cube to detector coordinates, see :mod:`.lifting`.
        points
            ``[batch, point, 3]`` as (x, y, z), -1 to 1 over the cube.
        near
            How many views, the first ones, are read at the points themselves. With denoise layers
            these views alone also make the 3-D features, and all views together those that the
            cleaned ones shall resemble.
        """
        if self.denoises:
            with torch.no_grad():
                views, dense, sparse = self._frozen_part(projections, matrices, near)
            clean = [layer(x) for layer, x in zip(self.cleaners, sparse, strict=True)]
            gaps = [(c - d).abs().mean() for c, d in zip(clean, dense, strict=True)]
            denoising = torch.stack(gaps).mean()
            quantisation = denoising.new_zeros(())
        else:
            views = self.encoder(projections)
            found = [book(x.amax(1)) for book, x in
                     zip(self.codebooks, self._lifted(views, matrices), strict=True)]  # fmt: skip
            clean = [q.values for q in found]
            quantisation = torch.stack([q.loss for q in found]).mean()
            denoising = quantisation.new_zeros(())
        volume = self.volume_decoder(clean)
        at = on_detectors(points, matrices[:, :near])
        read = [read_views(scale[:, :near], at).amax(1) for scale in views]
        values = self.point_decoder(torch.cat([read_cube(volume, points), *read], 1))
        return DiceOutput(values.float(), quantisation, denoising)

    def see(self, projections: torch.Tensor, matrices: torch.Tensor) -> Seen:
        """Return the features of a scan ``[1, view, row, col]``; :meth:`decode` reads them.

        Works view by view where it can, which saves memory where no gradients are kept.
        """
        views = [
            torch.cat(parts, 1)
            for parts in zip(*(self.encoder(p) for p in projections.split(1, 1)), strict=True)
        ]
        at = on_detectors(self.centres[None], matrices)
        lifted = [self._shaped(read_strongest(scale, at)) for scale in views]
        clean = [book(x).values for book, x in zip(self.codebooks, lifted, strict=True)]
        if self.denoises:
            clean = [layer(x) for layer, x in zip(self.cleaners, clean, strict=True)]
        return Seen(views, self.volume_decoder(clean))

    def decode(self, seen: Seen, matrices: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Return the attenuation ``[1, point]`` at ``points`` ``[1, point, 3]`` of a seen scan."""
        at = on_detectors(points, matrices)
        read = [read_strongest(scale, at) for scale in seen.views]
        values: torch.Tensor = self.point_decoder(
            torch.cat([read_cube(seen.volume, points), *read], 1)
        )
        return values.float()

    def _frozen_part(
        self, projections: torch.Tensor, matrices: torch.Tensor, near: int
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
        """Return the 2-D features, and the quantised 3-D features of all and of ``near`` views."""
        views = self.encoder(projections)
        lifted = self._lifted(views, matrices)
        pairs = list(zip(self.codebooks, lifted, strict=True))
        dense = [book(x.amax(1)).values for book, x in pairs]
        sparse = [book(x[:, :near].amax(1)).values for book, x in pairs]
        return views, dense, sparse

    def _lifted(self, views: Sequence[torch.Tensor], matrices: torch.Tensor) -> list[torch.Tensor]:
        """Return each view's features on the grid ``[batch, view, channel, k, j, i]``."""
        at = on_detectors(self.centres.expand(len(matrices), -1, -1), matrices)
        return [self._shaped(read_views(scale, at)) for scale in views]

    def _shaped(self, lifted: torch.Tensor) -> torch.Tensor:
        return lifted.unflatten(-1, (self.settings.grid,) * 3)


def parameter_counts(network: DiceNetwork) -> dict[str, int]:
    """Return the parameters of each part as they are counted in the publication, and their total.

    The codes and their two running means count though no gradient reaches them; running statistics
    of normalisations and the flag of a codebook do not.
    """
    parts = {
        "encoder": network.encoder,
        "codebooks": network.codebooks,
        "volume_decoder": network.volume_decoder,
        "point_decoder": network.point_decoder,
        "cleaners": network.cleaners,
    }
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    for book in network.codebooks:
        counts["codebooks"] += sum(
            getattr(book, name).numel() for name in ("codes", "counts", "sums")
        )
    return {**counts, "total": sum(counts.values())}
