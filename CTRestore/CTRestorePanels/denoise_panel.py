"""Remove noise from one volume, or from several in a row."""

import qt
import slicer
from slicer.i18n import tr as _

from CTRestorePanels.desk import fileOfInstance
from CTRestorePanels.guard_rows import GuardRows
from CTRestorePanels.method_choice import MethodChoice
from CTRestorePanels.panel import Panel
from CTRestorePanels.run_row import RunRow
from CTRestorePanels.segments import segmentsOf


class DenoisePanel(Panel):
    """Task, method, strength, region, result, Apply."""

    uiFile = "Denoise.ui"

    def setup(self):
        """Connect the rows that are not bound to one setting."""
        from ctrestorelib.mrml.tasks.denoise import DenoiseTask
        from ctrestorelib.restorer.spec import Role

        self._pulling = False
        self._newTask = lambda volume=None: DenoiseTask(
            self.desk.context, self.desk.store, volume, file_of=fileOfInstance
        )
        self.choice = MethodChoice(self.desk, self.ui, "denoiser", lambda: {Role.VOLUME, Role.MASK})
        self.run = RunRow(self.desk, self.ui, self._newTask, self._tasks)
        self.guards = GuardRows(self.desk, self.ui)
        self.ui.segmentCombo.setToolTip(_("The result equals the original outside this segment."))
        self.ui.segmentCombo.connect("currentIndexChanged(int)", self._onSegment)

    def refresh(self):
        """Show settings, further volumes and what Apply would do."""
        super().refresh()
        self.choice.refresh()
        self._refreshSegments()
        self._refreshBatch()
        self.run.refresh()
        self.guards.refresh()

    def refreshRun(self):
        """Show progress."""
        self.run.refresh()
        self.guards.refresh()

    def _tasks(self):
        return [self._newTask()] + [self._newTask(node) for node in self.batch()]

    def batch(self):
        """Return the ticked further volumes."""
        box = self.ui.batchList
        ticked = [
            box.item(n) for n in range(box.count) if box.item(n).checkState() == qt.Qt.Checked
        ]
        nodes = [self.desk.context.node(item.data(qt.Qt.UserRole)) for item in ticked]
        return [node for node in nodes if node is not None]

    def _refreshBatch(self):
        """List the other volumes, keeping ticks."""
        chosen = self.desk.store.get("input_volume")
        others = [
            node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if node is not chosen and node.GetClassName() == "vtkMRMLScalarVolumeNode"
            and not node.GetHideFromEditors()
        ]  # fmt: skip
        box = self.ui.batchList
        wanted = [(node.GetName(), node.GetID()) for node in others]
        shown = [(box.item(n).text(), box.item(n).data(qt.Qt.UserRole)) for n in range(box.count)]
        if wanted == shown:
            return
        ticked = {node.GetID() for node in self.batch()}
        box.clear()
        for name, node_id in wanted:
            item = qt.QListWidgetItem(name)
            item.setData(qt.Qt.UserRole, node_id)
            item.setCheckState(qt.Qt.Checked if node_id in ticked else qt.Qt.Unchecked)
            box.addItem(item)

    def _refreshSegments(self):
        node = self.desk.store.get("denoise_mask")
        wanted = segmentsOf(node)
        combo = self.ui.segmentCombo
        self._pulling = True
        combo.clear()
        for segment_id, name in wanted:
            combo.addItem(name, segment_id)
        combo.setCurrentIndex(combo.findData(self.desk.store.get("denoise_mask_segment")))
        combo.setEnabled(node is not None)
        self._pulling = False

    def _onSegment(self, index):
        if not self._pulling and index >= 0:
            self.desk.change({"denoise_mask_segment": self.ui.segmentCombo.itemData(index)})
