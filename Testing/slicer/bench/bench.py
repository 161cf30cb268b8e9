"""The bench: an application without a desktop Slicer, one module at a time."""

from __future__ import annotations

import atexit
import importlib.util
import os
import sys
import time
from pathlib import Path

import slicer
from emptying import empty, keep_in_mind
from PySide6.QtCore import QCoreApplication, QEvent, QEventLoop, Qt, QTimer
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QApplication, QMainWindow, QScrollArea, QSplitter, QVBoxLayout

from . import dialogs, pythonqt, report
from .application import make_folder, make_modules, qSlicerApplication
from .layouts import qSlicerLayoutManager
from .log import log
from .module_classes import qSlicerScriptedLoadableModule, qSlicerScriptedLoadableModuleWidget
from .slicer_modules import install_modules
from .ui_loader import report_without_scene
from .util_functions import install_util

_bench: list[Bench] = []


def current() -> Bench:
    """Return the one bench of this process."""
    return _bench[0]


class Bench:
    """Everything a test needs: load a module, drive it, look at it, read the problems."""

    def __init__(self, core):
        """Make the application around a `trame_slicer` SlicerApp."""
        self.qt_app = QApplication.instance() or QApplication(["bench"])
        self.qt_app.setStyle("Fusion")
        self.qt_app.setFont(QFont("DejaVu Sans", 9))
        pythonqt.install()
        report.watch_unraised()
        report.watch_qt()
        self.core, self.scene = core, core.scene
        self.problems, self.log, self.dialogs = report.problems, log, dialogs
        self._folder = make_folder()
        self.layout_manager = qSlicerLayoutManager(core)
        _bench[:] = [self]
        slicer.mrmlScene = core.scene
        slicer.app = qSlicerApplication(core, self._folder, self.layout_manager)
        slicer.modules = make_modules(core)
        install_modules()
        install_util()
        self._make_window()
        self.layout_manager.setLayout(3)
        self.widget = self.panel = self._path = None
        atexit.register(self.unload_module)  # Qt and VTK may not meet a live panel at their end

    def _make_window(self):
        self.window = QMainWindow()
        self.window.setWindowTitle("CTRestore on the test bench")
        self.scroll = QScrollArea()
        self.scroll.setWidgetResizable(True)
        self.scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        split = QSplitter()
        split.addWidget(self.scroll)
        split.addWidget(self.layout_manager.viewport())
        split.setSizes([440, 840])
        split.setStretchFactor(1, 1)
        self.window.setCentralWidget(split)
        self.window.resize(1280, 800)
        self.window.show()

    # ----- the module
    def load_module(self, path):
        """Load a scripted module as Slicer does, open its panel, return its widget object."""
        self.unload_module()
        self._path = Path(path).resolve()
        name = self._path.stem
        pythonqt.speak_in(self._path.parent)
        if str(self._path.parent) not in sys.path:
            sys.path.append(str(self._path.parent))
        module = _import(self._path)
        described = qSlicerScriptedLoadableModule()
        described.setPath(str(self._path))
        described.setName(name)
        setattr(slicer.modules, name.lower(), described)
        self.module = getattr(module, name)(described)
        slicer.app.startupCompleted.emit()
        self.panel = qSlicerScriptedLoadableModuleWidget()
        QVBoxLayout(self.panel)
        self.widget = getattr(module, f"{name}Widget")(self.panel)
        self.panel._self = self.widget
        described._widget = self.panel
        setattr(slicer.modules, f"{name}Widget", self.widget)
        self.widget.setup()
        self.panel.layout().addStretch(1)
        self.panel.setMRMLScene(self.scene)
        self.scroll.setWidget(self.panel)
        self.enter()
        self.pump()
        report_without_scene(self.panel)
        return self.widget

    def enter(self):
        """Open the panel, as choosing the module does."""
        self.panel._entered = True
        if hasattr(self.widget, "enter"):
            self.widget.enter()

    def exit(self):
        """Leave the panel, as choosing another module does."""
        self.panel._entered = False
        if hasattr(self.widget, "exit"):
            self.widget.exit()

    def unload_module(self):
        """Close the panel and forget the module's Python files."""
        if self.widget is None:
            return
        self.exit()
        self.widget.cleanup()
        self.scroll.takeWidget()
        self.panel.deleteLater()
        name = self._path.stem
        for key in (name.lower(), f"{name}Widget"):
            vars(slicer.modules).pop(key, None)
        self.widget = self.panel = self.module = None
        _forget(self._path.parent)
        self.pump()

    @property
    def testing(self) -> bool:
        """What `slicer.app.testingEnabled()` says."""
        return slicer.app._testing

    @testing.setter
    def testing(self, on):
        slicer.app._testing = bool(on)

    # ----- time
    def pump(self, until=0.0, timeout=10.0):
        """Run the real event loop for some seconds, or until `until()` is true.

        `AssertionError` when `until()` is still false after `timeout` seconds.
        """
        if callable(until):
            end = time.monotonic() + timeout
            while not until():
                assert time.monotonic() < end, f"not within {timeout} s: {until}"
                self._turn(0.01)
        else:
            self._turn(until)
        self._turn(0.0)

    def _turn(self, seconds):
        loop = QEventLoop()
        QTimer.singleShot(round(seconds * 1000), loop.quit)
        loop.exec()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    # ----- pictures
    def least_width(self) -> int:
        """Return how narrow the panel can be; Slicer's module panel never gets narrower."""
        return self.panel.minimumSizeHint().width()

    def grab_panel(self, path, width=440):
        """Write the whole panel, also what one would have to scroll to, as PNG."""
        width = max(width, self.least_width())
        self.scroll.setWidgetResizable(False)
        for _again in range(3):  # wrapped text settles its height after the width
            self.pump(0.02)
            height = self.panel.layout().totalHeightForWidth(width)
            self.panel.resize(width, max(height, self.panel.layout().totalSizeHint().height()))
        picture = self.panel.grab()
        self.scroll.setWidgetResizable(True)
        return self._save(picture, path)

    def _save(self, picture, path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        assert picture.save(str(path)), f"cannot write {path}"
        return Path(path)

    def grab_window(self, path, width=1280, height=800):
        """Write the window, panel left and views right, as PNG."""
        self.window.resize(width, height)
        if self.panel is not None:
            beside = self.scroll.verticalScrollBar().sizeHint().width() + 2
            self.scroll.setMinimumWidth(self.least_width() + beside)
        self.draw_views()
        return self._save(self.window.grab(), path)

    def draw_views(self):
        """Render every shown view now."""
        self.pump(0.03)
        for key in self.layout_manager._shown:
            view = self.layout_manager._views[key]
            if hasattr(view, "restyle"):
                view.restyle()
                view.viewport().draw()
        self.pump()

    def pixels(self, tag):
        """Return the picture of a slice view (or 3D view) as (rows, columns, 3) uint8."""
        self.pump(0.03)
        view = self.layout_manager.sliceWidget(tag) or self.layout_manager.threeDWidget(tag)
        return view.viewport().array()

    # ----- between tests
    def speak_in(self, folder):
        """Give PythonQt's rules to the tests of a folder too, so that they read `w.value`."""
        pythonqt.speak_in(folder)

    def reset(self):
        """Back to an empty scene, no panel, no problems, the four-up layout."""
        self.unload_module()
        empty(self.scene)
        self.testing = False
        self.window.resize(1280, 800)
        self.layout_manager.setLayout(3)
        slicer.app.userSettings().clear()
        self.pump()
        log.clear()
        dialogs.answers.clear()
        dialogs.shown.clear()
        self.problems.clear()
        keep_in_mind(self.scene)


def _import(path):
    """Run a module file under its own name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    pythonqt.forget(path.stem)
    spec.loader.exec_module(module)
    return module


def _forget(folder):
    """Drop the modules below a folder, so that the next load reads the files again."""
    inside = f"{folder}{os.sep}"
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and os.path.abspath(file).startswith(inside):  # noqa: PTH100 - of thousands
            del sys.modules[name]
            pythonqt.forget(name)
