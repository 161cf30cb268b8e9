"""Layouts for one to four volumes, as Slicer's layout XML (layer: mrml).

All views carry CTRestore's own singleton tags and view group, so that linking them never moves the
person's Red, Yellow and Green views. The layout numbers are constant: a layout is described again
(other names, another number of views) rather than added twice.
"""

from __future__ import annotations

import enum
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from ctrestorelib.core.errors import UsageError

FIRST_LAYOUT_ID = 30417
VIEW_GROUP = 30417
"""Slice views are linked within a group only; Slicer's own views are in group 0."""
PLOT_TAG = "CTRestoreComparePlot"
TABLE_TAG = "CTRestoreCompareTable"
ORIENTATIONS = ("Axial", "Coronal", "Sagittal")
COLOURS = ("#9A9A9A", "#4C9BE8", "#E8A23C", "#7FB86B")
"""Of the first to fourth volume: in view bars, captions and charts alike."""
LONGEST_LABEL = 28


@enum.unique
class Mode(str, enum.Enum):
    """Ways to compare volumes."""

    SIDE_BY_SIDE = "side_by_side"
    THREE_UP = "three_up"
    WIPE = "wipe"
    CHECKERBOARD = "checkerboard"
    BLEND = "blend"
    FOUR_UP = "four_up"

    @property
    def volumes(self) -> range:
        """How many volumes this mode shows."""
        return {
            Mode.THREE_UP: range(3, 4),
            Mode.FOUR_UP: range(1, 5),
        }.get(self, range(2, 3))

    @property
    def overlaid(self) -> bool:
        """Whether both volumes share one view."""
        return self in (Mode.WIPE, Mode.CHECKERBOARD, Mode.BLEND)


@dataclass(frozen=True)
class Cell:
    """One slice view of a layout.

    Parameters
    ----------
    tag
        Singleton tag of the view.
    orientation
        ``"Axial"``, ``"Coronal"`` or ``"Sagittal"``.
    background, foreground
        Which volumes it shows (0 is the first); no foreground is ``None``.
    label
        Text of the view's bar.
    """

    tag: str
    orientation: str
    background: int
    foreground: int | None
    label: str


@dataclass(frozen=True)
class ComparisonLayout:
    """A layout and what its views show.

    Parameters
    ----------
    mode
        The way to compare.
    layout_id
        The number under which Slicer knows it.
    rows
        Slice views, row by row.
    labels
        Short names of the volumes.
    with_charts
        Whether a chart and a table lie below.
    """

    mode: Mode
    layout_id: int
    rows: tuple[tuple[Cell, ...], ...]
    labels: tuple[str, ...]
    with_charts: bool = False

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All slice views, row by row."""
        return tuple(cell for row in self.rows for cell in row)

    @property
    def xml(self) -> str:
        """The description that Slicer reads."""
        rows = [_group("horizontal", [_slice_view(c) for c in row]) for row in self.rows]
        views = rows[0] if len(rows) == 1 else _group("vertical", rows)
        if not self.with_charts:
            return views
        charts = _group("horizontal", [_PLOT_VIEW, _TABLE_VIEW])
        return _group("vertical", [views, charts], sizes=(650, 350))


def comparison_layout(
    mode: Mode,
    names: Sequence[str],
    orientations: Sequence[str] = ("Axial",),
    *,
    with_charts: bool = False,
) -> ComparisonLayout:
    """Return the layout that compares volumes of these names.

    Parameters
    ----------
    mode
        The way to compare.
    names
        One per volume, in the order of the views.
    orientations
        One row of views each (one column where the volumes share a view); all three of
        :data:`ORIENTATIONS` show every volume from three sides.
    with_charts
        Add a chart and a table below (Slicer's desktop only: the browser draws its own charts).

    Raises
    ------
    UsageError
        If the number of volumes does not fit the mode, or an orientation is unknown.
    """
    mode = Mode(mode)
    _check(mode, names, orientations)
    labels = short_names(names)
    rows = [_row(mode, labels, orientation) for orientation in orientations]
    if mode.overlaid:
        rows = [tuple(cell for row in rows for cell in row)]
    elif len(rows) == 1 and len(rows[0]) == 4:
        rows = [rows[0][:2], rows[0][2:]]
    number = 4 * list(Mode).index(mode) + 2 * (len(orientations) > 1) + with_charts
    return ComparisonLayout(mode, FIRST_LAYOUT_ID + number, tuple(rows), tuple(labels), with_charts)


def register(layout_node: Any, layout: ComparisonLayout) -> int:
    """Describe the layout to Slicer, again if it was known; return its number."""
    if layout_node.IsLayoutDescription(layout.layout_id):
        layout_node.SetLayoutDescription(layout.layout_id, layout.xml)
    else:
        layout_node.AddLayoutDescription(layout.layout_id, layout.xml)
    return layout.layout_id


def is_comparison(layout_id: int) -> bool:
    """Whether this is the number of one of CTRestore's layouts."""
    return FIRST_LAYOUT_ID <= layout_id < FIRST_LAYOUT_ID + 4 * len(Mode)


def short_names(names: Sequence[str]) -> list[str]:
    """Return names that fit a view's bar: a long one loses its middle, equal ones get a number.

    The end of a name is kept because results are named after their source, then the method.
    """
    half = (LONGEST_LABEL - 3) // 2
    short = [n if len(n) <= LONGEST_LABEL else f"{n[:half]}...{n[-half:]}" for n in names]
    return [
        n if short.count(n) == 1 else f"{n} ({short[: place + 1].count(n)})"
        for place, n in enumerate(short)
    ]


def _check(mode: Mode, names: Sequence[str], orientations: Sequence[str]) -> None:
    if len(names) not in mode.volumes:
        low, high = mode.volumes[0], mode.volumes[-1]
        wanted = f"{low}" if low == high else f"{low} to {high}"
        message = f"{mode.value.replace('_', ' ')!r} compares {wanted} volumes; got {len(names)}."
        raise UsageError(message, hint="Choose other volumes or another way to compare.")
    unknown = [o for o in orientations if o not in ORIENTATIONS]
    if unknown or not orientations or len(set(orientations)) < len(orientations):
        message = f"Orientations are some of {', '.join(ORIENTATIONS)}; got {list(orientations)}."
        raise UsageError(message)


def _row(mode: Mode, labels: Sequence[str], orientation: str) -> tuple[Cell, ...]:
    if mode.overlaid:
        tag, label = f"CTRestoreCompareOver{orientation}", f"{labels[0]} | {labels[1]}"
        return (Cell(tag, orientation, 0, 1, label),)
    letters = string.ascii_uppercase
    side = "" if orientation == ORIENTATIONS[0] else orientation
    return tuple(
        Cell(f"CTRestoreCompare{letters[n]}{side}", orientation, n, None, label)
        for n, label in enumerate(labels)
    )


def _group(direction: str, parts: Sequence[str], sizes: Sequence[int] = ()) -> str:
    opened = [f'<item splitSize="{size}">' for size in sizes] or ["<item>"] * len(parts)
    items = "".join(f"{o}{part}</item>" for o, part in zip(opened, parts, strict=True))
    return f'<layout type="{direction}" split="true">{items}</layout>'


def _slice_view(cell: Cell) -> str:
    colour = COLOURS[cell.background if cell.foreground is None else cell.foreground]
    properties = {
        "orientation": cell.orientation,
        "viewlabel": cell.label,
        "viewcolor": colour,
        "viewgroup": str(VIEW_GROUP),
    }
    return _view("vtkMRMLSliceNode", cell.tag, properties)


def _view(class_name: str, tag: str, properties: dict[str, str]) -> str:
    listed = "".join(
        f'<property name="{name}" action="default">{escape(value)}</property>'
        for name, value in properties.items()
    )
    return f'<view class="{class_name}" singletontag="{tag}">{listed}</view>'


_PLOT_VIEW = _view("vtkMRMLPlotViewNode", PLOT_TAG, {"viewlabel": "Profile"})
_TABLE_VIEW = _view("vtkMRMLTableViewNode", TABLE_TAG, {"viewlabel": "Numbers"})
