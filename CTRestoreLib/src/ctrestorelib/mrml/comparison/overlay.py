"""Wipe and checkerboard: two volumes in one view, pixel by pixel (layer: mrml).

A slice logic keeps the images of its background and foreground, each already resliced, windowed and
coloured, as large as the view. This layer takes both, lays each over the view's background colour,
cuts them together and draws the result just above the slice image. Because the images stay
connected, scrolling, zooming and windowing need no code here.

Why an own image rather than a stencil on the logic's blend, or the foreground's opacity: those show
the background volume wherever the foreground has no data, so that half a result with a smaller
field of view would silently be the original. Here the place stays empty.

Props of a slice view are drawn in the order in which they were added. The image is therefore put
directly after the slice image; segments and markups keep their place above it.
"""

from __future__ import annotations

from typing import Any

import vtk

from ctrestorelib.mrml.comparison.host import SliceViewHandle, request_render
from ctrestorelib.mrml.comparison.observers import Observers


class Overlay:
    """An image made of the background and the foreground of a slice view.

    Parameters
    ----------
    view
        The slice view; its composite node names both volumes.
    cut
        How to make one image of two: :class:`WipeCut` or :class:`CheckerCut`.
    """

    def __init__(self, view: SliceViewHandle, cut: WipeCut | CheckerCut) -> None:
        self._view = view
        self.cut = cut
        self._size = (0, 0)
        self._sources: tuple[Any, Any] = (None, None)
        self._canvas = vtk.vtkImageCanvasSource2D()
        self._canvas.SetScalarTypeToUnsignedChar()
        self._canvas.SetNumberOfScalarComponents(4)
        self._sheets = (vtk.vtkImageBlend(), vtk.vtkImageBlend())
        cut.connect(*(sheet.GetOutputPort() for sheet in self._sheets))
        self._actor = _image_actor(cut.filter.GetOutputPort())
        self._observers = Observers()
        for watched in (view.logic, view.node):
            self._observers.add(watched, vtk.vtkCommand.ModifiedEvent, self._changed)
        self.update()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the view in pixels."""
        return self._size

    @property
    def visible(self) -> bool:
        """Whether both volumes are there to be shown."""
        return bool(self._actor.GetVisibility())

    def update(self) -> None:
        """Follow the view: its size, its volumes, its place among what is drawn."""
        logic = self._view.logic
        layers = (logic.GetBackgroundLayer(), logic.GetForegroundLayer())
        ports = [layer.GetImageDataConnection() if layer else None for layer in layers]
        self._actor.SetVisibility(all(port is not None for port in ports))
        if not self.visible:
            return
        width, height, _ = self._view.node.GetDimensions()
        self._set_size((max(1, width), max(1, height)))
        self._set_sources(ports[0], ports[1])
        self.cut.set_size(self._size)
        _draw_after_image(self._view.renderer, self._actor)

    def remove(self) -> None:
        """Take the image out of the view."""
        self._observers.clear()
        self._view.renderer.RemoveViewProp(self._actor)
        request_render(self._view)

    def _changed(self, _source: Any, _event: str) -> None:
        self.update()

    def _set_size(self, size: tuple[int, int]) -> None:
        red, green, blue = (255 * c for c in self._view.renderer.GetBackground())
        if size == self._size and self._canvas.GetDrawColor()[:3] == (red, green, blue):
            return
        self._size = size
        self._canvas.SetExtent(0, size[0] - 1, 0, size[1] - 1, 0, 0)
        self._canvas.SetDrawColor(red, green, blue, 255)
        self._canvas.FillBox(0, size[0] - 1, 0, size[1] - 1)

    def _set_sources(self, *ports: Any) -> None:
        # The logic makes new layer images when a volume or its kind of display changes.
        if all(new is old for new, old in zip(ports, self._sources, strict=True)):
            return
        self._sources = (ports[0], ports[1])
        for sheet, port in zip(self._sheets, ports, strict=True):
            sheet.RemoveAllInputs()
            sheet.AddInputConnection(self._canvas.GetOutputPort())
            sheet.AddInputConnection(port)


class WipeCut:
    """One volume on the left (or top), the other on the right (or bottom) of a line.

    Parameters
    ----------
    position
        Where the line lies, as share of the view's width from the left (height from the top).
    vertical
        Whether the line moves up and down.
    """

    def __init__(self, position: float = 0.5, *, vertical: bool = False) -> None:
        self.filter = vtk.vtkImageRectilinearWipe()
        self.position = position
        self.vertical = vertical
        self._ports: tuple[Any, Any] | None = None

    def connect(self, first: Any, second: Any) -> None:
        """Set the two images."""
        self._ports = (first, second)

    def set_size(self, size: tuple[int, int]) -> None:
        """Place the line in a view of this size in pixels."""
        if self._ports is None:
            return
        first, second = self._ports
        across = self.pixel(size)
        if self.vertical:
            # Images are counted from the bottom, the person looks from the top.
            first, second = second, first
            self.filter.SetWipeToVertical()
            self.filter.SetPosition(0, across)
        else:
            self.filter.SetWipeToHorizontal()
            self.filter.SetPosition(across, 0)
        self.filter.SetInputConnection(0, first)
        self.filter.SetInputConnection(1, second)

    def pixel(self, size: tuple[int, int]) -> int:
        """Return the first pixel, from the left or from the bottom, beyond the line."""
        if self.vertical:
            return round((1.0 - self.position) * size[1])
        return round(self.position * size[0])


class CheckerCut:
    """Fields of both volumes in turn.

    Parameters
    ----------
    divisions
        Number of fields along the shorter side of the view; fields are nearly square.
    """

    def __init__(self, divisions: int = 6) -> None:
        self.filter = vtk.vtkImageCheckerboard()
        self.divisions = divisions

    def connect(self, first: Any, second: Any) -> None:
        """Set the two images."""
        self.filter.SetInputConnection(0, first)
        self.filter.SetInputConnection(1, second)

    def set_size(self, size: tuple[int, int]) -> None:
        """Choose the number of fields in a view of this size in pixels."""
        field = max(1.0, min(size) / self.divisions)
        along = [max(1, round(n / field)) for n in size]
        self.filter.SetNumberOfDivisions(along[0], along[1], 1)


def _image_actor(port: Any) -> Any:
    mapper = vtk.vtkImageMapper()
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    mapper.SetInputConnection(port)
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetDisplayLocationToBackground()
    actor.PickableOff()
    return actor


def _draw_after_image(renderer: Any, actor: Any) -> None:
    """Put ``actor`` directly above the slice image, below everything else."""
    props = list(renderer.GetViewProps())
    images = [p for p in props if p is not actor and _is_slice_image(p)]
    wanted = [*images, actor, *(p for p in props if p is not actor and p not in images)]
    if props == wanted:
        return
    for prop in props:
        renderer.RemoveViewProp(prop)
    for prop in wanted:
        renderer.AddViewProp(prop)


def _is_slice_image(prop: Any) -> bool:
    return (
        prop.IsA("vtkActor2D")
        and prop.GetMapper() is not None
        and prop.GetMapper().IsA("vtkImageMapper")
        and prop.GetProperty().GetDisplayLocation() == vtk.VTK_BACKGROUND_LOCATION
    )
