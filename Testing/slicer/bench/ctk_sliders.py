"""Stand-ins for ctk's number widgets, with their C++ properties, methods and signals."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtCore import Property, QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QDoubleSpinBox, QHBoxLayout, QSizePolicy, QSlider, QWidget

from .declare import passed, stored

_TICKS = 10_000


class ctkDoubleSpinBox(QDoubleSpinBox):
    _bench_stand_in = True
    invertedControls, setInvertedControls = stored(bool, "invertedControls", False)
    decimalsOption, setDecimalsOption = stored(int, "decimalsOption", 0)


class ctkSliderWidget(QWidget):
    """A slider and a spin box that show one number."""

    _bench_stand_in = True
    _slots: ClassVar = {"setValue(double)": "setValue", "reset()": "reset"}
    valueChanged = Signal(float)
    valueIsChanging = Signal(float)

    decimals, setDecimals = passed(int, "_spin", "decimals", "setDecimals")
    singleStep, setSingleStep = passed(float, "_spin", "singleStep", "setSingleStep")
    prefix, setPrefix = passed(str, "_spin", "prefix", "setPrefix")
    suffix, setSuffix = passed(str, "_spin", "suffix", "setSuffix")
    pageStep, setPageStep = stored(float, "pageStep", 10.0)
    tickInterval, setTickInterval = stored(float, "tickInterval", 0.0)
    tracking, setTracking = stored(bool, "tracking", True)
    popupSlider, setPopupSlider = stored(bool, "popupSlider", False)
    autoSpinBoxWidth, setAutoSpinBoxWidth = stored(bool, "autoSpinBoxWidth", True)
    spinBoxVisible, setSpinBoxVisible = stored(bool, "spinBoxVisible", True, "_show_spin")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider = QSlider(Qt.Orientation.Horizontal, self)
        self._slider.setRange(0, _TICKS)
        self._spin = ctkDoubleSpinBox(self)
        self._spin.setRange(0, 100)
        self._spin.setKeyboardTracking(False)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider, 1)
        row.addWidget(self._spin)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusProxy(self._spin)
        self._spin.valueChanged.connect(self._on_spin)
        self._slider.sliderMoved.connect(self._on_drag)
        self._slider.actionTriggered.connect(
            lambda _a: self._on_drag(self._slider.sliderPosition())
        )
        self._slider.sliderReleased.connect(lambda: self.setValue(self._at(self._slider.value())))

    def value_(self):
        return self._spin.value()

    def setValue(self, value):
        self._spin.setValue(float(value))

    def minimum_(self):
        return self._spin.minimum()

    def setMinimum(self, value):
        self.setRange(value, max(value, self._spin.maximum()))

    def maximum_(self):
        return self._spin.maximum()

    def setMaximum(self, value):
        self.setRange(min(value, self._spin.minimum()), value)

    value = Property(float, value_, setValue, user=True)
    minimum = Property(float, minimum_, setMinimum)
    maximum = Property(float, maximum_, setMaximum)
    del value_, minimum_, maximum_

    def setRange(self, low, high):
        self._spin.setRange(low, high)
        self._place()

    def reset(self):
        self.setValue(0.0)

    def _at(self, tick):
        low, high = self._spin.minimum(), self._spin.maximum()
        return low + (high - low) * tick / _TICKS

    def _place(self):
        low, high = self._spin.minimum(), self._spin.maximum()
        with QSignalBlocker(self._slider):
            share = (self._spin.value() - low) / (high - low) if high > low else 0
            self._slider.setValue(round(share * _TICKS))

    def _on_spin(self, value):
        self._place()
        self.valueChanged.emit(value)

    def _on_drag(self, tick):
        value = round(self._at(tick), self._spin.decimals())
        if self.property("tracking"):
            self._spin.setValue(value)
        else:
            self.valueIsChanging.emit(value)

    def _show_spin(self, visible):
        self._spin.setVisible(visible)


class ctkRangeWidget(QWidget):
    """Two spin boxes that never cross (the desktop draws a two-handled slider between them)."""

    _bench_stand_in = True
    minimumValueChanged = Signal(float)
    maximumValueChanged = Signal(float)
    minimumValueIsChanging = Signal(float)
    maximumValueIsChanging = Signal(float)
    valuesChanged = Signal(float, float)
    rangeChanged = Signal(float, float)

    decimals, setDecimals = stored(int, "decimals", 2, "_each_decimals")
    singleStep, setSingleStep = stored(float, "singleStep", 1.0, "_each_step")
    suffix, setSuffix = stored(str, "suffix", "", "_each_suffix")
    prefix, setPrefix = stored(str, "prefix", "", "_each_prefix")
    tracking, setTracking = stored(bool, "tracking", True)
    symmetricMoves, setSymmetricMoves = stored(bool, "symmetricMoves", False)
    autoSpinBoxWidth, setAutoSpinBoxWidth = stored(bool, "autoSpinBoxWidth", True)
    tickInterval, setTickInterval = stored(float, "tickInterval", 0.0)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._low, self._high = ctkDoubleSpinBox(self), ctkDoubleSpinBox(self)
        self._bar = _RangeBar(self)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for child, stretch in ((self._low, 0), (self._bar, 1), (self._high, 0)):
            row.addWidget(child, stretch)
        self._limits = (0.0, 99.0)
        self.setRange(0.0, 99.0)
        self.setValues(0.0, 99.0)
        self._low.valueChanged.connect(lambda v: self._moved(self.minimumValueChanged, v))
        self._high.valueChanged.connect(lambda v: self._moved(self.maximumValueChanged, v))

    def _get(name):
        return {
            "minimum": lambda self: self._limits[0],
            "maximum": lambda self: self._limits[1],
            "minimumValue": lambda self: self._low.value(),
            "maximumValue": lambda self: self._high.value(),
        }[name]

    def setMinimum(self, value):
        self.setRange(value, max(value, self._limits[1]))

    def setMaximum(self, value):
        self.setRange(min(value, self._limits[0]), value)

    def setMinimumValue(self, value):
        self._low.setValue(min(value, self._high.value()))

    def setMaximumValue(self, value):
        self._high.setValue(max(value, self._low.value()))

    minimum = Property(float, _get("minimum"), setMinimum)
    maximum = Property(float, _get("maximum"), setMaximum)
    minimumValue = Property(float, _get("minimumValue"), setMinimumValue)
    maximumValue = Property(float, _get("maximumValue"), setMaximumValue)
    del _get

    def setRange(self, low, high):
        self._limits = (float(low), float(high))
        before = self._low.value(), self._high.value()
        with QSignalBlocker(self._low), QSignalBlocker(self._high):
            self._low.setRange(low, high)
            self._high.setRange(low, high)
        self.rangeChanged.emit(*self._limits)
        if (self._low.value(), self._high.value()) != before:
            self.valuesChanged.emit(self._low.value(), self._high.value())
        self._bar.update()

    def setValues(self, low, high):
        low, high = sorted((float(low), float(high)))
        before = self._low.value(), self._high.value()
        with QSignalBlocker(self._low), QSignalBlocker(self._high):
            self._low.setRange(*self._limits)
            self._high.setRange(*self._limits)
            self._low.setValue(low)
            self._high.setValue(high)
        self._settle()
        for signal, old, new in zip(
            (self.minimumValueChanged, self.maximumValueChanged),
            before,
            (self._low.value(), self._high.value()),
            strict=True,
        ):
            if old != new:
                signal.emit(new)
        if before != (self._low.value(), self._high.value()):
            self.valuesChanged.emit(self._low.value(), self._high.value())

    def reset(self):
        self.setValues(0.0, 0.0)

    def _moved(self, signal, value):
        self._settle()
        signal.emit(value)
        self.valuesChanged.emit(self._low.value(), self._high.value())

    def _settle(self):
        with QSignalBlocker(self._low), QSignalBlocker(self._high):
            self._low.setMaximum(self._high.value())
            self._high.setMinimum(self._low.value())
        self._bar.update()

    def _each_decimals(self, value):
        self._low.setDecimals(value)
        self._high.setDecimals(value)

    def _each_step(self, value):
        self._low.setSingleStep(value)
        self._high.setSingleStep(value)

    def _each_suffix(self, value):
        self._low.setSuffix(value)
        self._high.setSuffix(value)

    def _each_prefix(self, value):
        self._low.setPrefix(value)
        self._high.setPrefix(value)


class _RangeBar(QWidget):
    """The groove with its chosen part, for the picture."""

    def paintEvent(self, _event):
        from PySide6.QtGui import QPainter

        owner = self.parent()
        low, high = owner._limits
        span = (high - low) or 1.0
        groove = self.rect().adjusted(6, self.height() // 2 - 2, -6, 2 - self.height() // 2)
        first = groove.left() + round(groove.width() * (owner._low.value() - low) / span)
        last = groove.left() + round(groove.width() * (owner._high.value() - low) / span)
        paint = QPainter(self)
        paint.fillRect(groove, self.palette().mid())
        chosen = groove.adjusted(first - groove.left(), 0, last - groove.right(), 0)
        paint.fillRect(chosen, self.palette().highlight())
        for x in (first, last):
            paint.setBrush(self.palette().button())
            paint.drawEllipse(x - 5, self.height() // 2 - 6, 11, 11)
        paint.end()
