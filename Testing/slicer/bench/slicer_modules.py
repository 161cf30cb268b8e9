"""The Python modules that a desktop Slicer has and slicer-core has not."""

from __future__ import annotations

import sys
import types
from importlib import metadata
from pathlib import Path

import slicer
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from . import ctk_sliders, ctk_widgets, dialogs
from .log import log
from .module_classes import (
    as_module,
    qSlicerScriptedLoadableModule,
    qSlicerScriptedLoadableModuleWidget,
)
from .mrml_widgets import all_mrml_widgets
from .report import refuse
from .ui_loader import stand_ins


def make_qt() -> types.ModuleType:
    """Return `qt`: the names of four Qt modules in one, with dialogs that tests answer."""
    module = types.ModuleType("qt")
    sources = (QtUiTools, QtWidgets, QtGui, QtCore)

    def find(name):
        for source in sources:
            if hasattr(source, name):
                return getattr(source, name)
        text = f"module 'qt' has no attribute {name!r}"
        raise AttributeError(text)

    module.__getattr__ = find
    for name in ("QFileDialog", "QInputDialog", "QMessageBox", "QDialog"):
        setattr(module, name, getattr(dialogs, name))
    module.QUiLoader = QtUiTools.QUiLoader
    return module


def make_ctk() -> types.ModuleType:
    """Return `ctk` with the stand-ins; an unknown name is refused."""
    module = types.ModuleType("ctk")
    for name, cls in stand_ins().items():
        if name.startswith("ctk"):
            setattr(module, name, cls)
    module.ctkSearchBox, module.ctkRangeWidget = (
        ctk_widgets.ctkSearchBox,
        ctk_sliders.ctkRangeWidget,
    )
    module.__getattr__ = _no_ctk
    return module


def _no_ctk(name):
    if name.startswith("__"):
        raise AttributeError(name)
    ctk_widgets.unknown(name)


def make_i18n() -> types.ModuleType:
    """Return `slicer.i18n`; English stays English, but only text is accepted."""
    module = types.ModuleType("slicer.i18n")

    def tr(text):
        if not isinstance(text, str):
            refuse("i18n", f"tr() takes text, not {text!r}")
        return text

    def translate(_context, text, _disambiguation="", _n=-1):
        return tr(text)

    module.tr, module.translate = tr, translate
    return module


def make_packaging() -> types.ModuleType:
    """Return `slicer.packaging`: checks are real, installations are only written down."""
    from packaging.requirements import Requirement

    module = types.ModuleType("slicer.packaging")

    def load_requirements(path):
        lines = [line.partition("#")[0].strip() for line in Path(path).read_text().splitlines()]
        return [Requirement(line) for line in lines if line and not line.startswith("-")]

    def pip_check(requirements):
        return all(_installed(r) for r in _each(requirements))

    def pip_ensure(requirements, **options):
        _known_options(
            options,
            "constraints skip_packages prompt_install prompt_restart requester "
            "skip_in_testing show_progress",
        )
        if slicer.app._testing and options.get("skip_in_testing", True):
            return
        missing = [str(r) for r in _each(requirements) if not _installed(r)]
        if not missing:
            return
        log.pip_requests.append(missing)
        if not log.pip_consent:
            text = "The user declined the installation"
            raise RuntimeError(text)

    def pip_install(requirements, **_options):
        log.pip_requests.append([str(r) for r in _each(requirements)])

    for function in (load_requirements, pip_check, pip_ensure, pip_install):
        setattr(module, function.__name__, function)
    module.Requirement = Requirement
    module.isPipInstallInProgress = lambda: False
    return module


def _each(requirements):
    from packaging.requirements import Requirement

    many = [requirements] if isinstance(requirements, str | Requirement) else requirements
    return [Requirement(r) if isinstance(r, str) else r for r in many]


def _installed(requirement) -> bool:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        return requirement.specifier.contains(metadata.version(requirement.name))
    except metadata.PackageNotFoundError:
        return False


def _known_options(options, names):
    unknown = set(options) - set(names.split())
    if unknown:
        refuse("packaging", f"pip_ensure does not know {sorted(unknown)}")


def make_sample_data() -> types.ModuleType:
    """Return `SampleData`; registrations are written down."""
    module = types.ModuleType("SampleData")

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataSource(
            category="Custom",
            sampleName=None,
            uris=None,
            fileNames=None,
            nodeNames=None,
            customDownloader=None,
            thumbnailFileName=None,
            loadFileType=None,
            loadFiles=None,
            loadFileProperties=None,
            checksums=None,
        ):
            log.sample_data.append(dict(locals()))

        @staticmethod
        def registerCustomSampleDataCategory(category, title=None):
            log.sample_categories.append(title or category)

    module.SampleDataLogic = SampleDataLogic
    return module


def install_modules() -> None:
    """Put all of them where `import` finds them."""
    made = {"qt": make_qt(), "ctk": make_ctk(), "SampleData": make_sample_data()}
    for name, make in (("i18n", make_i18n), ("packaging", make_packaging)):
        made[f"slicer.{name}"] = make()
        setattr(slicer, name, made[f"slicer.{name}"])
    classes = as_module()
    made["slicer.ScriptedLoadableModule"] = slicer.ScriptedLoadableModule = classes
    made["vtkITK"] = made["vtkSegmentationCore"] = made["vtkAddon"] = slicer
    sys.modules.update(made)
    for name, cls in all_mrml_widgets().items():
        setattr(slicer, name, cls)
    slicer.qSlicerScriptedLoadableModule = qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = qSlicerScriptedLoadableModuleWidget
