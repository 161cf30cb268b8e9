"""A result as a derived DICOM series, with a look at its header before anything is written."""

import qt
from slicer.i18n import tr as _

from CTRestorePanels.desk import fileOfInstance
from CTRestorePanels.panel import Panel
from CTRestorePanels.run_row import RunRow


class DicomPanel(Panel):
    """Source, description, patient, folder, preview, Apply."""

    uiFile = "Dicom.ui"

    def setup(self):
        """Connect the buttons."""
        from ctrestorelib.mrml.tasks.dicom import DicomTask

        self._written = None
        self._task = None
        self._newTask = lambda: DicomTask(
            self.desk.context, self.desk.store, fileOfInstance, self._identity
        )
        self.run = RunRow(self.desk, self.ui, self._newTask, self._tasks)
        self.ui.headerTable.hide()
        self.ui.headerTable.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self.ui.importButton.hide()
        self.ui.previewButton.connect("clicked(bool)", self.onPreview)
        self.ui.importButton.connect("clicked(bool)", self.onImport)

    def refresh(self):
        """Show settings, what is known of the source, and what Apply would do."""
        super().refresh()
        node = self.desk.store.get("export_volume")
        self.ui.dicomSourceLabel.setText(self._aboutSource(node))
        self.ui.previewButton.setEnabled(node is not None)
        self.run.refresh()
        self._showWritten()

    def refreshRun(self):
        """Show progress."""
        self.run.refresh()

    def onPreview(self, *_args):
        """Show the header of the middle slice."""
        from ctrestorelib.core.errors import CTRestoreError

        table = self.ui.headerTable
        try:
            rows = self._newTask().preview()
        except CTRestoreError as error:
            table.hide()
            self._say(str(error))
            return
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Attribute"), _("Value"), _("Origin")])
        table.setRowCount(len(rows))
        for n, row in enumerate(rows):
            for column, text in enumerate((row.keyword, row.value, _origin(row.origin))):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(f"{row.tag} {text}")
                table.setItem(n, column, item)
        table.resizeColumnsToContents()
        table.setMinimumHeight(240)
        table.show()

    def onImport(self, *_args):
        """Put the written series into Slicer's DICOM database."""
        from DICOMLib import DICOMUtils

        if DICOMUtils.importDicom(str(self._written.folder)):
            self._say(_("The series is in Slicer's DICOM database."))

    def _tasks(self):
        self._task = self._newTask()
        return [self._task]

    def _showWritten(self):
        if self._task is not None and self._task.outcome is not None:
            self._written, self._task = self._task.outcome, None
        self.ui.importButton.setVisible(self._written is not None)

    def _identity(self):
        from ctrestorelib.io.dicom_export.options import Identity

        given = {"name": self.ui.patientNameEdit.text, "patient_id": self.ui.patientIdEdit.text}
        return Identity(**{key: str(text) for key, text in given.items() if text})

    def _aboutSource(self, node):
        from ctrestorelib.core.errors import CTRestoreError

        if node is None:
            return _("Choose a volume above.")
        try:
            files = self._newTask().sources()
        except CTRestoreError as error:
            return str(error)
        if files:
            return _("Patient and study come from the {n} source images.").format(n=len(files))
        return _("No DICOM source is known: a new study of an anonymous patient is made.")

    def _say(self, text):
        self.ui.statusLabel.setText(text)
        self.ui.statusLabel.setVisible(bool(text))


def _origin(origin):
    return {"copied": _("copied"), "changed": _("changed"), "new": _("new")}[origin]
