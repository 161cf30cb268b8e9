"""`slicer.app.layoutManager()`: the real layout logic decides, Qt splitters hold real views."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from contextlib import suppress

import slicer
import vtk
from PySide6.QtCore import Property, QObject, Qt, Signal
from PySide6.QtWidgets import QGridLayout, QSplitter, QTabWidget, QVBoxLayout, QWidget

from .charts import PlotWidget, TableWidget
from .report import BenchError, refuse
from .view_widgets import SliceWidget, ThreeDWidget

_VIEWS = {
    "vtkMRMLSliceNode": lambda core, node: SliceWidget(core, node.GetSingletonTag()),
    "vtkMRMLViewNode": lambda core, node: ThreeDWidget(core, node.GetSingletonTag()),
    "vtkMRMLPlotViewNode": lambda _core, node: PlotWidget(node),
    "vtkMRMLTableViewNode": lambda _core, node: TableWidget(node),
}


class qSlicerLayoutManager(QObject):
    """Holds the views; shows those of the current layout."""

    _bench_stand_in = True
    layoutChanged = Signal(int)

    def __init__(self, core):
        super().__init__()
        self._core = core
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLApplicationLogic(core.app_logic)
        self._logic.SetMRMLScene(core.scene)
        self._views: dict[tuple[str, str], QWidget] = {}
        self._shown: list[tuple[str, str]] = []
        self._viewport = QWidget()
        QVBoxLayout(self._viewport).setContentsMargins(0, 0, 0, 0)
        self._top: QWidget | None = None
        self._built = ""
        node = self._logic.GetLayoutNode()
        node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_modified)
        core.scene.AddObserver(slicer.vtkMRMLScene.EndCloseEvent, self._after_close)

    # ----- what Slicer's manager offers
    def layoutLogic(self):
        return self._logic

    def mrmlScene(self):
        return self._core.scene

    def _layout(self):
        return self._logic.GetLayoutNode().GetViewArrangement()

    def setLayout(self, number):
        node = self._logic.GetLayoutNode()
        if not node.IsLayoutDescription(number):
            refuse("layout", f"there is no layout {number}")
        node.SetViewArrangement(number)
        self._rebuild()

    layout = Property(int, _layout, setLayout, notify=layoutChanged)

    def viewport(self):
        return self._viewport

    def sliceViewNames(self):
        return tuple(tag for kind, tag in self._views if kind == "vtkMRMLSliceNode")

    def sliceWidget(self, tag):
        return self._views.get(("vtkMRMLSliceNode", tag))

    def mrmlSliceLogics(self):
        return self._core.app_logic.GetSliceLogics()

    def threeDWidget(self, which=0):
        return self._nth("vtkMRMLViewNode", which)

    def plotWidget(self, which=0):
        return self._nth("vtkMRMLPlotViewNode", which)

    def tableWidget(self, which=0):
        return self._nth("vtkMRMLTableViewNode", which)

    def _count(self, kind):
        return sum(key[0] == kind for key in self._views)

    threeDViewCount = Property(int, lambda self: self._count("vtkMRMLViewNode"))
    plotViewCount = Property(int, lambda self: self._count("vtkMRMLPlotViewNode"))
    tableViewCount = Property(int, lambda self: self._count("vtkMRMLTableViewNode"))

    def resetSliceViews(self):
        for view in self._views.values():
            if isinstance(view, SliceWidget):
                view.fitSliceToBackground()

    def resetThreeDViews(self):
        for view in self._views.values():
            if isinstance(view, ThreeDWidget):
                view.threeDView().resetFocalPoint()
                view.threeDView().resetCamera()

    # ----- inside
    def _nth(self, kind, which):
        found = [view for key, view in self._views.items() if key[0] == kind]
        if isinstance(which, str):
            return self._views.get((kind, which))
        return found[which] if which < len(found) else None

    def _pause(self, paused):
        for view in self._views.values():
            if isinstance(view, SliceWidget | ThreeDWidget):
                view.viewport().paused = paused
                if not paused:
                    view._view.schedule_render()

    def _after_close(self, *_):
        self._built = ""
        self._rebuild()

    def _on_modified(self, *_):
        with suppress(BenchError):  # it is in the list of problems
            self._rebuild()

    def _rebuild(self):
        """Put the views of the current layout into new splitters."""
        if self._core.scene.IsClosing():
            return
        text = self._logic.GetLayoutNode().GetCurrentLayoutDescription()
        if not text or text == self._built:
            return
        root = ET.fromstring(text)
        for view in self._views.values():
            view.setParent(None)
        self._shown = []
        layout = root if root.tag == "layout" else root.find(".//layout")
        former, self._top = self._top, self._make(layout)
        if former is not None:
            former.setParent(None)
            former.deleteLater()
        self._viewport.layout().addWidget(self._top)
        self._settle()
        for key, view in self._views.items():
            if hasattr(view._node, "SetMappedInLayout"):
                view._node.SetMappedInLayout(key in self._shown)
        self._built = text
        self.layoutChanged.emit(self._layout())

    def _settle(self):
        """Give the new views their sizes now: who fits a slice right after needs them."""
        self._top.show()
        self._viewport.layout().activate()
        for holder in (self._top, *self._top.findChildren(QWidget)):
            if holder.layout() is not None:
                holder.layout().activate()

    def _make(self, layout):
        kind = layout.get("type", "horizontal")
        if kind == "grid":
            return self._make_grid(layout)
        if kind == "tab":
            return self._make_tabs(layout)
        if kind not in ("horizontal", "vertical"):
            refuse("layout", f"a layout has no type {kind!r}")
        way = Qt.Orientation.Vertical if kind == "vertical" else Qt.Orientation.Horizontal
        splitter = QSplitter(way)
        sizes = []
        for item in layout.findall("item"):
            splitter.addWidget(self._content(item))
            sizes.append(int(item.get("splitSize", 0)) or 500)
        splitter.setSizes(sizes)
        return splitter

    def _make_grid(self, layout):
        holder = QWidget()
        grid = QGridLayout(holder)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(2)
        for item in layout.findall("item"):
            row, column = int(item.get("row", 0)), int(item.get("column", 0))
            span = int(item.get("rowspan", 1)), int(item.get("colspan", 1))
            grid.addWidget(self._content(item), row, column, *span)
            grid.setRowStretch(row, 1)
            grid.setColumnStretch(column, 1)
        return holder

    def _make_tabs(self, layout):
        tabs = QTabWidget()
        for item in layout.findall("item"):
            tabs.addTab(self._content(item), item.get("name", ""))
        return tabs

    def _content(self, item):
        inner = item.find("layout")
        if inner is not None:
            return self._make(inner)
        view = item.find("view")
        if view is None:
            refuse("layout", "an item of a layout holds neither a layout nor a view")
        return self._view(view)

    def _view(self, element):
        kind, tag = element.get("class"), element.get("singletontag")
        if kind not in _VIEWS:
            refuse("layout", f"unknown view class {kind!r}")
        node = self._core.scene.GetSingletonNode(tag, kind)
        if node is None:
            refuse("layout", f"the layout logic made no {kind} {tag!r}")
        if (kind, tag) not in self._views:
            self._views[kind, tag] = _VIEWS[kind](self._core, node)
        self._shown.append((kind, tag))
        view = self._views[kind, tag]
        if hasattr(view, "restyle"):
            view.restyle()
        return _held(view)


def _held(view):
    """Return a new holder of a view: a tab hides the holder, the view itself stays shown."""
    holder = QWidget()
    column = QVBoxLayout(holder)
    column.setContentsMargins(0, 0, 0, 0)
    column.addWidget(view)
    view.show()
    return holder
