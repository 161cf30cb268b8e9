"""Where a node stands in Slicer's Subject Hierarchy, the tree of the Data module (layer: mrml)."""

from __future__ import annotations

from typing import Any

import slicer

from ctrestorelib.mrml.scene import Node


def tree_of(scene: Any) -> Any:
    """Return the scene's Subject Hierarchy node; Slicer makes it if there is none."""
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def item_of(node: Node) -> int:
    """Return a node's item in the tree, made at the top level if there is none.

    On the desktop Slicer's plugins make items as nodes come; without them somebody has to.
    """
    tree = tree_of(node.GetScene())
    found = tree.GetItemByDataNode(node)
    return int(found or tree.CreateItem(tree.GetSceneItemID(), node))


def place_beside(node: Node, source: Node) -> None:
    """Put a node where its source is: under the same patient and study, or in the same folder.

    Only the place is taken over. The source stays where it is.
    """
    tree = tree_of(node.GetScene())
    tree.SetItemParent(item_of(node), tree.GetItemParent(item_of(source)))
