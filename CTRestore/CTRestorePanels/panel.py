"""What all panels share: a .ui file, bound widgets, a refresh."""

import slicer

from CTRestorePanels.binding import Binder
from CTRestorePanels.placing import placeWhenAdded


class Panel:
    """One section of the module.

    Parameters
    ----------
    desk
        Scene, settings and session.
    section
        The collapsible button that takes the panel.
    """

    uiFile = ""

    def __init__(self, desk, section):
        self.desk = desk
        widget = slicer.util.loadUI(desk.resourcePath(f"UI/{self.uiFile}"))
        section.layout().addWidget(widget)
        self.widget = widget
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.binder = Binder(desk, list(self.ui.__dict__.values()))
        placeWhenAdded(self.ui.__dict__.values())
        self.setup()

    def setup(self):
        """Connect what the panel adds to bound widgets."""

    def refresh(self):
        """Show the state of settings and session."""
        self.binder.pull()

    def refreshRun(self):
        """Show the progress of the run, where this panel started it."""

    def leave(self):
        """Put back what the panel changed in the window: the person opens another module."""

    def cleanup(self):
        """Let go of what outlives the widgets."""
