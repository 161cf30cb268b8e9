"""What the panels share: the scene, the settings, the run, and the timer that watches it."""

import qt
import slicer

from CTRestorePanels.environment import EnvironmentProblem, ensurePackages

POLL_MS = 100


def fileOfInstance(uid):
    """Return the file of a SOP Instance UID in Slicer's DICOM database, or ""."""
    database = getattr(slicer, "dicomDatabase", None)
    return database.fileForInstance(uid) if database is not None else ""


class Desk:
    """Connects panels, parameter node and session.

    Parameters
    ----------
    logic
        Gives the parameter store.
    resourcePath
        Function from a name under Resources to its path.
    """

    def __init__(self, logic, resourcePath):
        from ctrestorelib.mrml.settings import all_settings

        self.logic = logic
        self.resourcePath = resourcePath
        self.panels = []
        self.store = None
        self.session = None
        self.context = logic.context()
        self._settings = all_settings()
        self._stopObserving = None
        self._refreshPending = False
        self._closed = False
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self._tick)

    def setting(self, name):
        """Return the declaration of a setting."""
        return self._settings[name]

    def open(self):
        """Take (or make) the parameter node of the scene."""
        from ctrestorelib.mrml.session import Session

        if self.session is None:
            self.session = Session(self.context, self.refreshLater, fileOfInstance)
        if self.store is None:
            self.store = self.logic.getStore()
            self._stopObserving = self.store.observe(self.refreshLater)
        self.refresh()

    def drop(self):
        """Let the parameter node go: the scene is being closed."""
        if self._stopObserving is not None:
            self._stopObserving()
        self.store = self._stopObserving = None
        self.refreshLater()

    def leave(self):
        """Let panels put back what they changed in the window: another module is opened."""
        for panel in self.panels:
            panel.leave()

    def close(self):
        """Stop the run and every timer; the widgets are going away."""
        self._closed = True
        self._timer.stop()
        self.drop()
        if self.session is not None:
            self.session.close()
        for panel in self.panels:
            panel.cleanup()
        self.panels = []

    def change(self, values):
        """Store values that the person chose; a refused one is explained and put back."""
        from ctrestorelib.core.errors import CTRestoreError

        try:
            self.store.update(values)
        except CTRestoreError as error:
            self.report(str(error))
            self.refreshLater()

    def report(self, text):
        """Show a sentence to the person without stopping them."""
        slicer.util.showStatusMessage(text, 8000)
        if self.session is not None:
            self.session.log.append(text)

    def start(self, makeTasks, first, packages=()):
        """Start what a press on Apply asks for; return whether its status line is in charge now."""
        from ctrestorelib.core.errors import CTRestoreError
        from ctrestorelib.mrml.session import Outcome

        if self.session.busy:
            return False
        restorer = getattr(first, "restorer", None)
        try:
            wanted = restorer.spec.needs.to_install() if restorer is not None else packages
            ensurePackages(list(wanted))
            self.session.start(makeTasks())
        except (CTRestoreError, EnvironmentProblem) as error:
            self.session.outcome = Outcome(str(error), failed=True)
            self.session.log.append(str(error))
        else:
            self._timer.start()
        self.refreshLater()
        return True

    def watch(self):
        """Poll while something runs or is checked."""
        if self.session is not None and self.session.watching and not self._timer.isActive():
            self._timer.start()

    def refreshLater(self):
        """Refresh once when the present event is over; many calls are one refresh."""
        if not self._refreshPending and not self._closed:
            self._refreshPending = True
            qt.QTimer.singleShot(0, self.refresh)

    def refresh(self):
        """Let every panel show the present state."""
        self._refreshPending = False
        if self._closed or self.store is None:
            return
        for panel in self.panels:
            panel.refresh()

    def _tick(self):
        self.session.poll()
        if self.session.watching:
            self._refreshRun()
        else:
            self._timer.stop()
            self.refresh()

    def _refreshRun(self):
        """Only what moves: percent and time left."""
        for panel in self.panels:
            panel.refreshRun()
