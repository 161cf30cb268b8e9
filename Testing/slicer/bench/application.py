"""`slicer.app`, `slicer.modules` and the file manager."""

from __future__ import annotations

import os
import tempfile
import types
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QEventLoop, QObject, QSettings, Signal
from PySide6.QtWidgets import QApplication

from .declare import stored


class qSlicerApplication(QObject):
    """The application object, as far as modules use it."""

    _bench_stand_in = True
    startupCompleted = Signal()
    aboutToQuit = Signal()
    temporaryPath, setTemporaryPath = stored(str, "temporaryPath", "")
    slicerHome, setSlicerHome = stored(str, "slicerHome", "")
    majorVersion, _ = stored(int, "majorVersion", 5)
    minorVersion, _ = stored(int, "minorVersion", 12)
    applicationVersion, _ = stored(str, "applicationVersion", "5.12.3")
    mainApplicationName, _ = stored(str, "mainApplicationName", "Slicer")
    applicationName, _ = stored(str, "applicationName", "Slicer")
    revision, _ = stored(str, "revision", "0")
    extensionsInstallPath, _ = stored(str, "extensionsInstallPath", "")
    del _

    def __init__(self, core, folder, layout_manager):
        super().__init__()
        self._core, self._layout_manager = core, layout_manager
        self._testing = False
        self.setTemporaryPath(str(folder))
        self.setSlicerHome(str(folder))
        self._settings = QSettings(str(Path(folder) / "Slicer.ini"), QSettings.Format.IniFormat)
        self._io = CoreIOManager(core)
        self._paused = 0
        QApplication.instance().aboutToQuit.connect(self.aboutToQuit)

    def testingEnabled(self):
        return self._testing

    def userSettings(self):
        return self._settings

    settings = revisionUserSettings = userSettings

    def layoutManager(self):
        return self._layout_manager

    def coreIOManager(self):
        return self._io

    ioManager = coreIOManager

    def applicationLogic(self):
        return self._core.app_logic

    def mrmlScene(self):
        return self._core.scene

    def processEvents(self, *flags):
        QCoreApplication.processEvents(*flags or (QEventLoop.ProcessEventsFlag.AllEvents,))

    def pauseRender(self):
        self._paused += 1
        self._layout_manager._pause(True)

    def resumeRender(self):
        self._paused = max(0, self._paused - 1)
        self._layout_manager._pause(self._paused > 0)

    def setOverrideCursor(self, cursor):
        QApplication.setOverrideCursor(cursor)

    def restoreOverrideCursor(self):
        QApplication.restoreOverrideCursor()

    def activeWindow(self):
        return QApplication.activeWindow()

    def clipboard(self):
        return QApplication.clipboard()

    def palette(self):
        return QApplication.palette()

    def style(self):
        return QApplication.style()


class CoreIOManager:
    """Reads and writes nodes with their own storage nodes."""

    def __init__(self, core):
        self._core = core

    def save_node(self, node, path):
        storage = node.GetStorageNode()
        if storage is None:
            node.AddDefaultStorageNode()
            storage = node.GetStorageNode()
        storage.SetFileName(str(path))
        return bool(storage.WriteData(node))

    def load_volume(self, path, properties):
        labelmap = bool(properties.get("labelmap", False))
        flags = 1 if labelmap else 0
        name = properties.get("name") or Path(path).name.split(".")[0]
        node = self._core.volumes_logic.AddArchetypeVolume(str(path), name, flags)
        if node is None:
            text = f"Failed to load {path}"
            raise RuntimeError(text)
        return node

    def load_node(self, path, class_name):
        """Read any other node with its default storage node."""
        node = self._core.scene.AddNewNodeByClass(class_name, Path(path).name.split(".")[0])
        node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        storage.SetFileName(str(path))
        if not storage.ReadData(node):
            self._core.scene.RemoveNode(node)
            text = f"Failed to load {path}"
            raise RuntimeError(text)
        node.CreateDefaultDisplayNodes()
        return node

    def save_scene(self, path):
        path = Path(path)
        scene = self._core.scene
        if path.suffix.lower() == ".mrb":
            scene.SetRootDirectory(str(path.parent))
            return bool(scene.WriteToMRB(str(path)))
        scene.SetURL(str(path))
        scene.SetRootDirectory(str(path.parent))
        return bool(scene.Commit())

    def load_scene(self, path, properties):
        clear = bool(properties.get("clear", True))
        scene = self._core.scene
        if Path(path).suffix.lower() == ".mrb":
            return bool(scene.ReadFromMRB(str(path), clear))
        scene.SetURL(str(path))
        return bool(scene.Connect() if clear else scene.Import())


class Modules(types.SimpleNamespace):
    """`slicer.modules`: the modules whose logic the bench has."""

    def __getattr__(self, name):
        text = f"module {name!r} is not on the bench (slicer.modules has {sorted(vars(self))})"
        raise AttributeError(text)


def make_modules(core) -> Modules:
    """Return `slicer.modules` over the logics of the application."""
    logics = {
        "volumes": core.volumes_logic,
        "segmentations": core.segmentations_logic,
        "subjecthierarchy": core.subject_hierarchy_logic,
        "terminologies": core.terminologies_logic,
        "data": core.data_logic,
        "colors": core.color_logic,
    }
    markups = core.app_logic.GetModuleLogic("Markups")
    rendering = core.app_logic.GetModuleLogic("VolumeRendering")
    logics |= {"markups": markups, "volumerendering": rendering}
    modules = Modules()
    for name, logic in logics.items():
        setattr(modules, name, types.SimpleNamespace(logic=lambda found=logic: found, name=name))
    return modules


def make_folder() -> Path:
    """Return a folder for settings and temporary files, gone when the run ends."""
    folder = tempfile.TemporaryDirectory(prefix="bench-")
    make_folder.kept = folder  # removed when the interpreter ends
    return Path(os.path.realpath(folder.name))
