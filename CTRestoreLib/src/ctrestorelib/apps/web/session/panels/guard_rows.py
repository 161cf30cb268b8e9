"""What to know before denoising, and the lights of the result after it (layer: apps)."""

from __future__ import annotations

from typing import Any

from trame.widgets import html

from ctrestorelib.apps.web.session.panels.panel import Panel
from ctrestorelib.apps.web.session.tables import build_table, rows_of
from ctrestorelib.quality.lights import details_html, line_html


class GuardRows:
    """The rows with cautions and traffic lights.

    Parameters
    ----------
    panel
        Its texts and buttons hold those of the rows.
    """

    texts = ("guard", "lights", "details")
    buttons = ("removed", "numbers")

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._numbers_of = ""
        panel.show(cautions=[], table=rows_of(None))

    def build_cautions(self) -> None:
        """Draw what to know before denoising."""
        key = self._panel.state_key
        with (
            html.Ul(v_if=f"{key}.cautions.length", classes="pg-cautions", role="status"),
            html.Li(v_for=f"caution, n in {key}.cautions", key="n"),
        ):
            html.Span("{{ caution }}")

    def build_lights(self) -> None:
        """Draw the lights of the last result and what each of them says."""
        key = self._panel.state_key
        self._panel.line("guard", classes="pg-status", role="status", aria_live="polite")
        html.P(v_if=f"{key}.lights", v_html=(f"{key}.lights",), classes="pg-lights", role="status")
        with html.Div(classes="pg-row", v_if=f"{key}.lights"):
            self._panel.button("removed", "Show the removed noise", self._removed,
                               "Original minus result: it should look like noise, without "
                               "outlines of the body.")  # fmt: skip
        with html.Details(classes="pg-more", v_if=f"{key}.details"):
            html.Summary("What was checked")
            html.Div(v_html=(f"{key}.details",))
            self._panel.button("numbers", "Show all numbers", self._numbers,
                               "Puts every measure with its interval into a table.")  # fmt: skip
            build_table(f"{key}.table", "All measures")

    def refresh(self) -> None:
        """Look at the chosen volume if it is new, and show what is known."""
        desk = self._panel.desk
        guards, volume = desk.session.guards, desk.store.get("input_volume")
        if desk.store.get("denoise_guards") and not desk.session.busy:
            desk.attempt(lambda: guards.look_at(volume))
        result = guards.latest
        if result is None or result.GetID() != self._numbers_of:
            self._panel.show(table=rows_of(None))
        lights = guards.lights_of(result)
        self._panel.show(
            cautions=list(guards.cautions_of(volume)),
            guard="" if lights else guards.sentence_of(result),
            lights=line_html(lights),
            details=details_html(lights) if lights else "",
        )
        desk.watch()

    def _removed(self) -> None:
        desk = self._panel.desk
        result = desk.session.guards.latest
        if result is not None:
            desk.show_volume(desk.session.guards.removed_noise(result))

    def _numbers(self) -> None:
        desk = self._panel.desk
        result = desk.session.guards.latest
        if result is None:
            return
        table = desk.session.guards.show_table(result)
        if table is not None:
            self._numbers_of = result.GetID()
            self._panel.show(table=_narrow(rows_of(table)))


def _narrow(table: dict[str, Any]) -> dict[str, Any]:
    """Leave out the sentences: the lights say them, and the panel is narrow."""
    return {"head": table["head"][:-1], "rows": [row[:-1] for row in table["rows"]]}
