"""What happened, and on what."""

import qt
from slicer.i18n import tr as _

from CTRestorePanels import environment
from CTRestorePanels.panel import Panel


class AboutPanel(Panel):
    """Log, versions, discard, optional packages."""

    uiFile = "About.ui"

    def setup(self):
        """Connect the buttons."""
        self._shown = 0
        self.ui.environmentLabel.setText(environment.describe())
        self.ui.environmentLabel.setTextInteractionFlags(qt.Qt.TextSelectableByMouse)
        self.ui.copyLogButton.connect("clicked(bool)", self.onCopy)
        self.ui.discardButton.connect("clicked(bool)", self.onDiscard)
        self.ui.installButton.connect("clicked(bool)", self.onInstall)

    def refresh(self):
        """Show new lines of the log."""
        super().refresh()
        self.refreshRun()
        self.ui.discardButton.setEnabled(bool(self._last()) and not self.desk.session.busy)

    def refreshRun(self):
        """Add the new lines of the log."""
        lines = self.desk.session.log
        for line in lines[self._shown :]:
            self.ui.logText.appendPlainText(line)
        self._shown = len(lines)

    def onCopy(self, *_args):
        """Copy log and versions."""
        text = "\n".join([*self.desk.session.log, "", environment.describe()])
        qt.QApplication.clipboard().setText(text)

    def onDiscard(self, *_args):
        """Remove the nodes of the last run; originals are never among them."""
        for node in self._last():
            self.desk.session.history.remove(node.GetID())
            self.desk.context.scene.RemoveNode(node)
        self.desk.refreshLater()

    def onInstall(self, *_args):
        """Ask for everything optional at once."""
        names = [environment.importName(line) for line in environment.requirementLines()]
        try:
            environment.ensurePackages(names)
        except environment.EnvironmentProblem as problem:
            self.desk.report(str(problem))
        self.ui.environmentLabel.setText(environment.describe())
        self.desk.report(_("Optional packages were checked."))

    def _last(self):
        outcome = self.desk.session.outcome
        nodes = [self.desk.context.node(i) for i in outcome.node_ids]
        return [node for node in nodes if node is not None]
