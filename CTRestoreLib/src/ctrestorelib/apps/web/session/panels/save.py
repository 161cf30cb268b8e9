"""Save a volume with the record of how it was made, the report, the scene (layer: apps)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from trame.widgets import html

from ctrestorelib.apps.web.session import downloads
from ctrestorelib.apps.web.session.forms import field
from ctrestorelib.apps.web.session.panels.panel import Panel
from ctrestorelib.core.errors import CTRestoreError
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.mrml import records
from ctrestorelib.mrml.actions.comparing import chosen_volumes
from ctrestorelib.mrml.files import save_volume_node
from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.value_units import unit_of


class SavePanel(Panel):
    """Volume, file type, downloads; command line and Python of a result."""

    key = "save"
    title = "7. Save and export"
    texts = ("status", "code")
    buttons = ("volume", "record", "report", "scene", "command", "python")

    def setup(self) -> None:
        """Begin without files."""
        self.show(files=[])

    def build(self) -> None:
        """Draw the panel."""
        field(self.setting("export_volume"), "Volume", none="Choose a volume")
        field(self.setting("export_format"), "File type")
        field(self.setting("export_record"), "Write how it was made beside it (.json)")
        with html.Div(classes="pg-row"):
            self.button("volume", "Save volume", self._save_volume,
                        "Writes the file; nothing is overwritten.", color="primary",
                        variant="flat")  # fmt: skip
            self.button(
                "record",
                "Save record",
                self._save_record,
                "Writes how the result was made (.json); 'ctrestore replay' repeats it.",
            )
        with html.Div(classes="pg-row"):
            self.button("report", "Save report", self._save_report, "One HTML file in which the "
                        "compared volumes can be looked at and measured.")  # fmt: skip
            self.button("scene", "Save scene", self._save_scene,
                        "Everything in one file (.mrb) that 3D Slicer opens.")  # fmt: skip
        with html.Div(classes="pg-row"):
            self.button(
                "command",
                "Copy command line",
                lambda: self._copy(records.command_line_of),
                "Copies the ctrestore command that makes this result again.",
            )
            self.button("python", "Copy Python", lambda: self._copy(records.python_of),
                        "Copies a Python script that makes this result again.")  # fmt: skip
        html.Textarea(
            v_if="ui_save.code", value=("ui_save.code",), readonly=True, rows=4,
            classes="pg-code", aria_label="How to make this result again", id="pg-code",
            __properties=["readonly", "rows", "aria_label", "value"],
        )  # fmt: skip
        self.line("status", classes="pg-status", role="status")
        html.Div("Files", classes="pg-label", v_if="ui_save.files.length")
        with (
            html.Ul(classes="pg-files", v_if="ui_save.files.length"),
            html.Li(v_for="file in ui_save.files", key="file.name"),
        ):
            html.A("{{ file.name }}", href=("file.href",), download=("file.name",),
                   __properties=["download"])  # fmt: skip
            html.Span("{{ file.size }}")

    def refresh(self) -> None:
        """Show files and why something is greyed."""
        store = self.desk.store
        node = store.get("export_volume")
        lacks = "" if node is not None else "Choose a volume."
        made = lacks or ("" if self._record(node) else "This volume was not made by CTRestore.")
        pair = len(chosen_volumes(store)) > 1
        writing = "The report is being written." if self.shown.get("writing") else ""
        self.show(
            files=downloads.listed(self.desk.downloads),
            why_volume=lacks,
            why_record=made,
            why_command=made,
            why_python=made,
            why_report=writing or ("" if pair else "Choose two volumes under Compare first."),
        )

    def _save_volume(self) -> None:
        store = self.desk.store
        paths = save_volume_node(
            store.get("export_volume"),
            self.desk.downloads,
            suffix=store.get("export_format"),
            with_record=store.get("export_record"),
        )
        self.show(status=f"Wrote {', '.join(p.name for p in paths)}.")

    def _save_record(self) -> None:
        path = downloads.save_record(self.desk.store.get("export_volume"), self.desk.downloads)
        self.show(status=f"Wrote {path.name}.")

    def _save_scene(self) -> None:
        path = downloads.save_scene(self.desk.context, self.desk.downloads)
        self.show(status=f"Wrote {path.name}.")

    def _save_report(self) -> None:
        entries = downloads.report_entries(chosen_volumes(self.desk.store))
        self.show(writing=True, status="Measuring and writing the report ...")
        self.desk.in_background(self._write_report(entries))

    async def _write_report(self, entries: list[Any]) -> None:
        status = ""
        try:
            path = await asyncio.to_thread(downloads.write_report, entries, self.desk.downloads)
            status = f"Wrote {path.name}."
        finally:
            self.show(writing=False, status=status)

    def _copy(self, render: Callable[..., str]) -> None:
        """Show the text in a field; the page's script copies it from there."""
        node = self.desk.store.get("export_volume")
        self.show(code=render(self._record(node), input_unit=unit_of(node)[0]))

    def _record(self, node: Node) -> Provenance | None:
        try:
            return records.record_of(node)
        except CTRestoreError:
            return None
