"""Fields of the page, drawn from the declared settings (layer: apps)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from ctrestorelib.apps.web.session.words import choice_label, none_label, tip_of
from ctrestorelib.core.params import ParamField
from ctrestorelib.mrml.parameters import NodeField, Setting

LISTS = {
    "vtkMRMLScalarVolumeNode": "volumes",
    "vtkMRMLMarkupsROINode": "boxes",
    "vtkMRMLMarkupsLineNode": "lines",
    "vtkMRMLSegmentationNode": "segmentations",
}
"""Which list of the state ``ui_nodes`` holds the nodes of a class."""

LOOK = {"density": "compact", "variant": "outlined", "hide_details": "auto"}


def field(setting: Setting, label: str = "", *, none: str = "None", **more: Any) -> None:
    """Draw the field of any setting.

    Parameters
    ----------
    setting
        Its declaration.
    label
        Instead of the declared one.
    none
        What an empty node selector says.
    more
        Further attributes of the widget, such as ``v_if``.
    """
    if isinstance(setting, NodeField):
        node_field(setting, label, none=none, **more)
    elif setting.optional and setting.kind in ("int", "float"):
        optional_number(setting, label, **more)
    else:
        _DRAW[setting.kind](setting, label or setting.info.label, **more)


def form(settings: Iterable[Setting]) -> None:
    """Draw plain settings, then the advanced ones in a section that opens on demand."""
    listed = list(settings)
    advanced = [s for s in listed if isinstance(s, ParamField) and s.info.advanced]
    for setting in listed:
        if setting not in advanced:
            field(setting)
    if advanced:
        with html.Details(classes="pg-more"):
            html.Summary("Advanced")
            for setting in advanced:
                field(setting)


def node_field(setting: NodeField, label: str = "", *, none: str = "None", **more: Any) -> None:
    """Draw a selector of nodes."""
    which = LISTS[setting.node_class]
    v3.VSelect(
        v_model=(setting.name,),
        label=label or setting.label,
        items=(f"[{{title: {_js(none)}, value: ''}}].concat(ui_nodes.{which})",),
        **_about(setting),
        **LOOK,
        **more,
    )


def slider(setting: ParamField, label: str, *, step: float = 0.01, **more: Any) -> None:
    """Draw a slider with its number beside it."""
    low, high = setting.info.bounds
    with html.Div(classes="pg-slider", title=tip_of(setting), **more):
        html.Div(label, classes="pg-label", id=f"{setting.name}-label")
        v3.VSlider(
            v_model=(setting.name,), min=low, max=high, step=step, hide_details=True,
            aria_labelledby=f"{setting.name}-label", density="compact", color="primary",
            data_setting=setting.name, __properties=_EXTRA,
        )  # fmt: skip
        number = f"Number({setting.name}).toFixed(2)"
        html.Output(f"{{{{ {number} }}}}{_unit(setting)}", classes="pg-number")


def optional_number(setting: ParamField, label: str = "", **more: Any) -> None:
    """Draw a number that can be left to the program: a check box, and the number if it is off."""
    start = setting.info.start
    if start is None:
        start = setting.info.bounds[0] or 0
    name = setting.name
    with html.Div(classes="pg-pair", title=tip_of(setting), **more):
        v3.VCheckbox(
            label=f"{label or setting.info.label}: {none_label(setting).lower()}",
            model_value=(f"{name} === null",),
            update_modelValue=f"{name} = $event ? null : {start:g}",
            density="compact",
            hide_details=True,
            data_setting=f"{name}-automatic",
            __properties=_EXTRA,
        )
        _number(setting, label or setting.info.label, v_if=f"{name} !== null")


def choose_button(label: str, tip: str = "", *, folder: bool = False) -> None:
    """Draw a button that lets the person choose files of theirs and sends them."""
    v3.VBtn(
        label, title=tip, variant="tonal", data_choose="folder" if folder else "files",
        __properties=["title", ("data_choose", "data-choose")],
    )  # fmt: skip


def _bool(setting: ParamField, label: str, **more: Any) -> None:
    v3.VCheckbox(
        v_model=(setting.name,), label=label, **{**_about(setting), **LOOK, **more}
    )  # fmt: skip


def _number(setting: ParamField, label: str, **more: Any) -> None:
    low, high = setting.info.bounds
    limits = {"min": ("min", low), "max": ("max", high)}
    given = {key: (f"{value:g}",) for key, (_, value) in limits.items() if value is not None}
    v3.VNumberInput(
        v_model=(setting.name,),
        label=label,
        suffix=setting.info.unit,
        step=(f"{step_of(setting):g}",),
        precision=("0" if setting.kind == "int" else "null",),
        control_variant="stacked",
        inset=True,
        inputmode="decimal",
        **given,
        **_about(setting),
        **LOOK,
        **more,
    )


def _choice(setting: ParamField, label: str, **more: Any) -> None:
    entries = ", ".join(
        f"{{title: {_js(choice_label(c))}, value: {_js(c)}}}" for c in setting.choices
    )
    if setting.optional:
        entries = f"{{title: {_js(none_label(setting))}, value: null}}, {entries}"
    v3.VSelect(
        v_model=(setting.name,), label=label, items=(f"[{entries}]",),
        **_about(setting), **LOOK, **more,
    )  # fmt: skip


def _text(setting: ParamField, label: str, **more: Any) -> None:
    v3.VTextField(v_model=(setting.name,), label=label, **_about(setting), **LOOK, **more)


_DRAW: dict[str, Any] = {
    "bool": _bool,
    "int": _number,
    "float": _number,
    "choice": _choice,
    "str": _text,
}
_EXTRA = ["aria_labelledby", ("data_setting", "data-setting"), "title", "inputmode"]


def step_of(setting: ParamField) -> float:
    """Return by how much an arrow changes a number: about a twentieth of its default or range."""
    if setting.kind == "int":
        return 1
    low, high = setting.info.bounds
    size = setting.default or setting.info.start or high or low or 1
    step = 1.0
    while step > abs(size) / 5:
        step /= 10
    return step


def _about(setting: Setting) -> dict[str, Any]:
    tip = tip_of(setting)
    return {"title": tip, "hint": tip, "data_setting": setting.name, "__properties": _EXTRA}


def _unit(setting: ParamField) -> str:
    return f" {setting.info.unit}" if setting.info.unit else ""


def _js(text: str) -> str:
    """Return a JavaScript string literal that may stand inside a double-quoted attribute."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace('"', "&quot;")
    return f"'{escaped}'"
