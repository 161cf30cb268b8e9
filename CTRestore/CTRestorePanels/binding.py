"""Ties widgets to the parameter node, both ways, by the property ``SlicerParameterName``."""

import qt
from slicer.i18n import tr as _
from slicer.i18n import translate

STRINGS = "CTRestoreMethods"
"""Translation context of the texts that come from the backend."""

CHOICES = {
    "automatic": _("Automatic"),
    "hu": _("Hounsfield units (HU)"),
    "per_mm": _("Attenuation (1/mm)"),
    "grey": _("Grey values without a scale"),
    "side_by_side": _("Side by side"),
    "three_up": _("Original, result, removed noise"),
    "wipe": _("Wipe over each other"),
    "checkerboard": _("Checkerboard"),
    "blend": _("Blend"),
    "four_up": _("Up to four volumes"),
    "Axial": _("Axial"),
    "Coronal": _("Coronal"),
    "Sagittal": _("Sagittal"),
    "All": _("All three directions"),
    "bone": _("Bone (from 226 HU)"),
    "soft tissue": _("Soft tissue (-29 to 150 HU)"),
    "lung": _("Lung (-900 to -500 HU)"),
    "bright": _("Bright parts (automatic threshold)"),
    "own range": _("My own range"),
    "existing segment": _("A segment of mine"),
    "stl": _("STL (.stl)"),
    "obj": _("OBJ (.obj)"),
    "horizontal": _("Left to right"),
    "vertical": _("Up and down"),
    ".nrrd": _("NRRD (.nrrd)"),
    ".nii.gz": _("NIfTI (.nii.gz)"),
    ".mha": _("MetaImage (.mha)"),
    ".tif": _("TIFF (.tif)"),
}


def choiceLabel(choice: str) -> str:
    """Return the words for a stored choice."""
    return CHOICES.get(choice, translate(STRINGS, choice.replace("-", " ").replace("_", " ")))


def tipOf(setting) -> str:
    """Return the tooltip of a setting: what it does, its limits and its default."""
    doc = translate(STRINGS, setting.info.doc if hasattr(setting, "info") else setting.doc)
    if not hasattr(setting, "info"):
        return doc
    parts = [doc]
    if setting.kind in ("int", "float") and setting.limits:
        unit = f" {setting.info.unit}" if setting.info.unit else ""
        parts.append(_("Allowed: {limits}{unit}.").format(limits=setting.limits, unit=unit))
    if setting.kind != "str":
        default = (
            choiceLabel(str(setting.default_text)) if setting.choices else setting.default_text
        )
        parts.append(_("Default: {default}.").format(default=default))
    return "\n".join(parts)


class Binder:
    """Binds every widget of a panel that carries ``SlicerParameterName``.

    Parameters
    ----------
    desk
        Gives the current parameter store and reports refused values.
    widgets
        The widgets of the panel.
    """

    def __init__(self, desk, widgets):
        self._desk = desk
        self._bound = []
        self._pulling = False
        for widget in widgets:
            name = widget.property("SlicerParameterName")
            if name:
                self.bind(widget, name)

    def bind(self, widget, name):
        """Tie one widget to one setting."""
        setting = self._desk.setting(name)
        adapter = ADAPTERS[widget.className()]
        adapter.prepare(widget, setting)
        if not widget.toolTip:
            widget.setToolTip(tipOf(setting))
        bound = _Bound(self, widget, name, adapter)
        self._bound.append(bound)
        adapter.connect(widget, bound.push)

    def unbind(self, widgets):
        """Forget widgets that are about to be deleted."""
        gone = list(widgets)
        self._bound = [b for b in self._bound if not any(b.widget is w for w in gone)]

    def pull(self):
        """Show the stored values."""
        store = self._desk.store
        if store is None:
            return
        self._pulling = True
        try:
            for bound in self._bound:
                bound.adapter.write(bound.widget, store.get(bound.name))
        finally:
            self._pulling = False

    def push(self, name, value):
        """Store a value that the person chose."""
        if not self._pulling and self._desk.store is not None:
            self._desk.change({name: value})


class _Bound:
    """One widget and its setting."""

    def __init__(self, binder, widget, name, adapter):
        self.binder, self.widget, self.name, self.adapter = binder, widget, name, adapter

    def push(self, *_):
        """Hand the widget's value to the store."""
        self.binder.push(self.name, self.adapter.read(self.widget))


class _Adapter:
    """How to read, write and observe one class of widgets."""

    signal = ""

    def prepare(self, widget, setting):
        """Set what follows from the declaration."""

    def connect(self, widget, slot):
        """Call ``slot`` when the person changes the widget."""
        widget.connect(self.signal, slot)


class _NodeCombo(_Adapter):
    signal = "currentNodeChanged(vtkMRMLNode*)"

    def read(self, widget):
        return widget.currentNode()

    def write(self, widget, node):
        if widget.currentNode() is not node:
            widget.setCurrentNode(node)


class _Check(_Adapter):
    signal = "toggled(bool)"

    def read(self, widget):
        return bool(widget.checked)

    def write(self, widget, value):
        if widget.checked != value:
            widget.setChecked(value)


class _Number(_Adapter):
    signal = "valueChanged(double)"

    def prepare(self, widget, setting):
        if widget.className() == "QDoubleSpinBox":
            widget.setDecimals(decimalsOf(setting))
        low, high = setting.info.bounds
        widget.setMinimum(low if low is not None else -1e9)
        widget.setMaximum(high if high is not None else 1e9)
        if setting.info.unit:
            widget.setSuffix(f" {setting.info.unit}")

    def read(self, widget):
        return widget.value

    def write(self, widget, value):
        if widget.value != value:
            widget.setValue(value)


class _Whole(_Number):
    signal = "valueChanged(int)"

    def prepare(self, widget, setting):
        low, high = setting.info.bounds
        widget.setMinimum(int(low) if low is not None else -(2**31))
        widget.setMaximum(int(high) if high is not None else 2**31 - 1)
        if setting.info.unit:
            widget.setSuffix(f" {setting.info.unit}")


class _Choice(_Adapter):
    signal = "currentIndexChanged(int)"

    def prepare(self, widget, setting):
        widget.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        widget.setMinimumContentsLength(12)
        widget.clear()
        for choice in setting.choices:
            widget.addItem(choiceLabel(choice), choice)

    def read(self, widget):
        return widget.itemData(widget.currentIndex)

    def write(self, widget, value):
        index = widget.findData(value)
        if widget.currentIndex != index:
            widget.setCurrentIndex(index)


class _Text(_Adapter):
    signal = "editingFinished()"

    def read(self, widget):
        return str(widget.text)

    def write(self, widget, value):
        if widget.text != value:
            widget.setText(value)


class _Folder(_Adapter):
    signal = "currentPathChanged(QString)"

    def read(self, widget):
        return str(widget.currentPath)

    def write(self, widget, value):
        if widget.currentPath != value:
            widget.setCurrentPath(value)


ADAPTERS = {
    "qMRMLNodeComboBox": _NodeCombo(),
    "QCheckBox": _Check(),
    "ctkSliderWidget": _Number(),
    "ctkDoubleSpinBox": _Number(),
    "QDoubleSpinBox": _Number(),
    "QSpinBox": _Whole(),
    "QComboBox": _Choice(),
    "QLineEdit": _Text(),
    "ctkPathLineEdit": _Folder(),
}
"""By Qt class name."""


class OptionalNumber:
    """A number that can be *automatic*: a check box and a spin box.

    Parameters
    ----------
    desk, setting
        Where the value lives.
    """

    def __init__(self, desk, setting):
        self._desk, self._setting, self._pulling = desk, setting, False
        self._touched = False
        self.widget = qt.QWidget()
        layout = qt.QHBoxLayout(self.widget)
        layout.setContentsMargins(0, 0, 0, 0)
        none = setting.info.none
        self.automatic = qt.QCheckBox(translate(STRINGS, none[:1].upper() + none[1:]))
        self.number = qt.QSpinBox() if setting.kind == "int" else newDoubleSpinBox()
        ADAPTERS[self.number.className()].prepare(self.number, setting)
        for part, name in ((self.automatic, "Automatic"), (self.number, "")):
            part.setToolTip(tipOf(setting))
            part.objectName = setting.name + name
            layout.addWidget(part)
        layout.addStretch(1)
        self.automatic.connect("toggled(bool)", self._push)
        self.number.connect(ADAPTERS[self.number.className()].signal, self._push)

    def pull(self):
        """Show the stored value."""
        value = self._desk.store.get(self._setting.name)
        self._pulling = True
        self.automatic.setChecked(value is None)
        self.number.setEnabled(value is not None)
        if value is not None:
            self._touched = True
            self.number.setValue(value)
        self._pulling = False

    def _push(self, *_):
        if self._pulling or self._desk.store is None:
            return
        value = None if self.automatic.checked else self._start()
        self._desk.change({self._setting.name: value})

    def _start(self):
        """Return the spin box's value as an allowed one; a fitting one when it was never set."""
        low, _high = self._setting.info.bounds
        value = self.number.value
        if not self._touched and self._setting.info.start is not None:
            value = self._setting.info.start
        self._touched = True
        value = max(value, low) if low is not None else value
        return int(value) if self._setting.kind == "int" else value


def decimalsOf(setting):
    """Return how many decimals a number needs: two, or one more than its default or limits show."""
    numbers = [setting.default, setting.info.start, *setting.info.bounds]
    shown = [f"{n:.6f}".rstrip("0") for n in numbers if isinstance(n, (int, float)) and n < 1000]
    return min(6, max([2, *(len(text.split(".")[1]) + 1 for text in shown if text[-1] != ".")]))


def newDoubleSpinBox():
    """Return a spin box for numbers of any size."""
    box = qt.QDoubleSpinBox()
    box.setStepType(qt.QAbstractSpinBox.AdaptiveDecimalStepType)
    box.setKeyboardTracking(False)
    return box
