"""One grey-value window for all volumes that are compared (layer: mrml)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer

from ctrestorelib.mrml.comparison.observers import Observers


class WindowLink:
    """Keeps window and level of some volumes equal, whichever of them the person changes.

    At the start all take those of the first volume; when the link ends they stay as they are.

    Parameters
    ----------
    volumes
        Volume nodes with values in the same unit. Those without a display are left alone.
    """

    def __init__(self, volumes: Sequence[Any]) -> None:
        self._volumes = [v for v in volumes if v.GetScalarVolumeDisplayNode() is not None]
        self._busy = False
        self._observers = Observers()
        if len(self._volumes) < 2:
            return
        self._spread(self._volumes[0])
        for volume in self._volumes:
            event = slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent
            self._observers.add(volume, event, self._changed)

    def forget_removed(self) -> None:
        """Leave out volumes that are no longer in a scene."""
        self._volumes = [v for v in self._volumes if v.GetScene() is not None]

    def remove(self) -> None:
        """End the link."""
        self._observers.clear()
        self._volumes = []

    def _changed(self, volume: Any, _event: str) -> None:
        if not self._busy and volume in self._volumes:
            self._spread(volume)

    def _spread(self, source: Any) -> None:
        shown = source.GetScalarVolumeDisplayNode()
        if shown is None:
            return
        window, level = shown.GetWindow(), shown.GetLevel()
        self._busy = True
        try:
            for volume in self._volumes:
                _set_window(volume.GetScalarVolumeDisplayNode(), window, level)
        finally:
            self._busy = False


def _set_window(display: Any, window: float, level: float) -> None:
    if display is None:
        return
    if (display.GetWindow(), display.GetLevel()) != (window, level) or display.GetAutoWindowLevel():
        display.AutoWindowLevelOff()
        display.SetWindowLevel(window, level)
