"""The one way in which functions are compiled with numba (layer: physics)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit  # noqa: TID253 - this module is imported only when numba computes

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile for speed, without the interpreter's lock; machine code is kept between runs."""
    decorate = njit(nogil=True, fastmath=True, error_model="numpy", cache=True)
    return cast("Function", decorate(function))
