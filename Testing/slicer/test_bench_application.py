"""`slicer.app`, files, packages and the other modules of Slicer, as the bench gives them."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import slicer
from PySide6.QtCore import QTimer


def ct(name="knee", seed=1):
    values = np.random.default_rng(seed).integers(-1000, 3000, (5, 6, 7)).astype(np.int16)
    return slicer.util.addVolumeFromArray(values, name=name), values


@pytest.mark.parametrize("suffix", ["nrrd", "nii.gz", "mha"])
def test_a_volume_survives_a_file(bench, tmp_path, suffix):
    node, values = ct()
    node.SetSpacing(0.5, 0.75, 2)
    path = tmp_path / f"knee.{suffix}"
    assert slicer.util.saveNode(node, str(path))
    again = slicer.util.loadVolume(str(path))
    assert again.GetName().startswith("knee")
    assert np.array_equal(slicer.util.arrayFromVolume(again), values)
    assert np.allclose(again.GetSpacing(), node.GetSpacing())


def test_a_scene_bundle_brings_everything_back(bench, tmp_path):
    node, values = ct()
    node.SetAttribute("CTRestore.Method", "nlm")
    parameters = bench.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Sample")
    parameters.SetParameter("strength", "0.5")
    parameters.SetNodeReferenceID("input", node.GetID())
    path = tmp_path / "story.mrb"
    assert slicer.util.saveScene(str(path))
    bench.scene.Clear(0)
    assert slicer.util.loadScene(str(path))
    again = slicer.util.getNode("knee")
    assert np.array_equal(slicer.util.arrayFromVolume(again), values)
    assert again.GetAttribute("CTRestore.Method") == "nlm"
    assert slicer.util.getNode("Sample").GetNodeReference("input") is again


def test_a_missing_file_is_an_error(bench, tmp_path):
    with pytest.raises(RuntimeError, match="Failed to load"):
        slicer.util.loadVolume(str(tmp_path / "missing.nrrd"))
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0


def test_packages_are_checked_against_what_is_installed(bench):
    from slicer.packaging import pip_check, pip_ensure

    assert pip_check("numpy>=1.20")
    assert not pip_check(["numpy>=1.20", "no-such-package-here"])
    assert not pip_check("numpy<1")
    assert pip_check("no-such-package-here; python_version < '3'")
    pip_ensure(["numpy"])
    assert bench.log.pip_requests == []
    pip_ensure(["no-such-package-here>=2"])
    assert bench.log.pip_requests == [["no-such-package-here>=2"]]


def test_the_user_may_decline_an_installation(bench):
    from slicer.packaging import pip_ensure

    bench.log.pip_consent = False
    with pytest.raises(RuntimeError, match="declined"):
        pip_ensure(["no-such-package-here"])
    bench.testing = True
    pip_ensure(["no-such-package-here"])
    with pytest.raises(RuntimeError):
        pip_ensure(["no-such-package-here"], skip_in_testing=False)


def test_requirements_file(bench, tmp_path):
    from slicer.packaging import load_requirements

    path = tmp_path / "requirements.txt"
    path.write_text("# comment\nnumpy>=1.26  # why\n-r other.txt\n\nscipy\n")
    assert [str(r) for r in load_requirements(path)] == ["numpy>=1.26", "scipy"]


def test_messages_are_written_down_and_answered(bench):
    slicer.util.errorDisplay("broken")
    slicer.util.showStatusMessage("done", 2000)
    assert slicer.util.confirmOkCancelDisplay("sure?")
    bench.log.say_yes = False
    assert not slicer.util.confirmYesNoDisplay("really?")
    slicer.util.selectModule("SegmentEditor")
    log = bench.log
    assert (log.errors, log.status) == (["broken"], ["done"])
    assert log.confirmations == ["sure?", "really?"]
    assert slicer.util.selectedModule() == "SegmentEditor"


def test_try_with_error_display_shows_and_raises(bench):
    with pytest.raises(ZeroDivisionError), slicer.util.tryWithErrorDisplay("It failed."):
        1 / 0  # noqa: B018
    assert "It failed." in bench.log.errors[0]


def test_settings_and_folders(bench):
    slicer.app.userSettings().setValue("CTRestore/folder", "/data")
    assert slicer.util.settingsValue("CTRestore/folder", "") == "/data"
    from pathlib import Path

    made = Path(slicer.util.tempDirectory())
    assert made.is_dir()
    assert Path(slicer.app.temporaryPath) in made.parents


def test_application_signals(bench):
    got = []
    slicer.app.connect("aboutToQuit()", lambda: got.append("bye"))
    slicer.app.aboutToQuit.emit()
    QTimer.singleShot(0, lambda: got.append("timer"))
    slicer.app.processEvents()
    assert got == ["bye", "timer"]


def test_paused_views_do_not_render(bench):
    manager = slicer.app.layoutManager()
    node, _values = ct()
    node.CreateDefaultDisplayNodes()
    canvas = manager.sliceWidget("Red").viewport()
    bench.draw_views()
    before = canvas._image.copy()
    slicer.app.pauseRender()
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    bench.draw_views()
    assert canvas._image == before
    slicer.app.resumeRender()
    bench.draw_views()
    assert canvas._image != before


def test_sample_data_is_written_down(bench):
    from SampleData import SampleDataLogic

    SampleDataLogic.registerCustomSampleDataSource(category="CTRestore", sampleName="Knee")
    assert bench.log.sample_data[0]["sampleName"] == "Knee"
    with pytest.raises(TypeError):
        SampleDataLogic.registerCustomSampleDataSource(name="Knee")


def test_modules_have_their_logics(bench):
    node, _values = ct()
    clone = slicer.modules.volumes.logic().CloneVolume(bench.scene, node, "copy")
    assert clone.GetName() == "copy"
    assert slicer.modules.segmentations.logic().IsA("vtkSlicerSegmentationsModuleLogic")
    assert importlib.import_module("slicer.i18n").tr("Apply") == "Apply"
