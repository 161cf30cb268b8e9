"""Real trame-slicer views, drawn in memory by Mesa and painted into Qt widgets."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from PySide6.QtCore import QEvent, QPointF, Qt, QTimer
from PySide6.QtGui import QColor, QImage, QPainter
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget
from trame_slicer.views import SliceView, ThreeDView
from trame_slicer.views.render_scheduler import ScheduledRenderStrategy
from view_host import SceneSliceView
from vtkmodules.util.numpy_support import vtk_to_numpy

_WAIT_MS = 5


class QtRendering(ScheduledRenderStrategy):
    """Render once when Qt is idle, however often it was asked for."""

    def __init__(self):
        super().__init__()
        self.on_render = None
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._now)

    def schedule_render(self):
        if not self._timer.isActive():
            self._timer.start(_WAIT_MS)

    def _now(self):
        if self.on_render is not None:
            self.on_render()


class _BenchThreeDView(ThreeDView):
    """A 3D view on the node that the layout logic has already made."""

    def set_scene(self, scene):
        node = scene.GetSingletonNode(self.name, "vtkMRMLViewNode")
        if node is None or self._view_node is not None:
            super().set_scene(scene)
            return
        self._event_observer.UpdateObservation(None, scene, scene.EndCloseEvent)
        self._scene = scene
        self._logic.SetMRMLScene(scene)
        self.set_view_node(node)


def render_array(window) -> np.ndarray:
    """Return what a render window shows as (rows, columns, 3) uint8."""
    window.Render()
    image = vtk.vtkImageData()
    slicer.vtkMRMLLayerDisplayableManager.RenderWindowBufferToImage(window, image)
    width, height, _ = image.GetDimensions()
    values = vtk_to_numpy(image.GetPointData().GetScalars())
    return values.reshape(height, width, -1)[::-1, :, :3].copy()


class ViewCanvas(QWidget):
    """Paints one real view and hands it the mouse and the keys."""

    def __init__(self, view, parent=None):
        super().__init__(parent)
        self.view = view
        self.paused = False
        self._image = QImage()
        self._scheduler = QtRendering()
        self._scheduler.on_render = self.draw
        view.set_scheduled_render(self._scheduler)
        view.render_window().SetMultiSamples(0)
        self.setMinimumSize(40, 40)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)

    def draw(self):
        """Render now and keep the picture."""
        if self.paused or self.width() < 2 or self.height() < 2:
            return
        pixels = np.ascontiguousarray(self.array())
        height, width, _ = pixels.shape
        kind = QImage.Format.Format_RGB888
        self._image = QImage(pixels.data, width, height, 3 * width, kind).copy()
        self.update()

    def array(self) -> np.ndarray:
        """Return the picture as (rows, columns, 3) uint8, freshly rendered."""
        return render_array(self.view.render_window())

    def resizeEvent(self, event):
        super().resizeEvent(event)
        self.view.update_size(self.width(), self.height())
        if isinstance(self.view, SliceView):
            self.view._update_slice_size()  # VTK 9.6 sends no WindowResizeEvent to interactors
        self._scheduler.schedule_render()

    def paintEvent(self, _event):
        paint = QPainter(self)
        paint.fillRect(self.rect(), QColor(0, 0, 0))
        if not self._image.isNull():
            paint.drawImage(self.rect(), self._image)
        paint.end()

    def _send(self, event, name):
        where = event.position()
        modifiers = event.modifiers()
        self.view.interactor().SetEventInformation(
            int(where.x()),
            int(self.height() - 1 - where.y()),
            bool(modifiers & Qt.KeyboardModifier.ControlModifier),
            bool(modifiers & Qt.KeyboardModifier.ShiftModifier),
        )
        self.view.interactor().InvokeEvent(name)
        self._scheduler.schedule_render()

    def mouseMoveEvent(self, event):
        self._send(event, "MouseMoveEvent")

    def mousePressEvent(self, event):
        self._send(event, f"{_button(event)}ButtonPressEvent")

    def mouseReleaseEvent(self, event):
        self._send(event, f"{_button(event)}ButtonReleaseEvent")

    def wheelEvent(self, event):
        way = "Forward" if event.angleDelta().y() > 0 else "Backward"
        self._send(event, f"MouseWheel{way}Event")

    def enterEvent(self, event):
        self._send(event, "EnterEvent")

    def leaveEvent(self, event):
        self.view.interactor().InvokeEvent("LeaveEvent")
        super().leaveEvent(event)

    def keyPressEvent(self, event):
        interactor = self.view.interactor()
        interactor.SetKeySym(event.text())
        interactor.SetKeyCode((event.text() or "\0")[0])
        interactor.InvokeEvent("KeyPressEvent")
        interactor.InvokeEvent("CharEvent")
        self._scheduler.schedule_render()


def _button(event) -> str:
    buttons = Qt.MouseButton
    names = {buttons.RightButton: "Right", buttons.MiddleButton: "Middle"}
    return names.get(event.button(), "Left")


class _Framed(QWidget):
    """A view under a bar in its own colour."""

    def __init__(self, node, canvas, parent=None):
        super().__init__(parent)
        self._node, self._canvas = node, canvas
        self._bar = QLabel(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(1, 1, 1, 1)
        column.setSpacing(0)
        column.addWidget(self._bar)
        column.addWidget(canvas, 1)
        self.restyle()

    def restyle(self):
        colour = QColor.fromRgbF(*self._node.GetLayoutColor())
        self._bar.setText(f" {self._title()}")
        self._bar.setStyleSheet(f"background: {colour.name()}; color: black; padding: 1px;")

    def _title(self):
        return self._node.GetLayoutLabel() or self._node.GetName() or ""

    def viewport(self):
        return self._canvas


class SliceWidget(_Framed):
    """What `layoutManager.sliceWidget(name)` returns."""

    def __init__(self, core, tag, parent=None):
        strategy = QtRendering()
        view = SceneSliceView(core.scene, core.app_logic, tag, scheduled_render_strategy=strategy)
        self._view = view
        super().__init__(view.get_view_node(), ViewCanvas(view), parent)

    def _title(self):
        label, offset = super()._title(), self._view.get_slice_value()
        return f"{label}   {self._node.GetOrientation()}   {offset:.1f} mm"

    def mrmlSliceNode(self):
        return self._node

    def mrmlSliceCompositeNode(self):
        return self._view._logic.GetSliceCompositeNode()

    def sliceLogic(self):
        return self._view._logic

    def sliceView(self):
        return ViewAccess(self._view, self._canvas)

    def interactor(self):
        return self._view.interactor()

    def sliceController(self):
        return _SliceController(self)

    def fitSliceToBackground(self):
        self._view.fit_view_to_content()


class _SliceController:
    def __init__(self, widget):
        self._widget = widget

    def fitSliceToBackground(self):
        self._widget.fitSliceToBackground()

    def setSliceVisible(self, visible):
        self._widget.mrmlSliceNode().SetSliceVisible(visible)


class ViewAccess:
    """What `sliceView()` and `threeDView()` return."""

    def __init__(self, view, canvas):
        self._view, self._canvas = view, canvas

    def renderWindow(self):
        return self._view.render_window()

    def renderer(self):
        return self._view.first_renderer()

    def interactor(self):
        return self._view.interactor()

    def interactorStyle(self):
        return self._view.interactor_style()

    def displayableManagerByClassName(self, name):
        return self._view.get_displayable_manager_by_class(name)

    def scheduleRender(self):
        self._view.schedule_render()

    def forceRender(self):
        self._canvas.draw()

    def resetFocalPoint(self):
        self._view.reset_focal_point()

    def resetCamera(self):
        self._view.reset_camera()

    def mrmlSliceNode(self):
        return self._view.get_view_node()

    mrmlViewNode = mrmlSliceNode


class ThreeDWidget(_Framed):
    """What `layoutManager.threeDWidget(n)` returns."""

    def __init__(self, core, tag, parent=None):
        strategy = QtRendering()
        view = _BenchThreeDView(core.scene, core.app_logic, tag, scheduled_render_strategy=strategy)
        self._view = view
        view.get_view_node().SetVolumeRenderingQuality(0)
        super().__init__(view.get_view_node(), ViewCanvas(view), parent)

    def mrmlViewNode(self):
        return self._node

    def threeDView(self):
        return ViewAccess(self._view, self._canvas)

    def interactor(self):
        return self._view.interactor()


def send_mouse(canvas: ViewCanvas, kind: QEvent.Type, x: float, y: float) -> None:
    """Send one mouse event in canvas pixels; for tests of the wipe."""
    from PySide6.QtGui import QMouseEvent
    from PySide6.QtWidgets import QApplication

    point = QPointF(x, y)
    moved = kind == QEvent.Type.MouseMove
    button = Qt.MouseButton.NoButton if moved else Qt.MouseButton.LeftButton
    held = Qt.MouseButton.LeftButton
    event = QMouseEvent(kind, point, point, button, held, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(canvas, event)
