"""A result as a derived DICOM series, with a look at its header first (layer: apps)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from ctrestorelib.apps.web.session.downloads import free_path
from ctrestorelib.apps.web.session.forms import LOOK, field
from ctrestorelib.apps.web.session.panels.panel import Panel
from ctrestorelib.apps.web.session.panels.run_row import RunRow
from ctrestorelib.apps.web.session.tables import build_table
from ctrestorelib.core.errors import CTRestoreError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.io.dicom_export.options import Identity
from ctrestorelib.mrml.parameters import ParameterStore
from ctrestorelib.mrml.tasks.dicom import DicomTask

NO_ROWS: dict[str, Any] = {"head": [], "rows": []}


class DicomPanel(Panel):
    """Source, description, patient, preview, Apply; the series comes as one zip archive."""

    key = "dicom"
    title = "8. DICOM series"
    texts = (*RunRow.texts, "source", "name", "patient_id")
    buttons = (*RunRow.buttons, "preview")

    def setup(self) -> None:
        """Make the Apply row."""
        self.show(table=NO_ROWS)
        self._tasks_made: list[DicomTask] = []
        self.run = RunRow(self, self._task, self._tasks)

    def build(self) -> None:
        """Draw the panel."""
        self.line("source", classes="pg-about")
        field(self.setting("dicom_description"), "Series description")
        field(self.setting("dicom_body_part"), "Body part")
        field(self.setting("dicom_keep_dose"), "Keep the dose (CTDIvol)")
        with html.Details(classes="pg-more"):
            html.Summary("Patient of a volume without DICOM source")
            self._typed("name", "Name", "Family^Given. Used for this export only, kept nowhere. "
                        "Empty: ANON^CTRestore.")  # fmt: skip
            self._typed("patient_id", "Patient ID",
                        "Used for this export only, kept nowhere. Empty: a new one.")  # fmt: skip
        self.button("preview", "Preview header", self._preview, "Shows the header of the middle "
                    "slice as it would be written, patient included.")  # fmt: skip
        build_table("ui_dicom.table", "Header of the middle slice")
        self.run.build()

    def refresh(self) -> None:
        """Show settings, what is known of the source, and what Apply would do."""
        node = self.desk.store.get("export_volume")
        self.show(
            source=self._about_source(), why_preview="" if node is not None else "Choose a volume."
        )
        self.run.refresh()
        for task in [t for t in self._tasks_made if t.outcome is not None]:
            self._tasks_made.remove(task)
            self.desk.in_background(self._pack(task))

    def refresh_run(self) -> None:
        """Show progress."""
        self.run.refresh_run()

    def _typed(self, name: str, label: str, tip: str) -> None:
        v3.VTextField(
            label=label, model_value=(f"ui_dicom.{name}",), autocomplete="off", hint=tip,
            update_modelValue=(lambda text: self.show(**{name: text or ""}), "[$event]"), **LOOK,
        )  # fmt: skip

    def _task(self) -> DicomTask:
        place = self.desk.folder / "exports"
        place.mkdir(parents=True, exist_ok=True)
        store = StoreOfPage(self.desk.store, {"dicom_folder": str(place)})
        given = {name: self.shown[name] for name in ("name", "patient_id") if self.shown[name]}
        return DicomTask(
            self.desk.context, store, self.desk.file_of,
            lambda: Identity(**given),
        )  # fmt: skip

    def _tasks(self) -> list[DicomTask]:
        task = self._task()
        self._tasks_made.append(task)
        return [task]

    def _preview(self) -> None:
        rows = self._task().preview()
        cells = [[row.keyword, row.value, str(row.origin)] for row in rows]
        self.show(table={"head": ["Attribute", "Value", "Origin"], "rows": cells})

    async def _pack(self, task: DicomTask) -> None:
        assert task.outcome is not None, "only finished exports are packed"
        self.show(table=NO_ROWS, name="", patient_id="")
        path = await asyncio.to_thread(pack, task.outcome.folder, self.desk.downloads)
        self.desk.report(f"Wrote {path.name}: it is under Save and export.", failed=False)

    def _about_source(self) -> str:
        if self.desk.store.get("export_volume") is None:
            return "Choose a volume above."
        try:
            files = self._task().sources()
        except CTRestoreError as error:
            return str(error)
        if files:
            return f"Patient and study come from the {len(files)} source images."
        return "No DICOM source is known: a new study of an anonymous patient is made."


class StoreOfPage(ParameterStore):
    """The live settings, but for some that the page decides and no scene file should hold.

    Parameters
    ----------
    store
        The live settings.
    fixed
        Values that are read instead.
    """

    def __init__(self, store: ParameterStore, fixed: dict[str, Any]) -> None:
        super().__init__(store.node, {name: store.setting(name) for name in store.names()})
        self._fixed = fixed

    def get(self, name: str) -> Any:
        """Return the page's own value, else the stored one."""
        return self._fixed[name] if name in self._fixed else super().get(name)


def pack(folder: Path, into: Path) -> Path:
    """Move a folder of DICOM files into one zip archive; takes a while."""
    path = free_path(into, folder.name, ".zip")
    with atomic_path(path) as temporary:
        made = shutil.make_archive(str(temporary.with_suffix("")), "zip", folder)
        Path(made).replace(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    return path
