"""How far a reconstruction can be trusted: lights, misfit of every view, map (layer: apps)."""

from __future__ import annotations

from trame.widgets import html

from ctrestorelib.apps.web.session.panels.panel import Panel
from ctrestorelib.apps.web.session.tables import build_table, rows_of
from ctrestorelib.apps.web.session.views.tables import chart_html
from ctrestorelib.core.errors import InputError
from ctrestorelib.mrml.measured_map import (
    is_laid_over,
    lay_over,
    legend_html,
    map_of,
    take_off,
)
from ctrestorelib.mrml.scan_checks import latest_reconstruction, lights_of, show_misfit
from ctrestorelib.mrml.scene import Node
from ctrestorelib.quality.lights import details_html, line_html


class CheckRows:
    """The rows with what the checks of the latest reconstruction found.

    Parameters
    ----------
    panel
        Its texts and buttons hold those of the rows.
    """

    texts = ("checked", "lights", "details", "chart")
    buttons = ("measured", "misfit")

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._misfit_of = ""
        panel.show(laid=False, mapped=False, table=rows_of(None), legend=legend_html())

    def build(self) -> None:
        """Draw lights, map button and what each check says."""
        key, panel = self._panel.state_key, self._panel
        panel.line("checked", classes="pg-about")
        html.P(v_if=f"{key}.lights", v_html=(f"{key}.lights",), classes="pg-lights", role="status")
        with html.Div(classes="pg-row", v_if=f"{key}.mapped"):
            label = f"{key}.laid ? 'Hide what was measured' : 'Show what was measured'"
            panel.button("measured", f"{{{{ {label} }}}}", self._toggle_map,
                         "Lays a map over the result: blue where the views decide, orange where "
                         "the method chose.")  # fmt: skip
        html.P(v_if=f"{key}.mapped && {key}.laid", v_html=(f"{key}.legend",), classes="pg-legend")
        with html.Details(classes="pg-more", v_if=f"{key}.details", open=True):
            html.Summary("What the checks say")
            html.Div(v_html=(f"{key}.details",))
            panel.button("misfit", "Show the misfit of every view", self._show_misfit,
                         "Chart and table: which view does not fit, and what it looks "
                         "like.")  # fmt: skip
            html.Div(v_if=f"{key}.chart", v_html=(f"{key}.chart",), classes="pg-chart")
            with html.Div(classes="pg-tall"):
                build_table(f"{key}.table", "Misfit of every view")

    def refresh(self) -> None:
        """Show what is known about the latest reconstruction."""
        node = self._latest()
        percent, lights = map_of(node), lights_of(node)
        if node is None or node.GetID() != self._misfit_of:
            self._panel.show(table=rows_of(None), chart="")
        self._panel.show(
            checked=f"Checked: {node.GetName()}" if node is not None and lights else "",
            lights=line_html(lights),
            details=details_html(lights),
            mapped=bool(lights) and percent is not None,
            laid=is_laid_over(self._panel.desk.context.scene, percent),
        )

    def _toggle_map(self) -> None:
        desk, node = self._panel.desk, self._latest()
        percent, scene = map_of(node), desk.context.scene
        if node is None or percent is None:
            return
        if is_laid_over(scene, percent):
            take_off(scene, percent)
        else:
            desk.show_volume(node)
            lay_over(scene, node, percent)
        desk.views.refresh()

    def _show_misfit(self) -> None:
        node = self._latest()
        shown = [] if node is None else show_misfit(self._panel.desk.context, node)
        if node is None or not shown:
            message = "The misfit of every view is not known for this result."
            raise InputError(message, hint="The first light says why.")
        self._misfit_of = node.GetID()
        self._panel.show(table=rows_of(shown[0]), chart=chart_html(shown[1]))

    def _latest(self) -> Node | None:
        desk = self._panel.desk
        return latest_reconstruction(desk.context, desk.session.history)
