"""Where the views of a comparison cut, and how large they show it (layer: mrml)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import vtk

from ctrestorelib.mrml.comparison.host import SliceViewHandle

_MARGIN = 1.06


@dataclass(frozen=True)
class Pose:
    """The plane and the scale of one view.

    Parameters
    ----------
    slice_to_ras
        ``vtkMatrix4x4`` from the slice plane to RAS millimetres.
    field_mm
        Length of the view's shorter side: kept when the view becomes larger or smaller.
    shift
        Pan: the slice node's own x, y, z origin in mm.
    """

    slice_to_ras: Any
    field_mm: float
    shift: tuple[float, float, float]


def pose_of(view: SliceViewHandle) -> Pose:
    """Return plane, scale and pan of a view."""
    node = view.node
    plane = vtk.vtkMatrix4x4()
    plane.DeepCopy(node.GetSliceToRAS())
    field = _scale(node) * shorter_side(view)
    return Pose(plane, field, tuple(node.GetXYZOrigin()))


def shorter_side(view: SliceViewHandle) -> int:
    """Return width or height of a view in pixels, whichever is less."""
    width, height, _ = view.node.GetDimensions()
    return int(max(1, min(width, height)))


def take_pose(view: SliceViewHandle, pose: Pose, mm_per_pixel: float) -> None:
    """Give a view the plane and pan of ``pose`` in this scale."""
    node = view.node
    width, height, _ = node.GetDimensions()
    changing = node.StartModify()
    try:
        node.GetSliceToRAS().DeepCopy(pose.slice_to_ras)
        depth = node.GetFieldOfView()[2]
        node.SetFieldOfView(width * mm_per_pixel, height * mm_per_pixel, depth)
        node.SetXYZOrigin(*pose.shift)
        node.UpdateMatrices()
    finally:
        node.EndModify(changing)


def fitting_poses(views: Mapping[str, SliceViewHandle], volume: Any) -> dict[str, Pose]:
    """Return poses that show the middle of a volume, all to one scale.

    Parameters
    ----------
    views
        One view for each orientation; they are moved.
    volume
        The node to fit. Slices follow its own axes if they are oblique, so that nothing is blurred
        by cutting between voxels.
    """
    found = {name: _fitted(name, view, volume) for name, view in views.items()}
    largest = max(pose.field_mm for pose in found.values())
    return {name: Pose(p.slice_to_ras, largest, p.shift) for name, p in found.items()}


def resize(views: Sequence[SliceViewHandle]) -> None:
    """Tell the slice nodes how many pixels their windows have now."""
    for view in views:
        width, height = view.render_window.GetSize()
        if width > 0 and height > 0:
            view.logic.ResizeSliceNode(width, height)


def _fitted(orientation: str, view: SliceViewHandle, volume: Any) -> Pose:
    view.node.SetOrientation(orientation)
    view.node.RotateToVolumePlane(volume)
    view.node.SetXYZOrigin(0, 0, 0)
    width, height, _ = view.node.GetDimensions()
    view.logic.FitSliceToVolume(volume, width, height)
    view.logic.SnapSliceOffsetToIJK()
    pose = pose_of(view)
    return Pose(pose.slice_to_ras, pose.field_mm * _MARGIN, pose.shift)


def _scale(node: Any) -> float:
    width, height, _ = node.GetDimensions()
    across, up, _ = node.GetFieldOfView()
    return float(max(across / max(width, 1), up / max(height, 1)))
