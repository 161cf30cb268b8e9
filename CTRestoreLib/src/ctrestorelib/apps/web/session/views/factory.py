"""Makes Slicer's views for the page (layer: apps)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import vtk
from trame_rca.utils import RcaViewAdapter  # type: ignore[import-untyped, unused-ignore]
from trame_rca.widgets.rca import (  # type: ignore[import-untyped, unused-ignore]
    RemoteControlledArea,
)
from trame_server.utils.asynchronous import create_task
from trame_slicer.views import (
    IViewFactory,
    ScheduledRenderStrategy,
    SliceView,
    ThreeDView,
    ViewLayout,
    ViewLayoutDefinition,
    ViewType,
)

from ctrestorelib.apps.web.session.views.slices import adopt_node, adopt_view_node, image_first
from ctrestorelib.apps.web.session.views.streams import SLICE_PACE, THREE_D_PACE, Stream
from ctrestorelib.apps.web.session.views.windows import BrowserWindow

EVENT_EVERY_MS = 8
MOST_PIXELS = 900_000
"""A finer screen gets an enlarged picture: drawing in memory takes time with every pixel."""

Furnish = Callable[[str, Any], None]
Sized = Callable[[str, int, int], None]


@dataclass(frozen=True)
class PageView:
    """A view with what sends it to the browser."""

    view: Any
    stream: Stream
    adapter: Any
    window: BrowserWindow


class _Redraw(ScheduledRenderStrategy):  # type: ignore[misc, unused-ignore]
    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream

    def schedule_render(self) -> None:
        self._stream.schedule_render()


class PageViewFactory(IViewFactory):  # type: ignore[misc, unused-ignore]
    """Makes slice and 3D views; each becomes a template of the page under its tag.

    Parameters
    ----------
    server
        The trame server.
    furnish
        Called as ``furnish(tag, view)`` while the template is open: puts texts and controls over
        the picture.
    sized
        Called as ``sized(tag, width, height)`` when the browser has given a view its size.
    """

    def __init__(self, server: Any, furnish: Furnish, sized: Sized) -> None:
        super().__init__()
        self._server = server
        self._furnish = furnish
        self._sized = sized

    def can_create_view(self, view: ViewLayoutDefinition) -> bool:
        """Whether this is a slice or a 3D view."""
        return view.view_type in ViewType

    def parts(self, tag: str) -> PageView | None:
        """Return a view with its stream and its window; ``None`` if it was never opened."""
        found: PageView | None = self.get_factory_view(tag)
        return found

    def _get_slicer_view(self, view: PageView) -> Any:
        return view.view

    def _create_view(self, view: ViewLayoutDefinition, scene: Any, app_logic: Any) -> PageView:
        tag = view.singleton_tag
        flat = view.view_type is ViewType.SLICE_VIEW
        with _quiet():
            made = (SliceView if flat else ThreeDView)(scene=scene, app_logic=app_logic, name=tag)
        # Costly smooth edges: in memory every sample is paid for.
        made.render_window().SetMultiSamples(0)
        if flat:
            adopt_node(made, scene, tag)
            image_first(made)
        else:
            adopt_view_node(made, scene, tag)
        made.set_view_properties(view.properties)
        return self._connect(tag, made, flat)

    def _connect(self, tag: str, view: Any, flat: bool) -> PageView:
        cursor = f"views_cursor_{tag}"
        self._server.state.setdefault(cursor, "default")
        window = BrowserWindow(
            view.render_window(),
            lambda width, height: self._view_sized(tag, width, height),
            lambda shape: self._show_cursor(cursor, shape),
        )
        stream = Stream(window, SLICE_PACE if flat else THREE_D_PACE)
        adapter = RcaViewAdapter(
            window=window, name=tag, scheduler=stream, do_schedule_render_on_interaction=False
        )
        adapter.max_pixel_count = MOST_PIXELS
        view.set_scheduled_render(_Redraw(stream))
        self._make_template(tag, view, cursor)
        create_task(self._register(adapter))
        return PageView(view, stream, adapter, window)

    def _view_sized(self, tag: str, width: int, height: int) -> None:
        # A page that is loaded again says its sizes first, and has no picture yet.
        page_view = self.parts(tag)
        if page_view is not None:
            page_view.stream.forget()
        self._sized(tag, width, height)

    def _make_template(self, tag: str, view: Any, cursor: str) -> None:
        with ViewLayout(self._server, template_name=tag) as template:
            template.root.classes = "ctr-view"
            template.root.style = (f"`cursor: ${{{cursor}}}`",)
            RemoteControlledArea(
                name=tag,
                display="image",
                classes="ctr-picture",
                send_mouse_move=True,
                event_throttle_ms=(str(EVENT_EVERY_MS),),
            )
            self._furnish(tag, view)

    async def _register(self, adapter: Any) -> None:
        await self._server.ready
        self._server.root_server.controller.rc_area_register(adapter)

    def _show_cursor(self, name: str, shape: str) -> None:
        if self._server.state[name] != shape:
            with self._server.state as state:
                state[name] = shape


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out VTK's word on an event that trame-slicer observes and VTK no longer sends.

    The size comes from the browser, and :class:`BrowserWindow` sends that event itself.
    """
    shown = vtk.vtkObject.GetGlobalWarningDisplay()
    vtk.vtkObject.GlobalWarningDisplayOff()
    try:
        yield
    finally:
        vtk.vtkObject.SetGlobalWarningDisplay(shown)
