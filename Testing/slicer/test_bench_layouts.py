"""Layout XML becomes real views, and their pixels show the volumes."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from bench.report import BenchError
from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QSplitter, QTabWidget

PAIR = 30417


def view(tag, orientation="Axial", group=7, kind="vtkMRMLSliceNode", colour="#123456"):
    return f"""<item><view class="{kind}" singletontag="{tag}">
      <property name="orientation" action="default">{orientation}</property>
      <property name="viewlabel" action="default">{tag[-1]}</property>
      <property name="viewcolor" action="default">{colour}</property>
      <property name="viewgroup" action="default">{group}</property></view></item>"""


def use_layout(manager, text, number=PAIR):
    node = manager.layoutLogic().GetLayoutNode()
    if node.IsLayoutDescription(number):
        node.SetLayoutDescription(number, text)
    else:
        node.AddLayoutDescription(number, text)
    manager.setLayout(number)


@pytest.fixture
def pair(bench):
    """Return the layout manager with two linked views beside each other."""
    manager = slicer.app.layoutManager()
    views = view("BenchA") + view("BenchB", "Coronal")
    use_layout(manager, f'<layout type="horizontal" split="true">{views}</layout>')
    return manager


def add_volume(level):
    """Add a 20 mm cube of one value."""
    node = slicer.util.addVolumeFromArray(np.full((20, 20, 20), level, np.float32))
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(1000, 500)
    return node


def show(manager, tag, node):
    logic = manager.sliceWidget(tag).sliceLogic()
    logic.GetSliceCompositeNode().SetBackgroundVolumeID(node.GetID())
    logic.FitSliceToAll()
    logic.SetSliceOffset(10.0)


def middle(pixels):
    return pixels[pixels.shape[0] // 2, pixels.shape[1] // 2].tolist()


def test_view_nodes_have_what_the_xml_says(bench, pair):
    node = pair.sliceWidget("BenchB").mrmlSliceNode()
    assert node.GetOrientation() == "Coronal"
    assert node.GetViewGroup() == 7
    assert node.GetLayoutLabel() == "B"
    assert node.IsMappedInLayout()
    assert pair.layout == PAIR
    assert pair.layoutLogic().GetLayoutNode().GetViewArrangement() == PAIR
    assert not pair.sliceWidget("Red").mrmlSliceNode().IsMappedInLayout()
    assert pair.sliceWidget("NoSuchView") is None


@pytest.mark.parametrize(("value", "grey"), [(0, 0), (500, 128), (1000, 255)])
def test_pixels_are_the_window_level_of_the_value(bench, pair, value, grey):
    node = add_volume(value)
    show(pair, "BenchA", node)
    shown = bench.pixels("BenchA")
    assert np.allclose(middle(shown), grey, atol=2)
    assert shown[0, 0].max() <= 40, "outside the volume"


def test_each_view_shows_its_own_volume(bench, pair):
    show(pair, "BenchA", add_volume(0))
    show(pair, "BenchB", add_volume(1000))
    assert middle(bench.pixels("BenchA")) == [0, 0, 0]
    assert middle(bench.pixels("BenchB")) == [255, 255, 255]


def test_views_fill_the_widget_and_follow_its_size(bench, pair):
    bench.window.resize(900, 500)
    bench.pump(0.05)
    canvas = pair.sliceWidget("BenchA").viewport()
    height, width, _ = bench.pixels("BenchA").shape
    assert (width, height) == (canvas.width, canvas.height)
    assert tuple(pair.sliceWidget("BenchA").mrmlSliceNode().GetDimensions()[:2]) == (width, height)


def test_views_have_their_sizes_right_after_the_layout_is_set(bench):
    manager = slicer.app.layoutManager()
    use_layout(manager, f'<layout type="vertical">{view("BenchA")}{view("BenchF")}</layout>')
    sizes = {}
    for tag in ("BenchA", "BenchF"):
        sizes[tag] = manager.sliceWidget(tag).mrmlSliceNode().GetDimensions()[:2]
    bench.pump(0.1)
    for tag, size in sizes.items():
        canvas = manager.sliceWidget(tag).viewport()
        assert size == (canvas.width, canvas.height)
        assert canvas.width > 1.5 * canvas.height


def test_linked_views_of_a_group_scroll_together(bench):
    manager = slicer.app.layoutManager()
    views = view("BenchC") + view("BenchD") + view("BenchE", group=3)
    use_layout(manager, f'<layout type="horizontal">{views}</layout>')
    node = add_volume(500)
    for tag in ("BenchC", "BenchD", "BenchE"):
        show(manager, tag, node)
        composite = manager.sliceWidget(tag).sliceLogic().GetSliceCompositeNode()
        composite.SetLinkedControl(1)
        composite.SetHotLinkedControl(1)
    logic = manager.sliceWidget("BenchC").sliceLogic()
    logic.StartSliceNodeInteraction(slicer.vtkMRMLSliceNode.SliceToRASFlag)
    logic.SetSliceOffset(14.0)
    logic.EndSliceNodeInteraction()
    offsets = [manager.sliceWidget(t).sliceLogic().GetSliceOffset() for t in ("BenchD", "BenchE")]
    assert offsets == [14.0, 10.0]


def test_scene_close_leaves_the_layout_and_its_views(bench, pair):
    show(pair, "BenchA", add_volume(1000))
    bench.scene.Clear(0)
    bench.pump(0.05)
    node = pair.sliceWidget("BenchA").mrmlSliceNode()
    assert node.GetScene() is bench.scene
    assert middle(bench.pixels("BenchA")) == [0, 0, 0]
    pair.setLayout(PAIR)
    show(pair, "BenchA", add_volume(500))
    assert np.allclose(middle(bench.pixels("BenchA")), 128, atol=2)
    assert pair.sliceWidget("BenchA").mrmlSliceNode().GetViewGroup() == 7


@pytest.mark.parametrize(
    ("number", "tags"),
    [(2, {"Red", "Green", "Yellow", "1"}), (3, {"Red", "Green", "Yellow", "1"}), (6, {"Red"})],
)
def test_slicers_own_layouts(bench, number, tags):
    manager = slicer.app.layoutManager()
    manager.setLayout(number)
    assert {tag for _kind, tag in manager._shown} == tags


def test_nested_grid_and_tab_layouts(bench):
    manager = slicer.app.layoutManager()
    item = view("BenchA").replace("<item>", '<item name="first">')
    tabs = f'<item row="0" column="1"><layout type="tab">{item}{view("BenchB")}</layout></item>'
    place = view("BenchC").replace("<item>", '<item row="0" column="0">')
    use_layout(manager, f'<layout type="grid">{place}{tabs}</layout>', PAIR + 1)
    bench.pump(0.05)
    found = manager.viewport().findChild(QTabWidget)
    assert (found.count, found.tabText(0)) == (2, "first")
    assert manager.sliceWidget("BenchC").visible
    assert not manager.sliceWidget("BenchB").visible, "behind the first tab"


def test_split_sizes_are_honoured(bench):
    manager = slicer.app.layoutManager()
    wide = view("BenchA").replace("<item>", '<item splitSize="750">')
    narrow = view("BenchB").replace("<item>", '<item splitSize="250">')
    use_layout(manager, f'<layout type="horizontal" split="true">{wide}{narrow}</layout>', PAIR + 2)
    bench.pump(0.05)
    sizes = manager.viewport().findChild(QSplitter).sizes()
    assert 2.5 < sizes[0] / sizes[1] < 3.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('<layout type="circle"></layout>', "circle"),
        ('<layout type="horizontal"><item/></layout>', "neither a layout nor a view"),
    ],
)
def test_a_wrong_layout_is_refused(bench, text, said):
    manager = slicer.app.layoutManager()
    with pytest.raises(BenchError, match=said):
        use_layout(manager, text, PAIR + 3)
    bench.problems.clear()


def red(pixels):
    return (pixels[..., 0] > 100) & (pixels[..., 1:] < 60).all(axis=-1)


def test_a_3d_view_draws_a_surface(bench):
    import vtk

    manager = slicer.app.layoutManager()
    before = bench.pixels("1")
    sphere = vtk.vtkSphereSource()
    sphere.SetRadius(60)
    sphere.Update()
    model = slicer.vtkMRMLModelNode()
    bench.scene.AddNode(model)
    model.SetAndObservePolyData(sphere.GetOutput())
    model.CreateDefaultDisplayNodes()
    model.GetDisplayNode().SetColor(1, 0, 0)
    manager.resetThreeDViews()
    after = bench.pixels("1").astype(int)
    assert red(after).mean() > 0.05
    assert not red(before).any()
    assert manager.threeDWidget(0).mrmlViewNode().GetSingletonTag() == "1"


def test_plot_and_table_views_draw_their_nodes(bench):
    manager = slicer.app.layoutManager()
    plot = view("BenchPlot", kind="vtkMRMLPlotViewNode")
    table = view("BenchTable", kind="vtkMRMLTableViewNode")
    use_layout(manager, f'<layout type="vertical">{plot}{table}</layout>', PAIR + 4)
    data = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    slicer.util.updateTableFromArray(data, np.column_stack([np.arange(9.0), np.arange(9.0) ** 2]))
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "square")
    names = [data.GetTable().GetColumnName(i) for i in range(2)]
    series.SetAndObserveTableNodeID(data.GetID())
    series.SetXColumnName(names[0])
    series.SetYColumnName(names[1])
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetColor(0, 0, 1)
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode")
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    widget = manager.plotWidget(0)
    widget.mrmlPlotViewNode().SetPlotChartNodeID(chart.GetID())
    bench.pump(0.05)
    ((_node, x, y),) = widget.series()
    assert np.array_equal(y, x**2)
    picture = widget.grab().toImage()
    blue = [
        1
        for i in range(0, picture.width(), 2)
        for j in range(0, picture.height(), 2)
        if picture.pixelColor(i, j).blue() > 150 and picture.pixelColor(i, j).red() < 80
    ]
    assert len(blue) > 20
    cells = manager.tableWidget(0)
    cells.mrmlTableViewNode().SetTableNodeID(data.GetID())
    bench.pump(0.05)
    assert cells._cells.item(3, 1).text() in ("9", "9.0")


def test_mouse_and_wheel_reach_the_interactor(bench, pair):
    seen = []
    interactor = pair.sliceWidget("BenchA").sliceView().interactor()
    for event in ("LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent"):
        interactor.AddObserver(event, lambda o, e: seen.append((e, o.GetEventPosition())), 100.0)
    from bench.view_widgets import send_mouse

    bench.pump(0.05)
    canvas = pair.sliceWidget("BenchA").viewport()
    kinds = QEvent.Type
    for kind, x in ((kinds.MouseButtonPress, 10), (kinds.MouseMove, 30)):
        send_mouse(canvas, kind, x, 20)
    send_mouse(canvas, kinds.MouseButtonRelease, 30, 20)
    row = canvas.height - 21
    assert seen == [
        ("LeftButtonPressEvent", (10, row)),
        ("MouseMoveEvent", (30, row)),
        ("LeftButtonReleaseEvent", (30, row)),
    ]


def test_util_functions_of_slicer_work_on_the_views(bench, pair):
    node = add_volume(500)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    composite = pair.sliceWidget("BenchB").sliceLogic().GetSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == node.GetID()
    slicer.util.resetSliceViews()
    assert np.allclose(middle(bench.pixels("BenchB")), 128, atol=2)
