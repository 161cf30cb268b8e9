"""Boxes and lines to begin with, and the segments of a segmentation (layer: apps)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.mrml.scene import Node, SceneContext

SHARE = 0.3
"""Edge of a new box, as a share of the volume's."""


def new_box(context: SceneContext, volume: Node, name: str = "Box") -> Node:
    """Add a box (markups ROI) in the middle of a volume; its handles can be dragged."""
    low, high = _bounds(volume)
    node = context.new_node("vtkMRMLMarkupsROINode", name)
    node.CreateDefaultDisplayNodes()
    node.SetCenter(*(float(c) for c in (low + high) / 2))
    node.SetSize(*(float(s) for s in (high - low) * SHARE))
    _mark(node)
    return node


def new_line(context: SceneContext, volume: Node, name: str = "Line") -> Node:
    """Add a line (markups) from left to right through the middle; its ends can be dragged."""
    low, high = _bounds(volume)
    middle, half = (low + high) / 2, (high - low) * SHARE
    node = context.new_node("vtkMRMLMarkupsLineNode", name)
    node.CreateDefaultDisplayNodes()
    for side in (-1.0, 1.0):
        x = middle[0] + side * half[0]
        node.AddControlPointWorld(float(x), float(middle[1]), float(middle[2]))
    _mark(node)
    return node


def segments_of(node: Node | None) -> list[dict[str, str]]:
    """Return title and value of every segment, for a selector."""
    if node is None:
        return []
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    return [{"title": segmentation.GetSegment(i).GetName(), "value": i} for i in ids]


def _bounds(volume: Node) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    both = np.array(bounds).reshape(3, 2)
    return both[:, 0], both[:, 1]


def _mark(node: Node) -> None:
    display = node.GetDisplayNode()
    display.SetFillVisibility(False)
    display.SetPropertiesLabelVisibility(False)
