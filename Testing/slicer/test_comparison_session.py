"""A comparison from opening to closing, on real MRML and real view pixels."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk

sys.path.insert(0, str(Path(__file__).parent))
import view_host

from ctrestorelib.core.errors import CTRestoreError, InputError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.mrml.comparison import layouts
from ctrestorelib.mrml.comparison.host import request_render
from ctrestorelib.mrml.comparison.layouts import Mode
from ctrestorelib.mrml.comparison.profile import LineProfile
from ctrestorelib.mrml.comparison.session import ALL, Comparison
from ctrestorelib.mrml.display import set_window, window_of
from ctrestorelib.mrml.value_units import set_unit
from ctrestorelib.mrml.volumes import new_volume_node

pytestmark = pytest.mark.skipif(not view_host.OSMESA, reason=view_host.NO_OSMESA)
A, B, C, OVER = (f"CTRestoreCompare{x}" for x in ("A", "B", "C", "OverAxial"))
GRID = VolumeGeometry.from_spacing((16, 30, 40), (1, 1, 2))
FOUR_UP = 3


@pytest.fixture
def host(slicer_app):
    return view_host.shared_host(slicer_app, (604, 300))


@pytest.fixture
def comparison(context, host):
    opened = Comparison(context, host)
    yield opened
    opened.close()


def add(context, name, level, unit=Unit.HU, grid=GRID):
    """Add a volume with a bright disc of ``level`` on -500."""
    _k, j, i = np.mgrid[tuple(slice(n) for n in grid.shape)]
    centre = [(n - 1) / 2 for n in grid.shape]
    disc = np.hypot(j - centre[1], i - centre[2]) < 0.3 * min(grid.shape[1:])
    node = new_volume_node(context, name, Volume(np.where(disc, level, -500.0), grid, unit))
    node.CreateDefaultDisplayNodes()
    set_window(node, 0, 2000)
    return node


@pytest.fixture
def volumes(context):
    return [add(context, f"V{n}", 100.0 * (n + 1)) for n in range(4)]


def ids(volumes):
    return [v.GetID() for v in volumes]


def centre(host, tag):
    pixels = host.grab(tag)
    return int(pixels[pixels.shape[0] // 2, pixels.shape[1] // 4 * 2 + 9, 0])


@pytest.fixture
def red(context, host):
    """Return the person's own Red view, showing a volume of theirs off the middle."""
    handle = host.handles["Red"]
    handle.view.update_size(200, 160)
    handle.logic.ResizeSliceNode(200, 160)
    own = add(context, "own", 50.0)
    handle.composite.SetBackgroundVolumeID(own.GetID())
    handle.composite.SetDoPropagateVolumeSelection(1)
    handle.composite.SetLinkedControl(1)
    handle.composite.SetHotLinkedControl(1)
    handle.node.SetFieldOfView(77, 55, 1)
    handle.node.SetXYZOrigin(3, 4, 0)
    handle.logic.SetSliceOffset(-7.0)
    return handle


def state(handle):
    node, composite = handle.node, handle.composite
    matrix = [node.GetSliceToRAS().GetElement(r, c) for r in range(4) for c in range(4)]
    return {
        "layers": (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()),
        "links": (composite.GetLinkedControl(), composite.GetHotLinkedControl()),
        "propagates": composite.GetDoPropagateVolumeSelection(),
        "opacity": composite.GetForegroundOpacity(),
        "plane": matrix,
        "field": node.GetFieldOfView(),
        "pan": node.GetXYZOrigin(),
        "group": node.GetViewGroup(),
        "orientation": node.GetOrientation(),
        "window": window_of(composite.GetScene().GetNodeByID(composite.GetBackgroundVolumeID())),
    }


@pytest.mark.parametrize("mode", Mode)
def test_the_persons_own_views_never_change(host, comparison, volumes, red, mode):
    host.set_layout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUp3DView)
    before, pixels = state(red), view_host.grab(red.render_window)
    comparison.show(ids(volumes)[: mode.volumes[-1]], mode)
    first = host.slice_view(comparison.layout.cells[0].tag)
    red.node.SetMappedInLayout(1)
    first.logic.StartSliceNodeInteraction(first.node.SliceToRASFlag)
    first.logic.SetSliceOffset(first.logic.GetSliceOffset() + 3)
    first.logic.EndSliceNodeInteraction()
    set_window(volumes[0], 33, 444)
    comparison.set_blend(0.7)
    comparison.set_wipe(0.2)
    assert state(red) == before
    comparison.close()
    assert state(red) == before
    np.testing.assert_array_equal(view_host.grab(red.render_window), pixels)


@pytest.mark.parametrize("mode", Mode)
def test_each_view_shows_its_volume(host, comparison, volumes, mode):
    shown = volumes[: mode.volumes[-1]]
    comparison.show(ids(shown), mode)
    assert comparison.mode is mode
    assert host.layout() == comparison.layout.layout_id
    for cell in comparison.layout.cells:
        composite = host.slice_view(cell.tag).composite
        assert composite.GetBackgroundVolumeID() == shown[cell.background].GetID()
        wanted = None if cell.foreground is None else shown[cell.foreground].GetID()
        assert composite.GetForegroundVolumeID() == wanted
        assert not composite.GetDoPropagateVolumeSelection()
    if not mode.overlaid:
        # Level 0 and width 2000: grey value 255 * (HU + 1000) / 2000.
        found = [centre(host, c.tag) for c in comparison.layout.cells]
        assert found == pytest.approx([140.25, 153.0, 165.75, 178.5][: len(found)], abs=1)


def test_views_are_named_anew_for_other_volumes(host, comparison, volumes):
    for pair in (volumes[:2], volumes[2:]):
        comparison.show(ids(pair), Mode.SIDE_BY_SIDE)
        tags = [cell.tag for cell in comparison.layout.cells]
        labels = [host.slice_view(tag).node.GetLayoutLabel() for tag in tags]
        assert labels == [v.GetName() for v in pair]


def test_propagating_a_volume_to_all_views_spares_the_comparison(slicer_app, host, comparison,
                                                                 volumes):  # fmt: skip
    comparison.show(ids(volumes)[:2])
    selection = slicer_app.app_logic.GetSelectionNode()
    selection.SetActiveVolumeID(volumes[3].GetID())
    slicer_app.app_logic.PropagateVolumeSelection(1)
    assert host.slice_view(A).composite.GetBackgroundVolumeID() == volumes[0].GetID()
    assert host.slice_view(B).composite.GetBackgroundVolumeID() == volumes[1].GetID()


def test_the_first_volume_fills_the_views(host, comparison, volumes):
    comparison.show(ids(volumes)[:2])
    pixels = host.grab(A)[40:]
    rows = np.flatnonzero((pixels > 5).any(axis=(1, 2)))
    columns = np.flatnonzero((pixels > 5).any(axis=(0, 2)))
    filled = max(np.ptp(columns) / pixels.shape[1], np.ptp(rows) / 300)
    assert 0.85 < filled <= 1.0


def test_scrolling_and_zooming_one_view_moves_all_of_the_group(host, comparison, volumes):
    comparison.show(ids(volumes)[:3], Mode.THREE_UP)
    handles = [host.slice_view(t) for t in (A, B, C)]
    for handle in handles:
        assert handle.composite.GetLinkedControl()
        assert handle.composite.GetHotLinkedControl()
    logic = handles[1].logic
    logic.StartSliceNodeInteraction(handles[1].node.SliceToRASFlag)
    logic.SetSliceOffset(5.0)
    logic.EndSliceNodeInteraction()
    assert [h.node.GetSliceOffset() for h in handles] == pytest.approx([5.0] * 3)
    node = handles[0].node
    handles[0].logic.StartSliceNodeInteraction(node.FieldOfViewFlag)
    node.SetFieldOfView(*(0.5 * n for n in node.GetFieldOfView()[:2]), node.GetFieldOfView()[2])
    handles[0].logic.EndSliceNodeInteraction()
    fields = [h.node.GetFieldOfView()[0] for h in handles]
    assert fields == pytest.approx([fields[0]] * 3)


def test_changing_the_mode_keeps_slice_zoom_and_pan(host, comparison, volumes):
    comparison.show(ids(volumes)[:2])
    node = host.slice_view(A).node
    host.slice_view(A).logic.SetSliceOffset(6.0)
    node.SetFieldOfView(20, 20, 1)
    node.SetXYZOrigin(2, -1, 0)
    comparison.show(ids(volumes)[:2], Mode.WIPE)
    over = host.slice_view(OVER).node
    assert over.GetSliceOffset() == pytest.approx(6.0)
    assert over.GetXYZOrigin()[:2] == pytest.approx((2, -1))
    assert min(over.GetFieldOfView()[:2]) == pytest.approx(20, rel=0.02)
    comparison.fit()
    assert over.GetXYZOrigin()[:2] == pytest.approx((0, 0))
    assert over.GetFieldOfView()[0] > 40


def test_one_window_for_all_that_are_compared(context, comparison, volumes):
    set_window(volumes[0], 40, 400)
    noise = volumes[2]
    set_window(noise, 0, 60)
    comparison.show(ids(volumes)[:3], Mode.THREE_UP)
    assert window_of(volumes[1]) == window_of(volumes[0]) == (40, 400)
    set_window(volumes[1], 300, 1500)
    assert window_of(volumes[0]) == (300, 1500)
    assert window_of(noise) == (0, 60)
    assert window_of(volumes[3]) == (0, 2000)
    comparison.close()
    assert window_of(volumes[0]) == window_of(volumes[1]) == (300, 1500)
    set_window(volumes[1], 10, 20)
    assert window_of(volumes[0]) == (300, 1500)


def test_a_new_display_node_joins_the_common_window(context, comparison, volumes):
    comparison.show(ids(volumes)[:2])
    display = context.scene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    display.AutoWindowLevelOff()
    display.SetWindowLevel(700, 70)
    volumes[1].SetAndObserveDisplayNodeID(display.GetID())
    display.SetWindowLevel(800, 80)
    assert window_of(volumes[0]) == (80, 800)


def test_volumes_in_another_unit_keep_their_window(comparison, volumes):
    set_unit(volumes[1], Unit.PER_MM)
    set_window(volumes[1], 0.02, 0.03)
    comparison.show(ids(volumes)[:2])
    assert window_of(volumes[1]) == (0.02, 0.03)
    set_window(volumes[0], 40, 400)
    assert window_of(volumes[1]) == (0.02, 0.03)


def test_the_blend_mixes_grey_values(host, comparison, volumes):
    comparison.show([volumes[0].GetID(), volumes[3].GetID()], Mode.BLEND)
    for share in (0.0, 0.25, 0.5, 1.0):
        comparison.set_blend(share)
        wanted = (1 - share) * 140.25 + share * 178.5
        assert centre(host, OVER) == pytest.approx(wanted, abs=1.5)


def test_settings_are_kept_from_mode_to_mode(host, comparison, volumes):
    comparison.set_blend(1.0)
    comparison.show([volumes[0].GetID(), volumes[3].GetID()], Mode.BLEND)
    assert centre(host, OVER) == pytest.approx(178.5, abs=1.5)
    comparison.show([volumes[0].GetID(), volumes[3].GetID()], Mode.WIPE)
    comparison.set_wipe(0.0)
    comparison.show([volumes[0].GetID(), volumes[3].GetID()], Mode.CHECKERBOARD)
    comparison.show([volumes[0].GetID(), volumes[3].GetID()], Mode.WIPE)
    assert comparison.look.wipe == 0.0
    assert centre(host, OVER) == pytest.approx(178.5, abs=1.5)


def test_closing_gives_the_layout_back(host, comparison, volumes):
    host.layout_node.SetViewArrangement(6)
    comparison.show(ids(volumes)[:2])
    comparison.show(ids(volumes)[:2], Mode.WIPE)
    comparison.close()
    assert host.layout() == 6
    assert comparison.mode is None
    for tag in (A, B, OVER):
        composite = host.handles[tag].composite
        assert composite.GetBackgroundVolumeID() is None
        assert not composite.GetLinkedControl()
    comparison.close()
    assert host.layout() == 6


def test_a_layout_chosen_meanwhile_stays(host, comparison, volumes):
    comparison.show(ids(volumes)[:2])
    host.set_layout(7)
    comparison.close()
    assert host.layout() == 7


def test_a_layout_left_over_from_a_saved_scene_is_not_returned_to(host, comparison, volumes):
    comparison.show(ids(volumes)[:2])
    later = Comparison(comparison._context, host)
    later.show(ids(volumes)[:2])
    later.close()
    assert host.layout() == FOUR_UP


def test_a_deleted_volume_leaves_an_empty_view(context, host, comparison, volumes):
    comparison.show(ids(volumes)[:2])
    context.scene.RemoveNode(volumes[1])
    assert (host.grab(B)[40:] == 0).all()
    assert centre(host, A) == pytest.approx(140, abs=1)
    set_window(volumes[0], 100, 200)
    comparison.fit()
    context.scene.RemoveNode(volumes[0])
    set_window(volumes[2], 5, 50)
    comparison.fit()
    assert (host.grab(A)[40:] == 0).all()


@pytest.mark.parametrize("mode", [Mode.WIPE, Mode.CHECKERBOARD, Mode.BLEND])
@pytest.mark.parametrize("gone", [0, 1])
def test_a_deleted_volume_ends_the_overlay(context, host, comparison, volumes, mode, gone):
    comparison.show(ids(volumes)[:2], mode)
    host.grab(OVER)
    context.scene.RemoveNode(volumes[gone])
    pixels = host.grab(OVER)[40:]
    if gone == 0:
        assert pixels.max() in (0, 77, 153)  # nothing, or the other volume alone at half strength
    comparison.set_wipe(0.3)
    comparison.set_checker(4)
    comparison.set_blend(0.3)
    comparison.close()
    assert host.layout() == FOUR_UP


@pytest.mark.parametrize("mode", [Mode.SIDE_BY_SIDE, Mode.WIPE])
def test_closing_the_scene_ends_the_comparison(context, host, comparison, volumes, mode):
    comparison.show(ids(volumes)[:2], mode)
    tag = comparison.layout.cells[0].tag
    props = host.handles[tag].renderer.GetViewProps()
    context.scene.Clear(0)
    assert comparison.mode is None
    assert host.layout() == FOUR_UP
    assert not any(p.IsA("vtkTextActor") for p in props)
    again = [add(context, n, v) for n, v in (("A", 0.0), ("B", 500.0))]
    comparison.show(ids(again), mode)
    assert comparison.mode is mode
    host.grab(tag)
    if mode is Mode.SIDE_BY_SIDE:
        assert centre(host, B) == pytest.approx(191, abs=1)


def refused(context, volumes, kind):
    if kind == "gone":
        return [volumes[0].GetID(), "vtkMRMLScalarVolumeNode999"], InputError, "no longer"
    if kind == "labelmap":
        node = context.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "L")
        node.SetAndObserveImageData(volumes[0].GetImageData())
        return [volumes[0].GetID(), node.GetID()], InputError, "'L' is not a grey-value volume"
    if kind == "empty":
        node = context.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "E")
        return [volumes[0].GetID(), node.GetID()], InputError, "'E' is not a grey-value volume"
    if kind == "vector":
        image = vtk.vtkImageData()
        image.SetDimensions(4, 4, 4)
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
        node = context.scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "RGB")
        node.SetAndObserveImageData(image)
        return [volumes[0].GetID(), node.GetID()], InputError, "several values per voxel"
    return ids(volumes)[:1], UsageError, "compares 2 volumes; got 1"


@pytest.mark.parametrize("kind", ["gone", "labelmap", "empty", "vector", "too few"])
def test_a_refusal_changes_nothing(context, host, comparison, volumes, kind):
    chosen, error, words = refused(context, volumes, kind)
    comparison.show(ids(volumes)[:2])
    layout = host.layout()
    with pytest.raises(error, match=words):
        comparison.show(chosen, Mode.WIPE)
    assert host.layout() == layout
    assert comparison.mode is Mode.SIDE_BY_SIDE
    assert centre(host, A) == pytest.approx(140, abs=1)


def test_as_many_names_as_volumes(comparison, volumes):
    with pytest.raises(UsageError, match="got 3 for 2 volumes"):
        comparison.show(ids(volumes)[:2], names=["a", "b", "c"])


def test_a_window_that_opens_no_view_is_left_as_it_was(host, comparison, volumes, monkeypatch):
    monkeypatch.setattr(host, "slice_view", lambda tag: None)
    with pytest.raises(CTRestoreError, match="did not open"):
        comparison.show(ids(volumes)[:2])
    assert host.layout() == FOUR_UP
    assert comparison.mode is None


def test_names_are_written_into_the_views(host, comparison, volumes):
    comparison.show(ids(volumes)[:2], names=["Original", "Restored"])
    for tag, name in ((A, " Original "), (B, " Restored ")):
        texts = [p for p in host.slice_view(tag).renderer.GetViewProps() if p.IsA("vtkTextActor")]
        assert [t.GetInput() for t in texts] == [name]
        top = host.grab(tag)[:36].astype(int)
        assert (top.max(axis=-1) > 120).sum() > 60


@pytest.mark.parametrize("managers", ["known", "unknown"])
def test_asking_for_a_picture_makes_the_host_draw(host, comparison, volumes, managers):
    comparison.show(ids(volumes)[:2])
    handle = host.slice_view(A)
    host.grab(A)
    group = handle.logic.GetDisplayableManagerGroup()
    handle.logic.SetDisplayableManagerGroup(group if managers == "known" else None)
    drawn = []
    tag = handle.render_window.AddObserver("EndEvent", lambda *_: drawn.append(1))
    request_render(handle)
    assert drawn == []
    handle.view.set_render_blocked(False)
    drawn.clear()
    image = handle.logic.GetBackgroundLayer().GetReslice().GetOutput()
    cut = image.GetMTime()
    request_render(handle)
    handle.view.set_render_blocked(True)
    handle.render_window.RemoveObserver(tag)
    handle.logic.SetDisplayableManagerGroup(group)
    assert drawn
    if managers == "known":
        assert image.GetMTime() == cut


def test_chart_and_table_below_the_views(context, host, comparison, volumes):
    host.size = (604, 600)
    comparison.show(ids(volumes)[:2], with_charts=True)
    line = context.scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode")
    line.AddControlPoint(-25, 0, 0)
    line.AddControlPoint(25, 0, 0)
    profile = LineProfile(context, line.GetID(), ids(volumes)[:2])
    assert profile.open()
    picture = host.picture(view_host.draw_linked(host)).astype(int)
    profile.close()
    assert [picture.shape[0], picture.shape[1]] == [600, 604]
    chart = picture[400:, :300]
    for colour in layouts.COLOURS[:2]:
        wanted = [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
        assert (np.abs(chart - wanted).max(axis=-1) < 12).sum() > 100
    assert (picture[400:, 310:].mean(axis=-1) < 100).sum() > 100
    assert [s.GetName() for s in slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")] == [
        "V0",
        "V1",
    ]


# Last, because every further view makes each change of the scene a little slower.


@pytest.mark.parametrize("grid", ["plain", "oblique"])
def test_all_views_cut_the_same_plane_to_the_same_scale(context, host, comparison, grid):
    matrix = np.diag([1.0, 1.0, 1.5, 1.0])
    if grid == "oblique":
        c, s = np.cos(0.4), np.sin(0.4)
        matrix[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ matrix[:3, :3]
    first = add(context, "A", 100.0, grid=VolumeGeometry((20, 30, 44), matrix))
    other = add(context, "B", 200.0)
    comparison.show(ids([first, other, other, first]), Mode.FOUR_UP, orientation=ALL)
    planes = {}
    for cell in comparison.layout.cells:
        node = host.slice_view(cell.tag).node
        plane = np.array(
            [node.GetSliceToRAS().GetElement(r, c) for r in range(4) for c in range(4)]
        )
        np.testing.assert_allclose(plane, planes.setdefault(cell.orientation, plane), atol=1e-9)
        width, height, _ = node.GetDimensions()
        scale = np.array(node.GetFieldOfView()[:2]) / (width, height)
        np.testing.assert_allclose(scale, planes.setdefault("scale", scale), rtol=1e-9)
    if grid == "oblique":
        # The slice runs along the volume's own axes, not along the patient's.
        across = planes["Axial"].reshape(4, 4)[:3, 0]
        assert abs(across @ (np.diag([-1, -1, 1]) @ matrix[:3, :3])[:, 0]) == pytest.approx(1)
        assert abs(across).max() < 0.95


def test_own_tags_and_group_are_not_slicers(host, comparison, volumes):
    comparison.show(ids(volumes), Mode.FOUR_UP, orientation=ALL)
    assert len(comparison.layout.cells) == 12
    for cell in comparison.layout.cells:
        assert cell.tag not in ("Red", "Green", "Yellow")
        assert host.slice_view(cell.tag).node.GetViewGroup() == layouts.VIEW_GROUP
    assert slicer.vtkMRMLSliceNode().GetViewGroup() == 0
