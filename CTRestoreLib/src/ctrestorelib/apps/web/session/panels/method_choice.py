"""Task, method and settings of a method: the same rows for both kinds (layer: apps)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from ctrestorelib.apps.web.session.forms import LOOK, choose_button, form
from ctrestorelib.apps.web.session.panels.panel import Panel
from ctrestorelib.core.errors import UsageError
from ctrestorelib.jobs.presets import (
    Preset,
    all_presets,
    load_preset,
    save_preset,
    user_preset_folder,
)
from ctrestorelib.methods.registry import lacks, menu_of, method
from ctrestorelib.mrml.settings import method_prefix
from ctrestorelib.mrml.tasks.task import (
    chosen_method,
    missing_packages,
    params_of,
    set_params,
)
from ctrestorelib.restorer.spec import Kind, Role


class MethodChoice:
    """Preset, method and the generated form of the chosen method.

    Parameters
    ----------
    panel
        Where it is drawn; its state entry takes the choices.
    kind
        Denoisers or reconstructors.
    available
        Returns the roles that could be filled now; methods that need others are greyed.
    """

    def __init__(self, panel: Panel, kind: Kind, available: Callable[[], set[Role]]) -> None:
        self._panel, self._kind, self._available = panel, kind, available
        self._prefix = "denoise_" if kind is Kind.DENOISER else "reconstruct_"
        panel.show(method="", methods=[], presets=[], about_preset="", about_method="",
                   saving=False, preset_name="")  # fmt: skip

    def build(self) -> None:
        """Draw task and method."""
        key = self._panel.state_key
        with html.Div(classes="pg-row"):
            v3.VSelect(
                label="Task", model_value=(f"{self._prefix}preset",), items=(f"{key}.presets",),
                update_modelValue=(self._choose_preset, "[$event]"), classes="pg-grow",
                hint="Settings made for a task. You can change them afterwards.", **LOOK,
            )  # fmt: skip
            self._panel.button("save", "Save...", lambda: self._panel.show(saving=True),
                               "Save the settings below as a preset file of yours.")  # fmt: skip
            choose_button("Load...", "Load a preset file.")
        self._build_saving(key)
        self._panel.line("about_preset", classes="pg-about")
        v3.VSelect(
            label="Method", model_value=(f"{key}.method",), items=(f"{key}.methods",),
            item_props="props",
            update_modelValue=(self._choose_method, "[$event]"),
            hint="Which method runs. Greyed entries say what they lack.", **LOOK,
        )  # fmt: skip
        self._panel.line("about_method", classes="pg-about")

    def build_settings(self) -> None:
        """Draw the forms of all methods; the chosen one's is seen."""
        key = self._panel.state_key
        with html.Details(classes="pg-more"):
            html.Summary("Settings of the method")
            for method_id in menu_of(self._kind):
                names = self._panel.desk.store.names(method_prefix(method_id))
                with html.Div(v_if=f"{key}.method === '{method_id}'", classes="pg-form"):
                    form([self._panel.setting(name) for name in names])
                    if not names:
                        html.P("This method has no settings.", classes="pg-about")

    def refresh(self) -> None:
        """Show method and preset as stored; grey what cannot run."""
        store = self._panel.desk.store
        restorer = chosen_method(store, f"{self._prefix}method", self._kind)
        presets = {p.name: p for p in all_presets(self._kind)}
        chosen = presets.get(store.get(f"{self._prefix}preset"))
        own = [{"title": "My own settings", "value": ""}]
        lacks = missing_packages(restorer)
        asks = f" {lacks}" if lacks else ""
        self._panel.show(
            method=restorer.spec.id,
            methods=[self._entry(method_id) for method_id in menu_of(self._kind)],
            presets=own + [{"title": p.title, "value": p.name} for p in presets.values()],
            about_preset=chosen.summary if chosen else "",
            about_method=f"{restorer.spec.summary}{asks}",
        )

    def load(self, path: Path) -> None:
        """Take the settings of a preset file, and keep it among the person's own.

        Raises
        ------
        CTRestoreError
            If it is no preset, or one for the other panel.
        """
        preset = load_preset(path)
        if preset.kind is not self._kind:
            message = "This preset belongs to the other panel."
            raise UsageError(message)
        if preset.name not in {p.name for p in all_presets()}:
            save_preset(preset, user_preset_folder() / f"{_plain(preset.name)}.json")
        self._apply(preset)

    def _build_saving(self, key: str) -> None:
        with html.Div(v_if=f"{key}.saving", classes="pg-row"):
            v3.VTextField(
                label="Name of the preset", model_value=(f"{key}.preset_name",),
                update_modelValue=(self._name, "[$event]"), classes="pg-grow", **LOOK,
            )  # fmt: skip
            self._panel.button("save_preset", "Save preset", self._save)
            self._panel.button("not_save", "Close", lambda: self._panel.show(saving=False))

    def _entry(self, method_id: str) -> dict[str, Any]:
        spec = method(method_id).spec
        roles = self._available()
        why = "" if set(spec.needs.required) <= roles else spec.needs.unmet(roles)
        why = why or lacks(method(method_id))
        props = {"disabled": bool(why), "subtitle": why}
        return {"title": spec.title, "value": method_id, "props": props}

    def _choose_method(self, method_id: str) -> None:
        names = {f"{self._prefix}method": method_id, f"{self._prefix}preset": ""}
        self._panel.desk.change(names)

    def _choose_preset(self, name: str) -> None:
        found = [p for p in all_presets(self._kind) if p.name == name]
        if found:
            self._panel.desk.attempt(lambda: self._apply(found[0]))
        else:
            self._panel.desk.change({f"{self._prefix}preset": ""})

    def _apply(self, preset: Preset) -> None:
        store = self._panel.desk.store
        set_params(store, preset.method, dict(preset.params))
        values: dict[str, Any] = {f"{self._prefix}method": preset.method,
                                  f"{self._prefix}preset": preset.name}  # fmt: skip
        if self._kind is Kind.DENOISER:
            values["denoise_strength"] = preset.strength
        self._panel.desk.change(values)

    def _name(self, name: str) -> None:
        self._panel.show(preset_name=name)

    def _save(self) -> None:
        name = _plain(self._panel.shown["preset_name"] or "")
        store = self._panel.desk.store
        restorer = chosen_method(store, f"{self._prefix}method", self._kind)
        preset = Preset(
            name=name,
            title=name,
            summary="Your own settings.",
            method=restorer.spec.id,
            params=params_of(store, restorer.spec.id),
            strength=store.get("denoise_strength") if self._kind is Kind.DENOISER else 1.0,
        )
        save_preset(preset, user_preset_folder() / f"{name}.json")
        save_preset(preset, self._panel.desk.downloads / f"{name}.json")
        self._panel.desk.change({f"{self._prefix}preset": name})
        self._panel.show(saving=False)
        self._panel.desk.report(f"Saved {name}.json: it is under Save and export.", failed=False)


def is_preset(path: Path) -> bool:
    """Return whether a file says that it is a preset of CTRestore."""
    if path.suffix.lower() != ".json" or path.stat().st_size > 1 << 20:
        return False
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("format") == "ctrestore-preset"


def _plain(name: str) -> str:
    return re.sub(r"[^\w\- ]+", "_", name).strip()
