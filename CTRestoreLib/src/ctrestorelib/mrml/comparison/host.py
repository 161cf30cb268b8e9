"""What a comparison needs from the window that shows it (layer: mrml).

The desktop and the browser page each implement :class:`ViewHost`; nothing here knows either.
"""

from __future__ import annotations

from typing import Any, Protocol


class SliceViewHandle(Protocol):
    """One slice view on the screen."""

    @property
    def node(self) -> Any:
        """The ``vtkMRMLSliceNode``: orientation, offset, field of view."""

    @property
    def composite(self) -> Any:
        """The ``vtkMRMLSliceCompositeNode``: which volumes, linked or not."""

    @property
    def logic(self) -> Any:
        """The ``vtkMRMLSliceLogic`` that cuts the slices."""

    @property
    def renderer(self) -> Any:
        """The ``vtkRenderer`` that draws the slice image."""

    @property
    def render_window(self) -> Any:
        """The ``vtkRenderWindow`` of the view."""

    @property
    def interactor(self) -> Any:
        """The ``vtkRenderWindowInteractor`` that receives the mouse."""


class ViewHost(Protocol):
    """The window with its views."""

    @property
    def layout_node(self) -> Any:
        """The ``vtkMRMLLayoutNode`` in which layouts are described."""

    def layout(self) -> int:
        """Return the number of the layout on the screen."""

    def set_layout(self, layout_id: int) -> None:
        """Show a described layout; its views exist when this returns."""

    def slice_view(self, tag: str) -> SliceViewHandle | None:
        """Return the slice view with this singleton tag; ``None`` if the layout has none."""


def request_render(view: SliceViewHandle) -> None:
    """Ask the host to draw a view soon.

    A host that gives its displayable managers to the slice logic draws without more ado. Elsewhere
    the slice node says "modified": every host draws then, but all layers are cut anew before, which
    takes four times as long.
    """
    managers = view.logic.GetDisplayableManagerGroup()
    if managers is not None:
        managers.RequestRender()
    else:
        view.node.Modified()
