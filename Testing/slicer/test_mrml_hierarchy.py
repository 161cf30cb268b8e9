"""Results stand beside their sources in the Data module's tree."""

from __future__ import annotations

import pytest

from ctrestorelib.mrml.hierarchy import item_of, place_beside, tree_of
from ctrestorelib.mrml.volumes import new_volume_node


@pytest.fixture
def pair(context, small_ct):
    """Return a source and a result; the tree knows neither."""
    return new_volume_node(context, "CT", small_ct), new_volume_node(context, "Result", small_ct)


@pytest.fixture
def study(context, pair):
    """Put the source under a patient and a study; return the study's item."""
    tree = tree_of(context.scene)
    patient = tree.CreateSubjectItem(tree.GetSceneItemID(), "Patient")
    made = tree.CreateStudyItem(patient, "Study")
    tree.SetItemParent(item_of(pair[0]), made)
    return made


def test_an_item_is_made_once(context, pair):
    tree = tree_of(context.scene)
    assert tree.GetItemByDataNode(pair[0]) == 0
    first = item_of(pair[0])
    assert item_of(pair[0]) == first == tree.GetItemByDataNode(pair[0])
    assert tree.GetItemParent(first) == tree.GetSceneItemID()


def test_a_result_joins_the_study_of_its_source(context, pair, study):
    place_beside(pair[1], pair[0])
    tree = tree_of(context.scene)
    assert tree.GetItemParent(item_of(pair[1])) == study
    assert tree.GetItemParent(item_of(pair[0])) == study


def test_an_item_that_is_elsewhere_is_moved_not_doubled(context, pair, study):
    tree = tree_of(context.scene)
    folder = tree.CreateFolderItem(tree.GetSceneItemID(), "Elsewhere")
    tree.SetItemParent(item_of(pair[1]), folder)
    before = tree.GetNumberOfItems()
    place_beside(pair[1], pair[0])
    assert tree.GetNumberOfItems() == before
    assert tree.GetItemParent(item_of(pair[1])) == study


def test_without_a_study_both_stand_at_the_top(context, pair):
    place_beside(pair[1], pair[0])
    tree = tree_of(context.scene)
    assert tree.GetItemParent(item_of(pair[1])) == tree.GetSceneItemID()


def test_nothing_else_is_copied_from_the_source(context, pair, study):
    tree = tree_of(context.scene)
    tree.SetItemAttribute(item_of(pair[0]), "DICOM.SeriesNumber", "4")
    tree.SetItemUID(item_of(pair[0]), "DICOM", "1.2.3")
    place_beside(pair[1], pair[0])
    assert tree.GetItemAttribute(item_of(pair[1]), "DICOM.SeriesNumber") == ""
    assert tree.GetItemUID(item_of(pair[1]), "DICOM") == ""
    assert tree.GetItemUID(item_of(pair[0]), "DICOM") == "1.2.3"
