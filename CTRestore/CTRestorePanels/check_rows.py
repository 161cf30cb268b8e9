"""How far a reconstruction can be trusted: lights, misfit of every view, map."""

from slicer.i18n import tr as _


class CheckRows:
    """The rows with what the checks of the latest reconstruction found.

    Parameters
    ----------
    desk
        Session and settings.
    ui
        Has ``checkedLabel``, ``checkLightsLabel``, ``measuredButton``, ``legendLabel``,
        ``checkBox``, ``checkDetails``, ``misfitButton``.
    """

    def __init__(self, desk, ui):
        from ctrestorelib.mrml.measured_map import legend_html

        self._desk, self._ui = desk, ui
        ui.legendLabel.setText(legend_html())
        ui.measuredButton.connect("clicked(bool)", self.onMeasured)
        ui.misfitButton.connect("clicked(bool)", self.onMisfit)
        self._show(None)

    def refresh(self):
        """Show what is known about the latest reconstruction."""
        self._show(self._latest())

    def onMeasured(self, *_args):
        """Lay the map over the reconstruction, or take it off."""
        import slicer

        from ctrestorelib.mrml.measured_map import is_laid_over, lay_over, map_of, take_off

        node = self._latest()
        percent = map_of(node)
        if percent is None:
            return
        if is_laid_over(slicer.mrmlScene, percent):
            take_off(slicer.mrmlScene, percent)
        else:
            self._desk.leave()  # an open comparison hides the views
            lay_over(slicer.mrmlScene, node, percent)
            slicer.app.layoutManager().resetSliceViews()
        self.refresh()

    def onMisfit(self, *_args):
        """Show the misfit of every view as a chart and a table."""
        import slicer

        from ctrestorelib.mrml.scan_checks import show_misfit

        shown = show_misfit(self._desk.context, self._latest())
        if not shown:
            return
        self._desk.leave()
        table, chart = shown
        selection = slicer.app.applicationLogic().GetSelectionNode()
        selection.SetActiveTableID(table.GetID())
        selection.SetActivePlotChartID(chart.GetID())
        layout = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotTableView
        slicer.app.layoutManager().setLayout(layout)
        slicer.app.applicationLogic().PropagateTableSelection()
        slicer.app.applicationLogic().PropagatePlotChartSelection()
        self._desk.report(_("The misfit of every view is in the chart and the table."))

    def _latest(self):
        from ctrestorelib.mrml.scan_checks import latest_reconstruction

        session = self._desk.session
        history = [] if session is None else session.history
        return latest_reconstruction(self._desk.context, history)

    def _show(self, node):
        import slicer

        from ctrestorelib.mrml.measured_map import is_laid_over, map_of
        from ctrestorelib.mrml.scan_checks import lights_of, measures_of, misfit_columns
        from ctrestorelib.quality.lights import details_html, line_html

        ui, lights, percent = self._ui, lights_of(node), map_of(node)
        checked = _("Checked: {name}").format(name=node.GetName()) if lights else ""
        laid = is_laid_over(slicer.mrmlScene, percent)
        for label, text in ((ui.checkedLabel, checked), (ui.checkLightsLabel, line_html(lights)),
                            (ui.checkDetails, details_html(lights))):  # fmt: skip
            if label.text != text:
                label.setText(text)
        ui.measuredButton.setText(
            _("Hide what was measured") if laid else _("Show what was measured")
        )
        for widget in (ui.checkedLabel, ui.checkLightsLabel, ui.checkBox):
            widget.setVisible(bool(lights))
        ui.measuredButton.setVisible(bool(lights) and percent is not None)
        ui.legendLabel.setVisible(bool(lights) and laid)
        ui.misfitButton.setVisible(bool(misfit_columns(measures_of(node))))
