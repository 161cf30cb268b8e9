"""The line between the two halves of a wipe, to be dragged with the mouse (layer: mrml)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import vtk

from ctrestorelib.mrml.comparison.host import SliceViewHandle
from ctrestorelib.mrml.comparison.observers import Observers
from ctrestorelib.mrml.comparison.overlay import Overlay, WipeCut

GRAB_PX = 8
"""The mouse takes the line within this many pixels; elsewhere the view's own tools work."""
_FIRST = 100.0  # before the view's own reaction to the mouse
_COLOUR = (1.0, 0.85, 0.3)


class Divider:
    """Draws the line of a wipe and lets the left mouse button move it.

    Parameters
    ----------
    view, overlay
        The view and its wipe.
    moved
        Called with the new position (0 to 1) while the line is dragged.
    """

    def __init__(
        self, view: SliceViewHandle, overlay: Overlay, moved: Callable[[float], None]
    ) -> None:
        self._view = view
        self._overlay = overlay
        self._moved = moved
        self._dragging = False
        self._over = False
        self._points = vtk.vtkPoints()
        self._actor = _line_actor(self._points)
        view.renderer.AddViewProp(self._actor)
        self._observers = Observers()
        self._commands = {
            event: self._observers.add(view.interactor, event, react, _FIRST)
            for event, react in (
                ("LeftButtonPressEvent", self._pressed),
                ("MouseMoveEvent", self._mouse_moved),
                ("LeftButtonReleaseEvent", self._released),
            )
        }
        # After the overlay, which watches the same and was there before.
        for watched in (view.logic, view.node):
            self._observers.add(watched, vtk.vtkCommand.ModifiedEvent, self._changed)
        self.update()

    @property
    def dragging(self) -> bool:
        """Whether the person holds the line."""
        return self._dragging

    def update(self) -> None:
        """Draw the line where the wipe is cut."""
        self._actor.SetVisibility(self._overlay.visible)
        cut, (width, height) = self._cut, self._overlay.size
        at = cut.pixel((width, height))
        ends = [(0, at), (width, at)] if cut.vertical else [(at, 0), (at, height)]
        for n, (x, y) in enumerate(ends):
            self._points.SetPoint(n, x, y, 0)
        self._points.Modified()

    def remove(self) -> None:
        """Take the line out of the view and let go of the mouse."""
        self._observers.clear()
        self._show_cursor(over=False)
        self._view.renderer.RemoveViewProp(self._actor)

    @property
    def _cut(self) -> WipeCut:
        cut = self._overlay.cut
        if not isinstance(cut, WipeCut):  # a checkerboard has no line
            message = "A divider belongs to a wipe."
            raise TypeError(message)
        return cut

    def _changed(self, _source: Any, _event: str) -> None:
        self.update()

    def _near(self) -> bool:
        cut = self._cut
        at = self._view.interactor.GetEventPosition()[1 if cut.vertical else 0]
        return self._overlay.visible and abs(at - cut.pixel(self._overlay.size)) <= GRAB_PX

    def _pressed(self, _source: Any, event: str) -> None:
        if self._near():
            self._dragging = True
            self._commands[event].SetAbortFlag(1)

    def _mouse_moved(self, _source: Any, event: str) -> None:
        if not self._dragging:
            self._show_cursor(over=self._near())
            return
        x, y = self._view.interactor.GetEventPosition()
        width, height = self._overlay.size
        share = 1.0 - y / height if self._cut.vertical else x / width
        self._moved(min(1.0, max(0.0, share)))
        self._commands[event].SetAbortFlag(1)

    def _released(self, _source: Any, event: str) -> None:
        if self._dragging:
            self._dragging = False
            self._commands[event].SetAbortFlag(1)

    def _show_cursor(self, *, over: bool) -> None:
        """Change the cursor on the way in and out only: views have cursors of their own."""
        if over == self._over:
            return
        self._over = over
        shape = vtk.VTK_CURSOR_SIZENS if self._cut.vertical else vtk.VTK_CURSOR_SIZEWE
        self._view.render_window.SetCurrentCursor(shape if over else vtk.VTK_CURSOR_DEFAULT)


def _line_actor(points: Any) -> Any:
    points.SetNumberOfPoints(2)
    lines = vtk.vtkCellArray()
    lines.InsertNextCell(2, (0, 1))
    data = vtk.vtkPolyData()
    data.SetPoints(points)
    data.SetLines(lines)
    mapper = vtk.vtkPolyDataMapper2D()
    mapper.SetInputData(data)
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*_COLOUR)
    actor.GetProperty().SetLineWidth(2)
    actor.PickableOff()
    return actor
