"""The bar above the views: layout, window, mouse, 3D (layer: apps)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from ctrestorelib.apps.web.session.views.three_d import PRESETS
from ctrestorelib.apps.web.session.views.windowing import CHOICES

LAYOUTS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        3: ("mdi-view-grid-outline", "Three planes and 3D"),
        6: ("mdi-alpha-a-box-outline", "Axial"),
        8: ("mdi-alpha-c-box-outline", "Coronal"),
        7: ("mdi-alpha-s-box-outline", "Sagittal"),
        4: ("mdi-cube-outline", "3D"),
    }
)
"""Slicer's layouts on the page: icon and what they show."""


def build_toolbar(actions: Any) -> None:
    """Write the bar into the current place of the page.

    Parameters
    ----------
    actions
        Has ``choose_layout(id)``, ``choose_window(name)``, ``custom_window(part, number)``,
        ``fit()``, ``drag_windows(on)``, ``render_volume(on)``, ``choose_preset(name)``.
    """
    with html.Div(classes="ctr-bar", raw_attrs=['role="toolbar"', 'aria-label="Views"']):
        _layouts(actions)
        _button("mdi-fit-to-screen-outline", "Show everything in all views", actions.fit)
        _windows(actions)
        _mouse(actions)
        _rendering(actions)
        with html.Div(classes="ctr-note", raw_attrs=['role="status"'], v_show=("views_note",)):
            html.Span("{{ views_note }}")


def _layouts(actions: Any) -> None:
    with html.Div(classes="ctr-group", raw_attrs=['role="group"', 'aria-label="Layout"']):
        for layout_id, (icon, name) in LAYOUTS.items():
            _button(
                icon,
                name,
                (actions.choose_layout, f"[{layout_id}]"),
                pressed=f"views_layout === {layout_id}",
            )


def _windows(actions: Any) -> None:
    with html.Div(classes="ctr-group", raw_attrs=['role="group"', 'aria-label="Grey window"']):
        for name, label in CHOICES.items():
            html.Button(
                label,
                type="button",
                click=(actions.choose_window, f"['{name}']"),
                raw_attrs=[_pressed(f"views_window_name === '{name}'")],
            )
    for key, label in (("level", "Level"), ("width", "Width")):
        with html.Label(label, title=f"{label} of the grey window, in the volume's unit"):
            html.Input(
                type="number",
                step="any",
                value=(f"views_window.{key}",),
                change=(actions.custom_window, f"['{key}', $event.target.value]"),
                disabled=("!views_filled",),
            )


def _mouse(actions: Any) -> None:
    _button(
        "mdi-contrast-circle",
        "Drag with the left button: change the grey window",
        (actions.drag_windows, "[!views_drag_windows]"),
        pressed="views_drag_windows",
    )


def _rendering(actions: Any) -> None:
    with html.Div(classes="ctr-group", v_show=("views_has_3d",)):
        _button(
            "mdi-cube-scan",
            "Volume rendering in 3D",
            (actions.render_volume, "[!views_rendered]"),
            pressed="views_rendered",
            label="Volume",
        )
        with html.Select(
            value=("views_preset",),
            change=(actions.choose_preset, "[$event.target.value]"),
            raw_attrs=['aria-label="How the volume looks in 3D"'],
        ):
            for name, label in PRESETS.items():
                html.Option(label, value=name)


def _button(
    icon: str,
    name: str,
    click: Callable[..., None] | tuple[Callable[..., None], str],
    *,
    pressed: str = "",
    label: str = "",
) -> None:
    said = [f'aria-label="{name}"', *([_pressed(pressed)] if pressed else [])]
    with html.Button(type="button", title=name, click=click, raw_attrs=said):
        v3.VIcon(icon, size=18)
        if label:
            html.Span(label)


def _pressed(expression: str) -> str:
    return f""":aria-pressed="{expression} ? 'true' : 'false'" """
