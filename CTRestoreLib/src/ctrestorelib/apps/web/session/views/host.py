"""The page's views as the comparison's window (layer: apps)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from trame.widgets import client
from trame_slicer.views import ViewLayout, ViewLayoutDefinition

from ctrestorelib.apps.web.session.views.factory import Furnish, PageViewFactory
from ctrestorelib.apps.web.session.views.grid import MAXIMIZED, Box, boxes_of, show_boxes
from ctrestorelib.apps.web.session.views.slices import SliceHandle
from ctrestorelib.core.errors import UsageError
from ctrestorelib.mrml.comparison.observers import Observers

FOUR_UP = 3
"""Slicer's own layout of three slices and 3D."""
TEMPLATE = "ctr_views"
"""Name under which the page finds the arranged views."""
_LAST = -50.0
_FIRST_VIEWS = (
    ViewLayoutDefinition.axial_view,
    lambda: ViewLayoutDefinition.threed_view(name="1"),
    ViewLayoutDefinition.coronal_view,
    ViewLayoutDefinition.sagittal_view,
)


class PageViewHost:
    """Opens views, arranges them on the page, and tells when they have their sizes.

    Implements ``ctrestorelib.mrml.comparison.host.ViewHost``.

    Parameters
    ----------
    server
        The trame server; views are made inside its event loop.
    slicer_app
        ``trame_slicer``'s ``SlicerApp``: scene, logics, view manager.
    furnish
        Puts texts and controls over a new view; see :class:`PageViewFactory`.
    """

    def __init__(self, server: Any, slicer_app: Any, furnish: Furnish) -> None:
        self._server, self._app = server, slicer_app
        self._template = ViewLayout(server, template_name=TEMPLATE)
        self._template.root.classes = "ctr-area"
        self._template.root.style = ""
        self._box = Box("")
        self._shown = 0
        self._unsized: set[str] = set()
        self._sizes: dict[str, tuple[int, int]] = {}
        self.sized: list[Callable[[], None]] = []
        """Called once after a layout was set, when the browser has given all its views a size."""
        self.layout_changed: list[Callable[[int], None]] = []
        """Called with the number of each new layout."""
        server.state.setdefault(MAXIMIZED, "")
        self.factory = PageViewFactory(server, furnish, self._view_sized)
        slicer_app.view_manager.register_factory(self.factory)
        self._logic = slicer.vtkMRMLLayoutLogic()
        # Before the layouts bring nodes of their own: a view that makes its node is whole at once.
        for definition in _FIRST_VIEWS:
            slicer_app.view_manager.create_view(definition())
        self._logic.SetMRMLScene(slicer_app.scene)
        self._observers = Observers()
        self._observers.add(self.layout_node, "ModifiedEvent", self._layout_modified, _LAST)

    @property
    def layout_node(self) -> Any:
        """The ``vtkMRMLLayoutNode``."""
        return self._logic.GetLayoutNode()

    @property
    def tags(self) -> list[str]:
        """Tags of the views on the page, in reading order."""
        return [box.tag for box in self._box.views()]

    @property
    def views(self) -> list[Any]:
        """The views on the page."""
        found = [self.factory.get_view(tag) for tag in self.tags]
        return [view for view in found if view is not None]

    @property
    def slice_views(self) -> list[SliceHandle]:
        """The slice views on the page."""
        found = [self.slice_view(tag) for tag in self.tags]
        return [handle for handle in found if handle is not None]

    def layout(self) -> int:
        """Return the number of the layout on the page."""
        return self._shown

    def set_layout(self, layout_id: int) -> None:
        """Show a described layout; its views exist when this returns.

        Raises
        ------
        UsageError
            If no such layout is described, or it has no slice or 3D view.
        """
        box = self._boxes(layout_id)
        if not box.views():
            message = f"There is no layout with the number {layout_id} that this page can show."
            raise UsageError(message)
        self._arrange(layout_id, box)
        self.layout_node.SetViewArrangement(layout_id)
        for react in list(self.layout_changed):
            react(layout_id)

    def slice_view(self, tag: str) -> SliceHandle | None:
        """Return the slice view with this tag if it is on the page."""
        view = self.factory.get_view(tag) if tag in self.tags else None
        return SliceHandle(view) if view is not None and hasattr(view, "set_slice_value") else None

    def size_of(self, tag: str) -> tuple[int, int] | None:
        """Return a view's size in pixels as the browser gave it; ``None`` before."""
        return self._sizes.get(tag)

    def place(self) -> None:
        """Put the views into the current place of the page."""
        client.ServerTemplate(name=TEMPLATE)

    def refresh(self) -> None:
        """Draw all views on the page again."""
        for view in self.views:
            view.schedule_render()

    def close(self) -> None:
        """Let go of the scene."""
        self._observers.clear()

    def _arrange(self, layout_id: int, box: Box) -> None:
        manager = self._app.view_manager
        for item in box.views():
            manager.create_view(ViewLayoutDefinition.from_xml(item.xml))
        self._box, self._shown = box, layout_id
        self._unsized = set(self.tags)
        manager.set_current_view_ids(self.tags)
        self._server.state[MAXIMIZED] = ""
        self._write()

    def _write(self) -> None:
        with self._template:
            self._template.root.clear()
            show_boxes(self._box)

    def _view_sized(self, tag: str, width: int, height: int) -> None:
        self._sizes[tag] = (width, height)
        if tag not in self._unsized:
            return
        self._unsized.discard(tag)
        if not self._unsized:
            for react in list(self.sized):
                react()

    def _boxes(self, layout_id: int) -> Box:
        """Return the boxes of a layout; empty if it is not described."""
        known = self.layout_node.IsLayoutDescription(layout_id)
        xml = self.layout_node.GetLayoutDescription(layout_id) if known else ""
        return boxes_of(xml) if xml else Box("")

    def _layout_modified(self, _node: Any, _event: str) -> None:
        wanted = self.layout_node.GetViewArrangement()
        # While a scene is closed it says that there is no layout: the page keeps its own then.
        if wanted != self._shown and self._boxes(wanted).views():
            self.set_layout(wanted)
