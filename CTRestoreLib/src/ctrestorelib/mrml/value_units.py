"""What the values of a volume node mean: HU, 1/mm or grey values (layer: mrml)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import slicer

from ctrestorelib.core.units import Unit
from ctrestorelib.io.notes import Note
from ctrestorelib.io.stored import guessed_unit
from ctrestorelib.mrml.arrays import view_of
from ctrestorelib.mrml.scene import Node

UNIT_ATTRIBUTE = "CTRestore.Unit"

CODES: Mapping[Unit, tuple[str, str, str]] = MappingProxyType(
    {
        Unit.HU: ("[hnsf'U]", "UCUM", "Hounsfield unit"),
        Unit.PER_MM: ("/mm", "UCUM", "per millimeter"),
    }
)
"""Code value, coding scheme and meaning (DICOM PS3.16); grey values have no unit to code."""


def stated_unit(node: Node) -> Unit | None:
    """Return the unit that a node states: our attribute first, then its coded voxel unit."""
    said = node.GetAttribute(UNIT_ATTRIBUTE)
    if said in {u.value for u in Unit}:
        return Unit(said)
    entry = node.GetVoxelValueUnits()
    if entry is None:
        return None
    code = (entry.GetCodeValue(), entry.GetCodingSchemeDesignator())
    return next((unit for unit, known in CODES.items() if known[:2] == code), None)


def unit_of(node: Node) -> tuple[Unit, Note | None]:
    """Return the unit of a volume node's values.

    Parameters
    ----------
    node
        A volume node with an image.

    Returns
    -------
    tuple
        The unit, and a note if it had to be guessed from the values: 8-bit data are grey values,
        data that reach -500 or less are HU, everything else is grey values.

    Raises
    ------
    InputError
        If nothing is stated and the node has no image to look at.
    """
    stated = stated_unit(node)
    if stated is not None:
        return stated, None
    return guessed_unit(view_of(node))


def set_unit(node: Node, unit: Unit) -> None:
    """State a unit: as our attribute and, where there is one, as the coded unit that Slicer shows.

    Grey values remove a coded unit: it would claim a physical scale that nobody knows.
    """
    entry = None
    if unit in CODES:
        entry = slicer.vtkCodedEntry()
        entry.SetValueSchemeMeaning(*CODES[unit])
    node.SetAttribute(UNIT_ATTRIBUTE, Unit(unit).value)
    node.SetVoxelValueUnits(entry)
