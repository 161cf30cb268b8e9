"""Hand a volume to Slicer's Segment Editor; the host then switches modules (layer: mrml)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ctrestorelib.core.errors import InputError
from ctrestorelib.mrml.hierarchy import place_beside
from ctrestorelib.mrml.rollback import all_or_nothing, forget_item
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.transforms import same_parent
from ctrestorelib.mrml.volumes import check_input

EDITOR_TAG = "SegmentEditor"
"""The singleton tag under which Slicer's Segment Editor module keeps its settings."""


@dataclass
class HandOver:
    """What was prepared for the Segment Editor, and the way back.

    Parameters
    ----------
    segmentation
        The segmentation node to draw in.
    editor
        The ``vtkMRMLSegmentEditorNode`` of the Segment Editor module.
    """

    segmentation: Node
    editor: Node
    _context: SceneContext = field(repr=False)
    _added: tuple[str, ...] = field(repr=False)
    _before: tuple[str | None, str | None] = field(repr=False)

    def cancel(self) -> None:
        """Put everything back: choose again what was chosen, remove what was added.

        A new segmentation that somebody has drawn in since stays, and so does the editor with it.
        """
        drawn = self.segmentation.GetSegmentation().GetNumberOfSegments() > 0
        if self.segmentation.GetID() in self._added and drawn:
            return
        _choose(self.editor, *(self._context.node(i) for i in self._before))
        for node_id in reversed(self._added):
            node = self._context.node(node_id)
            # Once the module shows its settings node it watches it, and must keep it.
            watched = node is self.editor and node.HasObserver("ModifiedEvent")
            if node is not None and not watched:
                forget_item(self._context.scene, node)
                self._context.scene.RemoveNode(node)
        self._added = ()


def prepare_segment_editor(
    context: SceneContext, volume: Node, segmentation: Node | None = None
) -> HandOver:
    """Make the Segment Editor open with this volume as its source.

    Parameters
    ----------
    volume
        The volume to draw on, usually the restored one.
    segmentation
        Where to draw; without it a new segmentation on the volume's grid, under the volume's
        transform. An existing one keeps its segments, its grid and its place.

    Raises
    ------
    InputError, GeometryError
        If the volume is no CT volume, or the segmentation is gone; the scene stays as it was.
    """
    check_input(volume)
    if segmentation is not None and context.node(segmentation.GetID()) is not segmentation:
        message = "The segmentation is no longer in the scene."
        raise InputError(message, hint="Choose another one, or start a new one.")
    before = _ids(context)
    with all_or_nothing(context.scene):
        target = segmentation or context.new_node(
            "vtkMRMLSegmentationNode", f"{volume.GetName()} segmentation"
        )
        if segmentation is None:
            target.SetReferenceImageGeometryParameterFromVolumeNode(volume)
            same_parent(volume, target)
            place_beside(target, volume)
        target.CreateDefaultDisplayNodes()
        editor = _editor(context)
    chosen = (_id(editor.GetSegmentationNode()), _id(editor.GetSourceVolumeNode()))
    _choose(editor, target, volume)
    return HandOver(target, editor, context, tuple(_ids(context, leave_out=before)), chosen)


def _editor(context: SceneContext) -> Node:
    """Return the Segment Editor's settings node, made as the module itself would make it."""
    found = context.scene.GetSingletonNode(EDITOR_TAG, "vtkMRMLSegmentEditorNode")
    if found is not None:
        return found
    node = context.scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
    node.UnRegister(None)
    node.SetSingletonTag(EDITOR_TAG)
    return context.scene.AddNode(node)


def _choose(editor: Node, segmentation: Node | None, volume: Node | None) -> None:
    editor.SetAndObserveSegmentationNode(segmentation)
    editor.SetAndObserveSourceVolumeNode(volume)


def _id(node: Any | None) -> str | None:
    return None if node is None else str(node.GetID())


def _ids(context: SceneContext, leave_out: Any = ()) -> list[str]:
    """Return the IDs of the nodes in the scene, in order."""
    nodes = context.scene.GetNodes()
    found = (str(nodes.GetItemAsObject(n).GetID()) for n in range(nodes.GetNumberOfItems()))
    return [i for i in found if i not in leave_out]
