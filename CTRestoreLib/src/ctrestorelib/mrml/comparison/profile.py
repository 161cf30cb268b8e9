"""Values along a drawn line through all compared volumes, live (layer: mrml)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.mrml.comparison.charts import Chart, Curve, open_chart, show_chart
from ctrestorelib.mrml.comparison.layouts import short_names
from ctrestorelib.mrml.comparison.observers import Observers
from ctrestorelib.mrml.comparison.sampling import edge_width_mm, finest_spacing_mm, samples_of
from ctrestorelib.mrml.comparison.tables import open_table, show_table
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.value_units import unit_of

DISTANCE = "Distance [mm]"
_ROLE = "profile"
_NUMBERS = "profile numbers"
_MOST = 4000  # more samples than any screen has pixels


class LineProfile:
    """A table, a chart and edge widths that follow a markups line.

    Parameters
    ----------
    context
        The scene.
    line_id
        A ``vtkMRMLMarkupsLineNode`` with both ends placed.
    volume_ids
        One to four volumes; parent transforms of line and volumes are followed.
    names
        For the legend; the nodes' names if not given.

    Raises
    ------
    InputError
        If a node is gone, is no line, or the line is not finished. Nothing is added then.
    UsageError
        If there are no volumes, or more than four.
    """

    def __init__(
        self,
        context: SceneContext,
        line_id: str,
        volume_ids: Sequence[str],
        names: Sequence[str] | None = None,
    ) -> None:
        if not 1 <= len(volume_ids) <= 4:
            message = f"A profile goes through one to four volumes; got {len(volume_ids)}."
            raise UsageError(message)
        self._context = context
        self._line = _line(context.require(line_id, "line"))
        self._volumes = [context.require(i, "volume") for i in volume_ids]
        units = [unit_of(v)[0].label for v in self._volumes]
        named = short_names([v.GetName() for v in self._volumes] if names is None else names)
        self._names = named
        self._titles = [f"{n} [{u}]" for n, u in zip(named, units, strict=True)]
        self._units = units
        self.table: Node = None
        self.numbers: Node = None
        self.chart: Node = None
        self._observers = Observers()
        self.update()
        self._watch()

    def update(self) -> None:
        """Sample the volumes anew; an unfinished line or a deleted volume leaves the old curves."""
        nodes = [self._line, *self._volumes]
        if any(n.GetScene() is None for n in nodes) or not _finished(self._line):
            return
        distance, points = _points(self._line, self._volumes)
        curves = [samples_of(v, points) for v in self._volumes]
        columns = {DISTANCE: distance, **dict(zip(self._titles, curves, strict=True))}
        self.table = show_table(self._context, _ROLE, "Line profile", columns)  # type: ignore[arg-type]
        self.numbers = self._show_numbers(distance, curves)
        if self.chart is None or self.chart.GetScene() is None:
            self.chart = self._show_chart()

    def open(self) -> bool:
        """Show chart and numbers in the comparison's views; ``False`` if the layout has none."""
        scene = self._context.scene
        return open_chart(scene, self.chart) & open_table(scene, self.numbers)

    def close(self) -> None:
        """Stop following the line; table and chart stay."""
        self._observers.clear()

    def _watch(self) -> None:
        markups, volume = slicer.vtkMRMLMarkupsNode, slicer.vtkMRMLVolumeNode
        for event in (markups.PointModifiedEvent, markups.TransformModifiedEvent):
            self._observers.add(self._line, event, self._changed)
        written = (volume.ImageDataModifiedEvent, volume.TransformModifiedEvent, "ModifiedEvent")
        for node in self._volumes:
            for event in written:  # scripts that write into the array only say "modified"
                self._observers.add(node, event, self._changed)
        closing = slicer.vtkMRMLScene.StartCloseEvent
        self._observers.add(self._context.scene, closing, lambda *_: self.close())

    def _changed(self, _node: Any, _event: str) -> None:
        self.update()

    def _show_chart(self) -> Node:
        named = zip(self._names, self._titles, strict=True)
        curves = [Curve(name, DISTANCE, title, n) for n, (name, title) in enumerate(named)]
        up = " / ".join(dict.fromkeys(self._units))
        return show_chart(
            self._context, self.table, Chart(_ROLE, "Line profile", DISTANCE, up, curves)
        )

    def _show_numbers(
        self, distance: NDArray[np.float64], curves: Sequence[NDArray[np.float64]]
    ) -> Node:
        edges = [edge_width_mm(distance, c) for c in curves]
        columns = {
            "Volume": self._names,
            "Unit": self._units,
            "Mean": [_told(c, np.mean) for c in curves],
            "Minimum": [_told(c, np.min) for c in curves],
            "Maximum": [_told(c, np.max) for c in curves],
            "Edge 10-90 % [mm]": [f"Not measurable: {why}" if w is None else f"{w:.2f}"
                                  for w, why in edges],
        }  # fmt: skip
        return show_table(self._context, _NUMBERS, "Profile in numbers", columns)


def _line(node: Node) -> Node:
    if not node.IsA("vtkMRMLMarkupsLineNode"):
        message = f"'{node.GetName()}' is not a line."
        raise InputError(message, hint="Draw a line with the Markups toolbar and choose it.")
    if not _finished(node):
        message = f"The line '{node.GetName()}' has {_placed(node)} of its two ends."
        raise InputError(message, hint="Click twice in a slice view to place both ends.")
    return node


def _placed(line: Node) -> int:
    return int(line.GetNumberOfDefinedControlPoints())


def _finished(line: Node) -> bool:
    return _placed(line) == 2


def _points(line: Node, volumes: Sequence[Node]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return distances (n,) and world points (n, 3), two for each voxel of the finest volume."""
    ends = np.array([line.GetNthControlPointPositionWorld(n) for n in (0, 1)])
    length = float(np.linalg.norm(ends[1] - ends[0]))
    step = min(finest_spacing_mm(v) for v in volumes) / 2
    count = int(min(max(2, np.ceil(length / step) + 1), _MOST))
    share = np.linspace(0.0, 1.0, count)
    return share * length, ends[0] + share[:, None] * (ends[1] - ends[0])


def _told(values: NDArray[np.float64], number: Any) -> str:
    good = values[np.isfinite(values)]
    return f"{float(number(good)):.4g}" if good.size else "outside"
