"""Real slice views in memory, arranged as a layout says: what the desktop does, for the tests."""

from __future__ import annotations

import ctypes.util
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from trame_slicer.views import SliceView, ViewLayoutDefinition, ViewType
from vtk.util.numpy_support import vtk_to_numpy

OSMESA = ctypes.util.find_library("OSMesa") or ctypes.util.find_library("OSMesa32")
NO_OSMESA = "real view pixels need libOSMesa (Debian: libosmesa6)"


class SceneSliceView(SliceView):
    """A slice view on the node that the scene has already, if it has one.

    A view that makes a node of its own and gets the scene's afterwards draws segments at the pose
    of its first node for good, whatever becomes of the second.
    """

    def set_scene(self, scene):
        node = scene.GetSingletonNode(self.name, "vtkMRMLSliceNode")
        if node is None or self._view_node is not None:
            super().set_scene(scene)
            return
        self._event_observer.UpdateObservation(None, scene, scene.EndCloseEvent)
        self._scene = scene
        self._logic.SetMRMLScene(scene)
        self._logic.SetSliceNode(node)
        self.set_view_node(node)


@dataclass
class Handle:
    """A slice view as `ctrestorelib.mrml.comparison.host.SliceViewHandle` wants it."""

    view: SliceView

    @property
    def node(self):
        return self.view.get_view_node()

    @property
    def composite(self):
        return self.view._logic.GetSliceCompositeNode()

    @property
    def logic(self):
        return self.view._logic

    @property
    def renderer(self):
        return self.view.renderer()

    @property
    def render_window(self):
        return self.view.render_window()

    @property
    def interactor(self):
        return self.view.interactor()


class ViewHost:
    """Views of one scene; a layout splits `size` pixels among them.

    Red, Slicer's own, is there from the start.
    """

    def __init__(self, app, size=(640, 320)):
        self.app = app
        self.size = size
        self.handles = {}
        self.rectangles = {}
        self._open(ViewLayoutDefinition.axial_view())
        self.logic = slicer.vtkMRMLLayoutLogic()
        self.logic.SetMRMLScene(app.scene)

    @property
    def layout_node(self):
        return self.logic.GetLayoutNode()

    def layout(self):
        return self.layout_node.GetViewArrangement()

    def set_layout(self, layout_id):
        xml = self.layout_node.GetLayoutDescription(layout_id)
        self.rectangles = {}
        if xml:
            root = ET.fromstring(xml)
            _place(root, (0, 0, *self.size), self.rectangles)
            for view in root.iter("view"):
                if view.get("class") == "vtkMRMLSliceNode":
                    self._open(ViewLayoutDefinition.from_xml(ET.tostring(view).decode()))
        self.layout_node.SetViewArrangement(layout_id)
        for tag, (_x, _y, width, height) in self.rectangles.items():
            if tag in self.handles:
                self.handles[tag].view.update_size(width, height)
                self.handles[tag].view._update_slice_size()

    def slice_view(self, tag):
        return self.handles.get(tag) if tag in self.rectangles else None

    def resize(self, size):
        self.size = size
        self.set_layout(self.layout())

    def _open(self, definition):
        tag = definition.singleton_tag
        if tag in self.handles:
            return
        assert definition.view_type is ViewType.SLICE_VIEW
        view = SceneSliceView(self.app.scene, self.app.app_logic, tag)
        view.set_view_properties(definition.properties)
        view._logic.SetDisplayableManagerGroup(view._displayable_manager_group)
        # Drawn when grabbed, not at every change of a node; and without costly smooth edges.
        view.set_render_blocked(True)
        view.render_window().SetMultiSamples(0)
        self.handles[tag] = Handle(view)

    def grab(self, tag):
        """Return the pixels of one view, rows from the top, `[row, column, rgb]`."""
        return grab(self.handles[tag].render_window)

    def picture(self, others=None):
        """Return the whole window; `others` draws views that are no slices: f(tag, size)."""
        width, height = self.size
        canvas = np.full((height, width, 3), 60, np.uint8)
        for tag, (x, y, w, h) in self.rectangles.items():
            if tag in self.handles:
                canvas[y : y + h, x : x + w] = self.grab(tag)
            elif others is not None:
                canvas[y : y + h, x : x + w] = others(tag, (w, h))
        return canvas


def grab(window):
    window.Render()
    image = vtk.vtkImageData()
    slicer.vtkMRMLLayerDisplayableManager.RenderWindowBufferToImage(window, image)
    width, height, _ = image.GetDimensions()
    flat = vtk_to_numpy(image.GetPointData().GetScalars())
    return flat.reshape(height, width, -1)[::-1, :, :3].copy()


def _place(element, box, out, gap=2):
    """Give every view below `element` its rectangle (x, y, width, height) of `box`."""
    if element.tag == "view":
        out[element.get("singletontag")] = box
        return
    items = list(element)
    sizes = [int(item.get("splitSize", "1")) for item in items]
    x, y, width, height = box
    flat = element.get("type") == "horizontal"
    free = (width if flat else height) - gap * (len(items) - 1)
    at = x if flat else y
    for item, size in zip(items, sizes, strict=True):
        part = free * size // sum(sizes)
        inner = (at, y, part, height) if flat else (x, at, width, part)
        _place(item[0], inner, out, gap)
        at += part + gap


_HOSTS = []


def shared_host(app, size=(640, 320)):
    """Return the one host of the test run: a scene's slice nodes outlive its closing."""
    if not _HOSTS:
        _HOSTS.append(ViewHost(app))
    host = _HOSTS[0]
    host.size = size
    host.layout_node.SetViewArrangement(3)
    host.rectangles = {}
    return host


def draw_chart(chart, size):
    """Return a picture of a chart node, drawn from its series and tables alone."""
    view = vtk.vtkContextView()
    window = view.GetRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetSize(*size)
    view.GetRenderer().SetBackground(1, 1, 1)
    plot = vtk.vtkChartXY()
    view.GetScene().AddItem(plot)
    plot.SetTitle(chart.GetTitle())
    plot.SetShowLegend(True)
    plot.GetAxis(vtk.vtkAxis.BOTTOM).SetTitle(chart.GetXAxisTitle())
    plot.GetAxis(vtk.vtkAxis.LEFT).SetTitle(chart.GetYAxisTitle())
    for n in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(n)
        table = series.GetTableNode().GetTable()
        curve = plot.AddPlot(vtk.vtkChart.LINE)
        columns = series.GetXColumnName(), series.GetYColumnName()
        curve.SetInputData(table, *(_column(table, c) for c in columns))
        curve.SetLabel(series.GetName())
        curve.SetColorF(*series.GetColor())
        curve.SetWidth(series.GetLineWidth())
    return grab(window)


def draw_table(node, size):
    """Return a picture of a table node's texts and numbers."""
    from PIL import Image, ImageDraw

    table = node.GetTable()
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    width = size[0] / max(1, table.GetNumberOfColumns())
    for n in range(table.GetNumberOfColumns()):
        column = table.GetColumn(n)
        cells = [column.GetName(), *map(str, map(column.GetValue, range(table.GetNumberOfRows())))]
        for row, cell in enumerate(cells):
            pen.text((6 + n * width, 8 + 18 * row), cell[: int(width / 6)], "black")
    return np.asarray(picture)


def _column(table, name):
    return [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())].index(name)


def draw_linked(host):
    """Return how to draw plot and table views: what their own nodes point to."""

    def draw(tag, size):
        scene = host.app.scene
        plot = scene.GetSingletonNode(tag, "vtkMRMLPlotViewNode")
        if plot is not None and plot.GetPlotChartNode() is not None:
            return draw_chart(plot.GetPlotChartNode(), size)
        table = scene.GetSingletonNode(tag, "vtkMRMLTableViewNode")
        if table is not None and table.GetTableNode() is not None:
            return draw_table(table.GetTableNode(), size)
        return np.full((size[1], size[0], 3), 90, np.uint8)

    return draw
