"""What to know before denoising, and the lights of the result after it."""

from slicer.i18n import tr as _


class GuardRows:
    """The rows with cautions and traffic lights.

    Parameters
    ----------
    desk
        Session and settings.
    ui
        Has ``cautionLabel``, ``guardLabel``, ``guardBox``, ``guardDetails``, ``guardButton``.
    """

    def __init__(self, desk, ui):
        self._desk, self._ui = desk, ui
        for widget in (ui.cautionLabel, ui.guardLabel, ui.guardBox):
            widget.hide()
        ui.guardButton.connect("clicked(bool)", self.onNumbers)

    def refresh(self):
        """Look at the chosen volume if it is new, and show what is known."""
        from ctrestorelib.quality.lights import details_html, line_html

        session = self._desk.session
        if session is None or self._desk.store is None:
            return
        guards, volume = session.guards, self._desk.store.get("input_volume")
        if not session.busy:
            guards.look_at(volume)
        self._show(self._ui.cautionLabel, "\n".join(guards.cautions_of(volume)))
        result = guards.latest
        lights = guards.lights_of(result)
        self._show(self._ui.guardLabel, line_html(lights) or guards.sentence_of(result))
        self._ui.guardDetails.setText(details_html(lights) if lights else "")
        self._ui.guardBox.setVisible(bool(lights))
        self._desk.watch()

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
