"""What the 3D view shows: volume rendering on the processor, surfaces, its camera (layer: apps)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import slicer

from ctrestorelib.apps.web.session.views.host import PageViewHost
from ctrestorelib.apps.web.session.views.preview import (
    find_preview,
    is_current,
    preview_of,
)
from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.mrml.scene import Node, SceneContext

METHOD = "vtkMRMLCPURayCastVolumeRenderingDisplayNode"
PRESETS: Mapping[str, str] = MappingProxyType(
    {
        "CT-Bones": "Bones",
        "CT-AAA": "Bones and soft tissue",
        "CT-Lung": "Lung",
        "CT-MIP": "Brightest (MIP)",
    }
)
"""Slicer's own presets that suit CT, and what the page calls them."""
SMALL_VOXELS = 8_000_000
"""Volumes up to this size are rendered without asking."""
WANTED_FPS = 8.0
_FLOOR, _SKY = [18, 20, 24], [58, 64, 74]


class ThreeD:
    """Shows and hides the volume rendering of one volume at a time.

    Parameters
    ----------
    context, slicer_app, host
        The scene, its logics, the views.
    """

    def __init__(self, context: SceneContext, slicer_app: Any, host: PageViewHost) -> None:
        self._context = context
        self._app = slicer_app
        self._host = host
        self._source = ""
        self.preset = next(iter(PRESETS))
        self._logic.SetDefaultRenderingMethod(METHOD)

    @property
    def rendered(self) -> Node | None:
        """The volume whose rendering is shown."""
        node = self._context.node(self._source) if self._source else None
        display = self._display(node) if node is not None else None
        return node if display is not None and display.GetVisibility() else None

    @property
    def lost(self) -> bool:
        """Whether the volume that is rendered has been removed from the scene."""
        return bool(self._source) and self._context.node(self._source) is None

    def show(self, volume: Node, preset: str = "") -> None:
        """Show a volume's rendering, and no other one.

        Raises
        ------
        InputError
            If it has no image.
        UsageError
            If there is no such preset.
        """
        if volume.GetImageData() is None:
            message = f"'{volume.GetName()}' has no image to show in 3D."
            raise InputError(message, hint="Load its values first.")
        preset = preset or self.preset
        property_node = self._logic.GetPresetByName(preset)
        if preset not in PRESETS or property_node is None:
            message = f"There is no 3D preset called {preset!r}."
            raise UsageError(message, hint=f"There are: {', '.join(PRESETS)}.")
        self.prepare()
        display = self._display(volume) if is_current(self._context, volume) else None
        if display is None or self._source != volume.GetID():
            self.hide()
            preview = preview_of(self._context, volume)
            display = self._logic.CreateDefaultVolumeRenderingNodes(preview)
        display.GetVolumePropertyNode().Copy(property_node)
        display.SetVisibility(True)
        self._source, self.preset = volume.GetID(), preset
        self.fit()

    def hide(self) -> None:
        """Show no volume rendering; its memory is given back."""
        source, self._source = self._source, ""
        preview = find_preview(self._context, source)
        if preview is not None:
            display = self._logic.GetFirstVolumeRenderingDisplayNode(preview)
            for node in (display, display and display.GetVolumePropertyNode(), preview):
                if node is not None:
                    self._context.scene.RemoveNode(node)
        self.refresh()

    def fit(self) -> None:
        """Show everything from the front."""
        for view in self._views():
            view.reset_view()

    def refresh(self) -> None:
        """Draw the 3D views again."""
        for view in self._views():
            view.schedule_render()

    def prepare(self) -> None:
        """Make new 3D views quick: coarse while they move, no samples per pixel."""
        for view in self._views():
            node = view.get_view_node()
            node.SetVolumeRenderingQuality(slicer.vtkMRMLViewNode.Adaptive)
            node.SetExpectedFPS(WANTED_FPS)
            node.SetBoxVisible(False)
            node.SetAxisLabelsVisible(False)
            view.renderer().SetUseDepthPeelingForVolumes(False)
            view.set_background_gradient_color(_FLOOR, _SKY)

    @property
    def _logic(self) -> Any:
        return self._app.volume_rendering._slicer_obj

    def _views(self) -> list[Any]:
        return [view for view in self._host.views if not hasattr(view, "set_slice_value")]

    def _display(self, volume: Node) -> Any:
        preview = find_preview(self._context, volume.GetID())
        if preview is None:
            return None
        return self._logic.GetFirstVolumeRenderingDisplayNode(preview)
