"""One process or many: rank, device and agreement between processes (layer: training)."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn

from ctrestorelib.core.errors import UsageError


@dataclass(frozen=True)
class Team:
    """One process among those of one training."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Return whether any process says True; all processes must ask."""
        if self.size == 1:
            return flag
        both = torch.tensor([float(flag)], device=self.device)
        distributed.all_reduce(both, op=distributed.ReduceOp.MAX)
        return bool(both.item() > 0)

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.any(flag=False)

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network such that gradients are the mean over all processes."""
        if self.size == 1:
            return network
        ids = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=ids)


@contextmanager
def join_team() -> Generator[Team, None, None]:
    """Join the processes that ``torchrun`` started, or be alone.

    Rank and size come from the environment (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``); processes
    talk through NCCL where there are CUDA devices and through Gloo elsewhere.

    Raises
    ------
    UsageError
        If there are more local processes than CUDA devices.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = _device(int(os.environ.get("LOCAL_RANK", "0")))
    ours = size > 1 and not distributed.is_initialized()
    if ours:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(rank, size, device)
    finally:
        if ours:
            gc.collect()  # a wrapped network that outlives its process group aborts at exit
            distributed.destroy_process_group()


def graphics_cards() -> int:
    """Return how many CUDA devices torch can use here."""
    return int(torch.cuda.device_count())


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        message = f"Process {local_rank} has no GPU of its own: {torch.cuda.device_count()} found."
        raise UsageError(message, hint="Start at most as many processes as there are GPUs.")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
