"""What to know before denoising, and the lights of the result after it."""

from slicer.i18n import tr as _


class GuardRows:
    """The rows with cautions and traffic lights.

    Parameters
    ----------
    desk
        Session and settings.
    ui
        Has ``cautionLabel``, ``guardLabel``, ``guardRemovedButton``, ``guardBox``,
        ``guardDetails``, ``guardButton``.
    """

    def __init__(self, desk, ui):
        self._desk, self._ui = desk, ui
        for widget in (ui.cautionLabel, ui.guardLabel, ui.guardRemovedButton, ui.guardBox):
            widget.hide()
        ui.guardRemovedButton.connect("clicked(bool)", self.onRemoved)
        ui.guardButton.connect("clicked(bool)", self.onNumbers)

    def refresh(self):
        """Look at the chosen volume if it is new, and show what is known."""
        from ctrestorelib.quality.lights import details_html, line_html

        session = self._desk.session
        if session is None or self._desk.store is None:
            return
        guards, volume = session.guards, self._desk.store.get("input_volume")
        if self._desk.store.get("denoise_guards") and not session.busy:
            guards.look_at(volume)
        self._show(self._ui.cautionLabel, "\n".join(guards.cautions_of(volume)))
        result = guards.latest
        lights = guards.lights_of(result)
        self._show(self._ui.guardLabel, line_html(lights) or guards.sentence_of(result))
        self._ui.guardDetails.setText(details_html(lights) if lights else "")
        self._ui.guardRemovedButton.setVisible(bool(lights))
        self._ui.guardBox.setVisible(bool(lights))
        self._desk.watch()

    def onRemoved(self, *_args):
        """Show original minus result in the slice views."""
        import slicer

        from ctrestorelib.core.errors import CTRestoreError

        guards = self._desk.session.guards
        if guards.latest is None:
            return
        try:
            removed = guards.removed_noise(guards.latest)
        except CTRestoreError as error:
            self._desk.report(str(error))
            return
        slicer.util.setSliceViewerLayers(background=removed)

    def onNumbers(self, *_args):
        """Put the numbers behind the lights into a table, and show it."""
        import slicer

        guards = self._desk.session.guards
        table = guards.show_table(guards.latest) if guards.latest is not None else None
        if table is None:
            return
        selection = slicer.app.applicationLogic().GetSelectionNode()
        selection.SetActiveTableID(table.GetID())
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpTableView)
        slicer.app.applicationLogic().PropagateTableSelection()
        self._desk.report(_("The numbers are in the table view."))

    @staticmethod
    def _show(label, text):
        if label.text != text:
            label.setText(text)
        label.setVisible(bool(text))
