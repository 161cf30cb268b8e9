"""Which volume, what its values mean, and what is odd about it (layer: apps)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from ctrestorelib.apps.web.gateway.paths import confine
from ctrestorelib.apps.web.session.files import SeriesChoice
from ctrestorelib.apps.web.session.forms import LOOK, choose_button, field, node_field
from ctrestorelib.apps.web.session.loading import Loader, open_phantom
from ctrestorelib.apps.web.session.panels.panel import Panel
from ctrestorelib.core.errors import CTRestoreError
from ctrestorelib.mrml.actions.describing import facts_of
from ctrestorelib.mrml.scene import Node


class VolumePanel(Panel):
    """Open files, and choose the volume to work on."""

    key = "volume"
    title = "1. Volume"
    texts = ("facts", "warning", "path")
    buttons = ("phantom", "open", "series")

    def setup(self) -> None:
        """Make the loader."""
        self._choice: SeriesChoice | None = None
        self._seen: Any = None
        self.show(transformed=False, series=[], chosen_series="")
        self.loader = Loader(self.desk, self._ask, self._take_preset)

    def build(self) -> None:
        """Draw the panel."""
        self._build_opening()
        node_field(self.setting("input_volume"), none="Choose a volume")  # type: ignore[arg-type]
        self.line("facts", classes="pg-about")
        self.line("warning", classes="pg-problem", role="status")
        field(self.setting("input_unit"))
        field(
            self.setting("input_harden"),
            "Apply the transform to the result (harden)",
            v_if="ui_volume.transformed",
        )
        self.button("phantom", "Make a knee phantom to try this out", self._make_phantom,
                    "Makes a synthetic knee with and without noise. It needs no network and holds "
                    "no patient data.", block=True)  # fmt: skip

    def refresh(self) -> None:
        """Show facts and warnings of the chosen volume."""
        node = self.desk.store.get("input_volume")
        state = None if node is None else (node.GetID(), node.GetMTime(), _image_time(node))
        if state != self._seen:
            self._seen = state
            facts, warning = describe(node)
            self.show(facts=facts, warning=warning)
        self.show(transformed=node is not None and node.GetParentTransformNode() is not None)

    def open_paths(self, paths: list[Path]) -> None:
        """Open files in the background; the caller has checked that they are allowed."""
        self.desk.in_background(self.loader.open(paths))

    def _build_opening(self) -> None:
        with html.Div(classes="pg-drop", id="pg-drop"):
            html.P("Drop a DICOM folder or zip, NIfTI, NRRD, MetaImage, TIFF or projections here.")
            with html.Div(classes="pg-row"):
                choose_button("Choose files...")
                choose_button("Choose a folder...", folder=True)
            html.P(classes="pg-about", id="pg-upload-status", role="status", aria_live="polite")
        if self.desk.roots:
            with html.Div(classes="pg-row"):
                v3.VTextField(
                    label="Path on the computer that runs this page", classes="pg-grow",
                    model_value=("ui_volume.path",), update_modelValue=(self._typed, "[$event]"),
                    keydown_enter=self._open_typed,
                    __events=[("keydown_enter", "keydown.enter")], **LOOK,
                )  # fmt: skip
                self.button("open", "Open", self._open_typed)
        html.P("{{ ui_loading }}", v_if="ui_loading", classes="pg-status", role="status")
        with html.Div(v_if="ui_volume.series.length", classes="pg-row"):
            v3.VSelect(
                label="Which series?", items=("ui_volume.series",), classes="pg-grow",
                model_value=("ui_volume.chosen_series",),
                update_modelValue=(self._name_series, "[$event]"), **LOOK,
            )  # fmt: skip
            self.button("series", "Open", self._open_series)

    def _make_phantom(self) -> None:
        open_phantom(self.desk)

    def _typed(self, path: str) -> None:
        self.show(path=path or "")

    def _open_typed(self, *_args: Any) -> None:
        try:
            path = confine(self.shown["path"].strip(), self.desk.roots)
        except CTRestoreError as error:
            self.desk.report(str(error))
            return
        self.open_paths([path])

    def _ask(self, choice: SeriesChoice) -> None:
        self._choice = choice
        entries = [{"title": title, "value": number} for title, number in choice.entries]
        self.show(series=entries, chosen_series=choice.entries[0][1])
        self.desk.report("There are several series: choose one.", failed=False)

    def _name_series(self, number: str) -> None:
        self.show(chosen_series=number)

    def _open_series(self) -> None:
        choice, number = self._choice, self.shown["chosen_series"]
        self.show(series=[])
        if choice is not None:
            self.desk.in_background(self.loader.open([choice.path], number))

    def _take_preset(self, path: Path) -> bool:
        return any(panel.take_preset(path) for panel in self.desk.panels)


def describe(node: Node | None) -> tuple[str, str]:
    """Return the facts about a volume node, and what a person should know before using it."""
    if node is None:
        return "", ""
    try:
        facts = facts_of(node)
    except CTRestoreError as error:
        return "", str(error)
    (i, j, k), (x, y, z) = facts.size_ijk, facts.spacing_mm
    text = f"{i} x {j} x {k} voxels of {x:.3g} x {y:.3g} x {z:.3g} mm, {facts.unit}."
    stack = "These are X-ray projections with their geometry: use them under Reconstruct."
    return text, " ".join([*facts.doubts, *([stack] if facts.projections else [])])


def _image_time(node: Node) -> int:
    image = node.GetImageData()
    return 0 if image is None else int(image.GetMTime())
