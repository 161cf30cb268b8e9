"""Table nodes as tables of the page (layer: apps)."""

from __future__ import annotations

from typing import Any

from trame.widgets import html

from ctrestorelib.mrml.scene import Node


def rows_of(node: Node | None, *, turned: bool = False) -> dict[str, Any]:
    """Return head and rows of a table node as texts.

    Parameters
    ----------
    node
        A ``vtkMRMLTableNode``; None gives an empty table.
    turned
        One column for each row of the node, its first column as the head.
    """
    table = None if node is None else node.GetTable()
    if table is None:
        return {"head": [], "rows": []}
    names = [table.GetColumnName(c) for c in range(table.GetNumberOfColumns())]
    cells = [
        [_text(table.GetValue(r, c)) for c in range(len(names))]
        for r in range(table.GetNumberOfRows())
    ]
    if not turned:
        return {"head": names, "rows": cells}
    rows = [[names[c], *(row[c] for row in cells)] for c in range(1, len(names))]
    return {"head": ["", *(row[0] for row in cells)], "rows": rows}


def build_table(state: str, caption: str) -> None:
    """Draw the table of a state entry like that of :func:`rows_of`; nothing while it is empty."""
    with html.Div(v_if=f"{state}.rows.length", classes="pg-table"), html.Table():
        html.Caption(caption)
        with html.Thead(), html.Tr():
            html.Th("{{ title }}", v_for=f"title, n in {state}.head", key="n", scope="col")
        with html.Tbody(), html.Tr(v_for=f"row, n in {state}.rows", key="n"):
            html.Td("{{ cell }}", v_for="cell, m in row", key="m")


def _text(value: Any) -> str:
    number = value.ToDouble() if value.IsNumeric() else None
    return value.ToString() if number is None else f"{number:.5g}"
