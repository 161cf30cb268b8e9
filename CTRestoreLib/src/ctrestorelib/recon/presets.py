"""Which settings suit how many views at which dose (layer: recon; standard library only)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

P = TypeVar("P")

FEW_VIEWS = 12
SPARSE_VIEWS = 40
LOW_DOSE_I0 = 3e4
LOW_DOSE = "-low-dose"

Presets = Mapping[str, Mapping[str, Any]]


def by_views(
    few: Mapping[str, Any], sparse: Mapping[str, Any], many: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return presets for few, sparse and many views that suit every dose alike."""
    sizes = {"few": few, "sparse": sparse, "many": many}
    return {f"{name}-views{dose}": dict(values) for name, values in sizes.items()
            for dose in ("", LOW_DOSE)}  # fmt: skip


def preset_name(views: int, i0: float | None = None) -> str:
    """Return the preset for a scan: ``few-``, ``sparse-`` or ``many-views``, with ``-low-dose``.

    Up to 12 views are few, up to 40 sparse. Below 30,000 counts per pixel the dose is low;
    unknown counts are taken as enough.
    """
    size = "few" if views <= FEW_VIEWS else "sparse" if views <= SPARSE_VIEWS else "many"
    low = LOW_DOSE if i0 is not None and i0 < LOW_DOSE_I0 else ""
    return f"{size}-views{low}"


def resolved(params: P, presets: Presets, views: int, i0: float | None = None) -> P:
    """Return ``params`` with every None filled from the preset of the scan.

    Values that the preset does not name stay None.
    """
    preset = presets[preset_name(views, i0)]
    empty = [f.name for f in fields(params) if getattr(params, f.name) is None]  # type: ignore[arg-type]
    chosen = {name: preset[name] for name in empty if name in preset}
    return replace(params, **chosen)  # type: ignore[type-var]
