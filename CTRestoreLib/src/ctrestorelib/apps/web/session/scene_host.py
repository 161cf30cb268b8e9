"""The Slicer scene of one person, without a window (layer: apps)."""

from __future__ import annotations

from typing import Any

import slicer
from trame_slicer.core.slicer_app import SlicerApp

from ctrestorelib.mrml.parameters import ParameterStore
from ctrestorelib.mrml.scene import SceneContext
from ctrestorelib.mrml.settings import all_settings

MODULE = "CTRestore"
PARAMETER_CLASS = "vtkMRMLScriptedModuleNode"


class SceneHost:
    """Scene, logics and the parameter node that a saved scene shares with the desktop module."""

    def __init__(self) -> None:
        self.app = SlicerApp()
        slicer.mrmlScene = self.app.scene
        self.context = SceneContext(
            self.app.scene, self.app.volumes_logic, self.app.segmentations_logic
        )

    @property
    def scene(self) -> Any:
        """The ``vtkMRMLScene``."""
        return self.app.scene

    def store(self) -> ParameterStore:
        """Return the settings in the module's parameter node; it is made if need be."""
        node = self.scene.GetSingletonNode(MODULE, PARAMETER_CLASS)
        if node is None:
            node = self.scene.CreateNodeByClass(PARAMETER_CLASS)
            node.UnRegister(None)
            node.SetSingletonTag(MODULE)
            node.SetName(MODULE)
            node.SetAttribute("ModuleName", MODULE)
            node = self.scene.AddNode(node)
        return ParameterStore(node, all_settings())

    def nodes(self, class_name: str) -> list[Any]:
        """Return the nodes of exactly this class that a person may choose."""
        scene = self.scene
        found = [
            scene.GetNthNodeByClass(n, class_name)
            for n in range(scene.GetNumberOfNodesByClass(class_name))
        ]
        return [
            node
            for node in found
            if node.GetClassName() == class_name and not node.GetHideFromEditors()
        ]
