"""Names, patient directions and the slice slider over each picture (layer: apps)."""

from __future__ import annotations

import asyncio
from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v3
from trame_server.utils.asynchronous import create_task

from ctrestorelib.apps.web.session.views.grid import MAXIMIZED
from ctrestorelib.apps.web.session.views.slices import SliceHandle, edge_letters
from ctrestorelib.mrml.comparison.layouts import VIEW_GROUP
from ctrestorelib.mrml.comparison.observers import Observers

_TELL_EVERY_S = 0.06
_NAMES = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}


class Frames:
    """Furnishes new views, and keeps slider and letters true.

    Parameters
    ----------
    server
        The trame server.
    """

    def __init__(self, server: Any) -> None:
        self._server = server
        self._observers = Observers()
        self._views: dict[str, Any] = {}
        self._changed: set[str] = set()
        self._telling = False

    def furnish(self, tag: str, view: Any) -> None:
        """Put texts and controls over a new view; its template is open."""
        if not hasattr(view, "set_slice_value"):
            _title("3D", "#b8b8d8")
            self._buttons(tag, view)
            return
        self._views[tag] = view
        self._server.state.setdefault(_state(tag), told(SliceHandle(view)))
        self._observers.add(
            view.get_view_node(), "ModifiedEvent", lambda *_: self._node_changed(tag)
        )
        self._observers.add(view._logic, "ModifiedEvent", lambda *_: self._node_changed(tag))
        self._slice_texts(tag, view)
        self._buttons(tag, view)

    def close(self) -> None:
        """Let go of the views."""
        self._observers.clear()

    def tell(self) -> None:
        """Send what has changed to the page now."""
        changed, self._changed = self._changed, set()
        with self._server.state as state:
            for tag in changed:
                state[_state(tag)] = told(SliceHandle(self._views[tag]))

    def move_to(self, tag: str, offset: float) -> None:
        """Scroll a view, and those linked to it, to a slice offset in mm."""
        set_offset(SliceHandle(self._views[tag]), offset)

    def _slice_texts(self, tag: str, view: Any) -> None:
        own = _state(tag)
        compared = view.get_view_node().GetViewGroup() == VIEW_GROUP or tag not in _NAMES
        red, green, blue = (round(255 * c) for c in view.get_view_node().GetLayoutColor())
        _title(f"{{{{ {own}.plane }}}}", "" if compared else f"rgb({red},{green},{blue})")
        for edge in ("left", "right", "top", "bottom"):
            html.Span(f"{{{{ {own}.{edge} }}}}", classes=f"ctr-over ctr-edge ctr-edge-{edge}")
        with html.Div(classes="ctr-over ctr-slide", v_show=(f"{own}.filled",)):
            html.Input(
                type="range",
                raw_attrs=[
                    f'aria-label="Slice position of the view {_NAMES.get(tag, tag)}, in mm"'
                ],
                min=(f"{own}.low",),
                max=(f"{own}.high",),
                step=(f"{own}.step",),
                value=(f"{own}.offset",),
                input=(lambda offset: self.move_to(tag, float(offset)), "[$event.target.value]"),
            )
            html.Output(f"{{{{ {own}.text }}}}")

    def _buttons(self, tag: str, view: Any) -> None:
        with html.Div(classes="ctr-over ctr-buttons"):
            with html.Button(title="Show everything", click=lambda: _fit(view), type="button"):
                v3.VIcon("mdi-fit-to-screen-outline", size=18)
            toggle = f"{MAXIMIZED} = {MAXIMIZED} === '{tag}' ? '' : '{tag}'"
            with html.Button(title="Large view, and back", click=toggle, type="button"):
                exit_or_enter = (
                    f"{MAXIMIZED} === '{tag}' ? 'mdi-fullscreen-exit' : 'mdi-fullscreen'"
                )
                v3.VIcon(icon=(exit_or_enter,), size=18)

    def _node_changed(self, tag: str) -> None:
        self._changed.add(tag)
        if not self._telling:
            self._telling = True
            create_task(self._tell_soon())

    async def _tell_soon(self) -> None:
        await asyncio.sleep(_TELL_EVERY_S)
        self._telling = False
        self.tell()


def told(handle: SliceHandle) -> dict[str, Any]:
    """Return what the page shows about a slice view."""
    low, high = handle.view.get_slice_range()
    step = handle.view.get_slice_step() or 1.0
    offset = handle.logic.GetSliceOffset()
    return {
        "plane": handle.node.GetOrientation() if _is_named(handle.node) else "Oblique",
        "filled": handle.composite.GetBackgroundVolumeID() is not None,
        "low": round(low, 4),
        "high": round(high, 4),
        "step": round(abs(step), 4),
        "offset": round(offset, 4),
        "text": f"{offset:.1f} mm",
        **edge_letters(handle.node),
    }


def set_offset(handle: SliceHandle, offset: float) -> None:
    """Scroll a view and those linked to it."""
    logic = handle.logic
    logic.StartSliceNodeInteraction(handle.node.SliceToRASFlag)
    logic.SetSliceOffset(offset)
    logic.EndSliceNodeInteraction()


def _is_named(node: Any) -> bool:
    return node.GetOrientation() in ("Axial", "Coronal", "Sagittal")


def _fit(view: Any) -> None:
    if hasattr(view, "set_slice_value"):
        fit_slice(SliceHandle(view))
    else:
        view.reset_focal_point()
        view.reset_camera()
        view.schedule_render()


def fit_slice(handle: SliceHandle) -> None:
    """Show the whole background volume, its middle slice, along its own axes."""
    volume = handle.logic.GetBackgroundLayer().GetVolumeNode()
    width, height = handle.render_window.GetSize()
    handle.logic.ResizeSliceNode(width, height)
    if volume is None:
        return
    handle.logic.StartSliceNodeInteraction(
        handle.node.ResetFieldOfViewFlag | handle.node.SliceToRASFlag
    )
    handle.node.RotateToVolumePlane(volume)
    handle.logic.FitSliceToVolume(volume, width, height)
    handle.logic.SnapSliceOffsetToIJK()
    _keep_to_the_middle(handle)
    handle.logic.EndSliceNodeInteraction()


def _keep_to_the_middle(handle: SliceHandle) -> None:
    """Undo a snap to the edge, where Slicer leaves the stack of a tilted gantry."""
    bounds = [0.0] * 6
    handle.logic.GetLowestVolumeSliceBounds(bounds)
    low, high = bounds[4:]
    if abs(handle.node.GetSliceOffset() - (low + high) / 2) > (high - low) / 4:
        handle.node.SetSliceOffset((low + high) / 2)


def _title(text: str, colour: str) -> None:
    with html.Div(classes="ctr-over ctr-title"):
        if colour:
            html.I(classes="ctr-dot", style=f"background: {colour}")
        html.Span(text)


def _state(tag: str) -> str:
    return f"views_slice_{tag}"
