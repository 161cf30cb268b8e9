"""Volume nodes and volumes: every voxel keeps its place in the world and its value."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.mrml import volumes
from ctrestorelib.mrml.arrays import view_of
from ctrestorelib.mrml.transforms import RAS_FROM_LPS

sys.path.insert(0, str(Path(__file__).parent))
from mrml_nodes import node_with, random_affine, ras_of

SHAPE = (3, 4, 5)
TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32",
         "float64")  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_every_voxel_lies_where_slicer_says(context, seed):
    values = np.random.default_rng(seed).normal(0, 500, SHAPE).astype(np.float32)
    node = node_with(context, values, random_affine(seed))
    volume = volumes.volume_from_node(node).volume
    for ijk in np.ndindex(5, 4, 3):
        lps = volume.geometry.to_world(ijk)
        assert np.allclose(lps * (-1, -1, 1), ras_of(node, ijk), atol=1e-9)
    assert np.array_equal(volume.values, values)


@pytest.mark.parametrize("seed", range(12))
def test_a_volume_becomes_a_node_and_comes_back(context, seed):
    values = np.random.default_rng(seed).normal(0, 500, SHAPE).astype(np.float32)
    geometry = VolumeGeometry(SHAPE, RAS_FROM_LPS @ random_affine(seed))
    volume = Volume(values, geometry, Unit.HU)
    node = volumes.new_volume_node(context, "New", volume)
    back = volumes.volume_from_node(node)
    assert np.array_equal(back.volume.values, values)
    assert np.allclose(back.volume.geometry.ijk_to_lps, geometry.ijk_to_lps, rtol=1e-12, atol=1e-9)
    assert np.sign(np.linalg.det(back.volume.geometry.direction)) == np.sign(
        np.linalg.det(geometry.direction)
    )
    assert back.volume.unit is Unit.HU
    assert back.notes == ()


@pytest.mark.parametrize("name", TYPES)
def test_stored_types_keep_their_values(context, name):
    kind = np.dtype(name)
    low, high = (-1000, 3000) if kind.kind == "f" else (np.iinfo(kind).min, np.iinfo(kind).max)
    low, high = max(low, -(2**24)), min(high, 2**24)
    values = np.linspace(low, high, 60).astype(kind).reshape(SHAPE)
    node = node_with(context, values)
    assert view_of(node).dtype.itemsize == kind.itemsize
    back = volumes.volume_from_node(node, unit=Unit.GREY)
    assert np.array_equal(back.volume.values, values.astype(np.float32))
    if kind.kind != "f":
        assert np.array_equal(back.volume.values.astype(kind), values)
    assert not any(n.code == "rounded" for n in back.notes)


def test_large_integers_are_rounded_with_a_note(context):
    node = node_with(context, np.full(SHAPE, 2**40 + 1, np.int64))
    notes = volumes.volume_from_node(node).notes
    assert "rounded" in [n.code for n in notes]


def test_the_view_is_no_copy_and_cannot_be_written(context):
    node = node_with(context, np.zeros(SHAPE, np.int16))
    view = view_of(node)
    assert np.shares_memory(view, slicer.util.arrayFromVolume(node))
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0, 0] = 1


def test_a_volume_does_not_change_with_its_node(context):
    node = node_with(context, np.zeros(SHAPE, np.float32))
    volume = volumes.volume_from_node(node).volume
    slicer.util.arrayFromVolume(node)[:] = 7
    assert not volume.values.any()


def test_a_node_does_not_change_with_its_volume(context, small_ct):
    node = volumes.new_volume_node(context, "New", small_ct)
    kept = small_ct.values.copy()
    small_ct.values[:] = 0
    assert np.array_equal(view_of(node), kept)


def test_an_image_that_does_not_start_at_zero_keeps_its_place(context):
    values = np.arange(60, dtype=np.float32).reshape(SHAPE)
    node = node_with(context, values, random_affine(3))
    image = node.GetImageData()
    image.SetExtent(2, 6, -3, 0, 10, 12)
    geometry = volumes.geometry_of(node)
    assert np.allclose(geometry.to_world((0, 0, 0)) * (-1, -1, 1), ras_of(node, (2, -3, 10)))


def test_dicom_identity_comes_along(context, small_ct):
    node = volumes.new_volume_node(context, "New", small_ct)
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    assert volumes.volume_from_node(node).sop_instance_uids == ("1.2.3", "1.2.4")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda _c: None, "No volume is chosen"),
        (lambda c: c.new_node("vtkMRMLScalarVolumeNode", "Empty"), "holds no image"),
        (lambda c: node_with(c, np.zeros(SHAPE, np.uint8), cls="vtkMRMLLabelMapVolumeNode"),
         "is a label map"),
        (lambda c: node_with(c, np.zeros((*SHAPE, 3), np.uint8), cls="vtkMRMLVectorVolumeNode"),
         "colour, vector or tensor"),
        (lambda c: node_with(c, np.zeros((*SHAPE, 2), np.float32)), "2 values per voxel"),
        (lambda c: node_with(c, np.zeros((1, 4, 5), np.int16)), "single slice"),
        (lambda c: c.new_node("vtkMRMLModelNode", "Skull"), "is no volume"),
    ],
)  # fmt: skip
def test_what_is_no_ct_volume_is_refused_in_a_sentence(context, make, says):
    node = make(context)
    with pytest.raises(InputError, match=says) as caught:
        volumes.volume_from_node(node)
    assert caught.value.hint


def test_axes_that_do_not_span_space_are_refused(context):
    flat = np.diag([1.0, 1.0, 1.0, 1.0])
    flat[:3, 2] = flat[:3, 1]
    with pytest.raises(GeometryError):
        volumes.volume_from_node(node_with(context, np.zeros(SHAPE, np.int16), flat))


def test_observers_hear_of_a_change_once(context, small_ct):
    node = volumes.new_volume_node(context, "New", small_ct)
    heard = []
    node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: heard.append(1))
    volumes.set_volume(node, small_ct.with_values(small_ct.values * 2, Unit.GREY))
    assert len(heard) == 1


def test_a_failing_copy_leaves_node_and_scene_as_they_were(context, small_ct, monkeypatch):
    node = volumes.new_volume_node(context, "New", small_ct)
    before = volumes.volume_from_node(node).volume
    count = context.scene.GetNumberOfNodes()

    def full(_values):
        raise MemoryError

    monkeypatch.setattr(volumes, "image_from", full)
    with pytest.raises(MemoryError):
        volumes.set_volume(node, small_ct.with_values(small_ct.values * 2))
    with pytest.raises(MemoryError):
        volumes.new_volume_node(context, "Other", small_ct)
    after = volumes.volume_from_node(node).volume
    assert np.array_equal(after.values, before.values)
    assert after.geometry == before.geometry
    assert context.scene.GetNumberOfNodes() == count


def test_a_real_scan_survives_the_way_through_a_node(context, data_file):
    from ctrestorelib.io.volumes import read_volume

    volume = read_volume(data_file("head_dicom2stl_4mm.nii.gz")).volume
    node = volumes.new_volume_node(context, "Head", volume)
    back = volumes.volume_from_node(node).volume
    assert np.array_equal(back.values, volume.values)
    assert back.geometry.matches(volume.geometry, tolerance_mm=1e-9)
