"""Offers CTRestore's derived series in Slicer's own DICOM export dialog."""

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

METHOD_ATTRIBUTE = "CTRestore.Method"


class CTRestoreDICOMPluginClass:
    """Writes volumes that CTRestore made; for all others Slicer's own exporter is better.

    Follows the interface of ``DICOMLib.DICOMPlugin`` for export; it loads nothing.
    """

    def __init__(self):
        self.loadType = _("CTRestore result")
        self.tags = {}

    def examineFiles(self, files):
        """Load nothing: the written series are ordinary CT."""
        return []

    def examineForImport(self, fileLists):
        """Load nothing."""
        return []

    def load(self, loadable):
        """Load nothing."""
        return False

    def examineForExport(self, subjectHierarchyItemID):
        """Return one exportable for a volume that CTRestore made, none for anything else."""
        node = _nodeOf(subjectHierarchyItemID)
        if node is None or not node.IsA("vtkMRMLScalarVolumeNode"):
            return []
        if node.GetAttribute(METHOD_ATTRIBUTE) is None:
            return []
        exportable = slicer.qSlicerDICOMExportable()
        exportable.name = _("CTRestore: derived CT series")
        exportable.tooltip = _(
            "Marks the images as derived, keeps patient and study of the source series, and "
            "records how they were made. Slicer's scalar volume export would label them as "
            "original images."
        )
        exportable.subjectHierarchyItemID = subjectHierarchyItemID
        exportable.pluginClass = self.__module__
        exportable.confidence = 0.9  # Slicer's scalar volume plugin has 0.5
        exportable.setTag("Modality", "CT")
        exportable.setTag("SeriesDescription", "")
        return [exportable]

    def export(self, exportables):
        """Write each exportable into its folder; return "" or what went wrong, in sentences."""
        problems = []
        for exportable in exportables:
            problem = self._exportOne(exportable)
            if problem:
                problems.append(problem)
        return "\n".join(problems)

    def _exportOne(self, exportable):
        from CTRestorePanels.environment import EnvironmentProblem, checkBackend

        try:
            checkBackend()
            from ctrestorelib.core.errors import CTRestoreError
        except EnvironmentProblem as problem:
            return str(problem)
        try:
            exportNode(
                _nodeOf(exportable.subjectHierarchyItemID),
                exportable.directory,
                str(exportable.tag("SeriesDescription") or ""),
            )
        except CTRestoreError as error:
            return str(error)
        return ""


def exportNode(node, directory, description=""):
    """Write a result node as a derived series into a new folder below ``directory``; waits."""
    from pathlib import Path

    from CTRestore import CTRestoreLogic
    from ctrestorelib.io.dicom_export import export_series
    from ctrestorelib.mrml.parameters import ParameterStore
    from ctrestorelib.mrml.settings import all_settings
    from ctrestorelib.mrml.tasks.dicom import DicomTask
    from CTRestorePanels.desk import fileOfInstance

    settings = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
    settings.UnRegister(None)
    slicer.mrmlScene.AddNode(settings)
    try:
        store = ParameterStore(settings, all_settings())
        store.update({"export_volume": node, "dicom_folder": str(Path(directory))})
        store.set("dicom_description", description)
        request = DicomTask(CTRestoreLogic().context(), store, fileOfInstance).request()
        return export_series(
            request.volume,
            request.record,
            request.folder,
            source=list(request.sources) or None,
            options=request.options,
        )
    finally:
        slicer.mrmlScene.RemoveNode(settings)


def _nodeOf(itemID):
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return tree.GetItemDataNode(itemID) if tree is not None else None


class CTRestoreDICOMPlugin(ScriptedLoadableModule):
    """Hidden module that registers the plugin."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("CTRestore DICOM export")
        parent.categories = [translate("qSlicerAbstractCoreModule", "DICOM Plugins")]
        parent.contributors = ["The CTRestore contributors"]
        parent.helpText = _("Exports results of CTRestore as derived DICOM series.")
        parent.acknowledgementText = ""
        parent.hidden = True
        if not hasattr(slicer.modules, "dicomPlugins"):
            slicer.modules.dicomPlugins = {}
        slicer.modules.dicomPlugins["CTRestoreDICOMPlugin"] = CTRestoreDICOMPluginClass
