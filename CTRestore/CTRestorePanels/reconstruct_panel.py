"""A volume from few X-ray views."""

from pathlib import Path

import qt
from slicer.i18n import tr as _

from CTRestorePanels.check_rows import CheckRows
from CTRestorePanels.method_choice import MethodChoice
from CTRestorePanels.method_form import MethodForm
from CTRestorePanels.panel import Panel
from CTRestorePanels.run_row import RunRow

GRID_SETTINGS = (
    "reconstruct_views",
    "reconstruct_spacing_mm",
    "reconstruct_unit",
    "reconstruct_mu_water_per_mm",
)


class ReconstructPanel(Panel):
    """Projections, geometry, method, grid, Apply, what the checks found."""

    uiFile = "Reconstruct.ui"

    def setup(self):
        """Make the forms and connect the buttons."""
        from ctrestorelib.mrml.tasks.reconstruct import ReconstructTask

        self._newTask = lambda: ReconstructTask(self.desk.context, self.desk.store)
        self.choice = MethodChoice(self.desk, self.ui, "reconstructor", self._roles)
        self._gridForm = MethodForm(self.desk, self.ui.gridForm)
        self._gridForm.show(GRID_SETTINGS)
        self.run = RunRow(self.desk, self.ui, self._newTask)
        self.checks = CheckRows(self.desk, self.ui)
        self.ui.openProjectionsButton.connect("clicked(bool)", self._onOpenProjections)
        self.ui.openGeometryButton.connect("clicked(bool)", self._onOpenGeometry)
        self.ui.previewLabel.hide()

    def refresh(self):
        """Show settings, facts about the stack and what Apply would do."""
        super().refresh()
        self.choice.refresh()
        self._gridForm.pull()
        self._showStack()
        self.run.refresh()
        self.checks.refresh()
        if not self.run.running:
            self.ui.previewLabel.hide()

    def refreshRun(self):
        """Show progress and the latest slice of the growing result."""
        self.run.refresh()
        if self.run.running:
            self._showPreview()

    def openProjections(self, path, **about):
        """Read projections into the scene and choose them."""
        from ctrestorelib.core.errors import CTRestoreError
        from ctrestorelib.io.projections import read_projections
        from ctrestorelib.mrml.stacks import stack_node

        try:
            read = read_projections(Path(path), **about)
            node = stack_node(self.desk.context, read.projections, Path(path).stem)
        except CTRestoreError as error:
            self._say(str(error))
            return
        self.desk.change({"reconstruct_stack": node})
        self._say(" ".join(note.text for note in read.notes))

    def openGeometry(self, path):
        """Give the chosen stack its scan geometry from a file."""
        from ctrestorelib.core.errors import CTRestoreError
        from ctrestorelib.mrml.stacks import attach_geometry_file

        try:
            node = self.desk.context.require(self._stackId(), "stack of projections")
            attach_geometry_file(self.desk.context, node, Path(path))
        except CTRestoreError as error:
            self._say(str(error))
            return
        self.desk.refreshLater()

    def _stackId(self):
        node = self.desk.store.get("reconstruct_stack")
        return None if node is None else node.GetID()

    def _say(self, text):
        self.ui.statusLabel.setText(text)
        self.ui.statusLabel.setVisible(bool(text))
        if text:
            self.desk.session.log.append(text)

    def _onOpenProjections(self, *_args):
        path = qt.QFileDialog.getOpenFileName(None, _("Open projections"))
        if path:
            self.openProjections(path)

    def _onOpenGeometry(self, *_args):
        path = qt.QFileDialog.getOpenFileName(None, _("Open scan geometry"))
        if path:
            self.openGeometry(path)

    def _roles(self):
        from ctrestorelib.restorer.spec import Role

        roles = {Role.PROJECTIONS}
        if self.desk.store.get("reconstruct_prior") is not None:
            roles.add(Role.PRIOR_VOLUME)
        return roles

    def _showStack(self):
        node = self.desk.store.get("reconstruct_stack")
        text = describeStack(node) if node is not None else ""
        self.ui.stackLabel.setText(text)
        self.ui.stackLabel.setVisible(bool(text))
        self.ui.openGeometryButton.setEnabled(node is not None)

    def _showPreview(self):
        image = self.desk.session.preview()
        if image is None:
            return
        self.ui.previewLabel.setPixmap(pixmapOf(image))
        self.ui.previewLabel.show()


def describeStack(node):
    """Return the scan in words."""
    from ctrestorelib.mrml.stacks import is_stack, scan_of

    if not is_stack(node):
        return ""
    scan = scan_of(node)
    rows, cols = scan.detector_shape
    return _("{views} views of {rows} x {cols} pixels.").format(
        views=scan.views, rows=rows, cols=cols
    )


def pixmapOf(image):
    """Return a slice ``[j, i]`` as a grey picture, darkest to brightest percentile."""
    import numpy as np

    low, high = np.percentile(image, (1, 99.5))
    grey = np.clip((image - low) / max(high - low, 1e-9) * 255, 0, 255).astype(np.uint8)
    height, width = grey.shape
    # A portable graymap: PythonQt takes bytes here, but not as the memory of a QImage.
    data = f"P5 {width} {height} 255\n".encode() + np.ascontiguousarray(grey).tobytes()
    picture = qt.QPixmap()
    picture.loadFromData(qt.QByteArray(data))
    return picture.scaledToWidth(240)
