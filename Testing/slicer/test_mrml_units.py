"""What the values of a node mean, and who says so."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import slicer

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.stored import guess_unit
from ctrestorelib.mrml.value_units import UNIT_ATTRIBUTE, set_unit, stated_unit, unit_of
from ctrestorelib.mrml.volumes import new_volume_node, volume_from_node

sys.path.insert(0, str(Path(__file__).parent))
from mrml_nodes import node_with


@pytest.fixture
def node(context):
    """Return a node without any statement on its unit; its values go down to -1000."""
    values = np.linspace(-1000, 2000, 60).reshape(3, 4, 5)
    volume = Volume(values, VolumeGeometry.from_spacing((3, 4, 5), (1, 1, 1)), Unit.HU)
    made = new_volume_node(context, "CT", volume)
    made.RemoveAttribute(UNIT_ATTRIBUTE)
    made.SetVoxelValueUnits(None)
    return made


def coded(value: str, scheme: str = "UCUM"):
    entry = slicer.vtkCodedEntry()
    entry.SetValueSchemeMeaning(value, scheme, "any words")
    return entry


@pytest.mark.parametrize("unit", list(Unit))
def test_a_unit_that_was_set_is_read_back(node, unit):
    set_unit(node, unit)
    assert unit_of(node) == (unit, None)


@pytest.mark.parametrize("unit", [Unit.HU, Unit.PER_MM])
def test_the_coded_unit_alone_is_enough(node, unit):
    set_unit(node, unit)
    node.RemoveAttribute(UNIT_ATTRIBUTE)
    assert unit_of(node) == (unit, None)


def test_grey_values_lose_a_coded_unit(node):
    set_unit(node, Unit.HU)
    set_unit(node, Unit.GREY)
    assert node.GetVoxelValueUnits() is None
    node.RemoveAttribute(UNIT_ATTRIBUTE)
    assert stated_unit(node) is None


def test_our_attribute_wins_over_the_coded_unit(node):
    set_unit(node, Unit.PER_MM)
    node.SetVoxelValueUnits(coded("[hnsf'U]"))
    assert unit_of(node)[0] is Unit.PER_MM


def test_what_slicer_writes_for_dicom_ct_is_understood(node):
    node.SetVoxelValueUnits(coded("[hnsf'U]"))
    assert unit_of(node) == (Unit.HU, None)


@pytest.mark.parametrize("entry", [("g/ml{SUVbw}", "UCUM"), ("[hnsf'U]", "99LOCAL")])
def test_a_foreign_code_is_no_statement(node, entry):
    node.SetVoxelValueUnits(coded(*entry))
    unit, note = unit_of(node)
    assert unit is Unit.HU
    assert note is not None
    assert note.code == "unit-guessed"


def test_a_foreign_attribute_is_no_statement(node):
    node.SetAttribute(UNIT_ATTRIBUTE, "becquerel")
    assert stated_unit(node) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([-1000, 50], np.int16), Unit.HU),
        (np.array([-500, 50], np.int16), Unit.HU),
        (np.array([-499, 50], np.int16), Unit.GREY),
        (np.array([0, 4000], np.uint16), Unit.GREY),
        (np.array([-100, 100], np.int8), Unit.GREY),
        (np.array([np.nan, -1000], np.float32), Unit.HU),
    ],
)
def test_the_guess_is_that_of_the_file_readers(context, values, expected):
    stored = np.resize(values, (2, 4, 5))
    node = node_with(context, stored)
    unit, note = unit_of(node)
    assert unit is expected is guess_unit(stored)[0]
    assert note is not None
    assert expected.label in note.text


def test_a_guess_reaches_whoever_takes_the_volume(node):
    taken = volume_from_node(node)
    assert taken.volume.unit is Unit.HU
    assert [n.code for n in taken.notes] == ["unit-guessed"]
    assert volume_from_node(node, unit=Unit.GREY).notes == ()


def test_an_empty_node_has_no_unit(context):
    empty = context.new_node("vtkMRMLScalarVolumeNode", "Empty")
    with pytest.raises(InputError, match="no image"):
        unit_of(empty)


def test_the_unit_survives_a_saved_scene(context, node, tmp_path):
    set_unit(node, Unit.PER_MM)
    context.scene.SetURL(str(tmp_path / "scene.mrml"))
    context.scene.Commit(str(tmp_path / "scene.mrml"))
    context.scene.Clear(0)
    context.scene.Import()
    again = context.scene.GetFirstNodeByName("CT")
    assert stated_unit(again) is Unit.PER_MM
    assert again.GetVoxelValueUnits().GetCodeValue() == "/mm"
