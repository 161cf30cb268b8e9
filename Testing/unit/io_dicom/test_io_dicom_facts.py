"""What a header says about the reconstruction: of the right series, and nothing of the patient."""

from __future__ import annotations

import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ctrestorelib.io.dicom_facts import reconstruction_facts


@pytest.fixture
def series(tmp_path):
    """Return a folder with one image of either of two series, and the UIDs of both images."""
    uids = {}
    for kernel in ("I30f", "B60s"):
        uids[kernel] = generate_uid()
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = uids[kernel]
        header = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, uids[kernel]
        header.PatientName, header.ConvolutionKernel = "Doe^Jane", [kernel, "3"]
        header.ReconstructionAlgorithm = "SAFIRE" if kernel == "I30f" else ""
        pydicom.dcmwrite(tmp_path / f"{kernel}.dcm", header)
    (tmp_path / "a-note.txt").write_text("no image", encoding="utf-8")
    return tmp_path, uids


def test_facts_are_those_of_the_series_and_name_nobody(series):
    folder, uids = series
    found = reconstruction_facts(folder, {uids["I30f"]})
    assert set(found) == {"ConvolutionKernel", "ReconstructionAlgorithm"}
    assert "I30f" in found["ConvolutionKernel"]
    assert found["ReconstructionAlgorithm"] == "SAFIRE"
    other = reconstruction_facts(folder / "B60s.dcm", {uids["B60s"]})
    assert set(other) == {"ConvolutionKernel"}
    assert "B60s" in other["ConvolutionKernel"]


def test_nothing_is_known_of_other_series_other_files_and_no_file(series):
    folder, uids = series
    assert reconstruction_facts(folder, {generate_uid()}) == {}
    assert reconstruction_facts(folder / "I30f.dcm", {uids["B60s"]}) == {}
    assert reconstruction_facts(folder / "a-note.txt", set(uids.values())) == {}
    assert reconstruction_facts(folder / "absent", set(uids.values())) == {}
