"""The view area of the page: everything that shows volumes (layer: apps)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trame.widgets import client, html

from ctrestorelib.apps.web.session.views import toolbar
from ctrestorelib.apps.web.session.views.frames import Frames, fit_slice
from ctrestorelib.apps.web.session.views.host import FOUR_UP, PageViewHost
from ctrestorelib.apps.web.session.views.quality_page import QualityPage
from ctrestorelib.apps.web.session.views.three_d import PRESETS, SMALL_VOXELS, ThreeD
from ctrestorelib.apps.web.session.views.windowing import (
    AUTOMATIC,
    CHOICES,
    apply_window,
    named_window,
    shown_volumes,
)
from ctrestorelib.core.errors import CTRestoreError, InputError, UsageError
from ctrestorelib.mrml.comparison.layouts import is_comparison
from ctrestorelib.mrml.comparison.observers import Observers
from ctrestorelib.mrml.comparison.session import Comparison
from ctrestorelib.mrml.display import CT_PRESETS, Window, window_of
from ctrestorelib.mrml.scene import Node, SceneContext

CSS = Path(__file__).with_name("assets") / "views.css"
_STANDARD = tuple(toolbar.LAYOUTS)
_START = {
    "views_layout": FOUR_UP,
    "views_window": {"level": 40, "width": 400},
    "views_window_name": "",
    "views_drag_windows": True,
    "views_rendered": False,
    "views_preset": next(iter(PRESETS)),
    "views_has_3d": True,
    "views_filled": False,
    "views_note": "",
}


class PageViews:
    """The views with their bar; made by :func:`build_views`.

    Parameters
    ----------
    server
        The trame server.
    slicer_app
        ``trame_slicer``'s ``SlicerApp``.
    context
        Its scene and logics.
    """

    def __init__(self, server: Any, slicer_app: Any, context: SceneContext) -> None:
        self._server, self._app, self._context = server, slicer_app, context
        for name, value in _START.items():
            server.state.setdefault(name, value)
        self._frames = Frames(server)
        self.host = PageViewHost(server, slicer_app, self._frames.furnish)
        """The views, for ``Comparison``; ``host.sized`` and ``host.layout_changed`` are lists to
        append functions to."""
        self.comparison = Comparison(context, self.host)
        """The page's one comparison; it is placed again by itself once its views have sizes."""
        self.three_d = ThreeD(context, slicer_app, self.host)
        self.quality = QualityPage(server, context)
        """Charts and tables of what was measured; ``quality.ui()`` places all of them."""
        self._volume = ""
        self._watched: list[Any] = []
        self._observers = Observers()
        self._displays = Observers()
        self.host.sized.append(self._sized)
        self.host.layout_changed.append(self._layout_changed)
        self._observe_scene()
        self._start_mouse()
        self.host.set_layout(FOUR_UP)

    @property
    def layout_changed(self) -> list[Callable[[int], None]]:
        """Functions that are called with the number of each new layout."""
        return self.host.layout_changed

    @property
    def volume(self) -> Node | None:
        """The volume that :meth:`show_volume` showed last, while it is in the scene."""
        return self._context.node(self._volume) if self._volume else None

    def ui(self, parent: Any = None) -> None:
        """Put the bar and the views into the page; they fill their parent.

        Parameters
        ----------
        parent
            A trame element; the current place of the page if not given.
        """
        if parent is not None:
            with parent:
                self.ui()
            return
        client.Style(CSS.read_text(encoding="utf-8"))
        with html.Div(classes="ctr-views", style=_FILL):
            toolbar.build_toolbar(self)
            with html.Div(style="flex: 1; min-height: 0; display: flex;"):
                self.host.place()

    def show_volume(self, node: Node) -> None:
        """Show one volume from three sides and in 3D; an open comparison is closed.

        The volume rendering comes by itself for small volumes only; the bar has a button for it.

        Raises
        ------
        InputError
            If the node is no volume with an image.
        """
        if not node.IsA("vtkMRMLScalarVolumeNode") or node.GetImageData() is None:
            message = f"'{node.GetName()}' is not a volume with an image."
            raise InputError(message, hint="Choose a CT volume.")
        self._close_comparison()
        self._volume = node.GetID()
        if self.host.layout() not in _STANDARD:
            self.host.set_layout(FOUR_UP)
        self._fill()
        self.fit()
        small = node.GetImageData().GetNumberOfPoints() <= SMALL_VOXELS
        self._try(lambda: self.three_d.show(node) if small else self.three_d.hide())
        self.refresh()

    def refresh(self) -> None:
        """Show what the scene holds now: draw all views, tell window and slices to the page."""
        self.three_d.prepare()
        self._watch_windows()
        self._tell()
        self.quality.refresh()
        self.host.refresh()

    def fit(self) -> None:
        """Show everything in all views on the page."""
        if self.comparison.mode is not None:
            self.comparison.fit()
        else:
            for handle in self.host.slice_views:
                fit_slice(handle)
        self.three_d.fit()

    def close(self) -> None:
        """Let go of the scene."""
        self.comparison.close()
        for observers in (self._observers, self._displays):
            observers.clear()
        self._frames.close()
        self.quality.close()
        self.host.close()

    # What the bar does.

    def choose_layout(self, layout_id: int) -> None:
        """Show one of Slicer's layouts; an open comparison is closed."""
        self._close_comparison()
        self._try(lambda: self.host.set_layout(int(layout_id)))
        self._fill()

    def choose_window(self, name: str) -> None:
        """Give the shown volumes the window of a preset."""
        volumes = shown_volumes(self._context.scene, self.host)
        self._try(lambda: apply_window(volumes, named_window(volumes, name)))
        self._tell(name if name == AUTOMATIC else "")

    def custom_window(self, part: str, number: Any) -> None:
        """Change ``"level"`` or ``"width"`` of the shown volumes to a number that was typed."""
        self._try(lambda: self._set_part(part, number))
        self._tell()

    def drag_windows(self, on: bool) -> None:
        """Let a drag with the left button change the window, or leave it to markups."""
        with self._server.state as state:
            state.views_drag_windows = bool(on)
        self._start_mouse()

    def render_volume(self, on: bool) -> None:
        """Show or hide the volume rendering of the shown volume."""
        volumes = shown_volumes(self._context.scene, self.host)
        volume = self.volume or (volumes[0] if volumes else None)
        if not on:
            self.three_d.hide()
        elif volume is not None:
            self._try(lambda: self.three_d.show(volume))
        self._tell()

    def choose_preset(self, name: str) -> None:
        """Change how the volume looks in 3D."""
        rendered = self.three_d.rendered
        if rendered is not None:
            self._try(lambda: self.three_d.show(rendered, name))
        elif name in PRESETS:
            self.three_d.preset = name
        self._tell()

    def _fill(self) -> None:
        """Put the shown volume into Slicer's own slice views."""
        if is_comparison(self.host.layout()):
            return
        volume = self.volume
        for handle in self.host.slice_views:
            handle.composite.SetBackgroundVolumeID(None if volume is None else volume.GetID())
            handle.composite.SetForegroundVolumeID(None)
            handle.composite.SetLinkedControl(0)
        self.refresh()

    def _sized(self) -> None:
        if self.comparison.mode is not None:
            self.comparison.settle()
        else:
            self.fit()
        self.refresh()

    def _layout_changed(self, layout_id: int) -> None:
        self.three_d.prepare()
        with self._server.state as state:
            state.views_layout = layout_id
            state.views_has_3d = len(self.host.views) > len(self.host.slice_views)
        self._watch_windows()

    def _close_comparison(self) -> None:
        if self.comparison.mode is not None:
            self.comparison.close()

    def _set_part(self, part: str, number: Any) -> None:
        volumes = shown_volumes(self._context.scene, self.host)
        window = window_of(volumes[0]) if volumes else None
        if window is None:
            message = "No volume is shown."
            raise InputError(message, hint="Load one, or choose one to show.")
        try:
            value = float(number)
        except (TypeError, ValueError) as error:
            message = f"The {part} of a window is a number; got {str(number)[:40]!r}."
            raise UsageError(message) from error
        apply_window(volumes, window._replace(**{part: value}))

    def _tell(self, chosen: str = "") -> None:
        volumes = shown_volumes(self._context.scene, self.host)
        window = (window_of(volumes[0]) if volumes else None) or Window(40.0, 400.0)
        with self._server.state as state:
            state.views_window = {"level": _short(window.level), "width": _short(window.width)}
            state.views_window_name = chosen or _name_of(window)
            state.views_filled = bool(volumes)
            state.views_rendered = self.three_d.rendered is not None
            state.views_preset = self.three_d.preset

    def _try(self, act: Callable[[], Any]) -> None:
        note = ""
        try:
            act()
        except CTRestoreError as error:
            note = str(error)
        with self._server.state as state:
            state.views_note = note

    def _start_mouse(self) -> None:
        node = self._app.app_logic.GetInteractionNode()
        wanted = self._server.state.views_drag_windows
        node.SetCurrentInteractionMode(node.AdjustWindowLevel if wanted else node.ViewTransform)

    def _observe_scene(self) -> None:
        events = self._context.scene
        self._observers.add(events, events.EndCloseEvent, lambda *_: self._scene_closed())
        self._observers.add(events, events.NodeRemovedEvent, lambda *_: self._node_removed())

    def _scene_closed(self) -> None:
        self._volume = ""
        self.three_d.hide()
        self._start_mouse()
        self.refresh()

    def _node_removed(self) -> None:
        if self.three_d.lost:
            self.three_d.hide()
            self._tell()

    def _watch_windows(self) -> None:
        volumes = shown_volumes(self._context.scene, self.host)
        displays = [v.GetDisplayNode() for v in volumes if v.GetDisplayNode() is not None]
        if displays == self._watched:
            return
        self._displays.clear()
        self._watched = displays
        for display in displays[:1]:
            self._displays.add(display, "ModifiedEvent", lambda *_: self._tell())


def build_views(server: Any, slicer_app: Any, context: SceneContext) -> PageViews:
    """Make the views of the page; call it once, inside the server's event loop.

    Parameters
    ----------
    server
        The trame server (``client_type="vue3"``).
    slicer_app
        ``trame_slicer``'s ``SlicerApp``, one for the process.
    context
        The same scene with its logics.
    """
    return PageViews(server, slicer_app, context)


def _name_of(window: Window) -> str:
    return next((n for n in CHOICES if CT_PRESETS.get(n) == window), "")


def _short(value: float) -> float:
    return float(f"{value:.5g}")


_FILL = (
    "display: flex; flex-direction: column; width: 100%; height: 100%; flex: 1;"
    " min-width: 0; min-height: 0; background: #000;"
)
