"""Stand-ins for the MRML number and segment widgets."""

from __future__ import annotations

from typing import ClassVar

import slicer
import vtk
from PySide6.QtCore import Property, QSignalBlocker, Signal
from PySide6.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QLabel, QWidget

from .ctk_sliders import ctkDoubleSpinBox, ctkRangeWidget, ctkSliderWidget
from .declare import stored
from .node_combos import qMRMLNodeComboBox, qMRMLWidget
from .scene_filter import while_alive

_SCENE_SLOT = {"setMRMLScene(vtkMRMLScene*)": "setMRMLScene"}


class _HasScene:
    """A number widget that only asks the scene for its unit."""

    def mrmlScene(self):
        return self.__dict__.get("_scene")

    def setMRMLScene(self, scene):
        self.__dict__["_scene"] = scene


class qMRMLSliderWidget(ctkSliderWidget, _HasScene):
    _bench_stand_in = True
    _slots = _SCENE_SLOT
    quantity, setQuantity = stored(str, "quantity", "")


class qMRMLSpinBox(ctkDoubleSpinBox, _HasScene):
    _bench_stand_in = True
    _slots = _SCENE_SLOT
    quantity, setQuantity = stored(str, "quantity", "")


class qMRMLRangeWidget(ctkRangeWidget, _HasScene):
    _bench_stand_in = True
    _slots = _SCENE_SLOT
    quantity, setQuantity = stored(str, "quantity", "")


class _VolumeWidget(qMRMLWidget):
    """Shows something of a volume's display node, and follows it."""

    _bench_stand_in = True
    _slots: ClassVar = {"setMRMLVolumeNode(vtkMRMLNode*)": "setMRMLVolumeNode"}

    def __init__(self, parent=None):
        super().__init__(parent)
        self._volume = self._display = self._tag = None
        self._range = ctkRangeWidget(self)
        self._mode = QComboBox(self)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._mode)
        row.addWidget(self._range, 1)
        self._range.valuesChanged.connect(self._on_range)
        self._mode.activated.connect(self._on_mode)
        self.setEnabled(False)

    def mrmlVolumeNode(self):
        return self._volume

    def setMRMLVolumeNode(self, node):
        if self._display is not None:
            self._display.RemoveObserver(self._tag)
        self._volume = node
        self._display = node.GetDisplayNode() if node is not None else None
        self.setEnabled(self._display is not None)
        if self._display is None:
            return
        self._tag = self._display.AddObserver(
            vtk.vtkCommand.ModifiedEvent, while_alive(self, self._read)
        )
        image = node.GetImageData()
        low, high = image.GetScalarRange() if image is not None else (0.0, 100.0)
        span = max(high - low, 1.0)
        with QSignalBlocker(self._range):
            self._range.setRange(low - 0.5 * span, high + 0.5 * span)
        self._read()

    def _show(self, low, high):
        with QSignalBlocker(self._range):
            self._range.setRange(
                min(low, self._range.property("minimum")),
                max(high, self._range.property("maximum")),
            )
            self._range.setValues(low, high)


class qMRMLWindowLevelWidget(_VolumeWidget):
    _bench_stand_in = True
    windowLevelValuesChanged = Signal(float, float)
    _auto_changed = Signal(int)
    _signals: ClassVar = {"autoWindowLevelValueChanged(ControlMode)": "_auto_changed"}
    Auto, Manual, ManualMinMax = 0, 1, 2

    def __init__(self, parent=None):
        super().__init__(parent)
        self._mode.addItems(["Auto W/L", "Manual W/L", "Manual Min/Max"])

    def _window(self):
        return self._display.GetWindow() if self._display else 0.0

    def _level(self):
        return self._display.GetLevel() if self._display else 0.0

    def setWindowLevel(self, window, level):
        if self._display is not None:
            self._display.AutoWindowLevelOff()
            self._display.SetWindowLevel(window, level)

    def setWindow(self, window):
        self.setWindowLevel(window, self._level())

    def setLevel(self, level):
        self.setWindowLevel(self._window(), level)

    def _auto(self):
        if self._display is None:
            return self.Auto
        return (
            self.Auto if self._display.GetAutoWindowLevel() else max(1, self._mode.currentIndex())
        )

    def setAutoWindowLevel(self, mode):
        if self._display is not None:
            self._mode.setCurrentIndex(int(mode))
            self._display.SetAutoWindowLevel(int(mode) == self.Auto)
            self._auto_changed.emit(int(mode))

    window = Property(float, _window, setWindow)
    level = Property(float, _level, setLevel)
    autoWindowLevel = Property(int, _auto, setAutoWindowLevel)

    def _read(self, *_):
        window, level = self._window(), self._level()
        self._mode.setCurrentIndex(self._auto())
        self._show(level - window / 2, level + window / 2)
        self.windowLevelValuesChanged.emit(window, level)

    def _on_range(self, low, high):
        self.setWindowLevel(high - low, (high + low) / 2)

    def _on_mode(self, row):
        self.setAutoWindowLevel(row)


class qMRMLVolumeThresholdWidget(_VolumeWidget):
    _bench_stand_in = True
    thresholdValuesChanged = Signal(float, float)
    autoThresholdValueChanged = Signal(int)
    Auto, Manual, Off = 0, 1, 2

    def __init__(self, parent=None):
        super().__init__(parent)
        self._mode.addItems(["Auto", "Manual", "Off"])

    def _lower(self):
        return self._display.GetLowerThreshold() if self._display else 0.0

    def _upper(self):
        return self._display.GetUpperThreshold() if self._display else 0.0

    def setThreshold(self, lower, upper):
        if self._display is not None:
            self._display.AutoThresholdOff()
            self._display.ApplyThresholdOn()
            self._display.SetThreshold(lower, upper)

    def setLowerThreshold(self, value):
        self.setThreshold(value, self._upper())

    def setUpperThreshold(self, value):
        self.setThreshold(self._lower(), value)

    def isOff(self):
        return self._auto() == self.Off

    def _auto(self):
        if self._display is None or not self._display.GetApplyThreshold():
            return self.Off
        return self.Auto if self._display.GetAutoThreshold() else self.Manual

    def setAutoThreshold(self, mode):
        if self._display is not None:
            self._display.SetApplyThreshold(int(mode) != self.Off)
            self._display.SetAutoThreshold(int(mode) == self.Auto)
            self.autoThresholdValueChanged.emit(int(mode))

    lowerThreshold = Property(float, _lower, setLowerThreshold)
    upperThreshold = Property(float, _upper, setUpperThreshold)
    autoThreshold = Property(int, _auto, setAutoThreshold)

    def _read(self, *_):
        self._mode.setCurrentIndex(self._auto())
        self._show(self._lower(), self._upper())
        self.thresholdValuesChanged.emit(self._lower(), self._upper())

    def _on_range(self, low, high):
        self.setThreshold(low, high)

    def _on_mode(self, row):
        self.setAutoThreshold(row)


class qMRMLSegmentSelectorWidget(qMRMLWidget):
    """A segmentation and one of its segments."""

    _bench_stand_in = True
    _node_changed = Signal(object)
    currentSegmentChanged = Signal(str)
    segmentSelectionChanged = Signal("QStringList")
    _signals: ClassVar = {"currentNodeChanged(vtkMRMLNode*)": "_node_changed"}
    noneEnabled, setNoneEnabled = stored(bool, "noneEnabled", False, "_on_none")
    segmentationNodeSelectorVisible, setSegmentationNodeSelectorVisible = stored(
        bool, "segmentationNodeSelectorVisible", True, "_show_selector"
    )

    def __init__(self, parent=None):
        super().__init__(parent)
        self._nodes = qMRMLNodeComboBox(self)
        self._nodes.setNodeTypes(["vtkMRMLSegmentationNode"])
        self._nodes.setAddEnabled(False)
        self._nodes.setRemoveEnabled(False)
        self._segments = QComboBox(self)
        self._names = QLabel("Segment:", self)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(self._nodes, 0, 0)
        grid.addWidget(self._segments, 0, 1)
        self._names.hide()
        self._tags: list[tuple] = []
        self._segment = ""
        self._nodes._node_changed.connect(self._on_node)
        self._segments.activated.connect(lambda row: self._choose(self._segments.itemData(row)))

    def currentNode(self):
        return self._nodes.currentNode()

    def currentNodeID(self):
        return self._nodes.property("currentNodeID")

    def setCurrentNode(self, node):
        self._nodes.setCurrentNode(node)

    def setCurrentNodeID(self, node_id):
        self._nodes.setCurrentNodeID(node_id)

    def currentSegmentID(self):
        return self._segment

    def setCurrentSegmentID(self, segment_id):
        self._choose(segment_id if self._segments.findData(segment_id) >= 0 else "")

    def _on_scene(self, scene):
        self._nodes.setMRMLScene(scene)

    def _on_none(self, on):
        self._nodes.setNoneEnabled(on)

    def _show_selector(self, visible):
        self._nodes.setVisible(visible)

    def _on_node(self, node):
        for watched, tag in self._tags:
            watched.RemoveObserver(tag)
        self._tags = []
        if node is not None:
            events = slicer.vtkSegmentation
            wanted = (events.SegmentAdded, events.SegmentRemoved, events.SegmentModified)
            self._tags = [
                (node, node.AddObserver(e, while_alive(self, self._fill))) for e in wanted
            ]
        self._fill()
        self._node_changed.emit(node)

    def _fill(self, *_):
        node = self._nodes.currentNode()
        segmentation = node.GetSegmentation() if node is not None else None
        ids = list(segmentation.GetSegmentIDs()) if segmentation is not None else []
        with QSignalBlocker(self._segments):
            self._segments.clear()
            if self.property("noneEnabled"):
                self._segments.addItem("None", "")
            for segment_id in ids:
                self._segments.addItem(segmentation.GetSegment(segment_id).GetName(), segment_id)
        fallback = "" if self.property("noneEnabled") or not ids else ids[0]
        self._choose(self._segment if self._segment in ids else fallback)

    def _choose(self, segment_id):
        with QSignalBlocker(self._segments):
            self._segments.setCurrentIndex(self._segments.findData(segment_id))
        if segment_id != self._segment:
            self._segment = segment_id
            self.currentSegmentChanged.emit(segment_id)
            self.segmentSelectionChanged.emit([segment_id] if segment_id else [])


def all_mrml_widgets() -> dict[str, type[QWidget]]:
    """Return name -> class of every MRML widget of the bench."""
    from . import node_combos

    found = {**vars(node_combos), **globals()}
    return {k: v for k, v in found.items() if k.startswith("qMRML") and isinstance(v, type)}
