"""Window and level of the volumes on the page (layer: apps)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ctrestorelib.apps.web.session.views.host import PageViewHost
from ctrestorelib.core.errors import InputError
from ctrestorelib.mrml.arrays import view_of
from ctrestorelib.mrml.derived import DERIVED_ATTRIBUTE
from ctrestorelib.mrml.display import CT_PRESETS, Window, auto_window, set_window, window_of
from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.value_units import unit_of

AUTOMATIC = "automatic"
CHOICES: Mapping[str, str] = MappingProxyType(
    {
        "bone": "Bone",
        "soft tissue": "Soft tissue",
        "lung": "Lung",
        AUTOMATIC: "Automatic",
    }
)
"""Windows to choose from: their names and what the page calls them."""


def shown_volumes(scene: Any, host: PageViewHost) -> list[Node]:
    """Return the volumes in the slice views on the page, in reading order, none twice."""
    out: list[Node] = []
    for handle in host.slice_views:
        composite = handle.composite
        for node_id in (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()):
            node = scene.GetNodeByID(node_id) if node_id else None
            if node is not None and not any(node is other for other in out):
                out.append(node)
    return out


def windowed_volumes(volumes: list[Node]) -> list[Node]:
    """Return the volumes that share the first one's window.

    Differences and removed noise have a window of their own around zero; volumes in another unit
    cannot share one.
    """
    if not volumes:
        return []
    unit = unit_of(volumes[0])[0]
    return [volumes[0]] + [
        node
        for node in volumes[1:]
        if unit_of(node)[0] == unit and node.GetAttribute(DERIVED_ATTRIBUTE) is None
    ]


def apply_window(volumes: list[Node], window: Window) -> None:
    """Show volumes with this window.

    Raises
    ------
    UsageError
        If it is not a finite level and a positive width.
    """
    for node in windowed_volumes(volumes):
        if window_of(node) != window:
            set_window(node, *window)


def named_window(volumes: list[Node], name: str) -> Window:
    """Return the window of a preset; the automatic one follows the first volume's values.

    Raises
    ------
    InputError
        If no volume is shown, or it has not one finite value.
    """
    if not volumes:
        message = "No volume is shown."
        raise InputError(message, hint="Load one, or choose one to show.")
    return CT_PRESETS.get(name) or auto_window(view_of(volumes[0]))
