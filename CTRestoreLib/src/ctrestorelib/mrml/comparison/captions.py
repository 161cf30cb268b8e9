"""The name of a volume inside the picture of it (layer: mrml).

A view's bar names it too, but the browser has no bars, and a wipe shows two volumes in one view.
The names stand at the top; Slicer's own corner texts keep the corners.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import vtk

from ctrestorelib.mrml.comparison.host import SliceViewHandle

_SIZE_PT = 15


class Captions:
    """Text lines at the top of a view.

    Parameters
    ----------
    view
        Where to write.
    texts
        One: in the middle; two: see :meth:`arrange`.
    colours
        One for each text, as ``"#rrggbb"``.
    """

    def __init__(self, view: SliceViewHandle, texts: Sequence[str], colours: Sequence[str]) -> None:
        self._renderer = view.renderer
        self._actors = [_text(t, colour) for t, colour in zip(texts, colours, strict=True)]
        for actor in self._actors:
            self._renderer.AddViewProp(actor)
        self.arrange(stacked=False)

    def arrange(self, *, stacked: bool) -> None:
        """Put the second of two texts at the right, or (``stacked``) at the bottom."""
        if len(self._actors) == 1:
            places = [(0.5, 1)]
        else:
            places = [(0.5, 1), (0.5, 0)] if stacked else [(0.25, 1), (0.75, 1)]
        for actor, (across, up) in zip(self._actors, places, strict=True):
            actor.GetPositionCoordinate().SetValue(across, 0.985 if up else 0.015)
            style = actor.GetTextProperty()
            if up:
                style.SetVerticalJustificationToTop()
            else:
                style.SetVerticalJustificationToBottom()

    def remove(self) -> None:
        """Take the texts out of the view."""
        for actor in self._actors:
            self._renderer.RemoveViewProp(actor)


def rgb(colour: str) -> tuple[float, float, float]:
    """Return ``"#rrggbb"`` as three numbers from 0 to 1."""
    red, green, blue = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    return red, green, blue


def _text(text: str, colour: str) -> Any:
    actor = vtk.vtkTextActor()
    actor.SetInput(f" {text} ")
    actor.PickableOff()
    style = actor.GetTextProperty()
    style.SetFontSize(_SIZE_PT)
    style.SetColor(*rgb(colour))
    style.SetJustificationToCentered()
    style.SetBackgroundColor(0.0, 0.0, 0.0)
    style.SetBackgroundOpacity(0.55)
    actor.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
    return actor
