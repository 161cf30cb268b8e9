"""Planning: what a run will cost, known before it starts (layer: restorer)."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from ctrestorelib.core.errors import DoesNotFit, InputError
from ctrestorelib.core.system import available_memory_bytes
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import ConeBeamGeometry

MIB = 2**20
BASE_BYTES = 220 * MIB
"""Memory of a worker process with its libraries, before any data (measured: 190 to 230 MiB)."""


@dataclass(frozen=True)
class InputShapes:
    """Sizes of the inputs, all that a plan may look at.

    Parameters
    ----------
    volume
        ``(k, j, i)`` of the input volume, None for a reconstruction.
    scan
        Geometry of the projections, None for a denoiser.
    grid
        Output grid of a reconstruction.
    has_prior, has_mask
        Whether these optional inputs are given.
    """

    volume: tuple[int, int, int] | None = None
    scan: ConeBeamGeometry | None = None
    grid: VolumeGeometry | None = None
    has_prior: bool = False
    has_mask: bool = False

    @property
    def voxels(self) -> int:
        """Voxels of the output."""
        shape = self.volume or (self.grid.shape if self.grid else (0, 0, 0))
        return shape[0] * shape[1] * shape[2]

    @property
    def readings(self) -> int:
        """Detector readings of the scan: views x rows x cols."""
        if self.scan is None:
            return 0
        rows, cols = self.scan.detector_shape
        return self.scan.views * rows * cols

    def require_scan(self) -> tuple[ConeBeamGeometry, VolumeGeometry]:
        """Return scan and output grid; :class:`InputError` if either is missing."""
        if self.scan is None or self.grid is None:
            message = "A reconstruction is planned from a scan geometry and an output grid."
            raise InputError(message)
        return self.scan, self.grid


@dataclass(frozen=True)
class Budget:
    """What a run may use.

    Parameters
    ----------
    host_bytes
        Memory that the worker process may have at its peak, in bytes.
    threads
        Processor cores to use.
    device
        ``"cpu"`` or a torch device name such as ``"cuda:0"``.
    device_bytes
        Memory of that device, in bytes (0 on a CPU).
    """

    host_bytes: int
    threads: int = 1
    device: str = "cpu"
    device_bytes: int = 0

    @classmethod
    def detect(cls, device: str = "cpu") -> Budget:
        """Return nine tenths of the memory that is free now, and all cores this process may use."""
        affinity = getattr(os, "sched_getaffinity", None)
        threads = len(affinity(0)) if affinity else (os.cpu_count() or 1)
        return cls(int(0.9 * available_memory_bytes()), threads, device)


@dataclass(frozen=True)
class PlannedStage:
    """One stage of a plan with its share of the time (0 to 1)."""

    title: str
    share: float


@dataclass(frozen=True)
class Plan:
    """How a run will go, decided before it starts.

    Parameters
    ----------
    backend
        What computes: ``numba``, ``torch``, ``numpy``, ``simpleitk``, ``scikit-image``.
    precision
        ``float32`` or ``bfloat16``.
    peak_host_bytes, peak_device_bytes
        Expected peak memory of the worker process and of the device.
    seconds
        Expected duration on this machine; an estimate, shown as such.
    stages
        Titles and shares, summing to 1.
    block_slices
        How many slices (or views) are worked on at once; 0 for all.
    """

    backend: str
    device: str
    threads: int
    peak_host_bytes: int
    seconds: float
    stages: tuple[PlannedStage, ...]
    precision: str = "float32"
    peak_device_bytes: int = 0
    block_slices: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return asdict(self)

    def sentence(self) -> str:
        """Return the plan in words for a person."""
        return (
            f"About {_duration(self.seconds)} and {self.peak_host_bytes / 2**30:.1f} GB of memory "
            f"on {self.threads} {'core' if self.threads == 1 else 'cores'} ({self.backend})."
        )


def require_fit(needed_bytes: int, budget: Budget, hint: str) -> None:
    """Raise :class:`DoesNotFit` if ``needed_bytes`` exceeds the budget's host memory.

    ``hint`` says how to make it smaller, in the user's terms.
    """
    if needed_bytes <= budget.host_bytes:
        return
    message = (
        f"This needs {needed_bytes / 2**30:.2f} GB of memory; "
        f"{budget.host_bytes / 2**30:.2f} GB are free."
    )
    raise DoesNotFit(message, hint=hint)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
