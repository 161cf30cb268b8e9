"""The scene that a host shows, and the logics that work on it (layer: mrml)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ctrestorelib.core.errors import InputError

Node = Any
"""A MRML node; slicer-core ships no type information."""


@dataclass(frozen=True)
class SceneContext:
    """What a host hands to this layer.

    Parameters
    ----------
    scene
        The ``vtkMRMLScene``.
    volumes_logic, segmentations_logic
        The host's module logics; the second registers the rules by which segments change their
        representation, so without it no surface can be made.
    """

    scene: Any
    volumes_logic: Any
    segmentations_logic: Any

    def node(self, node_id: str | None) -> Node | None:
        """Return the node with this ID if it is still in the scene."""
        return self.scene.GetNodeByID(node_id) if node_id else None

    def require(self, node_id: str | None, what: str) -> Node:
        """Return the node with this ID; :class:`InputError` if it is gone."""
        found = self.node(node_id)
        if found is None:
            message = f"The {what} is no longer in the scene."
            raise InputError(message, hint="Choose another one and start again.")
        return found

    def new_node(self, class_name: str, name: str) -> Node:
        """Add a node whose name no other node has (a number is appended if need be)."""
        return self.scene.AddNewNodeByClass(class_name, self.scene.GenerateUniqueName(name))
