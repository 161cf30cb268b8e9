"""Which nodes a selector shows, and when it must look again."""

from __future__ import annotations

from dataclasses import dataclass

import vtk
from shiboken6 import isValid
from slicer import vtkMRMLScene


@dataclass(frozen=True)
class NodeFilter:
    """The rules of a node selector."""

    types: tuple[str, ...]
    hidden_types: tuple[str, ...]
    children: bool
    hidden: bool
    attributes: tuple[tuple, ...]

    def nodes(self, scene) -> list:
        """Return the shown nodes in the order of the scene."""
        if scene is None:
            return []
        every = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
        return [node for node in every if self.shows(node)]

    def shows(self, node) -> bool:
        """Whether a node is in the list."""
        if self.children:
            fits = any(node.IsA(t) for t in self.types)
        else:
            fits = node.GetClassName() in self.types
        if not fits or any(node.IsA(t) for t in self.hidden_types):
            return False
        return (self.hidden or not node.GetHideFromEditors()) and self._has_attributes(node)

    def _has_attributes(self, node) -> bool:
        for node_type, name, value in self.attributes:
            if not node.IsA(node_type):
                continue
            found = node.GetAttribute(name)
            if found is None or (value is not None and str(value) != found):
                return False
        return True


def while_alive(owner, function, *, with_node: bool = False):
    """Return an observer that is silent once Qt has deleted `owner`.

    `with_node` is for events that carry a node; reading what another event carries as one crashes.
    """

    def call(sender, event, *data):
        if isValid(owner):
            function(sender, event, *data)

    return vtk.calldata_type(vtk.VTK_OBJECT)(call) if with_node else call


class SceneWatch:
    """Observers on a scene and on the nodes that a selector shows."""

    def __init__(self, owner, refresh, added, removing):
        self.scene = None
        self._owner = owner
        self._refresh, self._added, self._removing = refresh, added, removing
        self._tags: list[tuple] = []
        self._followed: dict = {}

    def look_at(self, scene) -> None:
        """Observe this scene instead of the former one."""
        for watched, tag in self._tags:
            watched.RemoveObserver(tag)
        self._tags = []
        self.follow([])
        self.scene = scene
        if scene is None:
            return
        events = vtkMRMLScene
        for event, call, with_node in (
            (events.NodeAddedEvent, self._on_added, True),
            (events.NodeAboutToBeRemovedEvent, self._on_removing, True),
            (events.NodeRemovedEvent, self._again, False),
            (events.EndBatchProcessEvent, self._again, False),
            (events.EndCloseEvent, self._again, False),
            (events.EndImportEvent, self._again, False),
        ):
            call_it = while_alive(self._owner, call, with_node=with_node)
            self._tags.append((scene, scene.AddObserver(event, call_it)))

    def follow(self, nodes) -> None:
        """Look again when one of these is renamed or gets another attribute."""
        wanted = {node.GetID(): node for node in nodes}
        for node_id in [i for i in self._followed if i not in wanted]:
            node, tag, _state = self._followed.pop(node_id)
            node.RemoveObserver(tag)
        for node_id, node in wanted.items():
            if node_id not in self._followed:
                call = while_alive(self._owner, self._on_modified)
                tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, call)
                self._followed[node_id] = [node, tag, self._state(node)]

    @staticmethod
    def _state(node):
        names = node.GetAttributeNames()
        pairs = tuple((name, node.GetAttribute(name)) for name in names)
        return node.GetName(), node.GetHideFromEditors(), pairs

    def _on_modified(self, node, _event):
        entry = self._followed.get(node.GetID())
        state = self._state(node)
        if entry is not None and entry[2] != state:
            entry[2] = state
            self._again()

    def _again(self, *_):
        if not self.scene.IsBatchProcessing():
            self._refresh()

    def _on_added(self, _scene, _event, node):
        self._again()
        self._added(node)

    def _on_removing(self, _scene, _event, node):
        self._removing(node)
