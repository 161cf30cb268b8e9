"""Line profiles: exact on ramps, live, following transforms, tidy in the scene."""

from __future__ import annotations

import time

import numpy as np
import pytest
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.mrml.comparison import tables
from ctrestorelib.mrml.comparison.profile import DISTANCE, LineProfile
from ctrestorelib.mrml.comparison.sampling import edge_width_mm, linear_samples
from ctrestorelib.mrml.transforms import matrix_of
from ctrestorelib.mrml.volumes import new_volume_node

SLOPE = np.array([3.0, -2.0, 5.0])


def tilted(shape, spacing, centre=(0.0, 0.0, 0.0)):
    a, b = 0.4, -0.3
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ [
        [1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]  # fmt: skip
    matrix = np.eye(4)
    matrix[:3, :3] = turn * spacing
    matrix[:3, 3] = centre - matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return VolumeGeometry(shape, matrix)


GRIDS = {
    "upright": VolumeGeometry.from_spacing((20, 24, 28), (1.0, 1.0, 2.0)),
    "oblique": tilted((24, 22, 26), (0.9, 1.1, 1.5)),
    "mirrored": VolumeGeometry((20, 24, 28), np.array(
        [[-1.0, 0, 0, 13], [0, 1.2, 0, -13], [0, 0, 1.5, -14], [0, 0, 0, 1]])),
}  # fmt: skip


def ramp(context, name, grid, *, factor=1.0, unit=Unit.HU):
    """Add a volume whose value is SLOPE . (world position in RAS, mm)."""
    k, j, i = np.mgrid[tuple(slice(n) for n in grid.shape)]
    lps = grid.to_world(np.stack([i, j, k], axis=-1))
    values = factor * (lps * [-1, -1, 1]) @ SLOPE
    return new_volume_node(context, name, Volume(values.astype(np.float32), grid, unit))


def line(context, start, end, name="L"):
    node = context.scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", name)
    node.AddControlPoint(*start)
    node.AddControlPoint(*end)
    return node


def columns(node):
    table = node.GetTable()
    return {table.GetColumnName(n): table.GetColumn(n) for n in range(table.GetNumberOfColumns())}


def numbers(node, title):
    return vtk_to_numpy(columns(node)[title])


def texts(node, title):
    array = columns(node)[title]
    return [array.GetValue(n) for n in range(array.GetNumberOfValues())]


@pytest.mark.parametrize("grid", GRIDS)
def test_a_ramp_is_read_exactly(context, grid):
    volume = ramp(context, "R", GRIDS[grid])
    start, end = np.array([-5.0, 3.0, -6.0]), np.array([6.0, -4.0, 5.0])
    profile = LineProfile(context, line(context, start, end).GetID(), [volume.GetID()])
    distance = numbers(profile.table, DISTANCE)
    length = np.linalg.norm(end - start)
    assert distance[0] == 0
    assert distance[-1] == pytest.approx(length)
    assert np.diff(distance).max() <= min(GRIDS[grid].spacing_mm) / 2 + 1e-9
    wanted = (start + distance[:, None] / length * (end - start)) @ SLOPE
    np.testing.assert_allclose(numbers(profile.table, "R [HU]"), wanted, atol=2e-4)
    profile.close()


def test_transforms_of_line_and_volume_are_followed(context):
    matrix = np.array([[0, -1, 0, 4], [1, 0, 0, -3], [0, 0, 1, 6], [0, 0, 0, 1.0]])
    moved = context.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    moved.SetMatrixTransformToParent(matrix_of(matrix))
    volume = ramp(context, "R", GRIDS["oblique"])
    drawn = line(context, (-3, 2, -4), (4, -3, 4))
    profile = LineProfile(context, drawn.GetID(), [volume.GetID()])
    before = numbers(profile.table, "R [HU]").copy()
    volume.SetAndObserveTransformNodeID(moved.GetID())
    assert not np.allclose(numbers(profile.table, "R [HU]"), before, equal_nan=True)
    drawn.SetAndObserveTransformNodeID(moved.GetID())
    np.testing.assert_allclose(numbers(profile.table, "R [HU]"), before, atol=2e-4)
    profile.close()


def test_a_warping_transform_is_followed_too(context):
    bend = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for p in [(-20, -20, -20), (20, -20, -20), (-20, 20, -20), (-20, -20, 20), (20, 20, 20)]:
        source.InsertNextPoint(p)
        target.InsertNextPoint(p)
    source.InsertNextPoint(0, 0, 0)
    target.InsertNextPoint(3, 1, -2)
    bend.SetSourceLandmarks(source)
    bend.SetTargetLandmarks(target)
    bend.SetBasisToR()
    node = context.scene.AddNewNodeByClass("vtkMRMLTransformNode")
    node.SetAndObserveTransformToParent(bend)
    volume = ramp(context, "R", GRIDS["upright"])
    volume.SetAndObserveTransformNodeID(node.GetID())
    drawn = line(context, (3, 1, -2), (5, 1, -2))
    profile = LineProfile(context, drawn.GetID(), [volume.GetID()])
    # The first point is where the volume's own origin went: there the ramp is 0.
    assert numbers(profile.table, "R [HU]")[0] == pytest.approx(0.0, abs=0.05)
    profile.close()


def test_the_curves_follow_the_line_and_nothing_is_added(context):
    volumes = [ramp(context, "A", GRIDS["upright"]), ramp(context, "B", GRIDS["oblique"], factor=2)]
    drawn = line(context, (-4, 0, 0), (4, 0, 0))
    profile = LineProfile(context, drawn.GetID(), [v.GetID() for v in volumes])
    count = context.scene.GetNumberOfNodes()
    for shift in (1.0, 2.0, 3.0):
        drawn.SetNthControlPointPositionWorld(1, 4, shift, 0)
        last = np.array([4, shift, 0]) @ SLOPE
        assert numbers(profile.table, "A [HU]")[-1] == pytest.approx(last, abs=1e-3)
        assert numbers(profile.table, "B [HU]")[-1] == pytest.approx(2 * last, abs=1e-3)
    slicer.util.arrayFromVolume(volumes[0])[:] = 7
    slicer.util.arrayFromVolumeModified(volumes[0])
    np.testing.assert_allclose(numbers(profile.table, "A [HU]"), 7.0)
    profile.close()
    again = LineProfile(context, drawn.GetID(), [v.GetID() for v in volumes])
    assert context.scene.GetNumberOfNodes() == count
    assert again.table is profile.table
    assert again.chart is profile.chart
    again.close()
    drawn.SetNthControlPointPositionWorld(1, 1, 1, 1)
    assert numbers(profile.table, DISTANCE)[-1] == pytest.approx(np.hypot(8, 3))


def test_fewer_volumes_leave_no_curve_behind(context):
    volumes = [ramp(context, f"V{n}", GRIDS["upright"], factor=n + 1) for n in range(4)]
    drawn = line(context, (-4, 0, 0), (4, 0, 0))
    four = LineProfile(context, drawn.GetID(), [v.GetID() for v in volumes])
    assert four.chart.GetNumberOfPlotSeriesNodes() == 4
    four.close()
    two = LineProfile(context, drawn.GetID(), [v.GetID() for v in volumes[2:]], ["x", "y"])
    two.close()
    assert two.chart.GetNumberOfPlotSeriesNodes() == 2
    series = list(tables.own_nodes(context.scene, "vtkMRMLPlotSeriesNode"))
    assert [s.GetName() for s in series] == ["x", "y"]
    assert [s.GetYColumnName() for s in series] == ["x [HU]", "y [HU]"]
    assert all(s.GetTableNode() is two.table for s in series)
    assert len({s.GetColor() for s in series}) == 2
    assert two.chart.GetXAxisTitle() == DISTANCE
    assert two.chart.GetYAxisTitle() == "HU"
    tables.remove_own_nodes(context.scene)
    for name in ("vtkMRMLTableNode", "vtkMRMLPlotSeriesNode", "vtkMRMLPlotChartNode"):
        assert context.scene.GetNumberOfNodesByClass(name) == 0


def test_outside_the_volume_there_is_no_value(context):
    volume = ramp(context, "R", GRIDS["upright"])
    drawn = line(context, (0, 0, 0), (40, 0, 0))
    profile = LineProfile(context, drawn.GetID(), [volume.GetID()])
    values, distance = numbers(profile.table, "R [HU]"), numbers(profile.table, DISTANCE)
    assert np.array_equal(np.isnan(values), distance > 13.5 + 1e-6)
    drawn.SetNthControlPointPositionWorld(0, 30, 0, 0)
    assert texts(profile.numbers, "Mean") == ["outside"]
    profile.close()


def test_numbers_and_units_of_each_volume(context):
    hu = ramp(context, "A", GRIDS["upright"])
    grey = ramp(context, "B", GRIDS["upright"], factor=10, unit=Unit.GREY)
    drawn = line(context, (-4, 0, 0), (4, 0, 0))
    profile = LineProfile(context, drawn.GetID(), [hu.GetID(), grey.GetID()], ["Before", "After"])
    assert texts(profile.numbers, "Volume") == ["Before", "After"]
    assert texts(profile.numbers, "Unit") == ["HU", "grey value"]
    assert texts(profile.numbers, "Minimum") == ["-12", "-120"]
    assert texts(profile.numbers, "Maximum") == ["12", "120"]
    assert profile.chart.GetYAxisTitle() == "HU / grey value"
    profile.close()


@pytest.mark.parametrize("sigma", [0.8, 1.5, 3.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_width_of_a_blurred_edge_is_known(sigma, sign):
    from scipy.special import ndtr

    x = np.linspace(0, 40, 801)
    rng = np.random.default_rng(1)
    y = 100 + sign * 500 * ndtr((x - 21.3) / sigma) + rng.normal(0, 1, x.size)
    width, why = edge_width_mm(x, y)
    assert why == ""
    assert width == pytest.approx(2 * 1.2815516 * sigma, rel=0.03)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full(100, 3.0), "do not differ"),
        (np.random.default_rng(0).normal(0, 1, 100), "do not differ"),
        (np.arange(6.0), "too short"),
        (np.full(100, np.nan), "too short"),
    ],
)
def test_where_there_is_no_edge_it_says_so(values, words):
    width, why = edge_width_mm(np.arange(float(values.size)), values)
    assert width is None
    assert words in why


def test_interpolation_reads_voxel_values_at_voxel_centres_and_ignores_far_nans():
    values = np.random.default_rng(3).normal(size=(3, 4, 5)).astype(np.float32)
    k, j, i = (g.ravel() for g in np.mgrid[:3, :4, :5])
    at_centres = linear_samples(values, np.stack([i, j, k], axis=1).astype(float))
    np.testing.assert_array_equal(at_centres, values.ravel())
    values[2, 3, 4] = np.nan
    assert linear_samples(values, np.array([[3.0, 3.0, 2.0]])) == values[2, 3, 3]
    assert np.isnan(linear_samples(values, np.array([[3.5, 3.0, 2.0]])))
    assert linear_samples(np.array([[[5, 9]]], np.int16), np.array([[0.25, 0, 0]])) == 6.0


@pytest.mark.parametrize("kind", ["no line", "one end", "gone", "none", "five"])
def test_what_is_no_profile_is_refused_and_adds_nothing(context, kind):
    volume = ramp(context, "R", GRIDS["upright"])
    drawn = line(context, (0, 0, 0), (5, 0, 0))
    chosen, count, error = drawn, 1, InputError
    if kind == "no line":
        chosen, words = volume, "is not a line"
    elif kind == "one end":
        drawn.RemoveNthControlPoint(1)
        words = "has 1 of its two ends"
    elif kind == "gone":
        context.scene.RemoveNode(drawn)
        words = "no longer in the scene"
    else:
        count, error, words = {"none": 0, "five": 5}[kind], UsageError, "one to four volumes"
    identity = chosen.GetID() or "gone"
    before = context.scene.GetNumberOfNodes()
    with pytest.raises(error, match=words):
        LineProfile(context, identity, [volume.GetID()] * count)
    assert context.scene.GetNumberOfNodes() == before


def test_deleting_line_or_volume_does_no_harm(context):
    volumes = [ramp(context, n, GRIDS["upright"]) for n in "AB"]
    drawn = line(context, (-4, 0, 0), (4, 0, 0))
    profile = LineProfile(context, drawn.GetID(), [v.GetID() for v in volumes])
    context.scene.RemoveNode(volumes[0])
    drawn.SetNthControlPointPositionWorld(1, 4, 3, 0)
    drawn.RemoveNthControlPoint(1)
    context.scene.RemoveNode(drawn)
    profile.update()
    context.scene.Clear(0)
    profile.update()
    assert context.scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0


def test_chart_and_numbers_are_opened_in_own_views_only(context):
    volume = ramp(context, "R", GRIDS["upright"])
    drawn = line(context, (-4, 0, 0), (4, 0, 0))
    profile = LineProfile(context, drawn.GetID(), [volume.GetID()])
    profile.close()
    scene = context.scene
    for class_name in ("vtkMRMLPlotViewNode", "vtkMRMLTableViewNode"):
        for node in slicer.util.getNodesByClass(class_name):
            scene.RemoveNode(node)
    assert not profile.open()
    theirs = scene.AddNewNodeByClass("vtkMRMLPlotViewNode")
    plot, table = slicer.vtkMRMLPlotViewNode(), slicer.vtkMRMLTableViewNode()
    plot.SetSingletonTag("CTRestoreComparePlot")
    table.SetSingletonTag("CTRestoreCompareTable")
    plot, table = scene.AddNode(plot), scene.AddNode(table)
    assert profile.open()
    assert plot.GetPlotChartNodeID() == profile.chart.GetID()
    assert table.GetTableNodeID() == profile.numbers.GetID()
    assert theirs.GetPlotChartNodeID() is None
    for node in (theirs, plot, table):
        scene.RemoveNode(node)


def test_moving_the_line_is_cheap(context):
    grid = VolumeGeometry.from_spacing((59, 164, 185), (0.8, 0.8, 2.0))
    values = Volume(np.zeros(grid.shape, np.float32), grid, Unit.HU)
    volumes = [new_volume_node(context, f"V{n}", values) for n in range(4)]
    drawn = line(context, (-60, -50, 0), (60, 50, 10))
    profile = LineProfile(context, drawn.GetID(), [v.GetID() for v in volumes])
    start = time.perf_counter()
    for n in range(10):
        drawn.SetNthControlPointPositionWorld(1, 60, 50 - n, 10)
    assert (time.perf_counter() - start) / 10 < 0.1
    profile.close()
