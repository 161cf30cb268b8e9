"""Parent transforms of nodes: keep them, or multiply them into the geometry (layer: mrml)."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.mrml.scene import Node

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Turns LPS millimetres into RAS millimetres, and back: it is its own inverse."""


def array_of(matrix: Any) -> NDArray[np.float64]:
    """Return a ``vtkMatrix4x4`` as a 4x4 array."""
    return np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])


def matrix_of(array: NDArray[np.float64]) -> Any:
    """Return a 4x4 array as a ``vtkMatrix4x4``."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, dtype=np.float64).ravel().tolist())
    return matrix


def own_ijk_to_ras(node: Node) -> NDArray[np.float64]:
    """Return a volume node's 4x4 matrix from voxel indices (i, j, k) to its own RAS in mm."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return array_of(matrix)


def parent_of(node: Node) -> Node | None:
    """Return the transform node that a node lies under, or None."""
    return node.GetParentTransformNode()


def require_linear(node: Node) -> None:
    """Refuse a node that lies under a warping transform, directly or further up.

    Raises
    ------
    GeometryError
        If any transform between the node and the world is not linear.
    """
    parent = parent_of(node)
    if parent is None or parent.IsTransformToWorldLinear():
        return
    message = (
        f"{node.GetName()} lies under the transform {parent.GetName()}, which warps space: "
        "in the world it is no longer a regular grid or box."
    )
    hint = "Harden it in the Transforms module (on a copy), or remove the transform."
    raise GeometryError(message, hint=hint)


def to_world(node: Node) -> NDArray[np.float64]:
    """Return the 4x4 matrix from a node's own RAS to the world's RAS; identity without a parent.

    Raises
    ------
    GeometryError
        If a transform on the way is not linear.
    """
    require_linear(node)
    parent = parent_of(node)
    matrix = vtk.vtkMatrix4x4()
    if parent is not None:
        parent.GetMatrixTransformToWorld(matrix)
    return array_of(matrix)


def same_parent(source: Node, target: Node) -> None:
    """Put ``target`` under the transform that ``source`` lies under, or under none."""
    target.SetAndObserveTransformNodeID(source.GetTransformNodeID())


def share_parent(first: Node, second: Node) -> bool:
    """Return whether both nodes lie under the same transform node, or both under none."""
    return bool(first.GetTransformNodeID() == second.GetTransformNodeID())
