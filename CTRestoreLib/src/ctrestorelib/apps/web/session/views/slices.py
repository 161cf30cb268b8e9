"""Slice views of the page as the comparison wants them (layer: apps)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
"""Letters of the negative and the positive end of the axes right, anterior, superior."""


@dataclass(frozen=True)
class SliceHandle:
    """A slice view on the page; see ``ctrestorelib.mrml.comparison.host.SliceViewHandle``."""

    view: Any

    @property
    def node(self) -> Any:
        """The ``vtkMRMLSliceNode``."""
        return self.view.get_view_node()

    @property
    def composite(self) -> Any:
        """The ``vtkMRMLSliceCompositeNode``."""
        return self.logic.GetSliceCompositeNode()

    @property
    def logic(self) -> Any:
        """The ``vtkMRMLSliceLogic``."""
        return self.view._logic

    @property
    def renderer(self) -> Any:
        """The ``vtkRenderer`` of the slice image."""
        return self.view.renderer()

    @property
    def render_window(self) -> Any:
        """The ``vtkRenderWindow``."""
        return self.view.render_window()

    @property
    def interactor(self) -> Any:
        """The ``vtkRenderWindowInteractor``."""
        return self.view.interactor()


def adopt_node(view: Any, scene: Any, tag: str) -> None:
    """Tie a new view to the scene's slice node of this tag, and let its logic draw.

    A slice logic makes a node of its own even if a layout or a loaded scene has brought that
    singleton already; the view would then follow a node that is not in the scene. Without the
    displayable managers the logic could not ask for a picture by itself.
    """
    node = scene.GetSingletonNode(tag, "vtkMRMLSliceNode")
    if node is not None and view.get_view_node() is not node:
        view._logic.SetSliceNode(node)
        view.set_view_node(node)
    view._logic.SetDisplayableManagerGroup(view._displayable_manager_group)


def adopt_view_node(view: Any, scene: Any, tag: str) -> None:
    """Tie a new 3D view to the scene's node of this tag."""
    node = scene.GetSingletonNode(tag, "vtkMRMLViewNode")
    if node is not None and view.get_view_node() is not node:
        view.set_view_node(node)


def image_first(view: Any) -> None:
    """Put the slice image below everything else in the view.

    What is drawn later lies above. A view that opens over a segmentation which exists already gets
    its image last: segments and markups would shine through it only darkly.
    """
    renderer, image = view.renderer(), view._render_manager.image_actor
    view._render_manager._AddSliceActorToRendererIfNeeded()
    image.SetVisibility(image.GetMapper().GetNumberOfInputConnections(0) > 0)
    props = list(renderer.GetViewProps())
    for prop in props:
        renderer.RemoveViewProp(prop)
    for prop in [image, *(p for p in props if p is not image)]:
        renderer.AddViewProp(prop)


def edge_letters(node: Any) -> dict[str, str]:
    """Return the patient's directions at the edges: keys left, right, top, bottom.

    An oblique plane names the nearest direction first and adds a second letter where it leans more
    than about 20 degrees.
    """
    matrix = node.GetSliceToRAS()
    across = [matrix.GetElement(n, 0) for n in range(3)]
    up = [matrix.GetElement(n, 1) for n in range(3)]
    return {
        "left": _letters([-v for v in across]),
        "right": _letters(across),
        "top": _letters(up),
        "bottom": _letters([-v for v in up]),
    }


def _letters(direction: list[float]) -> str:
    length = sum(v * v for v in direction) ** 0.5 or 1.0
    order = sorted(range(3), key=lambda n: -abs(direction[n]))
    named = [n for n in order[:2] if abs(direction[n]) / length > 0.34] or order[:1]
    return "".join(_LETTERS[n][direction[n] > 0] for n in named)
