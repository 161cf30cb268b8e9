"""CTRestore in 3D Slicer: less noise, and volumes from few X-ray views.

This file holds what Slicer calls by name. The panels are in CTRestorePanels, everything that is
done to the scene in ``ctrestorelib.mrml``, the methods in ``ctrestorelib``.
"""

import time

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

DOCUMENTATION = "https://github.com/ctrestore/CTRestore/tree/main/Docs"


class CTRestore(ScriptedLoadableModule):
    """What Slicer shows about the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("CTRestore")
        parent.categories = [
            translate("qSlicerAbstractCoreModule", "Filtering"),
            translate("qSlicerAbstractCoreModule", "Tomographic Reconstruction"),
        ]
        parent.dependencies = []
        parent.contributors = ["The CTRestore contributors"]
        parent.helpText = (
            _(
                "Removes noise (grain) from CT and cone-beam CT volumes, and makes volumes from "
                "few X-ray views (sparse-view reconstruction). Results are new volumes beside your "
                "original, with the record of how they were made. Compare before you trust them."
                "<br>Research use only: not for primary diagnosis.<br>"
            )
            + f'<a href="{DOCUMENTATION}">{_("Documentation and tutorials")}</a>'
        )
        parent.acknowledgementText = _(
            "The methods and their publications are named in the documentation of each method."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer the synthetic knee under Sample Data; it is made here, not downloaded."""
    try:
        import SampleData
    except ImportError:
        return
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="CTRestore",
        sampleName="CTRestoreKneePhantom",
        customDownloader=lambda _source=None: CTRestoreLogic().makePhantom(),
        nodeNames=["Knee phantom", "Knee phantom, noisy"],
    )


class CTRestoreWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Builds the panels and follows the life of the scene."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.desk = None

    def setup(self):
        """Build the panels; where the backend is missing, say so instead."""
        ScriptedLoadableModuleWidget.setup(self)
        from CTRestorePanels import environment

        frame = slicer.util.loadUI(self.resourcePath("UI/CTRestore.ui"))
        self.layout.addWidget(frame)
        self.ui = slicer.util.childWidgetVariables(frame)
        frame.setMRMLScene(slicer.mrmlScene)
        try:
            environment.checkBackend()
        except environment.EnvironmentProblem as problem:
            self.ui.noticeLabel.setText(str(problem))
            return
        self.logic = CTRestoreLogic()
        self._buildPanels()
        for event, handler in (
            (slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose),
            (slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose),
            (slicer.mrmlScene.EndImportEvent, self.onSceneEndImport),
            (slicer.mrmlScene.NodeAddedEvent, self.onNodesChanged),
            (slicer.mrmlScene.NodeRemovedEvent, self.onNodesChanged),
        ):
            self.addObserver(slicer.mrmlScene, event, handler)

    def _buildPanels(self):
        from CTRestorePanels.desk import Desk
        from CTRestorePanels.panels import PANELS

        self.desk = Desk(self.logic, self.resourcePath)
        self.desk.open()
        for sectionName, panelClass in PANELS:
            panel = panelClass(self.desk, getattr(self.ui, sectionName))
            self.desk.panels.append(panel)
        self.desk.refresh()

    def cleanup(self):
        """Stop the run and let everything go: the module is closing."""
        self.removeObservers()
        if self.desk is not None:
            self.desk.close()

    def enter(self):
        """Take the settings of the scene each time the module is shown."""
        if self.desk is not None:
            self.desk.open()

    def exit(self):
        """Give the person's layout back; a run goes on while they work in another module."""
        if self.desk is not None:
            self.desk.leave()

    def onSceneStartClose(self, caller, event):
        """Let go of the parameter node before it is deleted."""
        if self.desk is not None:
            self.desk.drop()

    def onSceneEndClose(self, caller, event):
        """Begin again in the empty scene."""
        if self.desk is not None:
            self.desk.open()

    def onSceneEndImport(self, caller, event):
        """Take the settings that came with a loaded scene."""
        if self.desk is not None:
            self.desk.drop()
            self.desk.open()

    def onNodesChanged(self, caller, event):
        """Show which volumes there are now."""
        if self.desk is not None and not slicer.mrmlScene.IsBatchProcessing():
            self.desk.refreshLater()


class CTRestoreLogic(ScriptedLoadableModuleLogic):
    """What scripts may call; needs no widget."""

    def context(self):
        """Return scene and logics for ``ctrestorelib.mrml``."""
        from CTRestorePanels.environment import addBackendToPath

        addBackendToPath()
        from ctrestorelib.mrml.scene import SceneContext

        modules = slicer.modules
        return SceneContext(
            slicer.mrmlScene, modules.volumes.logic(), modules.segmentations.logic()
        )

    def getStore(self):
        """Return the settings in the module's parameter node."""
        from ctrestorelib.mrml.parameters import ParameterStore
        from ctrestorelib.mrml.settings import all_settings

        return ParameterStore(self.getParameterNode(), all_settings())

    def makePhantom(self):
        """Add the synthetic knee, without and with noise; return both volume nodes."""
        context = self.context()
        from ctrestorelib.mrml.samples import add_knee

        return list(add_knee(context))

    def denoise(self, volumeNode, **settings):
        """Denoise a volume node and return the new node; waits.

        Settings are those of the panel without their first word, such as ``strength=0.5`` or
        ``method="bilateral"``; parameters of a method as ``bilateral__factor=1.5``.
        """
        from ctrestorelib.mrml.tasks.denoise import DenoiseTask

        return self._run(DenoiseTask, "denoise_", {"input_volume": volumeNode}, settings)

    def virtualScan(self, volumeNode, **settings):
        """Take X-ray views of a volume node and return the stack node; waits."""
        from ctrestorelib.mrml.tasks.scan import ScanTask

        return self._run(ScanTask, "scan__", {"scan_volume": volumeNode}, settings)

    def reconstruct(self, stackNode, **settings):
        """Reconstruct a volume from a stack of projections and return the new node; waits."""
        from ctrestorelib.mrml.tasks.reconstruct import ReconstructTask

        return self._run(
            ReconstructTask, "reconstruct_", {"reconstruct_stack": stackNode}, settings
        )

    def _run(self, taskClass, prefix, nodes, settings):
        """Run one task with settings of its own; the panel's stay as they are."""
        from ctrestorelib.core.errors import CTRestoreError
        from ctrestorelib.mrml.parameters import ParameterStore
        from ctrestorelib.mrml.session import Session
        from ctrestorelib.mrml.settings import all_settings

        context = self.context()
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        slicer.mrmlScene.AddNode(node)
        session = None
        try:
            store = ParameterStore(node, all_settings())
            named = {k if "__" in k else prefix + k: v for k, v in settings.items()}
            store.update({**nodes, **named})
            session = Session(context)
            session.start(taskClass(context, store))
            while session.busy:
                session.poll()
                time.sleep(0.02)
            if not session.outcome.node_ids:
                raise CTRestoreError(session.outcome.text)
            return context.node(session.outcome.node_ids[0])
        finally:
            if session is not None:
                session.close()
            slicer.mrmlScene.RemoveNode(node)


class CTRestoreTest(ScriptedLoadableModuleTest):
    """Runs in desktop Slicer ("Reload and Test") and on the test bench."""

    def setUp(self):
        """Start from an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self):
        """Run every test."""
        for name in sorted(n for n in dir(self) if n.startswith("test_")):
            self.setUp()
            getattr(self, name)()

    def test_denoisedKneeIsCloserToTheTruth(self):
        """The default denoiser on the noisy phantom, through the worker process."""
        logic = CTRestoreLogic()
        clean, noisy = logic.makePhantom()
        before = slicer.util.arrayFromVolume(noisy).copy()
        result = logic.denoise(noisy)
        truth = slicer.util.arrayFromVolume(clean)
        restored = slicer.util.arrayFromVolume(result)
        errorBefore = float(((before - truth) ** 2).mean()) ** 0.5
        errorAfter = float(((restored - truth) ** 2).mean()) ** 0.5
        assert errorAfter < 0.6 * errorBefore
        assert (slicer.util.arrayFromVolume(noisy) == before).all()
        assert result.GetAttribute("CTRestore.Method") is not None

    def test_tenViewsBecomeAVolume(self):
        """Virtual scan and reconstruction keep the grid of the scanned volume."""
        logic = CTRestoreLogic()
        clean, _noisy = logic.makePhantom()
        stack = logic.virtualScan(clean, scan__views=10)
        volume = logic.reconstruct(stack, method="fdk", like=clean)
        assert volume.GetImageData().GetDimensions() == clean.GetImageData().GetDimensions()
        matrices = [vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()]
        volume.GetIJKToRASMatrix(matrices[0])
        clean.GetIJKToRASMatrix(matrices[1])
        for row in range(4):
            for column in range(4):
                self.assertAlmostEqual(
                    matrices[0].GetElement(row, column), matrices[1].GetElement(row, column), 4
                )

    def test_slicersOwnWrapperSharesTheParameterNode(self):
        """What we store, Slicer's parameterNodeWrapper reads, and the other way round."""
        try:
            from slicer.parameterNodeWrapper import parameterNodeWrapper
        except ImportError:
            self.skipTest("slicer.parameterNodeWrapper exists in desktop Slicer only")
        from ctrestorelib.mrml.parameters import wrapper_annotations
        from ctrestorelib.mrml.settings import all_settings

        store = CTRestoreLogic().getStore()
        declared = wrapper_annotations(all_settings())
        body = {"__annotations__": {n: a for n, (a, _d) in declared.items()}}
        body.update({n: d for n, (_a, d) in declared.items() if d is not None})
        wrapped = parameterNodeWrapper(type("Wrapped", (), body))(store.node)
        store.set("denoise_strength", 0.25)
        assert wrapped.denoise_strength == 0.25
        wrapped.scan__views = 12
        assert store.get("scan__views") == 12
