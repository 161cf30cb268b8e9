"""Methods: which are asked for, what their results depend on, and an oracle's search."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ctrestorelib.core.errors import CTRestoreError
from ctrestorelib.methods.registry import method


class Named(Protocol):
    """A method of a benchmark: identifier and group."""

    @property
    def name(self) -> str:
        """Identifier."""

    @property
    def group(self) -> str:
        """What it is compared within."""


def is_wanted(chosen: Named, wanted: str) -> bool:
    """Whether a method or its group is among the words by comma; no words mean every method."""
    words = [w.strip() for w in wanted.split(",") if w.strip()]
    return not words or chosen.name in words or chosen.group in words


def registered_parts(method_id: str, params: Mapping[str, Any]) -> list[str]:
    """Return what a registered method's result depends on: version, parameters, weights."""
    found = method(method_id)
    weights = [_weights_identity(w) for w in found.spec.weights]
    return [found.spec.version, repr(found.Params(**params)), *weights]


def _weights_identity(name: str) -> str:
    from ctrestorelib.weights.store import released

    try:
        return str(sorted(released()[name].sha256.items()))
    except (CTRestoreError, KeyError):
        return "absent"


def digest(parts: Sequence[str]) -> str:
    """Return the fingerprint of all that a result depends on."""
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def walk(error: Callable[[int], float], start: int) -> int:
    """Return the index of the nearest minimum of ``error`` (infinite outside the grid)."""
    at = start
    while True:
        best = min((at, at + 1, at - 1), key=error)
        if best == at:
            return at
        at = best
