"""What a person should know about a volume before using it (layer: mrml)."""

from __future__ import annotations

from dataclasses import dataclass

from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.stacks import is_stack, looks_like_projections
from ctrestorelib.mrml.value_units import unit_of
from ctrestorelib.mrml.volumes import check_input, geometry_of


@dataclass(frozen=True)
class VolumeFacts:
    """Size, spacing, unit and doubts of a volume node.

    Parameters
    ----------
    size_ijk
        Voxels along (i, j, k).
    spacing_mm
        Voxel size along (i, j, k).
    unit
        What the values mean, in words.
    projections
        Whether it is a stack of projections with its scan geometry.
    doubts
        Sentences: a guessed unit, projections that were loaded as slices.
    """

    size_ijk: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    unit: str
    projections: bool
    doubts: tuple[str, ...]


def facts_of(node: Node) -> VolumeFacts:
    """Look at a volume node; voxels are looked through, so hosts ask only after a change.

    Raises
    ------
    InputError, GeometryError
        If it cannot be used as a CT volume.
    """
    check_input(node)
    geometry = geometry_of(node)
    unit, note = unit_of(node)
    known = is_stack(node)
    doubts = [] if note is None else [note.text]
    if not known and (seen := looks_like_projections(node)):
        doubts.append(seen)
    k, j, i = geometry.shape
    return VolumeFacts((i, j, k), geometry.spacing_mm, unit.label, known, tuple(doubts))
