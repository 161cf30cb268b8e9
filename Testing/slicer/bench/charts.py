"""Plot and table views: what the real nodes say, drawn with plain Qt."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF
from PySide6.QtWidgets import QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget
from vtkmodules.util.numpy_support import vtk_to_numpy

from .scene_filter import while_alive

_MARGIN = 46


class _NodeView(QWidget):
    """Follows a view node and the node that it shows."""

    def __init__(self, node, parent=None):
        super().__init__(parent)
        self._node = node
        self._tags: list[tuple] = []
        node.AddObserver(vtk.vtkCommand.ModifiedEvent, while_alive(self, self._again))
        self._again()

    def _again(self, *_):
        for watched, tag in self._tags:
            watched.RemoveObserver(tag)
        event, call = vtk.vtkCommand.ModifiedEvent, while_alive(self, self._changed)
        self._tags = [(n, n.AddObserver(event, call)) for n in self._shown_nodes()]
        self._changed()

    def _changed(self, *_):
        self.update()


class PlotWidget(_NodeView):
    """A plot view: the series of the chart node as lines."""

    def mrmlPlotViewNode(self):
        return self._node

    def _chart(self):
        return self._node.GetPlotChartNode()

    def _shown_nodes(self):
        chart = self._chart()
        if chart is None:
            return []
        series = [chart.GetNthPlotSeriesNode(i) for i in range(chart.GetNumberOfPlotSeriesNodes())]
        tables = [s.GetTableNode() for s in series if s is not None]
        return [chart, *(n for n in [*series, *tables] if n is not None)]

    def series(self) -> list[tuple]:
        """Return (series node, x, y) of every series whose columns exist."""
        found = []
        for node in self._shown_nodes():
            if not node.IsA("vtkMRMLPlotSeriesNode") or node.GetTableNode() is None:
                continue
            table = node.GetTableNode().GetTable()
            y = table.GetColumnByName(node.GetYColumnName() or "")
            if y is None:
                continue
            x = table.GetColumnByName(node.GetXColumnName() or "")
            values = vtk_to_numpy(y).astype(float)
            across = vtk_to_numpy(x).astype(float) if x is not None else np.arange(len(values))
            found.append((node, across, values))
        return found

    def paintEvent(self, _event):
        paint = QPainter(self)
        paint.setRenderHint(QPainter.RenderHint.Antialiasing)
        paint.fillRect(self.rect(), QColor("white"))
        every = [row for row in self.series() if len(row[1])]
        if every:
            area = QRectF(self.rect()).adjusted(_MARGIN + 10, 26, -12, -_MARGIN)
            limits = _limits(every)
            _axes(paint, area, limits, self._chart())
            for place, row in enumerate(every):
                _line(paint, area, limits, row, place)
        paint.end()


def _limits(every):
    x = np.concatenate([row[1] for row in every])
    y = np.concatenate([row[2] for row in every])
    x, y = x[np.isfinite(x)], y[np.isfinite(y)]
    low, high = (y.min(), y.max()) if y.size else (0.0, 1.0)
    pad = 0.05 * (high - low) or 1.0
    return x.min(), max(x.max(), x.min() + 1e-9), low - pad, high + pad


def _to_pixels(area, limits, x, y):
    left, right, low, high = limits
    return (
        area.left() + area.width() * (x - left) / (right - left),
        area.bottom() - area.height() * (y - low) / (high - low),
    )


def _axes(paint, area, limits, chart):
    paint.setPen(QPen(QColor("#555")))
    paint.drawRect(area)
    left, right, low, high = limits
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = left + share * (right - left), low + share * (high - low)
        px, py = _to_pixels(area, limits, x, y)
        flags = Qt.AlignmentFlag
        paint.drawText(QRectF(px - 30, area.bottom() + 2, 60, 16), flags.AlignHCenter, f"{x:.4g}")
        paint.drawText(QRectF(0, py - 8, area.left() - 4, 16), flags.AlignRight, f"{y:.4g}")
        paint.drawLine(QPointF(px, area.bottom()), QPointF(px, area.bottom() - 4))
        paint.drawLine(QPointF(area.left(), py), QPointF(area.left() + 4, py))
    middle = Qt.AlignmentFlag.AlignHCenter
    title = QRectF(area.left(), 4, area.width(), 18)
    paint.drawText(title, middle, chart.GetTitle() or "")
    below = QRectF(area.left(), area.bottom() + 20, area.width(), 18)
    paint.drawText(below, middle, chart.GetXAxisTitle() or "")
    paint.save()
    paint.translate(14, area.center().y())
    paint.rotate(-90)
    paint.drawText(QRectF(-100, -12, 200, 18), middle, chart.GetYAxisTitle() or "")
    paint.restore()


def _line(paint, area, limits, row, place):
    node, x, y = row
    colour = QColor.fromRgbF(*node.GetColor())
    paint.setPen(QPen(colour, max(1.0, node.GetLineWidth() * 0.8)))
    good = np.isfinite(x) & np.isfinite(y)
    px, py = _to_pixels(area, limits, x[good], y[good])
    points = [QPointF(a, b) for a, b in zip(px, py, strict=True)]
    scatter = node.GetPlotType() == slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter
    if not scatter or node.GetLineStyle() != slicer.vtkMRMLPlotSeriesNode.LineStyleNone:
        paint.drawPolyline(QPolygonF(points))
    if scatter and node.GetMarkerStyle() != slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone:
        for point in points:
            paint.drawEllipse(point, 2, 2)
    where = QRectF(area.right() - 190, area.top() + 4 + 16 * place, 180, 16)
    paint.drawText(where, Qt.AlignmentFlag.AlignRight, node.GetName() or "")


class TableWidget(_NodeView):
    """A table view: the cells of the table node."""

    def __init__(self, node, parent=None):
        self._cells = None
        super().__init__(node, parent)
        self._cells = QTableWidget(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._cells)
        self._changed()

    def mrmlTableViewNode(self):
        return self._node

    def _shown_nodes(self):
        table = self._node.GetTableNode()
        return [table] if table is not None else []

    def _changed(self, *_):
        if self._cells is None:
            return
        node = self._node.GetTableNode()
        table = node.GetTable() if node is not None else vtk.vtkTable()
        self._cells.setRowCount(table.GetNumberOfRows())
        self._cells.setColumnCount(table.GetNumberOfColumns())
        titles = [table.GetColumnName(c) or "" for c in range(table.GetNumberOfColumns())]
        self._cells.setHorizontalHeaderLabels(titles)
        for row in range(table.GetNumberOfRows()):
            for column in range(table.GetNumberOfColumns()):
                item = QTableWidgetItem(table.GetValue(row, column).ToString())
                self._cells.setItem(row, column, item)
        self._cells.resizeColumnsToContents()
