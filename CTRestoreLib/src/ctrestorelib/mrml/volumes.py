"""Volume nodes and volumes: the border between Slicer's world (RAS) and ours (LPS); layer mrml."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.notes import Note
from ctrestorelib.io.stored import Stored, volume_from
from ctrestorelib.mrml.arrays import image_from, scalars_of, view_of
from ctrestorelib.mrml.rollback import all_or_nothing
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.transforms import (
    RAS_FROM_LPS,
    matrix_of,
    own_ijk_to_ras,
    require_linear,
    to_world,
)
from ctrestorelib.mrml.value_units import set_unit, stated_unit

VOLUME_CLASS = "vtkMRMLScalarVolumeNode"
UIDS_ATTRIBUTE = "DICOM.instanceUIDs"
"""Slicer's own attribute: SOP Instance UIDs of a loaded series, separated by spaces."""


@dataclass(frozen=True)
class NodeVolume:
    """A volume taken from a node, and what was noticed on the way.

    Parameters
    ----------
    volume
        Values, grid and unit.
    notes
        Assumptions and oddities, such as a guessed unit.
    sop_instance_uids
        Of the DICOM instances that the node was loaded from; empty for other sources.
    """

    volume: Volume
    notes: tuple[Note, ...] = ()
    sop_instance_uids: tuple[str, ...] = ()


def check_input(node: Node | None, *, harden: bool = False) -> None:
    """Refuse a node that is no CT volume.

    A linear parent transform is fine: without ``harden`` the result is put under the same one.

    Raises
    ------
    InputError
        If there is no node or no image, or it is a segmentation, a colour or vector volume, or a
        single slice.
    GeometryError
        If a parent transform warps space, or the grid (with ``harden``: in the world) is invalid.
    """
    if node is None:
        message = "No volume is chosen."
        raise InputError(message, hint="Load a CT volume and choose it as the input.")
    _check_class(node)
    view = view_of(node)
    if view.shape[0] < 2 or min(view.shape) < 1:
        message = f"{node.GetName()} holds a single slice; expected a volume of several slices."
        hint = "Load the whole series. Slices loaded one by one must be imported as one volume."
        raise InputError(message, hint=hint)
    _grid(node, harden=harden)


def _check_class(node: Node) -> None:
    name = node.GetName()
    if not node.IsA("vtkMRMLVolumeNode"):
        message = f"{name} is no volume but a {node.GetNodeTagName()}."
        raise InputError(message, hint="Choose a CT volume.")
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        message = f"{name} is a label map (a segmentation), not a CT image."
        raise InputError(message, hint="Choose the grey volume that it was drawn on.")
    scalars_of(node)
    # Colour and diffusion volumes are scalar volume nodes too: only the very class will do.
    if node.GetClassName() != VOLUME_CLASS:
        message = f"{name} is a colour, vector or tensor volume, not a CT image."
        hint = "Choose a volume with one grey value per voxel, or convert it to grey first."
        raise InputError(message, hint=hint)


def geometry_of(node: Node) -> VolumeGeometry:
    """Return a volume node's own grid in LPS, without its parent transform.

    Raises
    ------
    InputError
        If the node has no image.
    GeometryError
        If its axes do not span space.
    """
    return _geometry(node, own_ijk_to_ras(node))


def world_geometry_of(node: Node) -> VolumeGeometry:
    """Return a volume node's grid in the world's LPS, its linear parent transform applied.

    Raises
    ------
    InputError
        If the node has no image.
    GeometryError
        If a parent transform warps space, or the axes do not span it.
    """
    return _grid(node, harden=True)


def _geometry(node: Node, ijk_to_ras: NDArray[np.float64]) -> VolumeGeometry:
    image, _ = scalars_of(node)
    first = image.GetExtent()[::2]  # a cropped image may begin at another index than 0
    matrix = RAS_FROM_LPS @ ijk_to_ras
    matrix[:3, 3] += matrix[:3, :3] @ first
    i, j, k = image.GetDimensions()
    return VolumeGeometry((k, j, i), matrix)


def _grid(node: Node, *, harden: bool) -> VolumeGeometry:
    require_linear(node)
    own = own_ijk_to_ras(node)
    return _geometry(node, to_world(node) @ own if harden else own)


def volume_from_node(node: Node, *, unit: Unit | None = None, harden: bool = False) -> NodeVolume:
    """Return a node's volume: float32 values in one copy that later edits of the node do not touch.

    Parameters
    ----------
    node
        A scalar volume node.
    unit
        What the values mean; without it, what the node states, or a guess with a note.
    harden
        Whether a linear parent transform is multiplied into the grid. Without it the grid is the
        node's own, and the result belongs under the same transform.

    Raises
    ------
    InputError, GeometryError
        See :func:`check_input`.
    """
    check_input(node, harden=harden)
    stated = stated_unit(node) if unit is None else Unit(unit)
    matrix = _grid(node, harden=harden).ijk_to_lps
    stored = Stored(view_of(node), matrix, "node", unit=stated)
    volume, notes = volume_from(stored, None, None, node.GetName())
    if np.shares_memory(volume.values, stored.values):
        volume = volume.with_values(volume.values.copy())
    return NodeVolume(volume, notes, sop_instance_uids(node))


def sop_instance_uids(node: Node) -> tuple[str, ...]:
    """Return the SOP Instance UIDs of the DICOM series that a node was loaded from."""
    return tuple((node.GetAttribute(UIDS_ATTRIBUTE) or "").split())


def new_volume_node(context: SceneContext, name: str, volume: Volume) -> Node:
    """Add a scalar volume node with these values, grid and unit; its name is made unique.

    If anything fails, no node stays behind.
    """
    with all_or_nothing(context.scene):
        node = context.new_node(VOLUME_CLASS, name)
        set_volume(node, volume)
    return node


def set_volume(node: Node, volume: Volume) -> None:
    """Give a node the values (float32, one copy), grid and unit of a volume, in one step.

    Whoever observes the node hears of it once. If the copy does not fit into memory, the node stays
    as it was.
    """
    image = image_from(volume.values)
    ijk_to_ras = matrix_of(RAS_FROM_LPS @ volume.geometry.ijk_to_lps)
    with slicer.util.NodeModify(node):
        node.SetIJKToRASMatrix(ijk_to_ras)
        node.SetAndObserveImageData(image)
        set_unit(node, volume.unit)
