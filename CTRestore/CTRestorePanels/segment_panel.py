"""Does the noise change the bone? The same segment in both volumes."""

from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from CTRestorePanels.method_form import MethodForm
from CTRestorePanels.panel import Panel
from CTRestorePanels.segments import segmentsOf


class SegmentPanel(Panel):
    """Range or segment, numbers, surfaces, files, hand-over."""

    uiFile = "Segment.ui"

    def setup(self):
        """Connect the buttons."""
        self.result = None
        self._pulling = False
        self._range = MethodForm(self.desk, self.ui.rangeForm)
        self._range.show(("segment_lower", "segment_upper"))
        self.ui.existingCombo.setToolTip(_("The segment to read in both volumes."))
        self.ui.existingCombo.connect("currentIndexChanged(int)", self._onExisting)
        self.ui.segmentTable.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self.ui.segmentTable.hide()
        for button, slot in (
            (self.ui.segmentButton, self.onSegment),
            (self.ui.surfaceButton, self.onSurfaces),
            (self.ui.distanceButton, self.onDistance),
            (self.ui.editorButton, self.onEditor),
            (self.ui.surfaceExportButton, self.onExport),
        ):
            button.connect("clicked(bool)", slot)

    def refresh(self):
        """Show settings and what can be done."""
        from ctrestorelib.mrml.actions.comparing import chosen_volumes

        super().refresh()
        self._range.pull()
        store = self.desk.store
        volumes = chosen_volumes(store)
        names = _(" and ").join(node.GetName() for node in volumes)
        self.ui.segmentPairLabel.setText(
            _("In {names}.").format(names=names)
            if len(volumes) > 1
            else _("Choose two volumes under Compare first.")
        )
        chosen = store.get("segment_by")
        self.ui.rangeForm.setVisible(chosen == "own range")
        for name in ("existingSelector", "existingCombo"):
            getattr(self.ui, name).setVisible(chosen == "existing segment")
            getattr(self.ui, name + "Label").setVisible(chosen == "existing segment")
        self._refreshSegments()
        self._forgetDeleted()
        made = self.result is not None
        two = made and len(self.result.segments) > 1
        self.ui.segmentButton.setEnabled(len(volumes) > 1)
        self.ui.surfaceButton.setEnabled(made)
        self.ui.distanceButton.setEnabled(two)
        self.ui.surfaceExportButton.setEnabled(made and bool(store.get("segment_folder")))
        self.ui.editorButton.setEnabled(len(volumes) > 1)

    def onSegment(self, *_args):
        """Segment both volumes and show the numbers."""
        from ctrestorelib.mrml.actions.segmenting import segment_both

        result = self._try(lambda: segment_both(self.desk.context, self.desk.store))
        if result is not None:
            self.result = result
            self._showTable(result.table)
            self.ui.segmentResultLabel.setText(" ".join(result.sentences))
        self.desk.refreshLater()

    def onSurfaces(self, *_args):
        """Show the surfaces in 3D."""
        from ctrestorelib.mrml.actions.segmenting import show_in_3d, surface_options

        options = surface_options(self.desk.store)
        self._try(lambda: show_in_3d(self.result, options))
        _showFirst3D()

    def onDistance(self, *_args):
        """Colour the second surface by its distance from the first."""
        from ctrestorelib.mrml.actions.segmenting import colour_by_distance, surface_options

        options = surface_options(self.desk.store)
        self._try(lambda: colour_by_distance(self.desk.context, self.result, options))
        _showFirst3D()

    def onEditor(self, *_args):
        """Go to Slicer's Segment Editor with the result as source volume."""
        from ctrestorelib.mrml.actions.comparing import chosen_volumes
        from ctrestorelib.mrml.segments.hand_over import prepare_segment_editor

        restored = chosen_volumes(self.desk.store)[1]
        ready = self._try(lambda: prepare_segment_editor(self.desk.context, restored))
        if ready is not None:
            slicer.util.selectModule("SegmentEditor")

    def onExport(self, *_args):
        """Write the surfaces."""
        from ctrestorelib.mrml.actions.segmenting import save_surfaces, surface_options

        store = self.desk.store
        written = self._try(
            lambda: save_surfaces(
                self.result,
                Path(store.get("segment_folder")),
                store.get("segment_format"),
                surface_options(store),
            ),
            self.ui.surfaceStatusLabel,
        )
        if written is not None:
            self.ui.surfaceStatusLabel.setText(" ".join(w.sentence for w in written))

    def _try(self, act, label=None):
        from ctrestorelib.core.errors import CTRestoreError

        label = label or self.ui.segmentResultLabel
        label.setText("")
        try:
            return act()
        except CTRestoreError as error:
            label.setText(str(error))
            return None

    def _showTable(self, node):
        """Show a table node turned by a quarter: one column a segment, full names as tooltips."""
        table, box = node.GetTable(), self.ui.segmentTable
        rows, columns = table.GetNumberOfColumns() - 1, table.GetNumberOfRows()
        box.setRowCount(rows)
        box.setColumnCount(columns)
        box.setVerticalHeaderLabels([table.GetColumnName(n + 1) for n in range(rows)])
        for column in range(columns):
            title = _("Original") if column == 0 else _("Result {n}").format(n=column)
            head = qt.QTableWidgetItem(title)
            head.setToolTip(table.GetValue(column, 0).ToString())
            box.setHorizontalHeaderItem(column, head)
            for row in range(rows):
                text = table.GetValue(column, row + 1).ToString()
                box.setItem(row, column, qt.QTableWidgetItem(text))
        box.resizeColumnsToContents()
        box.resizeRowsToContents()
        height = sum(box.rowHeight(row) for row in range(rows))
        box.setMinimumHeight(height + box.horizontalHeader().sizeHint.height() + 4)
        box.show()

    def _forgetDeleted(self):
        if self.result is None:
            return
        scene = self.desk.context.scene
        if any(scene.GetNodeByID(s.segmentation.GetID() or "") is None
               for s in self.result.segments):  # fmt: skip
            self.result = None
            self.ui.segmentTable.hide()

    def _refreshSegments(self):
        node = self.desk.store.get("segment_existing")
        self._pulling = True
        self.ui.existingCombo.clear()
        for segment_id, name in segmentsOf(node):
            self.ui.existingCombo.addItem(name, segment_id)
        chosen = self.desk.store.get("segment_existing_id")
        self.ui.existingCombo.setCurrentIndex(self.ui.existingCombo.findData(chosen))
        self._pulling = False

    def _onExisting(self, index):
        if not self._pulling and index >= 0:
            self.desk.change({"segment_existing_id": self.ui.existingCombo.itemData(index)})


def _showFirst3D():
    """Bring all surfaces into the first 3D view, where the layout has one."""
    manager = slicer.app.layoutManager()
    if manager.threeDViewCount:
        manager.threeDWidget(0).threeDView().resetFocalPoint()
