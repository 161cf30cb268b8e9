"""Stand-ins for the node selectors, filled from a real scene by real observers."""

from __future__ import annotations

from typing import ClassVar

import slicer
from PySide6.QtCore import Property, QSignalBlocker, Qt, Signal
from PySide6.QtGui import QStandardItem
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QWidget

from .declare import stored
from .scene_filter import NodeFilter, SceneWatch

_ACTION = Qt.ItemDataRole.UserRole + 1


class qMRMLWidget(QWidget):
    """The top of a module's panel: hands the scene on."""

    _bench_stand_in = True
    _scene_changed = Signal(object)
    _signals: ClassVar = {"mrmlSceneChanged(vtkMRMLScene*)": "_scene_changed"}
    _slots: ClassVar = {"setMRMLScene(vtkMRMLScene*)": "setMRMLScene"}

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self._on_scene(scene)
            self._scene_changed.emit(scene)

    def _on_scene(self, scene):
        """For subclasses that look at the scene."""


class qMRMLNodeComboBox(QWidget):
    """A combo box of the nodes of a scene."""

    _bench_stand_in = True
    _node_changed = Signal(object)
    _valid_changed = Signal(bool)
    _activated = Signal(object)
    _added = Signal(object)
    _added_by_user = Signal(object)
    _added_by_action = Signal(object)
    _removing = Signal(object)
    currentNodeIDChanged = Signal(str)
    _signals: ClassVar = {
        "currentNodeChanged(vtkMRMLNode*)": "_node_changed",
        "currentNodeChanged(bool)": "_valid_changed",
        "nodeActivated(vtkMRMLNode*)": "_activated",
        "nodeAdded(vtkMRMLNode*)": "_added",
        "nodeAddedByUser(vtkMRMLNode*)": "_added_by_user",
        "nodeAddedByUserAction(vtkMRMLNode*)": "_added_by_action",
        "nodeAboutToBeRemoved(vtkMRMLNode*)": "_removing",
    }
    _slots: ClassVar = {"setMRMLScene(vtkMRMLScene*)": "setMRMLScene"}

    nodeTypes, setNodeTypes = stored("QStringList", "nodeTypes", [], "_refresh")
    hideChildNodeTypes, setHideChildNodeTypes = stored(
        "QStringList", "hideChildNodeTypes", [], "_refresh"
    )
    showHidden, setShowHidden = stored(bool, "showHidden", False, "_refresh")
    showChildNodeTypes, setShowChildNodeTypes = stored(bool, "showChildNodeTypes", True, "_refresh")
    noneEnabled, setNoneEnabled = stored(bool, "noneEnabled", False, "_refresh")
    noneDisplay, setNoneDisplay = stored(str, "noneDisplay", "None", "_refresh")
    addEnabled, setAddEnabled = stored(bool, "addEnabled", True, "_refresh")
    removeEnabled, setRemoveEnabled = stored(bool, "removeEnabled", True, "_refresh")
    editEnabled, setEditEnabled = stored(bool, "editEnabled", False, "_refresh")
    renameEnabled, setRenameEnabled = stored(bool, "renameEnabled", False, "_refresh")
    baseName, setBaseName = stored(str, "baseName", "")
    selectNodeUponCreation, setSelectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    interactionNodeSingletonTag, setInteractionNodeSingletonTag = stored(
        str, "interactionNodeSingletonTag", "Singleton"
    )
    sizeAdjustPolicy, setSizeAdjustPolicy = stored(int, "sizeAdjustPolicy", 1)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._combo = QComboBox(self)
        self._combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        self.setFocusProxy(self._combo)
        self._watch = SceneWatch(self, self._refresh, self._on_added, self._on_removing)
        self._attributes: list[tuple] = []
        self._current: str | None = None
        self._shown: list = []
        self._combo.setEnabled(False)
        self._combo.activated.connect(self._on_activated)

    # ----- the C++ methods
    def mrmlScene(self):
        return self._watch.scene

    def setMRMLScene(self, scene):
        if scene is self._watch.scene:
            return
        self._watch.look_at(scene)
        self._combo.setEnabled(scene is not None)
        self._refresh()

    def addAttribute(self, node_type, name, value=None):
        self._attributes.append((node_type, name, value))
        self._refresh()

    def removeAttribute(self, node_type, name):
        self._attributes = [a for a in self._attributes if a[:2] != (node_type, name)]
        self._refresh()

    def currentNode(self):
        scene = self._watch.scene
        return scene.GetNodeByID(self._current) if scene and self._current else None

    def setCurrentNode(self, node):
        node_id = node if isinstance(node, str) else (node.GetID() if node else None)
        self.setCurrentNodeID(node_id)

    def setCurrentNodeID(self, node_id):
        self._choose(node_id if any(n.GetID() == node_id for n in self._shown) else None)

    def setCurrentNodeIndex(self, index):
        self.setCurrentNode(self.nodeFromIndex(index))

    def nodeCount(self):
        return len(self._shown)

    def nodeFromIndex(self, index):
        return self._shown[index] if 0 <= index < len(self._shown) else None

    def addNode(self, node_type=None):
        types = self.property("nodeTypes")
        node_type = node_type or (types[0] if types else None)
        scene = self._watch.scene
        if scene is None or node_type not in types:
            return None
        name = self.property("baseName") or node_type.removeprefix("vtkMRML").removesuffix("Node")
        node = scene.AddNewNodeByClass(node_type, scene.GenerateUniqueName(name))
        for wanted, attribute, value in self._attributes:
            if node.IsA(wanted):
                node.SetAttribute(attribute, "" if value is None else str(value))
        self._refresh()
        if self.property("selectNodeUponCreation"):
            self.setCurrentNode(node)
        self._added_by_user.emit(node)
        return node

    def removeCurrentNode(self):
        if self.currentNode() is not None:
            self._watch.scene.RemoveNode(self.currentNode())

    def renameCurrentNode(self):
        from .dialogs import answer

        node = self.currentNode()
        if node is not None:
            node.SetName(answer("qMRMLNodeComboBox.rename", node.GetName()))

    def currentNodeID_(self):
        return self._current or ""

    currentNodeID = Property(str, currentNodeID_, setCurrentNodeID)
    del currentNodeID_

    # ----- inside
    def _filter(self):
        return NodeFilter(
            tuple(self.property("nodeTypes")),
            tuple(self.property("hideChildNodeTypes")),
            self.property("showChildNodeTypes"),
            self.property("showHidden"),
            tuple(self._attributes),
        )

    def _refresh(self, *_):
        """Read the scene again; keep the choice, or fall back as the desktop widget does."""
        if "_shown" not in self.__dict__:
            return
        self._shown = self._filter().nodes(self._watch.scene)
        self._watch.follow(self._shown)
        self._fill()
        ids = [node.GetID() for node in self._shown]
        if self._current in ids:
            self._choose(self._current)
        elif ids and not self.property("noneEnabled"):
            self._choose(ids[0])
        else:
            self._choose(None)

    def _fill(self):
        with QSignalBlocker(self._combo):
            self._combo.clear()
            if self.property("noneEnabled"):
                self._combo.addItem(self.property("noneDisplay"), "")
            for node in self._shown:
                self._combo.addItem(node.GetName() or node.GetID(), node.GetID())
            self._add_actions()

    def _add_actions(self):
        types = self.property("nodeTypes") or [""]
        label = types[0].removeprefix("vtkMRML").removesuffix("Node")
        texts = [
            (self.property("renameEnabled"), "Rename current", self.renameCurrentNode),
            (self.property("removeEnabled"), "Delete current", self.removeCurrentNode),
            (self.property("addEnabled"), f"Create new {label} as...", self._create),
        ]
        chosen = [(text, action) for on, text, action in texts if on]
        if chosen and self._combo.count():
            self._combo.insertSeparator(self._combo.count())
        for text, action in chosen:
            item = QStandardItem(text)
            item.setData(action, _ACTION)
            self._combo.model().appendRow(item)

    def _create(self):
        node = self.addNode()
        if node is not None:
            self._added_by_action.emit(node)

    def _row(self, node_id):
        return self._combo.findData(node_id or "")

    def _choose(self, node_id):
        with QSignalBlocker(self._combo):
            self._combo.setCurrentIndex(self._row(node_id))
        if node_id == self._current:
            return
        self._current = node_id
        node = self.currentNode()
        self._node_changed.emit(node)
        self._valid_changed.emit(node is not None)
        self.currentNodeIDChanged.emit(node_id or "")

    def _on_activated(self, row):
        action = self._combo.itemData(row, _ACTION)
        if action is not None:
            self._choose(self._current)
            action()
            return
        self._choose(self._combo.itemData(row) or None)
        self._activated.emit(self.currentNode())

    def _on_added(self, node):
        if self._filter().shows(node):
            self._added.emit(node)

    def _on_removing(self, node):
        if self._filter().shows(node):
            self._removing.emit(node)


class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """The same list with a check box at each node."""

    _bench_stand_in = True
    checkedNodesChanged = Signal()

    def __init__(self, parent=None):
        super().__init__(parent)
        self._checked: set[str] = set()
        self._combo.model().itemChanged.connect(self._on_item)

    def checkedNodes(self):
        return tuple(n for n in self._shown if n.GetID() in self._checked)

    def uncheckedNodes(self):
        return tuple(n for n in self._shown if n.GetID() not in self._checked)

    def allChecked(self):
        return bool(self._shown) and not self.uncheckedNodes()

    def noneChecked(self):
        return not self.checkedNodes()

    def checkState(self, node):
        states = Qt.CheckState
        return states.Checked if node.GetID() in self._checked else states.Unchecked

    def setCheckState(self, node, state):
        before = set(self._checked)
        if Qt.CheckState(state) == Qt.CheckState.Checked:
            self._checked.add(node.GetID())
        else:
            self._checked.discard(node.GetID())
        if before != self._checked:
            self._fill()
            self.checkedNodesChanged.emit()

    def _fill(self):
        if "_checked" not in self.__dict__:
            return
        super()._fill()
        model = self._combo.model()
        with QSignalBlocker(model):
            for node in self._shown:
                item = model.item(self._row(node.GetID()))
                item.setCheckable(True)
                item.setCheckState(self.checkState(node))

    def _on_item(self, item):
        node_id = item.data(Qt.ItemDataRole.UserRole)
        if node_id and item.isCheckable():
            self.setCheckState(slicer.mrmlScene.GetNodeByID(node_id), item.checkState())
