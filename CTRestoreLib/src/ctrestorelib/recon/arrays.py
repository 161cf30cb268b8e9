"""The few array operations that NumPy and torch spell differently (layer: recon)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from ctrestorelib.core.errors import InputError

Array = Any


@contextmanager
def array_threads(threads: int, arrays: str = "numpy") -> Generator[None, None, None]:
    """Let torch, if it is in use, work with ``threads`` threads within the block.

    More threads than free cores make every small operation wait for a core. Where ``arrays`` is
    ``"torch"``, torch is loaded: the block will use it, if not from its beginning.
    """
    torch = importlib.import_module("torch") if arrays == "torch" else sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def namespace(x: Array) -> Any:
    """Return the array library of ``x``, numpy or torch, for what both spell alike.

    Raises
    ------
    InputError
        If it is an array of neither.
    """
    if isinstance(x, np.ndarray):
        return np
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(x, torch.Tensor):
        message = f"Expected a NumPy array or a torch tensor; got {type(x).__name__}."
        raise InputError(message, hint="Convert it with numpy.asarray first.")
    return torch


def clip_below(x: Array, low: float) -> Array:
    """Raise values under ``low`` to it, in place; return ``x``."""
    if isinstance(x, np.ndarray):
        np.maximum(x, x.dtype.type(low), out=x)
    else:
        x.clamp_(min=low)
    return x


def dot(a: Array, b: Array) -> float:
    """Return the inner product of two arrays of one shape."""
    if isinstance(a, np.ndarray):
        order: Literal["K", "C"] = "K" if a.strides == b.strides else "C"  # K copies nothing
        return float(np.dot(a.ravel(order), b.ravel(order)))
    return float(a.reshape(-1) @ b.reshape(-1))


def norm(a: Array) -> float:
    """Return the Euclidean norm over all elements."""
    return float(dot(a, a) ** 0.5)


def guarded_inverse(sums: Array, floor: float = 0.01) -> Array:
    """Return ``1 / sums``, and 0 where ``sums`` is below ``floor`` of its largest value.

    Rays that hardly touch the grid, and voxels that hardly any ray touches, would otherwise get
    huge weights and spread the values of what lies outside.
    """
    low = floor * float(sums.max())
    if low <= 0.0:
        return sums * 0.0
    keep = sums >= low
    out = clip_below(sums + 0.0, low)
    out **= -1
    out *= keep
    return out
