"""Layout descriptions for the comparison: well formed, own tags, readable by both hosts."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
import slicer

from ctrestorelib.core.errors import UsageError
from ctrestorelib.mrml.comparison import layouts
from ctrestorelib.mrml.comparison.layouts import Mode, comparison_layout, short_names

NAMES = ["Knee", "Knee - TV & <friends>", "Removed noise", "Knee - NLM"]
CASES = [
    (mode, count, orientations, charts)
    for mode in Mode
    for count in mode.volumes
    for orientations in (("Axial",), ("Sagittal",), layouts.ORIENTATIONS)
    for charts in (False, True)
]


@pytest.mark.parametrize(("mode", "count", "orientations", "charts"), CASES)
def test_every_layout_is_complete_and_has_only_own_views(mode, count, orientations, charts):
    layout = comparison_layout(mode, NAMES[:count], orientations, with_charts=charts)
    views = list(ET.fromstring(layout.xml).iter("view"))
    slices = [v for v in views if v.get("class") == "vtkMRMLSliceNode"]
    tags = [v.get("singletontag") for v in views]
    assert len(slices) == len(layout.cells) == len(orientations) * (1 if mode.overlaid else count)
    assert len(set(tags)) == len(tags)
    assert all(tag.startswith("CTRestoreCompare") for tag in tags)
    assert len(views) - len(slices) == 2 * charts
    shown = {c.background for c in layout.cells} | {c.foreground for c in layout.cells} - {None}
    assert shown == set(range(count))
    for view, cell in zip(slices, layout.cells, strict=True):
        said = {p.get("name"): p.text for p in view}
        assert said["orientation"] == cell.orientation
        assert said["viewlabel"] == cell.label
        assert said["viewgroup"] == str(layouts.VIEW_GROUP)
    assert layouts.is_comparison(layout.layout_id)


def test_layout_numbers_are_constant_and_differ_by_kind():
    numbers = {
        (mode, len(orientations), charts): comparison_layout(
            mode, NAMES[:count], orientations, with_charts=charts
        ).layout_id
        for mode, count, orientations, charts in CASES
    }
    assert len(set(numbers.values())) == len(numbers) == 24
    assert numbers[Mode.SIDE_BY_SIDE, 1, False] == 30417
    assert min(numbers.values()) > slicer.vtkMRMLLayoutNode.SlicerLayoutFinalView
    assert not any(layouts.is_comparison(n) for n in (0, 3, 100, 30416, 30441))


@pytest.mark.parametrize(("mode", "count", "orientations", "charts"), CASES)
def test_the_browser_reads_the_same_description(mode, count, orientations, charts):
    from trame_slicer.views import slicer_layout_to_vue

    layout = comparison_layout(mode, NAMES[:count], orientations, with_charts=charts)
    if charts:
        with pytest.raises(ValueError, match="vtkMRMLPlotViewNode"):
            slicer_layout_to_vue(layout.xml)
        return
    views = slicer_layout_to_vue(layout.xml).get_views(is_recursive=True)
    assert sorted(v.singleton_tag for v in views) == sorted(c.tag for c in layout.cells)
    assert {v.properties.group for v in views} == {layouts.VIEW_GROUP}


def test_describing_again_replaces_and_leaves_other_layouts_alone():
    node = slicer.vtkMRMLLayoutNode()
    node.AddLayoutDescription(501, "<layout/>")
    two = comparison_layout(Mode.FOUR_UP, NAMES[:2])
    four = comparison_layout(Mode.FOUR_UP, NAMES)
    assert layouts.register(node, two) == layouts.register(node, four) == four.layout_id
    assert node.GetLayoutDescription(four.layout_id) == four.xml != two.xml
    assert node.GetLayoutDescription(501) == "<layout/>"


def test_slicer_makes_the_views_of_a_layout():
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(scene)
    layout = comparison_layout(Mode.SIDE_BY_SIDE, NAMES[:2], with_charts=True)
    logic.GetLayoutNode().SetViewArrangement(layouts.register(logic.GetLayoutNode(), layout))
    for cell in layout.cells:
        node = scene.GetSingletonNode(cell.tag, "vtkMRMLSliceNode")
        assert node.GetLayoutLabel() == cell.label
        assert node.GetViewGroup() == layouts.VIEW_GROUP
    assert scene.GetSingletonNode(layouts.PLOT_TAG, "vtkMRMLPlotViewNode") is not None
    assert scene.GetSingletonNode(layouts.TABLE_TAG, "vtkMRMLTableViewNode") is not None


def test_short_names_are_short_and_unique():
    long = "Patella and femur, cone-beam scan of the left knee"
    names = short_names([long + " - TV", long + " - NLM", "A", "A"])
    assert all(len(n) <= layouts.LONGEST_LABEL + 4 for n in names)
    assert len(set(names)) == 4
    assert names[0].endswith("- TV")
    assert names[2:] == ["A (1)", "A (2)"]
    assert short_names(["Knee"]) == ["Knee"]


@pytest.mark.parametrize(
    ("mode", "count", "orientations", "words"),
    [
        (Mode.SIDE_BY_SIDE, 1, ("Axial",), "compares 2 volumes; got 1"),
        (Mode.WIPE, 3, ("Axial",), "compares 2 volumes; got 3"),
        (Mode.FOUR_UP, 5, ("Axial",), "compares 1 to 4 volumes; got 5"),
        (Mode.BLEND, 2, ("Oblique",), "Axial, Coronal, Sagittal"),
        (Mode.BLEND, 2, (), "Axial, Coronal, Sagittal"),
        (Mode.BLEND, 2, ("Axial", "Axial"), "Axial, Coronal, Sagittal"),
    ],
)
def test_what_cannot_be_laid_out_is_refused_in_words(mode, count, orientations, words):
    with pytest.raises(UsageError, match=words):
        comparison_layout(mode, ["V"] * count, orientations)
