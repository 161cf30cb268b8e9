"""Finds every restoration method: this folder's files and installed plug-ins (layer: methods).

A method module defines ``RESTORER``, an instance that satisfies
:class:`~ctrestorelib.restorer.protocol.Restorer`. Other packages offer theirs through the entry
point group ``ctrestorelib.methods``. Importing method modules must stay cheap: they load heavy
libraries only inside functions.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import pkgutil
from functools import cache
from typing import Any

import ctrestorelib.methods as package
from ctrestorelib.core.errors import UsageError
from ctrestorelib.restorer.protocol import Restorer
from ctrestorelib.restorer.spec import Kind, Role
from ctrestorelib.weights.store import absent_weights

ENTRY_POINTS = "ctrestorelib.methods"
PREFERRED = {
    Kind.DENOISER: ("ctd", "nlm", "tv-denoise", "anisotropic-diffusion"),
    Kind.RECONSTRUCTOR: ("cts", "tv-views", "tv", "fdk"),
}
"""Defaults, best first. The first that can run is what everyone gets who names no method."""


@cache
def all_methods() -> dict[str, Restorer[Any]]:
    """Return every registered method by id, denoisers first, each kind in alphabetical order."""
    found = [r for r in (*_own(), *_plugins()) if isinstance(r, Restorer)]
    found.sort(key=lambda r: (r.spec.kind.value, r.spec.id))
    methods = {r.spec.id: r for r in found}
    if len(methods) != len(found):
        message = "Two restoration methods share one id."
        raise RuntimeError(message)
    return methods


def method(method_id: str) -> Restorer[Any]:
    """Return one method; :class:`UsageError` with the nearest name if there is none."""
    methods = all_methods()
    if method_id in methods:
        return methods[method_id]
    near = difflib.get_close_matches(method_id, methods, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else "See 'ctrestore list'."
    message = f"There is no method {method_id!r}."
    raise UsageError(message, hint=hint)


def methods_of(kind: Kind) -> dict[str, Restorer[Any]]:
    """Return the methods of one kind by id."""
    return {i: r for i, r in all_methods().items() if r.spec.kind is kind}


def default_method(kind: Kind) -> Restorer[Any]:
    """Return the method for people who name none: the best whose packages and weights are there."""
    methods = methods_of(kind)
    for method_id in PREFERRED[kind]:
        if method_id in methods and not lacks(methods[method_id]):
            return methods[method_id]
    return next(iter(methods.values()))


def menu_of(kind: Kind) -> list[str]:
    """Return the method ids of a kind in the order in which people see them: the best first."""
    known = methods_of(kind)
    first = [m for m in PREFERRED[kind] if m in known]
    return first + [m for m in known if m not in first]


def lacks(restorer: Restorer[Any]) -> str:
    """Return which packages or weights a method lacks on this machine, as a sentence, or ""."""
    absent = restorer.spec.needs.unmet(set(Role))
    if absent:
        return absent
    files = absent_weights(restorer.spec.weights)
    return f"Lacks its weights ({', '.join(files)}). Install CTRestore again." if files else ""


def _own() -> list[Any]:
    names = [m.name for m in pkgutil.iter_modules(package.__path__) if m.name != "registry"]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    return [module.RESTORER for module in modules if hasattr(module, "RESTORER")]


def _plugins() -> list[Any]:
    return [p.load() for p in importlib.metadata.entry_points(group=ENTRY_POINTS)]
