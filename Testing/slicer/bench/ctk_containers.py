"""Stand-ins for ctk's collapsible containers."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtCore import Property, QEvent, QSize, Qt, Signal
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import (
    QAbstractButton,
    QGroupBox,
    QSizePolicy,
    QStyle,
    QStyleOption,
    QStyleOptionButton,
    QWidget,
)

from .declare import stored


class _Folds:
    """What the two collapsible containers share: hide the children, remember who was hidden."""

    def _fold(self, collapsed):
        for child in self.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly):
            if collapsed and not child.isHidden():
                child.setProperty("_bench_folded", True)
                child.hide()
            elif not collapsed and child.property("_bench_folded"):
                child.setProperty("_bench_folded", False)
                child.show()
        self.updateGeometry()

    def _adopt(self, event):
        """Fold a child that is added while folded, now and when it is shown later."""
        child = event.child()
        if not event.added() or not isinstance(child, QWidget):
            return
        child.installEventFilter(self)
        if not self.isChecked():
            child.setProperty("_bench_folded", True)
            child.hide()

    def _keep_folded(self, child, event):
        if event.type() == QEvent.Type.ShowToParent and not self.isChecked():
            child.setProperty("_bench_folded", True)
            child.hide()


class ctkCollapsibleButton(QAbstractButton, _Folds):
    """A header that shows or hides what is below it."""

    _bench_stand_in = True
    _slots: ClassVar = {"setCollapsed(bool)": "setCollapsed"}
    contentsCollapsed = Signal(bool)
    collapsedHeight, setCollapsedHeight = stored(int, "collapsedHeight", 10)
    flat, setFlat = stored(bool, "flat", False)
    showIndicator, setShowIndicator = stored(bool, "showIndicator", True)
    contentsLineWidth, setContentsLineWidth = stored(int, "contentsLineWidth", 1)

    def __init__(self, *given):
        parent = next((g for g in given if isinstance(g, QWidget)), None)
        super().__init__(parent)
        self.setText(next((g for g in given if isinstance(g, str)), ""))
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.setContentsMargins(0, self._header(), 0, 0)
        self.toggled.connect(self._on_toggled)

    def _collapsed(self):
        return not self.isChecked()

    def setCollapsed(self, collapsed):
        self.setChecked(not collapsed)

    collapsed = Property(bool, _collapsed, setCollapsed)

    def _header(self):
        return self.fontMetrics().height() + 12

    def _on_toggled(self, checked):
        self._fold(not checked)
        self.contentsCollapsed.emit(not checked)

    def hitButton(self, point):
        return point.y() < self._header()

    def sizeHint(self):
        inside = self.layout().totalSizeHint() if self.layout() and self.isChecked() else QSize()
        wide = self.fontMetrics().horizontalAdvance(self.text()) + 40
        return QSize(max(wide, inside.width()), max(self._header(), inside.height()))

    def minimumSizeHint(self):
        if not (self.layout() and self.isChecked()):
            return QSize(0, self._header())
        least = self.layout().totalMinimumSize()
        return QSize(least.width(), max(self._header(), least.height()))

    def event(self, event):
        if event.type() == event.Type.LayoutRequest:
            self.updateGeometry()
        return super().event(event)

    def childEvent(self, event):
        self._adopt(event)
        super().childEvent(event)

    def eventFilter(self, child, event):
        self._keep_folded(child, event)
        return False

    def paintEvent(self, _event):
        paint = QPainter(self)
        header = self.rect()
        header.setHeight(self._header())
        if self.isChecked():
            paint.setPen(self.palette().mid().color())
            paint.drawRect(self.rect().adjusted(0, self._header() // 2, -1, -1))
        option = QStyleOptionButton()
        option.initFrom(self)
        option.rect = header
        option.state |= QStyle.StateFlag.State_Raised
        self.style().drawPrimitive(QStyle.PrimitiveElement.PE_PanelButtonCommand, option, paint)
        arrow = QStyleOption()
        arrow.initFrom(self)
        arrow.rect = header.adjusted(6, 6, 0, -6)
        arrow.rect.setWidth(arrow.rect.height())
        kinds = QStyle.PrimitiveElement
        kind = kinds.PE_IndicatorArrowDown if self.isChecked() else kinds.PE_IndicatorArrowRight
        self.style().drawPrimitive(kind, arrow, paint)
        paint.setPen(self.palette().buttonText().color())
        where = header.adjusted(header.height() + 4, 0, -4, 0)
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        paint.drawText(where, flags | Qt.TextFlag.TextShowMnemonic, self.text())
        paint.end()


class ctkCollapsibleGroupBox(QGroupBox, _Folds):
    _bench_stand_in = True

    def __init__(self, *given):
        parent = next((g for g in given if isinstance(g, QWidget)), None)
        super().__init__(parent)
        self.setTitle(next((g for g in given if isinstance(g, str)), ""))
        self.setCheckable(True)
        self.toggled.connect(lambda checked: self._fold(not checked))

    def _collapsed(self):
        return not self.isChecked()

    def setCollapsed(self, collapsed):
        self.setChecked(not collapsed)

    collapsed = Property(bool, _collapsed, setCollapsed)
    collapsedHeight, setCollapsedHeight = stored(int, "collapsedHeight", 14)

    def childEvent(self, event):
        self._adopt(event)
        super().childEvent(event)
        if event.added() and isinstance(event.child(), QWidget):
            event.child().setEnabled(True)  # an unchecked QGroupBox would grey it

    def eventFilter(self, child, event):
        self._keep_folded(child, event)
        return False
