"""How a volume node is shown: window, colours, interpolation (layer: mrml)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import slicer
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.mrml.arrays import view_of
from ctrestorelib.mrml.scene import Node


class Window(NamedTuple):
    """A grey window: values from ``level - width / 2`` (black) to ``level + width / 2`` (white)."""

    level: float
    width: float


CT_PRESETS: Mapping[str, Window | None] = MappingProxyType(
    {
        "bone": Window(400.0, 2000.0),
        "soft tissue": Window(40.0, 400.0),
        "lung": Window(-550.0, 1500.0),
        "dental/fossil": None,
    }
)
"""Windows in HU by name; None is chosen from the values (dental cone-beam CT and fossils seldom
have calibrated values)."""

TAIL = 0.005
"""Share of the voxels that an automatic window lets become fully black, and fully white."""

SAMPLES = 200_000
"""An automatic window looks at about so many voxels, spread over the whole volume."""


def display_of(node: Node) -> Any:
    """Return a node's display node, made with Slicer's defaults but a fixed window if need be.

    Slicer's own way to make one looks for the best window at once, in every voxel: half a second
    for 300 slices, for numbers that the caller is about to replace.
    """
    if node.GetDisplayNode() is None:
        display = node.GetScene().AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
        display.AutoWindowLevelOff()
        display.SetDefaultColorMap()
        node.SetAndObserveDisplayNodeID(display.GetID())
    return node.GetDisplayNode()


def window_of(node: Node) -> Window | None:
    """Return the window that a node is shown with, or None if it has no display node yet."""
    display = node.GetDisplayNode()
    if display is None:
        return None
    return Window(float(display.GetLevel()), float(display.GetWindow()))


def set_window(node: Node, level: float, width: float) -> None:
    """Show a node with this window from now on; automatic window/level is switched off.

    Parameters
    ----------
    level, width
        In the unit of the node's values.

    Raises
    ------
    UsageError
        If they are not finite, or the width is not positive.
    """
    if not (np.isfinite([level, width]).all() and width > 0):
        message = f"A window needs a finite level and a positive width; got {level}, {width}."
        raise UsageError(message)
    display = display_of(node)
    with slicer.util.NodeModify(display):
        display.AutoWindowLevelOff()
        display.SetWindowLevel(float(width), float(level))


def set_preset(node: Node, name: str) -> Window:
    """Show a node with a window of :data:`CT_PRESETS`; return the window.

    Raises
    ------
    UsageError
        If there is no such preset.
    InputError
        If the window depends on the values and there is not one finite value.
    """
    if name not in CT_PRESETS:
        message = f"There is no window called {name!r}."
        raise UsageError(message, hint=f"There are: {', '.join(CT_PRESETS)}.")
    window = CT_PRESETS[name] or auto_window(view_of(node))
    set_window(node, *window)
    return window


def auto_window(values: NDArray[Any]) -> Window:
    """Return the window from the darkest to the brightest values but for the tails.

    Raises
    ------
    InputError
        If no value is finite.
    """
    sample = values.ravel()[:: max(1, values.size // SAMPLES)]
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        message = "The volume has no finite values to choose a window from."
        raise InputError(message)
    low, high = (float(q) for q in np.quantile(sample, (TAIL, 1.0 - TAIL)))
    return Window((low + high) / 2.0, (high - low) or 1.0)


def same_display(source: Node, target: Node) -> None:
    """Show ``target`` exactly as ``source``: window, colours, interpolation; threshold off.

    Window and level become fixed numbers on the target, so that both stay comparable. A source that
    is not shown yet gives nothing to copy: then the target gets an automatic window.
    """
    shown = source.GetDisplayNode()
    display = display_of(target)
    with slicer.util.NodeModify(display):
        display.AutoWindowLevelOff()
        display.ApplyThresholdOff()
        if shown is None:
            window = auto_window(view_of(target))
            display.SetWindowLevel(window.width, window.level)
            return
        display.SetWindowLevel(shown.GetWindow(), shown.GetLevel())
        display.SetAndObserveColorNodeID(shown.GetColorNodeID())
        display.SetInterpolate(shown.GetInterpolate())
        display.SetInvertDisplayScalarRange(shown.GetInvertDisplayScalarRange())
