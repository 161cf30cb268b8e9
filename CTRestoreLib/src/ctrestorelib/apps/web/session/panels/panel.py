"""What all panels share: a section of the page, its texts, its reasons (layer: apps)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from ctrestorelib.apps.web.session.desk import Desk
from ctrestorelib.mrml.parameters import Setting


class Panel:
    """One section of the page.

    What it shows besides settings lies in one state entry, ``ui_<key>``: texts, and under
    ``why_<name>`` the reason for which the button ``<name>`` cannot be pressed ("" if it can).

    Parameters
    ----------
    desk
        Scene, settings and runs.
    """

    key = ""
    title = ""
    texts: tuple[str, ...] = ()
    buttons: tuple[str, ...] = ()

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        reasons = {f"why_{name}": "" for name in self.buttons}
        desk.state[self.state_key] = {**dict.fromkeys(self.texts, ""), **reasons}
        self.setup()

    @property
    def state_key(self) -> str:
        """The state entry with the panel's texts."""
        return f"ui_{self.key}"

    @property
    def shown(self) -> dict[str, Any]:
        """What the panel shows now."""
        found: dict[str, Any] = self.desk.state[self.state_key]
        return found

    def setup(self) -> None:
        """Prepare what the panel needs."""

    def build(self) -> None:
        """Draw the panel into the current place of the page."""

    def refresh(self) -> None:
        """Show the state of settings and session."""

    def refresh_run(self) -> None:
        """Show the progress of the run, where this panel started it."""

    def close(self) -> None:
        """Let go of what outlives the page."""

    def take_preset(self, path: Path) -> bool:
        """Take a preset file of this panel; return whether it was one."""
        del path
        return False

    def show(self, **values: Any) -> None:
        """Show these texts and reasons; the others stay."""
        new = {**self.shown, **values}
        if new != self.shown:
            self.desk.state[self.state_key] = new

    def setting(self, name: str) -> Setting:
        """Return the declaration of a setting."""
        return self.desk.settings[name]

    def line(self, text: str, **more: Any) -> None:
        """Draw one of the panel's texts; it takes no room while it is empty."""
        html.P(f"{{{{ {self.state_key}.{text} }}}}", v_if=f"{self.state_key}.{text}", **more)

    def button(
        self, name: str, label: str, act: Callable[[], Any], tip: str = "", **more: Any
    ) -> None:
        """Draw a button; pressed while it cannot be used, it says why.

        It is greyed but stays reachable by keyboard and finger, since only then can it answer.
        """
        why = f"{self.state_key}.why_{name}"
        v3.VBtn(
            label,
            click=lambda *_: self.press(name, act),
            aria_disabled=(f"!!{why}",),
            title=(f"{why} || {_quoted(tip)}",),
            classes=(f"{{'pg-off': {why}}}",),
            data_button=f"{self.key}-{name}",
            __properties=["aria_disabled", ("data_button", "data-button"), "title"],
            **{"size": "default", "variant": "tonal", **more},
        )

    def press(self, name: str, act: Callable[[], Any]) -> None:
        """Do what a button stands for, or say why that cannot be done now."""
        why = self.shown.get(f"why_{name}", "")
        if why:
            self.desk.report(why)
        else:
            self.desk.attempt(act)
        self.desk.refresh_later()


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
