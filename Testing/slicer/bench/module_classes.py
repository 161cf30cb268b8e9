"""Base classes of a scripted module, and the C++ objects that carry its module and its panel."""

from __future__ import annotations

import sys
import types
import unittest
from pathlib import Path

import slicer
from PySide6.QtCore import Property, QObject, Signal
from PySide6.QtWidgets import QVBoxLayout

from .declare import stored
from .node_combos import qMRMLWidget


class qSlicerScriptedLoadableModule(QObject):
    """What `parent` is to a module class."""

    _bench_stand_in = True
    title, setTitle = stored(str, "title", "")
    categories, setCategories = stored("QStringList", "categories", [])
    dependencies, setDependencies = stored("QStringList", "dependencies", [])
    contributors, setContributors = stored("QStringList", "contributors", [])
    associatedNodeTypes, setAssociatedNodeTypes = stored("QStringList", "associatedNodeTypes", [])
    helpText, setHelpText = stored(str, "helpText", "")
    acknowledgementText, setAcknowledgementText = stored(str, "acknowledgementText", "")
    hidden, setHidden = stored(bool, "hidden", False)
    index, setIndex = stored(int, "index", -1)
    path, setPath = stored(str, "path", "")
    name, setName = stored(str, "name", "")
    icon, setIcon = stored("QVariant", "icon", None)
    widgetRepresentationCreationEnabled, setWidgetRepresentationCreationEnabled = stored(
        bool, "widgetRepresentationCreationEnabled", True
    )

    def __init__(self):
        super().__init__()
        self._widget = None
        self._logic = None

    def widgetRepresentation(self):
        return self._widget

    def logic(self):
        return self._logic


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """What `parent` is to a widget class: the panel's outermost widget."""

    _bench_stand_in = True
    _entered = False
    _self = None
    contentsChanged = Signal()

    def _is_entered(self):
        return self._entered

    isEntered = Property(bool, _is_entered)

    def self(self):
        return self._self


class ScriptedLoadableModule:
    """Describes the module to the application."""

    def __init__(self, parent):
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.setProperty("title", self.moduleName)

    def resourcePath(self, filename):
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage=None):
        return f"<p>Documentation: {docPage or self.moduleName}</p>"

    def runTest(self, msec=100, **_options):
        """Run the module's own test class."""
        module = sys.modules[type(self).__module__]
        test = getattr(module, f"{self.moduleName}Test")()
        test.messageDelay = msec
        test.runTest()


class ScriptedLoadableModuleWidget:
    """The panel: `setup`, then `enter` and `exit`, at the end `cleanup`."""

    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        self.logic = None
        if parent is None:
            parent = qSlicerScriptedLoadableModuleWidget()
            QVBoxLayout(parent)
            parent.setMRMLScene(slicer.mrmlScene)
        self.parent = parent
        self.layout = parent.layout()

    def resourcePath(self, filename):
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self):
        """Make the panel; the desktop adds its developer section here."""

    def cleanup(self):
        """Let go of everything, once."""

    def onReload(self):
        """Load the module anew; the bench does that with load_module."""


class ScriptedLoadableModuleLogic:
    """Works on the scene; keeps one parameter node for the module."""

    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        """Return the module's parameter node; make it when there is none."""
        found = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        return found if found is not None else self.createParameterNode()

    def createParameterNode(self):
        node = slicer.vtkMRMLScriptedModuleNode()
        node.SetSingletonTag(self.moduleName)
        node.SetModuleName(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return slicer.mrmlScene.AddNode(node)

    def getAllParameterNodes(self):
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [n for n in nodes if n.GetAttribute("ModuleName") == self.moduleName]


class ScriptedLoadableModuleTest(unittest.TestCase):
    """The module's own tests, as Slicer's self test runs them."""

    def __init__(self, *arguments):
        super().__init__(*arguments or ("runTest",))
        self.messageDelay = 0

    def delayDisplay(self, message, requestedDelay=None, msec=None):
        slicer.util.showStatusMessage(message)
        slicer.app.processEvents()

    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def runTest(self):
        """Call `setUp` and then each method that has test in its name."""
        for name in sorted(dir(self)):
            if name.startswith("test"):
                self.setUp()
                getattr(self, name)()


def as_module() -> types.ModuleType:
    """Return the module `slicer.ScriptedLoadableModule`."""
    module = types.ModuleType("slicer.ScriptedLoadableModule")
    names = [n for n in globals() if n.startswith("ScriptedLoadable")]
    for name in names:
        setattr(module, name, globals()[name])
    module.__all__ = names
    return module
