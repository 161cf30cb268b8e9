"""A render window that the browser's mouse and size reach (layer: apps)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkWebCore import vtkRemoteInteractionAdapter

LEAST_PX = 24
"""The page announces a new view with a few pixels before it has been laid out: not its size."""
MOVING_FPS, STILL_FPS = 15.0, 1.0
"""What VTK aims at where it can draw more coarsely to be quicker: ray casting."""
_NO_EVENTS = ("StartInteractionEvent", "EndInteractionEvent")
_CURSORS = {
    vtk.VTK_CURSOR_HAND: "pointer",
    vtk.VTK_CURSOR_CROSSHAIR: "crosshair",
    vtk.VTK_CURSOR_SIZEALL: "move",
    vtk.VTK_CURSOR_SIZENS: "ns-resize",
    vtk.VTK_CURSOR_SIZEWE: "ew-resize",
    vtk.VTK_CURSOR_SIZENE: "nesw-resize",
    vtk.VTK_CURSOR_SIZESW: "nesw-resize",
    vtk.VTK_CURSOR_SIZENW: "nwse-resize",
    vtk.VTK_CURSOR_SIZESE: "nwse-resize",
}


class BrowserWindow:
    """Draws a VTK window into an array and passes the browser's events to its interactor.

    Parameters
    ----------
    render_window
        The ``vtkRenderWindow`` of a view.
    sized
        Called with width and height after each real change of size by the browser.
    touched
        Called after each mouse event with the cursor that the view wants, as a CSS name.
    """

    def __init__(
        self,
        render_window: Any,
        sized: Callable[[int, int], None],
        touched: Callable[[str], None],
    ) -> None:
        self._window = render_window
        self._interactor = render_window.GetInteractor()
        self._interactor.EnableRenderOff()
        self._sized, self._touched = sized, touched
        self.moving = False
        """Whether the next picture is one of many: a volume rendering is then drawn coarsely."""
        self._image = vtk.vtkImageData()

    @property
    def img_cols_rows(self) -> tuple[Any, int, int]:
        """Draw; return the picture ``[row, column, rgb]`` from the top, its columns and rows."""
        self._window.SetDesiredUpdateRate(MOVING_FPS if self.moving else STILL_FPS)
        self._window.Render()
        copy = slicer.vtkMRMLLayerDisplayableManager.RenderWindowBufferToImage
        copy(self._window, self._image)
        columns, rows, _ = self._image.GetDimensions()
        flat = vtk_to_numpy(self._image.GetPointData().GetScalars())
        return flat.reshape(rows, columns, -1)[::-1, :, :3].copy(), columns, rows

    def process_resize_event(self, width: int, height: int) -> None:
        """Give the view its size in pixels."""
        if min(width, height) < LEAST_PX:
            return
        self._interactor.UpdateSize(width, height)
        self._interactor.InvokeEvent(vtk.vtkCommand.WindowResizeEvent)
        self._sized(width, height)

    def process_interaction_event(self, event: dict[str, Any]) -> None:
        """Let the view react to the mouse."""
        if event["type"] in _NO_EVENTS:
            return
        vtkRemoteInteractionAdapter.ProcessEvent(self._interactor, json.dumps(event))
        self._touched(_CURSORS.get(self._window.GetCurrentCursor(), "default"))
