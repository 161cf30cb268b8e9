"""Save a volume with the record of how it was made."""

from pathlib import Path

import qt
from slicer.i18n import tr as _

from CTRestorePanels.panel import Panel


class ExportPanel(Panel):
    """Volume, folder, file type; command line and Python of a result."""

    uiFile = "Export.ui"

    def setup(self):
        """Connect the buttons."""
        from ctrestorelib.mrml import records

        self._records = records
        self.ui.exportButton.connect("clicked(bool)", self.onExport)
        self.ui.copyCommandButton.connect("clicked(bool)", self._onCopyCommand)
        self.ui.copyPythonButton.connect("clicked(bool)", self._onCopyPython)
        self.ui.exportStatusLabel.setTextInteractionFlags(qt.Qt.TextSelectableByMouse)

    def refresh(self):
        """Show settings and why something is greyed."""
        super().refresh()
        node = self.desk.store.get("export_volume")
        record = None if node is None else self._record(node)
        for button in (self.ui.copyCommandButton, self.ui.copyPythonButton):
            button.setEnabled(record is not None)
        why = self._problem(node)
        self.ui.exportButton.setEnabled(not why)
        self.ui.exportButton.setToolTip(why or _("Writes the file; nothing is overwritten."))

    def onExport(self, *_args):
        """Write the volume, and its record beside it."""
        from ctrestorelib.core.errors import CTRestoreError
        from ctrestorelib.mrml.files import save_volume_node

        store = self.desk.store
        try:
            paths = save_volume_node(
                store.get("export_volume"),
                Path(store.get("export_folder")),
                suffix=store.get("export_format"),
                with_record=store.get("export_record"),
            )
        except CTRestoreError as error:
            self._say(str(error))
            return
        self._say(_("Wrote {files}.").format(files=", ".join(p.name for p in paths)))

    def _onCopyCommand(self, *_args):
        self._copy(self._records.command_line_of)

    def _onCopyPython(self, *_args):
        self._copy(self._records.python_of)

    def _copy(self, render):
        from ctrestorelib.mrml.value_units import unit_of

        node = self.desk.store.get("export_volume")
        text = render(self._record(node), input_unit=unit_of(node)[0])
        qt.QApplication.clipboard().setText(text)
        self._say(text)

    def _record(self, node):
        from ctrestorelib.core.errors import CTRestoreError

        try:
            return self._records.record_of(node)
        except CTRestoreError as error:
            self.desk.session.log.append(str(error))
            return None

    def _problem(self, node):
        if node is None:
            return _("Choose a volume.")
        return "" if self.desk.store.get("export_folder") else _("Choose a folder.")

    def _say(self, text):
        self.ui.exportStatusLabel.setText(text)
