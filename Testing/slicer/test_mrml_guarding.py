"""Cautions before and lights after denoising: found beside the session, from the real volumes."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ctrestorelib.core.errors import InputError
from ctrestorelib.mrml.arrays import view_of
from ctrestorelib.mrml.derived import DERIVED_ATTRIBUTE
from ctrestorelib.mrml.session import Session
from ctrestorelib.mrml.tasks.denoise import DenoiseTask
from ctrestorelib.mrml.volumes import UIDS_ATTRIBUTE, new_volume_node

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from quality_phantoms import ct_noise, volume


@pytest.fixture
def scan(context):
    """Return a disc of soft tissue with 15 HU of CT noise."""
    shape = (10, 96, 96)
    _, j, i = np.mgrid[: shape[0], : shape[1], : shape[2]]
    disc = np.where(np.hypot(j - 48, i - 48) < 44, 45.0, -1000.0)
    return new_volume_node(context, "scan", volume(disc + ct_noise(shape, 1, sigma=15.0)))


def _finish(session, seconds=120):
    end = time.monotonic() + seconds
    while session.watching:
        assert time.monotonic() < end
        session.poll()
        time.sleep(0.02)


def test_the_header_of_a_dicom_volume_reaches_cautions_and_record(
    context, store, scan, tmp_path, monkeypatch
):
    monkeypatch.setenv("CTRESTORE_JOBS", str(tmp_path / "jobs"))
    uid, file = generate_uid(), tmp_path / "slice.dcm"
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, uid
    header.ConvolutionKernel = "I30f"
    pydicom.dcmwrite(file, header)
    file_of = {uid: str(file)}.get
    known = Session(context, file_of=lambda name: file_of(name, ""))
    scan.SetAttribute(UIDS_ATTRIBUTE, uid)
    known.guards.look_at(scan)
    _finish(known)
    (told,) = known.guards.cautions_of(scan)
    assert told.startswith("The header names an iterative")
    task = DenoiseTask(context, store, scan, file_of=lambda name: file_of(name, ""))
    store.set("denoise_method", "wavelet")
    assert task.request().facts == {"ConvolutionKernel": "I30f"}
    scan.RemoveAttribute(UIDS_ATTRIBUTE)
    assert task.request().facts == {}
    known.close()


def test_a_result_gets_lights_numbers_and_its_removed_noise(context, store, scan, session):
    store.update({"denoise_method": "wavelet", "input_volume": scan})
    session.start(DenoiseTask(context, store))
    while session.busy:
        session.poll()
        time.sleep(0.02)
    guards = session.guards
    result = guards.latest
    assert result is store.get("compare_b")
    assert guards.sentence_of(result).startswith("Checking the result")
    assert guards.show_table(result) is None
    _finish(session)
    by_name = {light.name: light for light in guards.lights_of(result)}
    assert {"values", "texture", "structure", "marks"} <= set(by_name)
    assert by_name["values"].verdict.value in ("green", "amber", "red")
    assert guards.sentence_of(result)
    assert guards.show_table(result).GetNumberOfRows() > len(by_name)
    removed = guards.removed_noise(result)
    assert removed.GetAttribute(DERIVED_ATTRIBUTE) == "removed-noise"
    assert np.array_equal(view_of(removed), view_of(scan) - view_of(result))
    assert guards.removed_noise(result) is removed
    context.scene.RemoveNode(scan)
    with pytest.raises(InputError, match="no longer in the scene"):
        guards.removed_noise(result)
