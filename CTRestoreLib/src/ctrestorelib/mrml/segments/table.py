"""A segment comparison as a table node, with units in its headers (layer: mrml)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import vtk

from ctrestorelib.mrml.rollback import all_or_nothing
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.segments.compare import SegmentComparison, SegmentRow, VoxelsUnder

NODE_NAME = "CTRestore segment comparison"
ATTRIBUTE = "CTRestore.SegmentComparison"
VOXELS_ATTRIBUTE = "CTRestore.VoxelsUnderSegment"
NOT_DEFINED = "not defined"

_MEASURES = {
    "Dice": ("dice", "{:.4f}"),
    "Mean surface distance (mm)": ("surface_distance", "{:.3f}"),
    "HD95 (mm)": ("hd95", "{:.3f}"),
    "Volume difference (%)": ("volume_difference", "{:+.2f}"),
}


def comparison_table(context: SceneContext, comparison: SegmentComparison) -> Node:
    """Show a comparison in a table; a repeat fills the same table again.

    The first segment has no measures against itself: its cells hold a dash. What cannot be
    measured reads "not defined"; the reason is in :attr:`SegmentComparison.sentences` and in the
    description of the node.
    """
    columns: dict[str, list[str]] = {
        "Segment": [row.name for row in comparison.rows],
        "Volume (ml)": [f"{row.volume_ml:.4g}" for row in comparison.rows],
        "Islands": [str(row.islands) for row in comparison.rows],
    }
    for title, (name, form) in _MEASURES.items():
        columns[title] = [_cell(row, name, form) for row in comparison.rows]
    node = _table(context, NODE_NAME, ATTRIBUTE, columns)
    node.SetDescription(" ".join(comparison.sentences))
    return node


def voxel_table(context: SceneContext, rows: Sequence[VoxelsUnder]) -> Node:
    """Show the values of several volumes under a segment in a table of their own."""
    form: Callable[[float | None], str] = lambda v: NOT_DEFINED if v is None else f"{v:.5g}"  # noqa: E731
    return _table(context, "CTRestore voxels under segment", VOXELS_ATTRIBUTE, {
        "Volume": [r.name for r in rows],
        "Voxels": [str(r.voxels) for r in rows],
        "Mean": [form(r.mean) for r in rows],
        "SD": [form(r.sd) for r in rows],
        "Unit": [r.unit.label for r in rows],
    })  # fmt: skip


def _cell(row: SegmentRow, name: str, form: str) -> str:
    if row.overlap is None:
        return "-"
    value = getattr(row.overlap, name).value
    return NOT_DEFINED if value is None else form.format(value)


def _table(context: SceneContext, name: str, attribute: str, columns: dict[str, list[str]]) -> Node:
    table = vtk.vtkTable()
    for title, cells in columns.items():
        column = vtk.vtkStringArray()
        column.SetName(title)
        for cell in cells:
            column.InsertNextValue(cell)
        table.AddColumn(column)
    with all_or_nothing(context.scene):
        node = _existing(context, attribute) or context.new_node("vtkMRMLTableNode", name)
        node.SetAttribute(attribute, "1")
        node.SetAndObserveTable(table)
        node.SetUseFirstColumnAsRowHeader(True)
        node.SetUseColumnTitleAsColumnHeader(True)
    return node


def _existing(context: SceneContext, attribute: str) -> Node | None:
    for n in range(context.scene.GetNumberOfNodesByClass("vtkMRMLTableNode")):
        node = context.scene.GetNthNodeByClass(n, "vtkMRMLTableNode")
        if node.GetAttribute(attribute):
            return node
    return None
