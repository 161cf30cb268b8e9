"""Difference, removed noise and blend of two nodes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core.errors import GeometryError, InputError, UnitError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.mrml import derived
from ctrestorelib.mrml.arrays import view_of
from ctrestorelib.mrml.display import set_window, window_of
from ctrestorelib.mrml.hierarchy import item_of, tree_of
from ctrestorelib.mrml.transforms import matrix_of
from ctrestorelib.mrml.value_units import set_unit, unit_of
from ctrestorelib.mrml.volumes import new_volume_node

sys.path.insert(0, str(Path(__file__).parent))
from mrml_nodes import node_ids, node_with, random_affine, reopened


@pytest.fixture
def pair(context, small_ct):
    """Return an original and a restored node whose difference is noise of 20 HU."""
    noise = np.random.default_rng(3).normal(0, 20, small_ct.shape).astype(np.float32)
    original = new_volume_node(context, "Knee", small_ct)
    restored = new_volume_node(context, "Knee (NLM)", small_ct.with_values(small_ct.values - noise))
    set_window(original, 40, 400)
    return original, restored


@pytest.mark.parametrize(
    ("make", "kind", "name"),
    [
        (derived.difference_node, "difference", "Knee minus Knee (NLM)"),
        (derived.removed_noise_node, "removed-noise", "Knee (NLM) removed noise"),
    ],
)
def test_a_difference_is_exact_and_says_what_it_is(context, pair, make, kind, name):
    original, restored = pair
    node = make(context, original, restored)
    assert np.array_equal(view_of(node), view_of(original) - view_of(restored))
    assert node.GetName() == name
    assert node.GetAttribute(derived.DERIVED_ATTRIBUTE) == kind
    assert node.GetNodeReference("CTRestore.Source") is original
    assert node.GetNodeReference(derived.COMPARED_ROLE) is restored
    assert unit_of(node) == (Unit.HU, None)
    assert node.GetAttribute("DICOM.instanceUIDs") is None


def test_a_difference_is_shown_about_zero_in_two_colours(context, pair):
    node = derived.difference_node(context, *pair)
    window = window_of(node)
    assert window.level == 0
    assert window.width == pytest.approx(2 * 5 * 20, rel=0.05)
    colours = node.GetDisplayNode().GetColorNode()
    below, middle, above = [0.0] * 4, [0.0] * 4, [0.0] * 4
    colours.GetColor(0, below)
    colours.GetColor(colours.GetNumberOfColors() // 2, middle)
    colours.GetColor(colours.GetNumberOfColors() - 1, above)
    assert below[2] > below[0]
    assert above[0] > above[2]
    assert min(middle[:3]) > 0.95


def test_the_colours_of_slicer_are_used_where_they_are(context, pair):
    own = context.new_node("vtkMRMLColorTableNode", "DivergingBlueRed")
    own.SetTypeToUser()
    own.SetNumberOfColors(2)
    node = derived.difference_node(context, *pair)
    assert node.GetDisplayNode().GetColorNode() is own


def test_the_colours_are_made_once(context, pair):
    first = derived.difference_node(context, *pair).GetDisplayNode().GetColorNodeID()
    assert derived.difference_node(context, *pair).GetDisplayNode().GetColorNodeID() == first


def test_wild_voxels_do_not_set_the_window():
    noise = np.random.default_rng(0).normal(0, 3, (20, 20, 20)).astype(np.float32)
    noise[0, 0, :5] = 1e5
    noise[1, 0, 0] = np.nan
    assert derived.symmetric_window(noise).width == pytest.approx(30, rel=0.1)


def test_a_change_in_a_small_region_is_still_seen():
    values = np.zeros((20, 20, 20), np.float32)
    values[3, 4, 5] = -80
    assert derived.symmetric_window(values) == (0, 160)
    assert derived.symmetric_window(np.zeros((4, 4, 4), np.float32)) == (0, 1)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_a_blend_lies_between(context, pair, strength):
    original, restored = pair
    node = derived.blend_node(context, original, restored, strength)
    a, b = view_of(original).astype(float), view_of(restored).astype(float)
    assert np.allclose(view_of(node), a + strength * (b - a), atol=1e-3)
    assert float(node.GetAttribute("CTRestore.Strength")) == strength
    assert window_of(node) == (40, 400)


@pytest.mark.parametrize(("strength", "which"), [(0.0, 0), (1.0, 1)])
def test_the_ends_of_the_slider_are_bit_exact(context, pair, strength, which):
    node = derived.blend_node(context, *pair, strength)
    assert view_of(node).tobytes() == view_of(pair[which]).tobytes()


def test_a_slider_updates_its_own_node(context, pair):
    node = derived.blend_node(context, *pair, 0.2)
    before = node_ids(context.scene)
    same = derived.blend_node(context, *pair, 1.0, into=node)
    assert same is node
    assert node_ids(context.scene) == before
    assert np.array_equal(view_of(node), view_of(pair[1]))
    assert node.GetAttribute("CTRestore.Strength") == "1"


def test_only_a_blend_is_overwritten(context, pair):
    with pytest.raises(InputError, match="not overwritten"):
        derived.blend_node(context, *pair, 0.5, into=pair[0])


def test_an_impossible_strength_changes_nothing(context, pair):
    before = node_ids(context.scene)
    with pytest.raises(UsageError):
        derived.blend_node(context, *pair, 1.2)
    assert node_ids(context.scene) == before


def test_whole_numbers_do_not_wrap_around(context):
    a = node_with(context, np.full((3, 4, 5), -30_000, np.int16))
    b = node_with(context, np.full((3, 4, 5), 30_000, np.int16))
    for node in (a, b):
        set_unit(node, Unit.GREY)
    node = derived.difference_node(context, a, b)
    assert np.all(view_of(node) == -60_000)


def test_results_follow_transform_and_study(context, pair):
    original, restored = pair
    move = context.new_node("vtkMRMLLinearTransformNode", "Move")
    move.SetMatrixTransformToParent(matrix_of(random_affine(2)))
    tree = tree_of(context.scene)
    study = tree.CreateStudyItem(tree.GetSceneItemID(), "Study")
    tree.SetItemParent(item_of(original), study)
    for node in pair:
        node.SetAndObserveTransformNodeID(move.GetID())
    for node in (
        derived.removed_noise_node(context, original, restored),
        derived.blend_node(context, original, restored, 0.5),
    ):
        assert node.GetTransformNodeID() == move.GetID()
        assert tree.GetItemParent(item_of(node)) == study


def test_other_grids_are_refused_with_a_way_out(context, pair, small_ct):
    shifted = np.array(small_ct.geometry.ijk_to_lps)
    shifted[0, 3] += 0.5
    other = Volume(small_ct.values, VolumeGeometry(small_ct.shape, shifted), Unit.HU)
    cropped = small_ct.crop((slice(0, 20), slice(None), slice(None)))
    for volume in (other, cropped):
        node = new_volume_node(context, "Other", volume)
        before = node_ids(context.scene)
        with pytest.raises(GeometryError, match="different voxel grids") as caught:
            derived.difference_node(context, pair[0], node)
        assert "Resample Other" in caught.value.hint
        assert node_ids(context.scene) == before


def test_other_transforms_and_units_are_refused(context, pair):
    set_unit(pair[1], Unit.GREY)
    with pytest.raises(UnitError, match="grey value"):
        derived.difference_node(context, *pair)
    set_unit(pair[1], Unit.HU)
    move = context.new_node("vtkMRMLLinearTransformNode", "Move")
    pair[1].SetAndObserveTransformNodeID(move.GetID())
    with pytest.raises(GeometryError, match="different transforms"):
        derived.blend_node(context, *pair, 0.5)


def test_an_empty_node_is_refused(context, pair):
    empty = context.new_node("vtkMRMLScalarVolumeNode", "Empty")
    with pytest.raises(InputError, match="no image"):
        derived.removed_noise_node(context, pair[0], empty)


def test_a_failure_leaves_nothing_behind(context, pair, monkeypatch):
    before = node_ids(context.scene)

    def full(*_):
        raise MemoryError

    monkeypatch.setattr(derived, "place_beside", full)
    for make in (derived.difference_node, derived.removed_noise_node):
        with pytest.raises(MemoryError):
            make(context, *pair)
    with pytest.raises(MemoryError):
        derived.blend_node(context, *pair, 0.5)
    assert node_ids(context.scene) == before


def test_a_difference_survives_an_mrb(context, pair, tmp_path):
    node = derived.difference_node(context, *pair)
    name, window, values = node.GetName(), window_of(node), view_of(node).copy()
    scene = reopened(context, tmp_path / "scene.mrb")
    again = scene.GetFirstNodeByName(name)
    assert np.array_equal(view_of(again), values)
    assert window_of(again) == pytest.approx(window, rel=1e-5)
    assert again.GetAttribute(derived.DERIVED_ATTRIBUTE) == "difference"
    assert again.GetNodeReference(derived.COMPARED_ROLE).GetName() == "Knee (NLM)"
    colour = [0.0] * 4
    again.GetDisplayNode().GetColorNode().GetColor(0, colour)
    assert colour[2] > colour[0]
