"""Remove noise from one volume, or from several in a row (layer: apps)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from ctrestorelib.apps.web.session.forms import LOOK, field, slider
from ctrestorelib.apps.web.session.marks import new_box, segments_of
from ctrestorelib.apps.web.session.panels.guard_rows import GuardRows
from ctrestorelib.apps.web.session.panels.method_choice import MethodChoice, is_preset
from ctrestorelib.apps.web.session.panels.panel import Panel
from ctrestorelib.apps.web.session.panels.run_row import RunRow
from ctrestorelib.jobs.presets import load_preset
from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.tasks.denoise import DenoiseTask
from ctrestorelib.restorer.spec import Kind, Role


class DenoisePanel(Panel):
    """Task, method, strength, region, result, Apply."""

    key = "denoise"
    title = "2. Remove noise (denoising)"
    texts = (*RunRow.texts, *GuardRows.texts)
    buttons = (*RunRow.buttons, *GuardRows.buttons, "save", "save_preset", "not_save", "box")

    def setup(self) -> None:
        """Make the rows that the panels share."""
        self.show(segments=[], others=[], batch=[])
        self.choice = MethodChoice(self, Kind.DENOISER, lambda: {Role.VOLUME, Role.MASK})
        self.run = RunRow(self, self._task, self._tasks)
        self.guards = GuardRows(self)

    def build(self) -> None:
        """Draw the panel."""
        self.choice.build()
        slider(self.setting("denoise_strength"), "Strength")  # type: ignore[arg-type]
        with html.Details(classes="pg-more"):
            html.Summary("Only in a region")
            with html.Div(classes="pg-row"):
                field(self.setting("denoise_roi"), "Box (ROI)", none="Whole volume",
                      classes="pg-grow")  # fmt: skip
                self.button(
                    "box",
                    "New box",
                    self._new_box,
                    "Makes a box in the middle of the volume; drag its handles.",
                )
            field(self.setting("denoise_mask"), "Segmentation", none="No segment")
            v3.VSelect(
                v_model=("denoise_mask_segment",), items=("ui_denoise.segments",),
                label="Segment", v_if="denoise_mask",
                hint="The result equals the original outside this segment.", **LOOK,
            )  # fmt: skip
        self.choice.build_settings()
        with html.Details(classes="pg-more"):
            html.Summary("Result and batch")
            field(self.setting("denoise_output"), "Result", none="New volume")
            v3.VSelect(
                label="Also denoise", items=("ui_denoise.others",), multiple=True, chips=True,
                model_value=("ui_denoise.batch",), update_modelValue=(self._tick, "[$event]"),
                hint="Tick further volumes to denoise them one after the other with the same "
                "settings.", **LOOK,
            )  # fmt: skip
            field(self.setting("denoise_guards"), "Check the result")
        self.guards.build_cautions()
        self.run.build()
        self.guards.build_lights()

    def refresh(self) -> None:
        """Show settings, further volumes and what Apply would do."""
        store = self.desk.store
        self.choice.refresh()
        chosen = store.get("input_volume")
        nodes = self.desk.host.nodes("vtkMRMLScalarVolumeNode")
        others = [_entry(node) for node in nodes if node is not chosen]
        known = {entry["value"] for entry in others}
        self.show(
            segments=segments_of(store.get("denoise_mask")),
            others=others,
            batch=[i for i in self.shown["batch"] if i in known],
            why_box="" if chosen is not None else "Choose a volume first.",
        )
        self.run.refresh()
        self.guards.refresh()

    def refresh_run(self) -> None:
        """Show progress."""
        self.run.refresh_run()
        self.guards.refresh()

    def take_preset(self, path: Path) -> bool:
        """Take a preset file of this panel; return whether it was one."""
        return taken(self.choice, Kind.DENOISER, path)

    def _task(self, volume: Node | None = None) -> DenoiseTask:
        desk = self.desk
        return DenoiseTask(desk.context, desk.store, volume, file_of=desk.file_of)

    def _tasks(self) -> list[DenoiseTask]:
        further = [self.desk.context.node(i) for i in self.shown["batch"]]
        return [self._task(), *(self._task(node) for node in further if node is not None)]

    def _tick(self, ids: list[str]) -> None:
        self.show(batch=list(ids or []))

    def _new_box(self) -> None:
        box = new_box(self.desk.context, self.desk.store.get("input_volume"))
        self.desk.change({"denoise_roi": box})


def taken(choice: MethodChoice, kind: Kind, path: Path) -> bool:
    """Load a preset file if it is one of this kind; return whether it was."""
    if not is_preset(path) or load_preset(path).kind is not kind:
        return False
    choice.load(path)
    return True


def _entry(node: Any) -> dict[str, str]:
    return {"title": node.GetName(), "value": node.GetID()}
