"""X-ray views of a volume by a virtual scanner."""

from slicer.i18n import tr as _

from CTRestorePanels.method_form import MethodForm
from CTRestorePanels.panel import Panel
from CTRestorePanels.run_row import RunRow


class ScanPanel(Panel):
    """The virtual scanner's settings and Apply."""

    uiFile = "Scan.ui"

    def setup(self):
        """Make the form and the Apply row."""
        from ctrestorelib.mrml.settings import SCAN_PREFIX
        from ctrestorelib.mrml.tasks.scan import ScanTask

        self._names = list(self.desk.store.names(SCAN_PREFIX))
        self._form = MethodForm(self.desk, self.ui.scanForm)
        self._form.show(self._names)
        self._newTask = lambda: ScanTask(self.desk.context, self.desk.store)
        self.run = RunRow(self.desk, self.ui, self._newTask)

    def refresh(self):
        """Show settings, the scan in words and what Apply would do."""
        super().refresh()
        self._form.pull()
        self.ui.geometryLabel.setText(self._inWords())
        self.run.refresh()

    def refreshRun(self):
        """Show progress."""
        self.run.refresh()

    def _inWords(self):
        from ctrestorelib.core.errors import CTRestoreError
        from ctrestorelib.mrml.volumes import geometry_of

        task = self._newTask()
        if task.source is None:
            return ""
        try:
            scan = task.protocol().geometry_for(geometry_of(task.source))
        except CTRestoreError as error:
            return str(error)
        rows, cols = scan.detector_shape
        protocol = task.protocol()
        return _(
            "{views} views over {arc:g} degrees, {step:.3g} degrees apart; "
            "detector {rows} x {cols} pixels."
        ).format(
            views=scan.views,
            arc=protocol.arc_deg,
            step=protocol.arc_deg / scan.views,
            rows=rows,
            cols=cols,
        )
