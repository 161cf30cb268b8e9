"""A finished job becomes nodes beside its source: all of it, or nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.mrml import adopt
from ctrestorelib.mrml.display import auto_window, set_window, window_of
from ctrestorelib.mrml.hierarchy import item_of, tree_of
from ctrestorelib.mrml.records import SOURCE_ROLE, record_of
from ctrestorelib.mrml.transforms import matrix_of
from ctrestorelib.mrml.value_units import unit_of
from ctrestorelib.mrml.volumes import geometry_of, new_volume_node, volume_from_node

sys.path.insert(0, str(Path(__file__).parent))
from mrml_nodes import node_ids, random_affine, reopened, result_of


@pytest.fixture
def source(context, small_ct):
    """Return a shown source under a transform and a study, with a DICOM identity."""
    node = new_volume_node(context, "Knee", small_ct)
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    set_window(node, 300, 1500)
    move = context.new_node("vtkMRMLLinearTransformNode", "Move")
    move.SetMatrixTransformToParent(matrix_of(random_affine(1)))
    node.SetAndObserveTransformNodeID(move.GetID())
    tree = tree_of(context.scene)
    study = tree.CreateStudyItem(tree.GetSceneItemID(), "Study")
    tree.SetItemParent(item_of(node), study)
    return node


def adopted(context, result, source, **given):
    source_id = None if source is None else source.GetID()
    return adopt.adopt_result(
        context, result, source_id=source_id, title="non-local means", **given
    )


def test_a_result_is_shown_and_placed_like_its_source(context, source, small_ct):
    result = result_of(small_ct, small_ct.values * 0.5)
    node = adopted(context, result, source)
    assert node.GetName() == "Knee (non-local means)"
    assert np.array_equal(volume_from_node(node).volume.values, result.volume.values)
    assert unit_of(node) == (Unit.HU, None)
    assert window_of(node) == (300, 1500)
    assert node.GetTransformNodeID() == source.GetTransformNodeID()
    tree = tree_of(context.scene)
    assert tree.GetItemParent(item_of(node)) == tree.GetItemParent(item_of(source))
    assert node.GetAttribute("DICOM.instanceUIDs") is None
    assert record_of(node).output_sha256 == result.provenance.output_sha256
    assert node.GetNodeReference(SOURCE_ROLE) is source


def test_the_source_is_not_touched(context, source, small_ct):
    heard, names, grid = [], source.GetAttributeNames(), geometry_of(source)
    # The source itself hears of a second node under its transform: MRML tells all of them.
    for node in (source.GetDisplayNode(), source.GetImageData()):
        node.AddObserver("ModifiedEvent", lambda *_: heard.append(1))
    adopted(context, result_of(small_ct, small_ct.values * 0.5), source)
    assert heard == []
    assert source.GetAttributeNames() == names
    assert geometry_of(source) == grid
    assert source.GetAttribute("DICOM.instanceUIDs") == "1.2.3 1.2.4"
    assert np.array_equal(volume_from_node(source).volume.values, small_ct.values)


def test_a_second_result_gets_a_name_of_its_own(context, source, small_ct):
    names = {adopted(context, result_of(small_ct), source).GetName() for _ in range(3)}
    assert len(names) == 3


def test_a_hardened_result_stands_in_the_world(context, source, small_ct):
    node = adopted(context, result_of(small_ct), source, hardened=True)
    assert node.GetTransformNodeID() is None


def test_a_given_name_is_used(context, source, small_ct):
    assert adopted(context, result_of(small_ct), source, name="Mine").GetName() == "Mine"


def test_uncertainty_becomes_a_second_node(context, source, small_ct):
    sigma = small_ct.with_values(np.abs(small_ct.values) / 50)
    node = adopted(context, result_of(small_ct, uncertainty=sigma), source)
    second = node.GetNodeReference(adopt.UNCERTAINTY_ROLE)
    assert np.array_equal(volume_from_node(second).volume.values, sigma.values)
    assert second.GetTransformNodeID() == source.GetTransformNodeID()
    assert "uncertainty" in second.GetName()


def test_without_its_source_a_result_is_kept_all_the_same(context, source, small_ct):
    source_id = source.GetID()
    context.scene.RemoveNode(source)
    result = result_of(small_ct)
    node = adopt.adopt_result(context, result, source_id=source_id, title="non-local means")
    codes = [w["code"] for w in record_of(node).warnings]
    assert codes == ["unit-guessed", "source-gone"]
    assert node.GetNodeReference(SOURCE_ROLE) is None
    assert node.GetName() == "Non-local means"


def test_a_reconstruction_shows_bone(context, source, small_ct):
    for stack in (None, source):
        node = adopted(context, result_of(small_ct, role="projections"), stack)
        assert window_of(node) == (400, 2000)
        assert node.GetTransformNodeID() is None
        assert record_of(node).warnings[-1]["code"] == "unit-guessed"


def test_a_reconstruction_in_per_mm_gets_a_window_that_fits(context, small_ct):
    volume = small_ct.to_unit(Unit.PER_MM)
    node = adopted(context, result_of(volume, role="projections"), None)
    assert window_of(node) == pytest.approx(auto_window(volume.values), rel=1e-5)


def test_a_chosen_node_is_overwritten_in_place(context, source, small_ct):
    first = adopted(context, result_of(small_ct), source)
    before = node_ids(context.scene)
    again = result_of(small_ct, small_ct.values * 0.25, seed=11)
    node = adopted(context, again, source, into_id=first.GetID())
    assert node is first
    assert node_ids(context.scene) - before != set()
    assert len(node_ids(context.scene)) == len(before)
    assert np.array_equal(volume_from_node(node).volume.values, again.volume.values)
    assert record_of(node).seed == 11


def test_an_overwritten_node_forgets_what_it_was(context, source, small_ct):
    old = new_volume_node(context, "Old", small_ct)
    old.SetAttribute("DICOM.instanceUIDs", "9.9")
    old.SetAttribute("CTRestore.Derived", "difference")
    adopted(context, result_of(small_ct), source, into_id=old.GetID())
    assert old.GetAttribute("DICOM.instanceUIDs") is None
    assert old.GetAttribute("CTRestore.Derived") is None


def test_the_source_is_never_overwritten(context, source, small_ct):
    before = node_ids(context.scene)
    with pytest.raises(InputError, match="never overwritten"):
        adopted(context, result_of(small_ct), source, into_id=source.GetID())
    assert node_ids(context.scene) == before


@pytest.mark.parametrize("kind", ["vtkMRMLLabelMapVolumeNode", "vtkMRMLModelNode"])
def test_what_cannot_take_a_volume_is_not_overwritten(context, source, small_ct, kind):
    other = context.new_node(kind, "Other")
    with pytest.raises(InputError, match="cannot take"):
        adopted(context, result_of(small_ct), source, into_id=other.GetID())


def test_a_chosen_node_that_went_is_an_error(context, source, small_ct):
    with pytest.raises(InputError, match="no longer in the scene"):
        adopted(context, result_of(small_ct), source, into_id="vtkMRMLScalarVolumeNode99")


STEPS = ["_values_into", "_place", "_show", "_add_uncertainty", "attach_record"]


def broken(monkeypatch, step):
    """Let a step do its work and then fail."""
    real = getattr(adopt, step)

    def fails(*args, **kwargs):
        real(*args, **kwargs)
        raise MemoryError

    monkeypatch.setattr(adopt, step, fails)


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_half_way_leaves_nothing_behind(context, source, small_ct, monkeypatch, step):
    before, items = node_ids(context.scene), tree_of(context.scene).GetNumberOfItems()
    broken(monkeypatch, step)
    with pytest.raises(MemoryError):
        adopted(context, result_of(small_ct, uncertainty=small_ct), source)
    assert node_ids(context.scene) == before
    assert tree_of(context.scene).GetNumberOfItems() == items


@pytest.mark.parametrize("step", STEPS[:-1])
def test_a_failure_leaves_the_chosen_node_as_it_was(context, source, small_ct, monkeypatch, step):
    first = adopted(context, result_of(small_ct, small_ct.values * 2), source)
    first.SetAttribute("Mine", "yes")
    kept = volume_from_node(first).volume
    set_window(first, 1, 2)
    before = node_ids(context.scene)
    broken(monkeypatch, step)
    changed = result_of(small_ct.to_unit(Unit.PER_MM), seed=12, uncertainty=small_ct)
    with pytest.raises(MemoryError):
        adopted(context, changed, source, into_id=first.GetID(), hardened=True)
    assert node_ids(context.scene) == before
    after = volume_from_node(first).volume
    assert np.array_equal(after.values, kept.values)
    assert after.geometry == kept.geometry
    assert after.unit is kept.unit
    assert window_of(first) == (1, 2)
    assert first.GetTransformNodeID() == source.GetTransformNodeID()
    assert first.GetAttribute("Mine") == "yes"
    assert record_of(first).seed == 7
    assert first.GetNodeReference(adopt.UNCERTAINTY_ROLE) is None


def test_everything_survives_an_mrb(context, source, small_ct, tmp_path):
    sigma = small_ct.with_values(np.abs(small_ct.values) / 50)
    result = result_of(small_ct, small_ct.values * 0.5, uncertainty=sigma)
    adopted(context, result, source)
    scene = reopened(context, tmp_path / "scene.mrb")
    node = scene.GetFirstNodeByName("Knee (non-local means)")
    back = volume_from_node(node).volume
    assert np.array_equal(back.values, result.volume.values)
    assert back.geometry.matches(small_ct.geometry, tolerance_mm=1e-4)
    assert window_of(node) == (300, 1500)
    assert record_of(node).output_sha256 == result.provenance.output_sha256
    assert node.GetNodeReference(adopt.UNCERTAINTY_ROLE) is not None
    assert node.GetNodeReference(SOURCE_ROLE).GetName() == "Knee"
    assert node.GetParentTransformNode().GetName() == "Move"
    tree = tree_of(scene)
    assert tree.GetItemName(tree.GetItemParent(tree.GetItemByDataNode(node))) == "Study"


def test_from_node_to_node_through_a_real_job(context, source, small_ct):
    """The story of one press on Apply, and that its record makes the same voxels again."""
    from ctrestorelib.jobs.replay import replay
    from ctrestorelib.jobs.request import JobRequest
    from ctrestorelib.jobs.runner import run_job
    from ctrestorelib.restorer.protocol import Inputs

    taken = volume_from_node(source)
    inputs = Inputs(volume=taken.volume)
    request = JobRequest("anisotropic-diffusion", inputs, sop_instance_uids=taken.sop_instance_uids)
    node = adopted(context, run_job(request), source)
    record = record_of(node)
    assert record.inputs[0].sop_instance_uids == ("1.2.3", "1.2.4")
    assert np.std(volume_from_node(node).volume.values[:, 14:18, 10:16]) < 15
    again = replay(record, Inputs(volume=volume_from_node(source).volume))
    assert again.identical
    assert np.array_equal(again.result.volume.values, volume_from_node(node).volume.values)
