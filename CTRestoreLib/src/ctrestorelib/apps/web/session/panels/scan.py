"""X-ray views of a volume by a virtual scanner (layer: apps)."""

from __future__ import annotations

from ctrestorelib.apps.web.session.forms import field, form
from ctrestorelib.apps.web.session.panels.panel import Panel
from ctrestorelib.apps.web.session.panels.run_row import RunRow
from ctrestorelib.core.errors import CTRestoreError
from ctrestorelib.mrml.settings import SCAN_PREFIX
from ctrestorelib.mrml.tasks.scan import ScanTask
from ctrestorelib.mrml.volumes import geometry_of


class ScanPanel(Panel):
    """The virtual scanner's settings and Apply."""

    key = "scan"
    title = "3. Try X-ray views of a volume (virtual scan)"
    texts = (*RunRow.texts, "words")
    buttons = RunRow.buttons

    def setup(self) -> None:
        """Make the Apply row."""
        self.run = RunRow(self, self._task)

    def build(self) -> None:
        """Draw the panel."""
        field(self.setting("scan_volume"), none="The volume of section 1")
        form([self.setting(name) for name in self.desk.store.names(SCAN_PREFIX)])
        self.line("words", classes="pg-about")
        self.run.build()

    def refresh(self) -> None:
        """Show the scan in words and what Apply would do."""
        self.show(words=self._in_words())
        self.run.refresh()

    def refresh_run(self) -> None:
        """Show progress."""
        self.run.refresh_run()

    def _task(self) -> ScanTask:
        return ScanTask(self.desk.context, self.desk.store)

    def _in_words(self) -> str:
        task = self._task()
        if task.source is None:
            return ""
        try:
            protocol = task.protocol()
            scan = protocol.geometry_for(geometry_of(task.source))
        except CTRestoreError as error:
            return str(error)
        rows, cols = scan.detector_shape
        return (
            f"{scan.views} views over {protocol.arc_deg:g} degrees, "
            f"{protocol.arc_deg / scan.views:.3g} degrees apart; detector {rows} x {cols} pixels."
        )
