"""The Segment Editor is prepared with the restored volume, and cancel leaves nothing."""

from __future__ import annotations

import pytest

from ctrestorelib.core.errors import InputError
from ctrestorelib.mrml.hierarchy import item_of, tree_of
from ctrestorelib.mrml.segments.hand_over import EDITOR_TAG, prepare_segment_editor
from ctrestorelib.mrml.segments.labelmaps import reference_geometry
from ctrestorelib.mrml.volumes import geometry_of, new_volume_node


def ids(context) -> set[str]:
    """Return the IDs of all nodes."""
    scene = context.scene
    return {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}


def items(context) -> int:
    """Return the number of items in the Subject Hierarchy."""
    tree = tree_of(context.scene)
    return tree.GetNumberOfItemChildren(tree.GetSceneItemID(), True)


@pytest.fixture
def volume(context, small_ct):
    """Return a volume node under a transform."""
    node = new_volume_node(context, "restored knee", small_ct)
    transform = context.new_node("vtkMRMLLinearTransformNode", "registration")
    node.SetAndObserveTransformNodeID(transform.GetID())
    item_of(node)
    return node


@pytest.fixture(autouse=True)
def no_editor_yet(context):
    """Remove the settings node that outlives a closed scene, as singletons do."""
    if editor_of(context) is not None:
        context.scene.RemoveNode(editor_of(context))


def editor_of(context):
    """Return the Segment Editor's settings node, if there is one."""
    return context.scene.GetSingletonNode(EDITOR_TAG, "vtkMRMLSegmentEditorNode")


def test_a_new_segmentation_fits_the_volume(context, volume):
    done = prepare_segment_editor(context, volume)
    assert done.editor is editor_of(context)
    assert done.editor.GetSourceVolumeNode() is volume
    assert done.editor.GetSegmentationNode() is done.segmentation
    assert done.segmentation.GetName() == "restored knee segmentation"
    assert done.segmentation.GetDisplayNode() is not None
    assert done.segmentation.GetParentTransformNode() is volume.GetParentTransformNode()
    assert reference_geometry(done.segmentation).matches(geometry_of(volume))
    assert done.segmentation.GetSegmentation().GetNumberOfSegments() == 0


def test_cancel_leaves_nothing(context, volume):
    before, listed = ids(context), items(context)
    done = prepare_segment_editor(context, volume)
    assert ids(context) > before
    done.cancel()
    assert ids(context) == before
    assert items(context) == listed
    done.cancel()
    assert ids(context) == before


def test_cancel_gives_the_editor_its_former_choice_back(context, volume, small_ct):
    other = new_volume_node(context, "original knee", small_ct)
    first = prepare_segment_editor(context, other)
    before = ids(context)
    second = prepare_segment_editor(context, volume)
    assert second.editor is first.editor
    second.cancel()
    assert ids(context) == before
    assert first.editor.GetSourceVolumeNode() is other
    assert first.editor.GetSegmentationNode() is first.segmentation


def test_an_open_segment_editor_keeps_its_settings_node(context, volume):
    done = prepare_segment_editor(context, volume)
    done.editor.AddObserver("ModifiedEvent", lambda *_: None)
    done.cancel()
    assert editor_of(context) is done.editor
    assert done.editor.GetSourceVolumeNode() is None
    assert context.node(done.segmentation.GetID()) is None


def test_what_somebody_drew_survives_cancel(context, volume):
    done = prepare_segment_editor(context, volume)
    done.segmentation.GetSegmentation().AddEmptySegment("femur", "femur")
    done.cancel()
    assert context.node(done.segmentation.GetID()) is done.segmentation
    assert done.editor.GetSegmentationNode() is done.segmentation


def test_the_users_segmentation_keeps_its_grid_and_place(context, volume, small_ct):
    other = new_volume_node(context, "other", small_ct.crop((slice(3, 20),) * 3))
    mine = context.new_node("vtkMRMLSegmentationNode", "mine")
    mine.SetReferenceImageGeometryParameterFromVolumeNode(other)
    mine.GetSegmentation().AddEmptySegment("femur", "femur")
    done = prepare_segment_editor(context, volume, mine)
    assert done.segmentation is mine
    assert reference_geometry(mine).matches(geometry_of(other))
    assert mine.GetParentTransformNode() is None
    done.cancel()
    assert mine.GetSegmentation().GetNumberOfSegments() == 1
    assert context.node(mine.GetID()) is mine


def test_unfit_input_leaves_the_scene_as_it_was(context, volume):
    labels = context.new_node("vtkMRMLLabelMapVolumeNode", "labels")
    mine = context.new_node("vtkMRMLSegmentationNode", "mine")
    context.scene.RemoveNode(mine)
    before = ids(context)
    with pytest.raises(InputError, match="label map"):
        prepare_segment_editor(context, labels)
    with pytest.raises(InputError, match="No volume"):
        prepare_segment_editor(context, None)
    with pytest.raises(InputError, match="no longer in the scene"):
        prepare_segment_editor(context, volume, mine)
    assert ids(context) == before
    assert editor_of(context) is None
