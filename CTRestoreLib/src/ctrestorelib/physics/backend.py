"""Which library computes, and with how many threads (layer: physics)."""

from __future__ import annotations

import importlib.util
import os
from functools import cache

from ctrestorelib.core.errors import ResourceError, UsageError

BACKENDS = ("auto", "numba", "torch", "numpy")
ARRAYS = ("auto", "numpy", "torch")

NUMPY_VOXELS = 128**3
"""Torch takes seconds to be loaded. On two cores NumPy was quicker at any size (total variation,
10 views, loading included: 11 s and 24 s at 128^3, 17 s and 21 s at 160^3); with more cores than
those, torch's threads are worth it from about this size on."""


@cache
def available(library: str) -> bool:
    """Whether ``library`` is installed; it is not imported."""
    return importlib.util.find_spec(library) is not None


def choose_backend(backend: str = "auto", device: str = "cpu") -> str:
    """Return the backend that will compute: ``numba``, ``torch`` or ``numpy``.

    ``auto`` prefers numba on the CPU, torch on every other device, and numpy where neither is
    installed.

    Raises
    ------
    UsageError
        If the name is unknown or the backend does not run on ``device``.
    ResourceError
        If the library asked for is not installed.
    """
    if backend not in BACKENDS:
        message = f"backend is one of {', '.join(BACKENDS)}; got {backend!r}."
        raise UsageError(message)
    on_cpu = device == "cpu"
    if backend == "auto":
        order = ("numba", "torch") if on_cpu else ("torch",)
        backend = next((name for name in order if available(name)), "numpy")
    if not on_cpu and backend != "torch":
        message = f"The device {device!r} needs the torch backend; got {backend!r}."
        raise UsageError(message, hint="Install torch, or compute with device='cpu'.")
    if not available(backend):
        message = f"The backend {backend!r} was asked for, but it is not installed."
        raise ResourceError(message, hint="Install it, or choose backend='auto'.")
    return backend


def choose_arrays(arrays: str, backend: str, voxels: int) -> str:
    """Return the kind of arrays that solvers work on: ``numpy`` or ``torch``.

    ``auto`` is the backend's own kind. Numba works on the memory of either: it gets torch's, which
    shares arithmetic among threads, for grids of more than :data:`NUMPY_VOXELS`. Nothing but the
    grid decides: the kinds sum in another order, and a job must give the same numbers whatever its
    process has loaded, and on any number of cores.

    Raises
    ------
    UsageError
        If the kind is unknown.
    ResourceError
        If torch was asked for, but is not installed.
    """
    if arrays not in ARRAYS:
        message = f"arrays is one of {', '.join(ARRAYS)}; got {arrays!r}."
        raise UsageError(message)
    if arrays == "auto":
        large = backend == "numba" and voxels > NUMPY_VOXELS and available("torch")
        return "torch" if backend == "torch" or large else "numpy"
    if not available(arrays):
        message = f"Arrays of {arrays!r} were asked for, but it is not installed."
        raise ResourceError(message, hint="Install it, or choose arrays='auto'.")
    return arrays


def choose_threads(threads: int | None) -> int:
    """Return the number of threads: the one asked for, or all cores this process may use."""
    if threads is not None:
        if threads < 1:
            message = f"threads must be at least 1; got {threads}."
            raise UsageError(message)
        return int(threads)
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)
