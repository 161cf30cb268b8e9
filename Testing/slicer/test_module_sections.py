"""Sections 4 to 7 of the unmodified module: projections, comparison, segments, files."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import slicer
from bench.fixtures import MODULE

from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.knee import knee_phantom
from ctrestorelib.io.projections import write_projections
from ctrestorelib.physics.scan_protocol import ScanProtocol
from ctrestorelib.physics.virtual_scan import virtual_scan


@pytest.fixture
def pair(module):
    """Return a noisy and a clean small knee, chosen for comparison."""
    from ctrestorelib.mrml.samples import add_knee

    clean, noisy = add_knee(module.desk.context, shape=(16, 64, 64))
    module.desk.change({"input_volume": noisy, "compare_a": noisy, "compare_b": clean})
    return noisy, clean


@pytest.fixture(scope="module")
def projections():
    knee = knee_phantom(VolumeGeometry.from_spacing((8, 32, 32), (4.0, 4.0, 4.0)))
    return virtual_scan(knee, ScanProtocol(views=24, refine=1, oversample=1))


def panel(module, name):
    return next(p for p in module.desk.panels if type(p).__name__ == name)


def refresh(bench, module):
    bench.pump(lambda: not module.desk._refreshPending, timeout=5)


def test_projections_from_a_file_become_a_volume(bench, module, projections, tmp_path):
    path = tmp_path / "views.mha"
    write_projections(projections, path)
    part = panel(module, "ReconstructPanel")
    bench.dialogs.answers.append(("QFileDialog.getOpenFileName", str(path)))
    part.ui.openProjectionsButton.click()
    refresh(bench, module)
    stack = module.desk.store.get("reconstruct_stack")
    assert stack.GetName() == "views"
    assert part.ui.stackLabel.text.startswith("24 views of")
    module.desk.change({"reconstruct_method": "fdk", "reconstruct_spacing_mm": 8.0})
    refresh(bench, module)
    assert part.ui.applyButton.enabled, part.ui.problemLabel.text
    part.ui.applyButton.click()
    bench.pump(lambda: not module.desk.session.busy, timeout=60)
    refresh(bench, module)
    assert part.ui.statusLabel.text.startswith("Done in"), part.ui.statusLabel.text


def test_a_loaded_stack_is_explained_and_takes_a_geometry_file(
    bench, module, projections, tmp_path
):
    write_projections(projections, tmp_path / "views.mha")
    values = projections.values
    node = slicer.util.addVolumeFromArray(np.ascontiguousarray(values))
    module.desk.change({"reconstruct_stack": node})
    part = panel(module, "ReconstructPanel")
    refresh(bench, module)
    assert not part.ui.applyButton.enabled
    assert "geometry" in part.ui.problemLabel.text
    part.openGeometry(str(tmp_path / "views.geometry.json"))
    refresh(bench, module)
    assert part.ui.applyButton.enabled, part.ui.problemLabel.text
    from ctrestorelib.mrml.stacks import projections_of

    assert np.array_equal(projections_of(node).values, values)


def test_the_growing_result_is_shown_as_a_picture(bench, module):
    from CTRestorePanels.reconstruct_panel import pixmapOf

    image = np.zeros((30, 60), np.float32)
    image[:, 30:] = 1000.0
    picture = pixmapOf(image)
    assert (picture.width(), picture.height()) == (240, 120)
    shown = picture.toImage()
    assert shown.pixelColor(20, 60).red() < 20
    assert shown.pixelColor(220, 60).red() > 235


def test_a_broken_projection_file_is_a_sentence(bench, module, tmp_path):
    (tmp_path / "views.mha").write_bytes(b"not an image")
    part = panel(module, "ReconstructPanel")
    count = slicer.mrmlScene.GetNumberOfNodes()
    part.openProjections(str(tmp_path / "views.mha"))
    assert part.ui.statusLabel.text
    assert slicer.mrmlScene.GetNumberOfNodes() == count


def test_comparison_opens_follows_and_gives_the_layout_back(bench, module, pair):
    part = panel(module, "ComparePanel")
    manager = slicer.app.layoutManager()
    before = manager.layout
    slicer.util.setSliceViewerLayers(background=pair[1], fit=True)
    red = manager.sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
    refresh(bench, module)
    part.ui.compareButton.click()
    refresh(bench, module)
    assert manager.layout != before
    for mode in ("checkerboard", "blend", "three_up", "wipe"):
        module.desk.change({"compare_mode": mode})
        refresh(bench, module)
        assert part.comparison.mode.value == mode
        assert part.ui.wipeSlider.isHidden() == (mode != "wipe")
    part.ui.wipeSlider.value = 0.25
    refresh(bench, module)
    assert part.comparison.look.wipe == pytest.approx(0.25)
    part.comparison._dragged(0.6)  # what the line in the view calls
    refresh(bench, module)
    assert part.ui.wipeSlider.value == pytest.approx(0.6)
    assert part.comparison.look.wipe == pytest.approx(0.6)
    part.ui.autoButton.click()
    assert part.ui.compareProblemLabel.text == ""
    part.ui.boneButton.click()
    displays = [node.GetDisplayNode() for node in pair]
    assert displays[0].GetWindow() == displays[1].GetWindow() > 1000
    part.ui.compareButton.click()
    refresh(bench, module)
    assert manager.layout == before
    assert red.GetBackgroundVolumeID() == pair[1].GetID()


def test_a_compared_volume_may_be_deleted(bench, module, pair):
    part = panel(module, "ComparePanel")
    refresh(bench, module)
    part.ui.compareButton.click()
    refresh(bench, module)
    slicer.mrmlScene.RemoveNode(pair[1])
    refresh(bench, module)
    assert part.ui.compareProblemLabel.text.startswith("Choose a second volume")
    assert part.ui.compareButton.enabled, "an open comparison can always be closed"
    part.ui.compareButton.click()
    refresh(bench, module)
    assert not part.open


def test_closing_the_scene_closes_the_comparison(bench, module, pair):
    part = panel(module, "ComparePanel")
    before = slicer.app.layoutManager().layout
    refresh(bench, module)
    part.ui.compareButton.click()
    refresh(bench, module)
    bench.scene.Clear(0)
    refresh(bench, module)
    assert not part.open
    assert slicer.app.layoutManager().layout == before


def test_leaving_the_module_gives_the_layout_back(bench, module, pair):
    part = panel(module, "ComparePanel")
    before = slicer.app.layoutManager().layout
    refresh(bench, module)
    part.ui.compareButton.click()
    refresh(bench, module)
    assert slicer.app.layoutManager().layout != before
    bench.exit()
    assert slicer.app.layoutManager().layout == before
    bench.enter()
    refresh(bench, module)
    assert part.ui.compareButton.text == "Show comparison"


def test_a_new_line_is_drawn_with_the_next_clicks(bench, module, pair):
    part = panel(module, "ComparePanel")
    part.ui.lineSelector.addNode()
    refresh(bench, module)
    line = module.desk.store.get("compare_line")
    logic = slicer.app.applicationLogic()
    assert logic.GetSelectionNode().GetActivePlaceNodeID() == line.GetID()
    mode = logic.GetInteractionNode()
    assert mode.GetCurrentInteractionMode() == mode.Place
    mode.SwitchToViewTransformMode()
    part.ui.profileButton.click()
    assert "two ends" in part.ui.compareProblemLabel.text


def test_a_grey_volume_is_scanned_once_its_unit_is_said(bench, module, pair):
    values = np.full((8, 16, 16), 40, np.int16)
    node = slicer.util.addVolumeFromArray(values)
    module.desk.change({"input_volume": node})
    scan = panel(module, "ScanPanel")
    refresh(bench, module)
    assert "grey values" in scan.ui.problemLabel.text
    module.desk.change({"input_unit": "hu"})
    refresh(bench, module)
    assert scan.ui.applyButton.enabled, scan.ui.problemLabel.text


def test_removed_noise_difference_and_blend_become_volumes(bench, module, pair):
    part = panel(module, "ComparePanel")
    refresh(bench, module)
    noisy, clean = (slicer.util.arrayFromVolume(node) for node in pair)
    for button, expected in (
        (part.ui.removedButton, noisy - clean),
        (part.ui.differenceButton, clean - noisy),
        (part.ui.mixButton, (noisy + clean) / 2),
    ):
        known = {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")}
        button.click()
        refresh(bench, module)
        new = [
            node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if node.GetID() not in known
        ]  # fmt: skip
        assert len(new) == 1
        assert np.allclose(slicer.util.arrayFromVolume(new[0]), expected, atol=1e-3)


def test_judging_runs_in_the_background_and_tells_a_verdict(bench, module, pair):
    from ctrestorelib.mrml.samples import add_knee

    clean, noisy = add_knee(module.desk.context, shape=(24, 96, 96))
    module.desk.change({"compare_a": noisy, "compare_b": clean})
    part = panel(module, "ComparePanel")
    refresh(bench, module)
    part.ui.qualityButton.click()
    bench.pump(lambda: part.ui.qualityButton.text == "Cancel", timeout=5)
    bench.pump(lambda: not module.desk.session.busy, timeout=60)
    refresh(bench, module)
    assert part.ui.measureLabel.text.startswith("Verdict:"), part.ui.measureLabel.text
    assert part.ui.qualityButton.text == "Judge the result"


def test_threshold_in_both_volumes_table_surfaces_files(bench, module, pair, tmp_path):
    part = panel(module, "SegmentPanel")
    module.desk.change({"segment_folder": str(tmp_path)})
    refresh(bench, module)
    part.ui.segmentButton.click()
    refresh(bench, module)
    table = part.ui.segmentTable
    titles = [table.verticalHeaderItem(n).text() for n in range(table.rowCount)]
    assert any(t.startswith("Dice") for t in titles)
    assert any(t.startswith("HD95") for t in titles)
    part.ui.surfaceButton.click()
    part.ui.distanceButton.click()
    assert slicer.mrmlScene.GetFirstNodeByName("CTRestore surface distance") is not None
    part.ui.surfaceExportButton.click()
    assert sorted(p.name for p in tmp_path.glob("*.stl")) == [
        "bone_original.stl", "bone_restored.stl",
    ]  # fmt: skip
    part.ui.surfaceExportButton.click()
    assert "exists already" in part.ui.surfaceStatusLabel.text


def test_a_segment_of_the_user_is_read_in_both_and_not_changed(bench, module, pair):
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(pair[0])
    from ctrestorelib.mrml.segments.labelmaps import new_segment
    from ctrestorelib.mrml.volumes import geometry_of
    from ctrestorelib.quality.segment_overlap import GridMask

    inside = slicer.util.arrayFromVolume(pair[1]) > 300
    segment = new_segment(GridMask(inside, geometry_of(pair[1])), "bone", (1.0, 0.0, 0.0))
    segment_id = segmentation.GetSegmentation().GenerateUniqueSegmentID("bone")
    segmentation.GetSegmentation().AddSegment(segment, segment_id)
    part = panel(module, "SegmentPanel")
    module.desk.change(
        {"segment_by": "existing segment", "segment_existing": segmentation,
         "segment_existing_id": segment_id}
    )  # fmt: skip
    refresh(bench, module)
    assert not part.ui.existingSelector.isHidden()
    part.ui.segmentButton.click()
    refresh(bench, module)
    cells = [
        part.ui.segmentTable.item(row, 1).text() for row in range(part.ui.segmentTable.rowCount)
    ]
    assert str(int(inside.sum())) in cells
    assert not part.ui.distanceButton.enabled
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 1


def test_an_impossible_range_is_explained(bench, module, pair):
    part = panel(module, "SegmentPanel")
    module.desk.change({"segment_by": "own range", "segment_lower": 500.0, "segment_upper": 100.0})
    refresh(bench, module)
    assert not part.ui.rangeForm.isHidden()
    part.ui.segmentButton.click()
    refresh(bench, module)
    assert "lower to a higher" in part.ui.segmentResultLabel.text
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_the_segment_editor_opens_with_the_result(bench, module, pair):
    part = panel(module, "SegmentPanel")
    refresh(bench, module)
    part.ui.editorButton.click()
    assert bench.log.selected_modules[-1] == "SegmentEditor"
    editor = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    assert editor.GetSourceVolumeNode() is pair[1]


def test_saving_writes_volume_and_record_and_never_overwrites(bench, module, pair, tmp_path):
    from ctrestorelib.core.provenance import Provenance
    from ctrestorelib.io.volumes import read_volume

    module.desk.change({"denoise_method": "bilateral", "input_volume": pair[0]})
    denoise = panel(module, "DenoisePanel")
    refresh(bench, module)
    denoise.ui.applyButton.click()
    bench.pump(lambda: not module.desk.session.busy, timeout=60)
    part = panel(module, "ExportPanel")
    module.desk.change({"export_folder": str(tmp_path), "export_format": ".nii.gz"})
    refresh(bench, module)
    for _ in range(2):
        part.ui.exportButton.click()
    files = sorted(p.name for p in tmp_path.glob("*.nii.gz"))
    assert len(files) == 2
    written = read_volume(tmp_path / files[0]).volume
    result = module.desk.store.get("export_volume")
    assert np.array_equal(written.values, slicer.util.arrayFromVolume(result))
    record = Provenance.read(next(iter(sorted(tmp_path.glob("*.json")))))
    assert record.method == "bilateral"
    part.ui.copyCommandButton.click()
    assert "ctrestore denoise" in part.ui.exportStatusLabel.text
    part.ui.copyPythonButton.click()
    assert "import" in part.ui.exportStatusLabel.text


def test_the_last_result_can_be_discarded(bench, module, pair):
    module.desk.change({"denoise_method": "bilateral"})
    denoise = panel(module, "DenoisePanel")
    refresh(bench, module)
    count = len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"))
    denoise.ui.applyButton.click()
    bench.pump(lambda: not module.desk.session.busy, timeout=60)
    refresh(bench, module)
    about = panel(module, "AboutPanel")
    assert about.ui.discardButton.enabled
    about.ui.discardButton.click()
    refresh(bench, module)
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == count
    assert not about.ui.discardButton.enabled


def test_log_and_versions_are_copied_without_patient_data(bench, module, pair):
    import qt

    pair[0].SetAttribute("DICOM.PatientName", "MARKED^NAME")
    about = panel(module, "AboutPanel")
    about.ui.copyLogButton.click()
    text = qt.QApplication.clipboard().text()
    assert "CTRestore" in text
    assert "nothing is sent" in text
    assert "MARKED" not in text


def test_sample_data_is_made_here_not_downloaded(bench, module):
    sample = [s for s in bench.log.sample_data if s["category"] == "CTRestore"][-1]
    assert sample["uris"] is None
    nodes = sample["customDownloader"](None)
    assert [n.GetName() for n in nodes] == sample["nodeNames"]


def test_an_old_backend_is_refused_with_a_way_out(bench, module, monkeypatch):
    import ctrestorelib

    bench.unload_module()
    monkeypatch.setattr(ctrestorelib, "__version__", "0.0.9")
    widget = bench.load_module(MODULE)
    assert "older than" in widget.ui.noticeLabel.text
    assert "pip uninstall" in widget.ui.noticeLabel.text
    bench.scene.Clear(0)
    bench.unload_module()


def test_slicer_5_10_asks_before_it_installs(bench, module, monkeypatch):
    from CTRestorePanels import environment

    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    bench.log.say_yes = False
    find = environment.importlib.util.find_spec
    monkeypatch.setattr(
        environment.importlib.util, "find_spec",
        lambda name, *a: None if name == "pywt" else find(name, *a),
    )  # fmt: skip
    with pytest.raises(environment.EnvironmentProblem, match="PyWavelets"):
        environment.ensurePackages(["pywt"])
    assert any("PyWavelets" in text for text in bench.log.confirmations)


def test_torch_is_never_installed_by_pip(bench, module, monkeypatch):
    from CTRestorePanels import environment

    find = environment.importlib.util.find_spec
    monkeypatch.setattr(
        environment.importlib.util, "find_spec",
        lambda name, *a: None if name in ("torch", "PyTorchUtils") else find(name, *a),
    )  # fmt: skip
    with pytest.raises(environment.EnvironmentProblem, match="PyTorch extension"):
        environment.ensurePackages(["torch"])
    assert not any("torch" in str(r) for r in bench.log.pip_requests)
    assert "torch" not in environment.REQUIREMENTS.read_text()


def test_the_extension_index_entry_is_complete():
    entry = json.loads((MODULE.parents[1] / "Resources" / "CTRestore.json").read_text())
    assert entry["category"] == "Tomographic Reconstruction"
    assert entry["build_dependencies"] == []
    assert entry["scm_url"].endswith(".git")
    allowed = {"$schema", "category", "scm_url", "scm_revision", "scm_type", "tier", "enabled"}
    assert set(entry) <= allowed | {"build_dependencies", "build_subdirectory"}
