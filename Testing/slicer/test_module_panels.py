"""The unmodified desktop module on the bench: controls, Apply, Cancel, reasons, batch, presets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import slicer
import vtk
from bench.fixtures import MODULE


@pytest.fixture
def knee(module):
    """Return a small noisy knee, chosen as input."""
    from ctrestorelib.mrml.samples import add_knee

    _clean, noisy = add_knee(module.desk.context, shape=(12, 48, 48))
    module.desk.change({"input_volume": noisy, "denoise_guards": False})
    return noisy


def panel(module, name):
    return next(p for p in module.desk.panels if type(p).__name__ == name)


def volumes():
    return slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")


def refresh(bench, module):
    bench.pump(lambda: not module.desk._refreshPending, timeout=5)


def run(bench, module, part, timeout=60):
    """Press Apply and wait for the end."""
    refresh(bench, module)
    assert part.ui.applyButton.enabled, part.ui.problemLabel.text
    part.ui.applyButton.click()
    bench.pump(lambda: not module.desk.session.busy, timeout=timeout)
    refresh(bench, module)


def slow(module):
    store = module.desk.store
    module.desk.change({"denoise_method": "anisotropic-diffusion"})
    longest = next(n for n in store.names("anisotropic_diffusion__") if n.endswith("iterations"))
    module.desk.change({longest: int(store.setting(longest).info.bounds[1])})


def test_apply_makes_a_new_volume_and_leaves_the_original(bench, module, knee):
    before = slicer.util.arrayFromVolume(knee).copy()
    denoise = panel(module, "DenoisePanel")
    refresh(bench, module)
    assert "GB of memory" in denoise.ui.planLabel.text
    run(bench, module, denoise)
    assert denoise.ui.statusLabel.text.startswith("Done in")
    result = module.desk.store.get("compare_b")
    assert result.GetName().startswith(knee.GetName())
    assert np.array_equal(slicer.util.arrayFromVolume(knee), before)
    assert slicer.util.arrayFromVolume(result).std() < before.std()
    about = panel(module, "AboutPanel")
    assert result.GetName() in about.ui.logText.plainText


def test_cautions_stand_before_a_run_and_lights_beside_its_result(bench, module, knee):
    module.desk.change({"denoise_guards": True, "denoise_method": "bilateral"})
    ui = panel(module, "DenoisePanel").ui
    bench.pump(lambda: ui.cautionLabel.visible, timeout=60)
    assert "bone" in ui.cautionLabel.text
    assert not ui.guardLabel.visible
    assert not ui.guardRemovedButton.visible
    run(bench, module, panel(module, "DenoisePanel"))
    bench.pump(lambda: ui.guardBox.visible, timeout=120)
    for title in ("HU values", "Removed noise", "Noise texture"):
        assert title.replace(" ", "&nbsp;") in ui.guardLabel.text
        assert title in ui.guardDetails.text
    ui.guardButton.click()
    table = slicer.mrmlScene.GetNodeByID(
        slicer.app.applicationLogic().GetSelectionNode().GetActiveTableID()
    )
    assert "HU" in "".join(table.GetCellText(n, 0) for n in range(table.GetNumberOfRows()))
    ui.guardRemovedButton.click()
    removed = slicer.mrmlScene.GetFirstNodeByName(
        f"{module.desk.store.get('compare_b').GetName()} removed noise"
    )
    assert np.std(slicer.util.arrayFromVolume(removed)) > 10
    assert not module.desk.session.watching


def test_apply_becomes_cancel_and_cancel_leaves_nothing(bench, module, knee):
    slow(module)
    denoise = panel(module, "DenoisePanel")
    refresh(bench, module)
    count = len(volumes())
    denoise.ui.applyButton.click()
    bench.pump(lambda: denoise.ui.applyButton.text == "Cancel", timeout=10)
    assert denoise.ui.progressBar.visible
    scan = panel(module, "ScanPanel")
    module.desk.change({"scan_volume": knee})
    refresh(bench, module)
    assert not scan.ui.applyButton.enabled
    assert "Another run" in scan.ui.applyButton.toolTip
    denoise.ui.applyButton.click()
    bench.pump(lambda: not module.desk.session.busy, timeout=20)
    refresh(bench, module)
    assert denoise.ui.applyButton.text == "Apply"
    assert denoise.ui.applyButton.enabled
    assert "Cancelled" in denoise.ui.statusLabel.text
    assert len(volumes()) == count


def test_a_killed_worker_leaves_no_dead_button(bench, module, knee):
    slow(module)
    denoise = panel(module, "DenoisePanel")
    refresh(bench, module)
    denoise.ui.applyButton.click()
    bench.pump(lambda: module.desk.session.busy, timeout=10)
    os.killpg(module.desk.session._child.pid, signal.SIGKILL)
    bench.pump(lambda: not module.desk.session.busy, timeout=20)
    refresh(bench, module)
    assert "stopped without a word" in denoise.ui.statusLabel.text
    module.desk.change({"denoise_method": "bilateral"})
    run(bench, module, denoise)
    assert denoise.ui.statusLabel.text.startswith("Done in")


def test_closing_the_scene_during_a_run_gives_working_panels(bench, module, knee):
    slow(module)
    denoise = panel(module, "DenoisePanel")
    refresh(bench, module)
    denoise.ui.applyButton.click()
    bench.pump(lambda: module.desk.session.busy, timeout=10)
    bench.scene.Clear(0)
    refresh(bench, module)
    assert not module.desk.session.busy
    assert volumes() == []
    assert module.desk.store.get("input_volume") is None
    assert not denoise.ui.applyButton.enabled
    assert "Choose a volume" in denoise.ui.applyButton.toolTip
    panel(module, "InputPanel").ui.phantomButton.click()
    refresh(bench, module)
    assert denoise.ui.applyButton.enabled


def test_deleting_the_input_during_a_run(bench, module, knee):
    denoise = panel(module, "DenoisePanel")
    refresh(bench, module)
    denoise.ui.applyButton.click()
    slicer.mrmlScene.RemoveNode(knee)
    bench.pump(lambda: not module.desk.session.busy, timeout=60)
    refresh(bench, module)
    assert denoise.ui.statusLabel.text.startswith("Done in")
    assert not denoise.ui.applyButton.enabled


def test_controls_and_parameter_node_follow_each_other(bench, module, knee):
    denoise = panel(module, "DenoisePanel")
    denoise.ui.strengthSlider.value = 0.4
    assert module.desk.store.get("denoise_strength") == pytest.approx(0.4)
    module.desk.store.set("denoise_strength", 0.75)
    refresh(bench, module)
    assert denoise.ui.strengthSlider.value == pytest.approx(0.75)
    unit = panel(module, "InputPanel").ui.unitCombo
    unit.setCurrentIndex(unit.findData("grey"))
    assert module.desk.store.get("input_unit") == "grey"


def test_every_bound_widget_is_bound_to_a_declared_setting(bench, module):
    seen = set()
    for part in module.desk.panels:
        for widget in part.ui.__dict__.values():
            name = widget.property("SlicerParameterName")
            if name:
                module.desk.setting(name)
                seen.add(name)
                assert widget.toolTip, name
    declared = {n for n in module.desk.store.names() if "__" not in n}
    by_hand = {
        "denoise_method", "denoise_preset", "denoise_mask_segment", "reconstruct_method",
        "reconstruct_preset", "reconstruct_views", "reconstruct_spacing_mm", "reconstruct_unit",
        "reconstruct_mu_water_per_mm", "segment_lower", "segment_upper", "segment_existing_id",
    }  # fmt: skip
    assert declared - seen == by_hand


def test_the_form_shows_the_parameters_of_the_chosen_method(bench, module, knee):
    denoise = panel(module, "DenoisePanel")
    combo = denoise.ui.methodCombo
    for index in range(combo.count):
        combo.setCurrentIndex(index)
        refresh(bench, module)
        prefix = combo.itemData(index).replace("-", "_") + "__"
        names = module.desk.store.names(prefix)
        found = {w.objectName for w in denoise.ui.methodForm.findChildren(slicer_qt().QWidget)}
        assert set(names) <= found, combo.itemData(index)


def slicer_qt():
    import qt

    return qt


def test_a_typed_parameter_reaches_the_result(bench, module, knee):
    from ctrestorelib.mrml.records import record_of

    module.desk.change({"denoise_method": "bilateral"})
    denoise = panel(module, "DenoisePanel")
    refresh(bench, module)
    children = denoise.ui.methodForm.findChildren(slicer_qt().QWidget)
    factor = next(w for w in children if w.objectName == "bilateral__factor")
    factor.value = 2.5
    run(bench, module, denoise)
    assert record_of(module.desk.store.get("compare_b")).params["factor"] == 2.5


def test_presets_are_applied_saved_and_loaded(bench, module, knee, tmp_path):
    denoise = panel(module, "DenoisePanel")
    combo = denoise.ui.presetCombo
    assert combo.count >= 6
    combo.setCurrentIndex(2)
    refresh(bench, module)
    assert denoise.ui.presetLabel.text
    module.desk.change({"denoise_strength": 0.35, "denoise_method": "tv-denoise"})
    denoise.choice.savePreset(str(tmp_path / "mine.json"))
    assert json.loads((tmp_path / "mine.json").read_text())
    module.desk.change({"denoise_strength": 1.0, "denoise_method": "bilateral"})
    denoise.choice.loadPreset(str(tmp_path / "mine.json"))
    assert module.desk.store.get("denoise_strength") == 0.35
    assert module.desk.store.get("denoise_method") == "tv-denoise"
    (tmp_path / "broken.json").write_text("{}")
    denoise.choice.loadPreset(str(tmp_path / "broken.json"))
    assert bench.log.status, "a foreign file must be explained"
    assert module.desk.store.get("denoise_strength") == 0.35


def test_greyed_methods_say_why(bench, module, knee):
    part = panel(module, "ReconstructPanel")
    refresh(bench, module)
    combo = part.ui.methodCombo
    index = combo.findData("piccs")
    assert not combo.model().item(index).isEnabled()
    assert "prior volume" in combo.itemData(index, slicer_qt().Qt.ToolTipRole)


def test_several_volumes_in_a_row(bench, module, knee):
    from ctrestorelib.mrml.samples import add_knee

    _clean, second = add_knee(module.desk.context, shape=(12, 48, 48), seed=1)
    module.desk.change({"denoise_method": "bilateral"})
    denoise = panel(module, "DenoisePanel")
    refresh(bench, module)
    box = denoise.ui.batchList
    items = [box.item(n) for n in range(box.count)]
    item = next(i for i in items if i.text() == second.GetName())
    item.setCheckState(slicer_qt().Qt.Checked)
    run(bench, module, denoise)
    assert len(module.desk.session.outcome.node_ids) == 2


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float64, np.int32])
def test_integer_and_float_volumes_are_denoised(bench, module, dtype):
    values = np.random.default_rng(0).normal(120, 20, (8, 32, 32)).astype(dtype)
    node = slicer.util.addVolumeFromArray(values)
    module.desk.change({"input_volume": node, "denoise_method": "bilateral"})
    run(bench, module, panel(module, "DenoisePanel"))
    assert panel(module, "DenoisePanel").ui.statusLabel.text.startswith("Done in")


def test_an_int64_volume_is_denoised(bench, module):
    from vtk.util.numpy_support import numpy_to_vtk

    values = np.random.default_rng(0).normal(120, 20, (8, 32, 32)).astype(np.int64)
    image = vtk.vtkImageData()
    image.SetDimensions(32, 32, 8)
    image.GetPointData().SetScalars(
        numpy_to_vtk(values.ravel(), deep=True, array_type=vtk.VTK_LONG_LONG)
    )
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "long integers")
    node.SetAndObserveImageData(image)
    module.desk.change({"input_volume": node, "denoise_method": "bilateral"})
    run(bench, module, panel(module, "DenoisePanel"))
    result = module.desk.store.get("compare_b")
    assert slicer.util.arrayFromVolume(result).shape == (8, 32, 32)


def test_a_transformed_volume_keeps_or_hardens_its_transform(bench, module, knee):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 25.0)
    transform.SetMatrixTransformToParent(matrix)
    knee.SetAndObserveTransformNodeID(transform.GetID())
    module.desk.change({"denoise_method": "bilateral"})
    denoise = panel(module, "DenoisePanel")
    run(bench, module, denoise)
    assert module.desk.store.get("compare_b").GetParentTransformNode() is transform
    module.desk.change({"input_harden": True})
    run(bench, module, denoise)
    hardened = module.desk.store.get("compare_b")
    assert hardened.GetParentTransformNode() is None
    assert hardened.GetOrigin()[0] == pytest.approx(knee.GetOrigin()[0] + 25.0)


def test_a_warping_transform_is_refused_with_a_way_out(bench, module, knee):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "warp")
    warp = vtk.vtkThinPlateSplineTransform()
    points = vtk.vtkPoints()
    for x in (0.0, 50.0):
        for y in (0.0, 50.0):
            points.InsertNextPoint(x, y, x * y / 50)
    moved = vtk.vtkPoints()
    moved.DeepCopy(points)
    moved.SetPoint(0, 5.0, 3.0, 1.0)
    warp.SetSourceLandmarks(points)
    warp.SetTargetLandmarks(moved)
    warp.SetBasisToR()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    transform.SetAndObserveTransformToParent(warp)
    knee.SetAndObserveTransformNodeID(transform.GetID())
    module.desk.refreshLater()
    refresh(bench, module)
    denoise = panel(module, "DenoisePanel")
    assert not denoise.ui.applyButton.enabled
    assert "transform" in denoise.ui.problemLabel.text.lower()


def test_a_region_and_a_segment_restrict_the_work(bench, module, knee):
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "box")
    roi.SetSize(12, 12, 6)
    roi.SetCenter(0, 0, 0)
    module.desk.change({"denoise_roi": roi, "denoise_method": "bilateral"})
    run(bench, module, panel(module, "DenoisePanel"))
    before = slicer.util.arrayFromVolume(knee)
    after = slicer.util.arrayFromVolume(module.desk.store.get("compare_b"))
    changed = (before != after).mean()
    assert 0 < changed < 0.15


def test_declined_packages_are_explained(bench, module, knee, monkeypatch):
    from CTRestorePanels import environment

    find = environment.importlib.util.find_spec
    monkeypatch.setattr(
        environment.importlib.util, "find_spec",
        lambda name, *a: None if name == "pywt" else find(name, *a),
    )  # fmt: skip
    bench.log.pip_consent = False
    module.desk.change({"denoise_method": "wavelet"})
    denoise = panel(module, "DenoisePanel")
    refresh(bench, module)
    denoise.ui.applyButton.click()
    refresh(bench, module)
    assert "PyWavelets" in denoise.ui.statusLabel.text
    assert not module.desk.session.busy
    assert denoise.ui.applyButton.enabled


def test_the_panel_opens_fast_and_loads_nothing_heavy():
    code = (
        "import sys, time; sys.path.insert(0, 'Testing/slicer')\n"
        "import os; os.environ['QT_QPA_PLATFORM'] = 'offscreen'\n"
        "os.environ['VTK_DEFAULT_OPENGL_WINDOW'] = 'vtkOSOpenGLRenderWindow'\n"
        "from trame_slicer.core.slicer_app import SlicerApp\n"
        "from bench.bench import Bench\n"
        "import vtk.util.numpy_support\n"
        "bench = Bench(SlicerApp())\n"
        "before = set(sys.modules)\n"
        "start = time.perf_counter()\n"
        "bench.load_module('CTRestore/CTRestore.py')\n"
        "seconds = time.perf_counter() - start\n"
        "new = {m.split('.')[0] for m in set(sys.modules) - before}\n"
        "print(round(seconds, 3), sorted(new & {'torch', 'scipy', 'numba', 'skimage', "
        "'SimpleITK', 'pydicom', 'pywt', 'itk'}), flush=True)\n"
        "os._exit(0)\n"  # Qt and VTK are torn down in no safe order by a bare interpreter
    )
    root = MODULE.parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("[]"), done.stdout


def test_the_modules_own_test_class_passes_on_the_bench(bench, module):
    bench.unload_module()
    sys.path.insert(0, str(MODULE.parent))
    import CTRestore

    case = CTRestore.CTRestoreTest()
    for name in ("test_denoisedKneeIsCloserToTheTruth", "test_tenViewsBecomeAVolume"):
        case.setUp()
        getattr(case, name)()


def test_reload_and_leave(bench, module, knee):
    bench.exit()
    bench.enter()
    start = time.monotonic()
    bench.unload_module()
    assert time.monotonic() - start < 5
    widget = bench.load_module(MODULE)
    assert widget.desk.store is not None
    bench.unload_module()
