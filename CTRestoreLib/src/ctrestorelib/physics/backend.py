"""Which library computes, and with how many threads (layer: physics)."""

from __future__ import annotations

import importlib.util
import os
from functools import cache

from ctrestorelib.core.errors import ResourceError, UsageError

BACKENDS = ("auto", "numba", "torch", "numpy")


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


def choose_threads(threads: int | None) -> int:
    """Return the number of threads: the one asked for, or all cores this process may use."""
    if threads is not None:
        if threads < 1:
            message = f"threads must be at least 1; got {threads}."
            raise UsageError(message)
        return int(threads)
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)
