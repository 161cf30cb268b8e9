"""The functions of slicer.util that need a window or an application."""

from __future__ import annotations

import tempfile

import slicer
import slicer.util
from PySide6 import QtCore
from PySide6.QtWidgets import QWidget

from .log import log
from .ui_loader import load_ui


def loadUI(path):
    return load_ui(path)


def findChildren(widget=None, name="", text="", title="", className=""):
    widget = widget if widget is not None else mainWindow()
    rules = {"objectName": name, "text": text, "title": title}
    wanted = {k: v for k, v in rules.items() if v}
    every = widget.findChildren(QtCore.QObject)

    def fits(child):
        same_class = not className or child.metaObject().className() == className
        return same_class and all(child.property(k) == v for k, v in wanted.items())

    return [child for child in every if fits(child)]


def findChild(widget, name):
    found = findChildren(widget, name=name)
    if not found:
        text = f"Failed to obtain reference to {name!r}"
        raise RuntimeError(text)
    return found[0]


class _ChildVariables:
    """The named widgets of a panel, as attributes."""


def childWidgetVariables(widget):
    ui = _ChildVariables()
    for child in widget.findChildren(QWidget):
        if child.objectName():
            setattr(ui, child.objectName(), child)
    return ui


def errorDisplay(
    text, windowTitle=None, parent=None, standardButtons=None, detailedText="", **kwargs
):
    log.errors.append(text)


def warningDisplay(text, windowTitle=None, parent=None, standardButtons=None, **kwargs):
    log.warnings.append(text)


def infoDisplay(text, windowTitle=None, parent=None, standardButtons=None, **kwargs):
    log.infos.append(text)


def _confirm(text, windowTitle=None, parent=None, **kwargs):
    log.confirmations.append(text)
    return log.say_yes


def showStatusMessage(message, duration=0):
    log.status.append(message)


def delayDisplay(message, autoCloseMsec=1000, parent=None, **kwargs):
    log.status.append(message)
    slicer.app.processEvents()


def mainWindow():
    from .bench import current

    return current().window


def tempDirectory(key="__SlicerTemp__", tempDir=None, includeDateTime=True):
    base = tempDir or slicer.app.property("temporaryPath")
    return tempfile.mkdtemp(prefix=key, dir=base)


def selectModule(module):
    log.selected_modules.append(module if isinstance(module, str) else module.property("name"))


def selectedModule():
    return log.selected_modules[-1] if log.selected_modules else ""


def modulePath(name):
    return getattr(slicer.modules, name.lower()).property("path")


def getModule(name):
    return getattr(slicer.modules, name.lower())


def getModuleLogic(name):
    return getModule(name).logic()


def getModuleWidget(name):
    return getModule(name).widgetRepresentation().self()


def loadVolume(filename, properties=None, **kwargs):
    return slicer.app._io.load_volume(filename, {**(properties or {}), **kwargs})


def loadLabelVolume(filename, properties=None, **kwargs):
    return slicer.app._io.load_volume(filename, {**(properties or {}), "labelmap": True})


def loadSegmentation(filename, properties=None, **kwargs):
    return slicer.app._io.load_node(filename, "vtkMRMLSegmentationNode")


def loadModel(filename, **kwargs):
    return slicer.app._io.load_node(filename, "vtkMRMLModelNode")


def saveNode(node, filename, properties=None):
    return slicer.app._io.save_node(node, filename)


def saveScene(filename, properties=None):
    return slicer.app._io.save_scene(filename)


def loadScene(filename, properties=None):
    return slicer.app._io.load_scene(filename, properties or {})


def settingsValue(key, default, converter=lambda v: v, settings=None):
    settings = settings or slicer.app.userSettings()
    value = settings.value(key)
    return default if value is None else converter(value)


def pip_install(requirements, **_options):
    log.pip_requests.append(requirements if isinstance(requirements, list) else [requirements])


def restart():
    log.status.append("restart")


_UTIL = (
    loadUI,
    findChildren,
    findChild,
    childWidgetVariables,
    errorDisplay,
    warningDisplay,
    infoDisplay,
    showStatusMessage,
    delayDisplay,
    mainWindow,
    tempDirectory,
    selectModule,
    selectedModule,
    modulePath,
    getModule,
    getModuleLogic,
    getModuleWidget,
    loadVolume,
    loadLabelVolume,
    loadSegmentation,
    loadModel,
    saveNode,
    saveScene,
    loadScene,
    settingsValue,
    pip_install,
    restart,
)
_CONFIRMATIONS = ("confirmOkCancelDisplay", "confirmYesNoDisplay", "confirmRetryCloseDisplay")


def install_util() -> None:
    """Replace the functions of slicer.util that need an application."""
    for function in _UTIL:
        setattr(slicer.util, function.__name__, function)
    for name in _CONFIRMATIONS:
        setattr(slicer.util, name, _confirm)
    slicer.util.messageBox = infoDisplay
