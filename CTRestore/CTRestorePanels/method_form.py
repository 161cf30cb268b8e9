"""A form made from declared parameters: label, unit, limits, tooltip, advanced section."""

import ctk
import qt
from slicer.i18n import tr as _
from slicer.i18n import translate

from CTRestorePanels.binding import STRINGS, Binder, OptionalNumber, newDoubleSpinBox, tipOf


class MethodForm:
    """The rows of one set of settings; rebuilt by :meth:`show` when the set changes.

    Parameters
    ----------
    desk
        Gives store and declarations.
    parent
        Widget with a box layout that takes the form.
    """

    def __init__(self, desk, parent):
        self._desk = desk
        self._parent = parent
        self._content = None
        self._names = ()
        self._binder = None
        self._optional = []

    def show(self, names):
        """Show the settings called ``names``; nothing happens if they are shown already."""
        names = tuple(names)
        if names == self._names:
            return
        if self._content is not None:
            self._parent.layout().removeWidget(self._content)
            self._content.hide()
            self._content.deleteLater()
        self._names, self._optional = names, []
        self._binder = Binder(self._desk, ())
        self._content = qt.QWidget()
        layout = qt.QVBoxLayout(self._content)
        layout.setContentsMargins(0, 0, 0, 0)
        settings = [self._desk.setting(name) for name in names]
        self._rows(layout, [s for s in settings if not s.info.advanced])
        advanced = [s for s in settings if s.info.advanced]
        if advanced:
            section = ctk.ctkCollapsibleButton()
            section.text = _("Advanced")
            section.collapsed = True
            self._rows(qt.QVBoxLayout(section), advanced)
            layout.addWidget(section)
        self._parent.layout().addWidget(self._content)

    def pull(self):
        """Show the stored values."""
        if self._binder is None or self._desk.store is None:
            return
        self._binder.pull()
        for row in self._optional:
            row.pull()

    def _rows(self, layout, settings):
        holder = qt.QWidget()
        form = qt.QFormLayout(holder)
        form.setContentsMargins(0, 0, 0, 0)
        for setting in settings:
            text = translate(STRINGS, setting.info.label)
            widget = self._widget(setting)
            if setting.kind == "bool":
                form.addRow("", widget)
                widget.setText(text)
            else:
                form.addRow(text + ":", widget)
        layout.addWidget(holder)

    def _widget(self, setting):
        if setting.optional and setting.kind in ("int", "float"):
            row = OptionalNumber(self._desk, setting)
            self._optional.append(row)
            return row.widget
        widget = _NEW[setting.kind]()
        widget.objectName = setting.name
        widget.setToolTip(tipOf(setting))
        self._binder.bind(widget, setting.name)
        return widget


_NEW = {
    "bool": qt.QCheckBox,
    "int": qt.QSpinBox,
    "float": newDoubleSpinBox,
    "choice": qt.QComboBox,
    "str": qt.QLineEdit,
}
