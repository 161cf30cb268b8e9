"""Table nodes of the comparison: made once, refilled afterwards (layer: mrml)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from ctrestorelib.core.errors import UsageError
from ctrestorelib.mrml.comparison.layouts import TABLE_TAG
from ctrestorelib.mrml.scene import Node, SceneContext

MARK = "CTRestore.Comparison"
"""Attribute by which the comparison knows its own table and plot nodes; its value is the role."""
_CLASSES = ("vtkMRMLTableNode", "vtkMRMLPlotSeriesNode", "vtkMRMLPlotChartNode")

Columns = Mapping[str, Sequence[float] | Sequence[str]]
"""A table: values below each column's title; numbers or texts, equally many in each."""


def own_nodes(scene: Any, class_name: str) -> Iterator[Node]:
    """Yield the nodes of a class that the comparison made."""
    for n in range(scene.GetNumberOfNodesByClass(class_name)):
        node = scene.GetNthNodeByClass(n, class_name)
        if node.GetAttribute(MARK):
            yield node


def reuse(context: SceneContext, class_name: str, role: str, name: str) -> Node:
    """Return the comparison's node with this role, under this name; it is made if need be."""
    found = (n for n in own_nodes(context.scene, class_name) if n.GetAttribute(MARK) == role)
    node = next(found, None) or context.new_node(class_name, name)
    node.SetAttribute(MARK, role)
    # Legends show this name: without the number that a new node gets beside its namesakes.
    node.SetName(name)
    return node


def remove_own_nodes(scene: Any) -> None:
    """Remove all tables, curves and charts that the comparison made."""
    for class_name in reversed(_CLASSES):
        for node in list(own_nodes(scene, class_name)):
            scene.RemoveNode(node)


def show_table(context: SceneContext, role: str, name: str, columns: Columns) -> Node:
    """Fill the table node of this role, in one step; return it.

    Raises
    ------
    UsageError
        If columns differ in length.
    """
    table = _table(columns)
    node = reuse(context, "vtkMRMLTableNode", role, name)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    node.SetAndObserveTable(table)
    return node


def open_table(scene: Any, table: Node) -> bool:
    """Show a table in the comparison's table view; ``False`` if the layout has none."""
    view = scene.GetSingletonNode(TABLE_TAG, "vtkMRMLTableViewNode")
    if view is None:
        return False
    view.SetDoPropagateTableSelection(False)
    view.SetTableNodeID(table.GetID())
    return True


def _table(columns: Columns) -> Any:
    lengths = {title: len(values) for title, values in columns.items()}
    if len(set(lengths.values())) > 1:
        message = f"All columns of a table have the same length; got {lengths}."
        raise UsageError(message)
    table = vtk.vtkTable()
    for title, values in columns.items():
        texts = any(isinstance(v, str) for v in values)
        array = _texts(values) if texts else _numbers(values)
        array.SetName(title)
        table.AddColumn(array)
    return table


def _numbers(values: Sequence[Any]) -> Any:
    return numpy_to_vtk(np.asarray(values, np.float64), deep=True)


def _texts(values: Sequence[Any]) -> Any:
    array = vtk.vtkStringArray()
    for value in values:
        array.InsertNextValue(str(value))
    return array
