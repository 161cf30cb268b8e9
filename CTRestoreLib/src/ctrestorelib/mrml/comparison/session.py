"""A comparison of volumes in linked views, from opening to closing (layer: mrml)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import slicer

from ctrestorelib.core.errors import CTRestoreError, InputError, UsageError
from ctrestorelib.mrml.comparison.host import ViewHost
from ctrestorelib.mrml.comparison.layouts import (
    ORIENTATIONS,
    ComparisonLayout,
    Mode,
    comparison_layout,
    is_comparison,
    register,
)
from ctrestorelib.mrml.comparison.observers import Observers
from ctrestorelib.mrml.comparison.panes import Look, Pane
from ctrestorelib.mrml.comparison.poses import (
    Pose,
    fitting_poses,
    pose_of,
    resize,
    shorter_side,
    take_pose,
)
from ctrestorelib.mrml.comparison.window_link import WindowLink
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.value_units import unit_of

ALL = "All"
"""Instead of an orientation: one row of views for each of the three."""
_LAST = -100.0
_FOUR_UP_LAYOUT = 3  # Slicer's own default with three slices and 3D


class Comparison:
    """Shows volumes in CTRestore's own views and gives the person's layout back.

    Slicer's own views are never changed: no volume, offset, zoom or link of theirs. The volumes
    themselves keep their values; only window and level of those compared are made equal, and stay
    so afterwards.

    Parameters
    ----------
    context
        The scene.
    host
        The window with the views.
    """

    def __init__(self, context: SceneContext, host: ViewHost) -> None:
        self._context = context
        self._host = host
        self._layout: ComparisonLayout | None = None
        self._look = Look()
        self._remembered: int | None = None
        self._volumes: list[Node] = []
        self._panes: list[Pane] = []
        self._kept: dict[str, Pose] = {}
        self.on_wipe: Callable[[float], None] = lambda _position: None
        """Called with the position when somebody drags the wipe's line in a view."""
        self._link: WindowLink | None = None
        self._observers = Observers()
        self._scene_closing = False

    @property
    def mode(self) -> Mode | None:
        """The way in which volumes are compared now; ``None`` when nothing is."""
        return None if self._layout is None else self._layout.mode

    @property
    def layout(self) -> ComparisonLayout | None:
        """The layout on the screen and what its views show."""
        return self._layout

    @property
    def look(self) -> Look:
        """Blend, wipe and checkerboard as they are set."""
        return self._look

    def show(
        self,
        volume_ids: Sequence[str],
        mode: Mode = Mode.SIDE_BY_SIDE,
        names: Sequence[str] | None = None,
        orientation: str = "Axial",
        *,
        with_charts: bool = False,
    ) -> None:
        """Compare volumes; slice and zoom are kept when the first volume stays the same.

        Parameters
        ----------
        volume_ids
            The original first. The third volume of ``THREE_UP`` is the removed noise, which keeps
            a window of its own.
        mode
            The way to compare.
        names
            What to call them; their nodes' names if not given.
        orientation
            ``"Axial"``, ``"Coronal"``, ``"Sagittal"`` or ``"All"``.
        with_charts
            Add a chart and a table below.

        Raises
        ------
        InputError
            If a volume is gone, or is no image of single values. Nothing has changed then.
        UsageError
            If the number of volumes does not fit the mode, or the orientation is unknown.
        """
        volumes = [self._volume(i) for i in volume_ids]
        names = [v.GetName() for v in volumes] if names is None else list(names)
        if len(names) != len(volumes):
            message = f"Each volume needs one name; got {len(names)} for {len(volumes)} volumes."
            raise UsageError(message)
        turned = ORIENTATIONS if orientation == ALL else (orientation,)
        layout = comparison_layout(mode, names, turned, with_charts=with_charts)
        kept = self._poses() if self._volumes[:1] == volumes[:1] else {}
        self._dismantle()
        try:
            self._build(layout, volumes, kept)
        except BaseException:
            self.close()
            raise

    def fit(self) -> None:
        """Show the middle of the first volume in all views, to one scale."""
        first = {pane.cell.orientation: pane.view for pane in reversed(self._panes)}
        if not first or self._volumes[0].GetScene() is None:
            return
        resize([pane.view for pane in self._panes])
        self._take(fitting_poses(first, self._volumes[0]))

    def settle(self) -> None:
        """Place the slices again, now that the window has given its views their final sizes.

        A window sizes new views only after the event that opened them: a desktop host calls this
        from a single-shot timer after :meth:`show`.
        """
        if not self._panes:
            return
        if self._kept:
            resize([pane.view for pane in self._panes])
            self._take(self._kept)
        else:
            self.fit()

    def set_blend(self, share: float) -> None:
        """Show this share (0 to 1) of the second volume in ``BLEND``."""
        self._look.blend = _share(share, "The blend")
        self._change()

    def set_wipe(self, position: float, *, vertical: bool | None = None) -> None:
        """Place the line of ``WIPE``.

        Parameters
        ----------
        position
            Share of the width from the left, or of the height from the top, 0 to 1.
        vertical
            Whether the line moves up and down; unchanged if not given.
        """
        self._look.wipe = _share(position, "The wipe's position")
        if vertical is not None:
            self._look.vertical = vertical
        self._change()

    def _dragged(self, position: float) -> None:
        self.set_wipe(position)
        self.on_wipe(self._look.wipe)

    def set_checker(self, divisions: int) -> None:
        """Show this many fields of ``CHECKERBOARD`` along the shorter side, 2 to 32."""
        if not 2 <= divisions <= 32:
            message = f"A checkerboard has 2 to 32 fields along a side; got {divisions}."
            raise UsageError(message)
        self._look.divisions = int(divisions)
        self._change()

    def close(self) -> None:
        """Empty CTRestore's views and return to the layout from before."""
        self._scene_closing = False
        self._dismantle()
        self._observers.clear()
        self._give_layout_back()

    def _build(self, layout: ComparisonLayout, volumes: list[Node], kept: dict[str, Pose]) -> None:
        shown = self._host.layout()
        if self._remembered is None:
            self._remembered = _FOUR_UP_LAYOUT if is_comparison(shown) else shown
        self._watch_scene()
        self._host.set_layout(register(self._host.layout_node, layout))
        self._layout, self._volumes = layout, volumes
        self._panes = [Pane(self._view(c.tag), c, volumes) for c in layout.cells]
        self._link = WindowLink(_same_kind(volumes, layout.mode))
        self._kept = kept if {c.orientation for c in layout.cells} <= kept.keys() else {}
        self.settle()
        for pane in self._panes:
            pane.dress(layout.mode, self._look, layout.labels, self._dragged)
        for pane in self._panes:
            pane.link()

    def _volume(self, node_id: str) -> Node:
        node = self._context.require(node_id, "volume to compare")
        image = node.GetImageData() if node.IsA("vtkMRMLScalarVolumeNode") else None
        if image is None or node.IsA("vtkMRMLLabelMapVolumeNode"):
            message = f"'{node.GetName()}' is not a grey-value volume with an image."
            raise InputError(message, hint="Choose CT volumes; segments are shown on top of them.")
        if image.GetNumberOfScalarComponents() != 1:
            message = f"'{node.GetName()}' has several values per voxel (colour or vector)."
            raise InputError(message, hint="Choose volumes with one grey value per voxel.")
        return node

    def _view(self, tag: str) -> Any:
        view = self._host.slice_view(tag)
        if view is None:
            message = f"The window did not open the comparison view {tag}."
            raise CTRestoreError(message, hint="Close the comparison and open it again.")
        return view

    def _poses(self) -> dict[str, Pose]:
        return {pane.cell.orientation: pose_of(pane.view) for pane in reversed(self._panes)}

    def _take(self, poses: dict[str, Pose]) -> None:
        first = self._panes[0]
        scale = poses[first.cell.orientation].field_mm / shorter_side(first.view)
        for pane in self._panes:
            take_pose(pane.view, poses[pane.cell.orientation], scale)

    def _change(self) -> None:
        for pane in self._panes:
            pane.change(self._look)

    def _watch_scene(self) -> None:
        if len(self._observers):
            return
        scene, events = self._context.scene, slicer.vtkMRMLScene
        self._observers.add(scene, events.NodeRemovedEvent, lambda *_: self._drop_removed())
        self._observers.add(scene, events.StartCloseEvent, self._scene_closes)
        # Last of all: Slicer restores its layout at the very end of closing a scene.
        self._observers.add(scene, events.EndBatchProcessEvent, self._batch_ended, _LAST)

    def _scene_closes(self, _scene: Any, _event: str) -> None:
        self._scene_closing = True
        self._dismantle()

    def _batch_ended(self, _scene: Any, _event: str) -> None:
        if self._scene_closing:
            self.close()

    def _drop_removed(self) -> None:
        # MRML has taken the volume out of the composite nodes already: its view is empty.
        if self._link is not None:
            self._link.forget_removed()

    def _dismantle(self) -> None:
        panes, self._panes = self._panes, []
        for pane in panes:
            pane.clear()
        if self._link is not None:
            self._link.remove()
        self._link, self._layout, self._volumes = None, None, []

    def _give_layout_back(self) -> None:
        remembered, self._remembered = self._remembered, None
        # The person may have chosen another layout meanwhile: that one stays.
        if remembered is not None and is_comparison(self._host.layout()):
            self._host.set_layout(remembered)


def _share(value: float, what: str) -> float:
    if not 0.0 <= value <= 1.0:
        message = f"{what} is a share between 0 and 1; got {value:g}."
        raise UsageError(message)
    return float(value)


def _same_kind(volumes: Sequence[Node], mode: Mode) -> list[Node]:
    """Return the volumes that a common window makes sense for."""
    images = volumes[:2] if mode is Mode.THREE_UP else volumes
    unit = unit_of(images[0])[0]
    return [v for v in images if unit_of(v)[0] == unit]
