"""DICOM export from the panel and from Slicer's export dialog, over real files."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pydicom
import pytest
import slicer
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.dicom_series import read_series

FOLDER = Path(__file__).parents[2] / "CTRestore"


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """Return the folder of a small axial CT series of a marked patient, as a scanner writes it."""
    folder = tmp_path_factory.mktemp("series")
    study, uid, frame = generate_uid(), generate_uid(), generate_uid()
    rng = np.random.default_rng(3)
    for k in range(6):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ds.PatientName, ds.PatientID = "MARKED^NAME", "MARKED-ID"
        ds.PatientBirthDate, ds.PatientSex = "19600101", "F"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, uid, frame
        ds.Modality, ds.Manufacturer, ds.SeriesNumber = "CT", "Scanner maker", 3
        ds.StudyDate, ds.StudyTime, ds.StudyID = "20260101", "101010", "1"
        ds.AccessionNumber, ds.ReferringPhysicianName = "", ""
        ds.SeriesDescription, ds.ImageType = "Knee", ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.InstanceNumber, ds.PositionReferenceIndicator = k + 1, ""
        ds.ImagePositionPatient = [-16.0, -12.0, 5.0 * k]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [1.0, 1.0], 5.0
        ds.Rows, ds.Columns, ds.SamplesPerPixel = 24, 32, 1
        ds.PhotometricInterpretation, ds.PixelRepresentation = "MONOCHROME2", 1
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
        ds.RescaleSlope, ds.RescaleIntercept, ds.KVP = 1, 0, 120
        ds.PixelData = rng.normal(40, 30, (24, 32)).astype("<i2").tobytes()
        ds.save_as(folder / f"{k}.dcm", enforce_file_format=True)
    return folder


@pytest.fixture
def module(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("CTRESTORE_JOBS", str(tmp_path / "jobs"))
    widget = bench.load_module(FOLDER / "CTRestore.py")
    yield widget
    bench.unload_module()


@pytest.fixture
def result(bench, module, series, monkeypatch):
    """Return the denoised node of the loaded series; Slicer's database knows the series."""
    from ctrestorelib.mrml.volumes import new_volume_node

    read = read_series(series)
    files = {}
    for path in series.glob("*.dcm"):
        files[str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)] = str(path)
    database = types.SimpleNamespace(fileForInstance=lambda uid: files.get(uid, ""))
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    node = new_volume_node(module.desk.context, "knee", read.volume)
    node.SetAttribute("DICOM.instanceUIDs", " ".join(read.sop_instance_uids))
    module.desk.change({"input_volume": node, "denoise_method": "bilateral"})
    denoise = panel(module, "DenoisePanel")
    refresh(bench, module)
    denoise.ui.applyButton.click()
    bench.pump(lambda: not module.desk.session.busy, timeout=60)
    refresh(bench, module)
    return module.desk.store.get("export_volume")


def panel(module, name):
    return next(p for p in module.desk.panels if type(p).__name__ == name)


def refresh(bench, module):
    bench.pump(lambda: not module.desk._refreshPending, timeout=5)


def export(bench, module, folder):
    module.desk.change({"dicom_folder": str(folder)})
    part = panel(module, "DicomPanel")
    refresh(bench, module)
    assert part.ui.applyButton.enabled, part.ui.problemLabel.text
    part.ui.applyButton.click()
    bench.pump(lambda: not module.desk.session.busy, timeout=60)
    refresh(bench, module)
    assert part.ui.statusLabel.text.startswith("Done in"), part.ui.statusLabel.text
    return part


def test_a_denoised_series_goes_back_as_derived_and_keeps_its_place(
    bench, module, result, series, tmp_path
):
    part = panel(module, "DicomPanel")
    refresh(bench, module)
    assert "6 source images" in part.ui.dicomSourceLabel.text
    export(bench, module, tmp_path)
    (folder,) = (p for p in tmp_path.iterdir() if p.name.startswith("CTRestore DICOM"))
    written = read_series(folder)
    values = slicer.util.arrayFromVolume(result)
    assert np.abs(written.volume.values - values).max() <= 0.5
    assert written.volume.geometry.matches(read_series(series).volume.geometry)
    header = pydicom.dcmread(next(folder.rglob("*.dcm")))
    assert header.ImageType[0] == "DERIVED"
    assert header.PatientID == "MARKED-ID"
    assert header.SeriesInstanceUID != read_header(series).SeriesInstanceUID
    assert header.StudyInstanceUID == read_header(series).StudyInstanceUID


def read_header(folder):
    return pydicom.dcmread(next(folder.glob("*.dcm")), stop_before_pixels=True)


def test_the_header_is_shown_before_anything_is_written(bench, module, result, tmp_path):
    module.desk.change({"dicom_folder": str(tmp_path)})
    part = panel(module, "DicomPanel")
    refresh(bench, module)
    part.ui.previewButton.click()
    table = part.ui.headerTable
    rows = {table.item(n, 0).text(): n for n in range(table.rowCount)}
    assert table.item(rows["PatientID"], 2).text() == "copied"
    assert table.item(rows["SeriesInstanceUID"], 2).text() in ("new", "changed")
    assert "DERIVED" in table.item(rows["ImageType"], 1).text()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("CTRestore")]


def test_no_patient_in_log_folder_names_or_parameter_node(bench, module, result, tmp_path):
    part = panel(module, "DicomPanel")
    part.ui.patientNameEdit.setText("TYPED^NAME")
    export(bench, module, tmp_path)
    node = module.desk.store.node
    told = [*module.desk.session.log, *(node.GetParameter(n) for n in node.GetParameterNames())]
    names = [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")]
    for text in (*told, *names, part.ui.statusLabel.text):
        assert "MARKED" not in text
        assert "TYPED" not in text


def test_without_a_source_the_typed_patient_is_used(bench, module, tmp_path):
    from ctrestorelib.mrml.volumes import new_volume_node

    volume = Volume(
        np.zeros((3, 8, 8), np.float32),
        VolumeGeometry.from_spacing((3, 8, 8), (1.0, 1.0, 2.0)), Unit.HU,
    )  # fmt: skip
    module.desk.change({"export_volume": new_volume_node(module.desk.context, "fossil", volume)})
    part = panel(module, "DicomPanel")
    refresh(bench, module)
    assert "anonymous" in part.ui.dicomSourceLabel.text
    part.ui.patientNameEdit.setText("Iguanodon^Bernissart")
    export(bench, module, tmp_path)
    header = pydicom.dcmread(next(tmp_path.rglob("*.dcm")))
    assert str(header.PatientName) == "Iguanodon^Bernissart"


def test_a_half_known_source_series_is_explained(bench, module, result, monkeypatch, tmp_path):
    known = slicer.dicomDatabase.fileForInstance
    first = (
        result.GetNodeReference("CTRestore.Source").GetAttribute("DICOM.instanceUIDs").split()[0]
    )
    database = types.SimpleNamespace(fileForInstance=lambda u: "" if u == first else known(u))
    monkeypatch.setattr(slicer, "dicomDatabase", database)
    part = panel(module, "DicomPanel")
    module.desk.refreshLater()
    refresh(bench, module)
    assert "Only 5 of the 6" in part.ui.dicomSourceLabel.text


@pytest.fixture
def plugin(bench, module, monkeypatch):
    """Load the hidden module as Slicer does; return its plugin."""

    from bench.module_classes import qSlicerScriptedLoadableModule

    class Exportable:
        """The part of qSlicerDICOMExportable that the plugin uses."""

        def __init__(self):
            self._tags = {}

        def setTag(self, name, value):
            self._tags[name] = value

        def tag(self, name):
            return self._tags[name]

    monkeypatch.setattr(slicer, "qSlicerDICOMExportable", Exportable, raising=False)
    path = FOLDER / "CTRestoreDICOMPlugin.py"
    spec = importlib.util.spec_from_file_location("CTRestoreDICOMPlugin", path)
    loaded = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "CTRestoreDICOMPlugin", loaded)
    spec.loader.exec_module(loaded)
    described = qSlicerScriptedLoadableModule()
    described.setPath(str(path))
    loaded.CTRestoreDICOMPlugin(described)
    assert described.hidden
    return slicer.modules.dicomPlugins["CTRestoreDICOMPlugin"]()


def item_of(node):
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return tree.GetItemByDataNode(node)


def test_slicers_export_dialog_prefers_our_writer_for_our_results(plugin, result, tmp_path):
    (exportable,) = plugin.examineForExport(item_of(result))
    assert exportable.confidence > 0.5
    exportable.directory = str(tmp_path)
    exportable.setTag("SeriesDescription", "From the dialog")
    assert plugin.export([exportable]) == ""
    header = pydicom.dcmread(next(tmp_path.rglob("*.dcm")))
    assert header.SeriesDescription.startswith("From the dialog")
    assert header.ImageType[0] == "DERIVED"


def test_originals_are_left_to_slicers_own_exporter(plugin, result):
    original = result.GetNodeReference("CTRestore.Source")
    assert plugin.examineForExport(item_of(original)) == []


def test_a_failing_export_is_a_sentence(plugin, result, tmp_path):
    (exportable,) = plugin.examineForExport(item_of(result))
    (tmp_path / "taken").write_text("a file, not a folder")
    exportable.directory = str(tmp_path / "taken")
    assert "Check" in plugin.export([exportable])
    assert (tmp_path / "taken").read_text() == "a file, not a folder"
