"""A learned correction of an estimate, and the way back to the measurements (layer: recon).

A correction looks at volumes only (:mod:`~ctrestorelib.recon.prior_channels`); what it proposes is
then pulled back to the measurements. Training makes its material with the same two steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import WeightsError
from ctrestorelib.core.job import Job, Stage
from ctrestorelib.recon.arrays import Array
from ctrestorelib.recon.coarse_scan import resized
from ctrestorelib.recon.prior_channels import FixedChannels, fixed_channels, network_channels
from ctrestorelib.recon.session import Session
from ctrestorelib.recon.solver import Stagnation, solve
from ctrestorelib.recon.tv import Term, TotalVariation
from ctrestorelib.recon.tv_stage import CALM, pace_of
from ctrestorelib.weights.tensors import read_tensors

Floats = NDArray[np.float32]

PLAIN_SHARE = 0.5
"""Weight of the total variation of the volume itself; the rest is that of its difference from the
proposal. Either alone is worse: the first forgets what was learned, the second keeps its faults."""
STEPS = 40
"""Primal-dual steps back to the measurements."""
PACE = 0.02
"""A proposal is much nearer to the solution than what total variation begins with: smaller steps of
the volume, larger ones of the duals. It changes the speed, not the result."""
TITLE = "Back to the measurements"
TILE, HALO = 128, 16
"""Edge of the blocks that a network corrects at once, and how far it looks beyond each."""


class Corrector(Protocol):
    """A trained network, whatever runs it."""

    def __call__(self, channels: Floats, condition: Floats) -> tuple[Floats, Floats]:
        """Return the correction and the log of its error, each ``[k, j, i]``.

        ``channels`` is ``[5, k, j, i]`` and ``condition`` the describing vector.
        """
        ...


@dataclass(frozen=True, eq=False)
class Level:
    """A scan on one grid, with what is needed of it whatever the estimate.

    Parameters
    ----------
    session
        Scan, grid and problem.
    first
        An estimate in 1/mm, which decides the unit.
    """

    session: Session
    first: Array

    @cached_property
    def fixed(self) -> FixedChannels:
        """The channels that no later estimate changes."""
        return fixed_channels(self.session, self.first)

    @cached_property
    def wanted(self) -> float:
        """Chi-squared per reading down to which proposals are pulled: that of the first estimate.

        How closely that follows the measurements was chosen for the scan.
        """
        return self.misfit(self.first)

    def channels(self, estimate: Array) -> Floats:
        """Return what a network sees of an estimate in 1/mm."""
        return network_channels(self.session, self.fixed, estimate)

    def misfit(self, estimate: Array) -> float:
        """Return chi-squared per reading."""
        return self.session.problem.misfit_of(estimate)


@dataclass(frozen=True, eq=False)
class Corrected:
    """A corrected estimate in 1/mm, and the expected size of its error (Laplace scale) in 1/mm."""

    values: Array
    scale: Floats


def corrected(level: Level, estimate: Array, network: Corrector) -> Corrected:
    """Return the estimate with the network's correction, nothing below zero."""
    session, unit = level.session, np.float32(level.fixed.unit_per_mm)
    mean, log_scale = in_tiles(network, level.channels(estimate), level.fixed.condition)
    mean *= unit
    values = estimate + session.operator.asarray(mean)
    scale = np.exp(np.clip(log_scale, -8.0, 4.0)) * unit
    return Corrected(session.problem.constrain(values), scale)


def towards_data(level: Level, proposal: Array, stage: Stage | None = None) -> Array:
    """Return a volume like ``proposal`` that explains the measurements as the first estimate does.

    Of all volumes that do, it is one of little total variation, half its own and half that of its
    difference from the proposal (prior image constrained compressed sensing, Chen et al. 2008,
    doi:10.1118/1.2836423). The least change that fits, as conjugate gradients find it, is a fan of
    streaks along the few views: worse than the first estimate, however good the proposal.
    If the steps bring no better fit, the proposal comes back.
    """
    before = level.misfit(proposal)
    if before <= level.wanted:
        return proposal
    if not level.wanted > 0.0:  # nothing measured, nothing to add
        return level.first
    session, target = level.session, level.wanted
    pace = pace_of(session, level.first)
    pace["contrast_per_mm"] *= PACE
    terms = Term(PLAIN_SHARE), Term(1.0 - PLAIN_SHARE, proposal)
    found = solve(
        TotalVariation(terms, target=target, **pace),
        session.starting_at(proposal).problem,
        stage or Stage(Job(), TITLE, 0.0, 1.0),
        iterations=STEPS,
        rules=(Stagnation(CALM, 3, 1.1 * target),),
    )
    return found.values if level.misfit(found.values) < before else proposal


def on_grid(session: Session, values: Floats) -> Array:
    """Return values ``[k, j, i]`` of another grid of the same box as an array of the session's."""
    return session.operator.asarray(resized(values, session.grid.shape))


def in_tiles(network: Corrector, channels: Floats, condition: Floats) -> tuple[Floats, Floats]:
    """Return the network's answer for a volume of any size, block by block if it is large."""
    shape = channels.shape[1:]
    if max(shape) <= TILE + 2 * HALO:
        return network(channels, condition)
    mean, log_scale = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for k in range(0, shape[0], TILE):
        for j in range(0, shape[1], TILE):
            for i in range(0, shape[2], TILE):
                core, seen, inner = _tile((k, j, i), shape)
                part = np.ascontiguousarray(channels[(slice(None), *seen)])
                answer = network(part, condition)
                mean[core], log_scale[core] = (a[inner] for a in answer)
    return mean, log_scale


def _tile(
    start: tuple[int, int, int], shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...], tuple[slice, ...]]:
    """Return a block, the block with its halo, and the block within that."""
    core, seen, inner = [], [], []
    for first, size in zip(start, shape, strict=True):
        last = min(first + TILE, size)
        low, high = max(0, first - HALO), min(size, last + HALO)
        core.append(slice(first, last))
        seen.append(slice(low, high))
        inner.append(slice(first - low, last - low))
    return tuple(core), tuple(seen), tuple(inner)


class TorchCorrector:
    """A :class:`~ctrestorelib.networks.volume_unet.VolumeUNet` in PyTorch.

    Parameters
    ----------
    network
        In evaluation mode.
    device
        Torch device.
    threads
        Threads on the CPU.
    """

    def __init__(self, network: Any, device: str = "cpu", threads: int = 1) -> None:
        import torch

        self._device, self._threads = torch.device(device), threads
        self._network = network.eval().to(self._device)
        self._network.to(memory_format=torch.channels_last_3d)

    def __call__(self, channels: Floats, condition: Floats) -> tuple[Floats, Floats]:
        """See :class:`Corrector`."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                seen = torch.from_numpy(channels)[None].to(self._device)
                seen = seen.contiguous(memory_format=torch.channels_last_3d)
                about = torch.from_numpy(np.asarray(condition, np.float32))[None].to(self._device)
                mean, log_scale = self._network(seen, about)
                return mean[0, 0].cpu().numpy(), log_scale[0, 0].cpu().numpy()
        finally:
            torch.set_num_threads(before)


def load_volume_unet(path: Path) -> Any:
    """Return the :class:`~ctrestorelib.networks.volume_unet.VolumeUNet` of a safetensors file.

    Width and depth follow from the shapes of its tensors.

    Raises
    ------
    WeightsError
        If the file is damaged or holds another network.
    """
    import torch

    from ctrestorelib.networks.volume_unet import CELL, MORE_PICTURES, VolumeUNet

    tensors = read_tensors(path)
    try:
        arrays = tensors.arrays
        first, describe = arrays["down.0.first.weight"], arrays["describe.0.weight"]
        network = VolumeUNet(
            in_channels=first.shape[1] // CELL**3 - MORE_PICTURES,
            width=first.shape[0],
            levels=sum(1 for n in arrays if n.startswith("down.") and n.endswith("first.weight")),
            condition=describe.shape[1],
        )
        network.load_state_dict({n: torch.from_numpy(a).float() for n, a in arrays.items()})
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        message = f"{path.name} does not hold weights of a volume network ({error})."
        raise WeightsError(message, hint="Train it again, or install CTRestore again.") from error
    return network.eval()
