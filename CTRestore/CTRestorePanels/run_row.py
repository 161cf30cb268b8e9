"""Apply that becomes Cancel, with plan, reasons, percent and time left."""

import qt
from slicer.i18n import tr as _


class RunRow:
    """The lower rows of a panel that runs something.

    Parameters
    ----------
    desk
        Session and settings.
    ui
        Has ``planLabel``, ``problemLabel``, ``applyButton``, ``progressBar``, ``statusLabel``.
    makeTask
        Returns the task for the current settings.
    makeTasks
        Returns all tasks of a press on Apply (batches); one task if not given.
    """

    def __init__(self, desk, ui, makeTask, makeTasks=None):
        self._desk, self._ui, self._makeTask = desk, ui, makeTask
        self._makeTasks = makeTasks or (lambda: [makeTask()])
        self._mine = False
        ui.applyButton.connect("clicked(bool)", self.onApply)
        ui.progressBar.hide()
        ui.problemLabel.hide()
        ui.statusLabel.hide()
        ui.statusLabel.setTextInteractionFlags(qt.Qt.TextSelectableByMouse)

    @property
    def running(self):
        """Whether what runs was started here."""
        return self._mine and self._desk.session is not None and self._desk.session.busy

    def onApply(self, *_):
        """Start, or cancel what was started here."""
        if self.running:
            self._desk.session.cancel()
            return
        self._mine = self._desk.start(self._makeTasks, self._makeTask())
        self.refresh()

    def refresh(self):
        """Show what a press would do, or what is going on."""
        session = self._desk.session
        if session is None:
            return
        if self.running:
            self._showRun(session)
            return
        self._ui.progressBar.hide()
        self._ui.applyButton.setText(_("Apply"))
        self._showOffer(session)
        self._showText(self._ui.statusLabel, session.sentence if self._mine else "")

    def _showRun(self, session):
        cancelling = session.state.value == "cancelling"
        self._ui.applyButton.setText(_("Cancelling ...") if cancelling else _("Cancel"))
        self._ui.applyButton.setEnabled(not cancelling)
        self._ui.applyButton.setToolTip(_("Stops the run. Nothing is changed."))
        self._ui.progressBar.show()
        self._ui.progressBar.setValue(round(1000 * session.fraction))
        self._ui.progressBar.setFormat(f"{100 * session.fraction:.0f} %")
        self._ui.planLabel.hide()
        self._ui.problemLabel.hide()
        self._showText(self._ui.statusLabel, session.sentence)

    def _showOffer(self, session):
        task = self._makeTask()
        problems = [_("Another run is under way.")] if session.busy else task.problems()
        plan = "" if problems else task.plan().sentence()
        self._showText(self._ui.planLabel, plan)
        self._showText(self._ui.problemLabel, " ".join(problems))
        self._ui.applyButton.setEnabled(not problems)
        self._ui.applyButton.setToolTip(
            " ".join(problems) or _("Starts in the background; you can go on working.")
        )

    @staticmethod
    def _showText(label, text):
        label.setText(text)
        label.setVisible(bool(text))
