"""All or nothing: what a failed step added to the scene goes again (layer: mrml)."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def all_or_nothing(scene: Any) -> Generator[None, None, None]:
    """Remove every node that the block added if the block fails."""
    before = _ids(scene)
    try:
        yield
    except BaseException:
        for node_id in _ids(scene) - before:
            _remove(scene, node_id)
        raise


def _ids(scene: Any) -> set[str]:
    nodes = scene.GetNodes()
    return {nodes.GetItemAsObject(n).GetID() for n in range(nodes.GetNumberOfItems())}


def _remove(scene: Any, node_id: str) -> None:
    node = scene.GetNodeByID(node_id)
    if node is None or node.IsA("vtkMRMLSubjectHierarchyNode"):
        return  # the tree itself is no result; removing it would take everything with it
    forget_item(scene, node)
    scene.RemoveNode(node)


def forget_item(scene: Any, node: Any) -> None:
    """Take a node out of the Subject Hierarchy; the node itself stays."""
    tree = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    item = 0 if tree is None else tree.GetItemByDataNode(node)
    if item:
        tree.RemoveItem(item, False, False)
