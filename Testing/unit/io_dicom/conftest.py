"""Small DICOM CT series made on the spot, good ones and broken ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
SERIES = "1.2.3.4.5"
PATIENT = "Geheim^Person"


def base_dataset(n: int = 0, sop_class: str = CT) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = f"{SERIES}.{n + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, f"{SERIES}.{n + 1}"
    ds.SeriesInstanceUID, ds.StudyInstanceUID = SERIES, "1.2.3"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = PATIENT, "ID-4711", "19600101"
    ds.Modality, ds.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.FrameOfReferenceUID, ds.InstanceNumber = "1.2.3.9", n + 1
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    return ds


def set_pixels(ds: FileDataset, stored: np.ndarray, bits_stored: int = 16) -> None:
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits_stored, bits_stored - 1
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    ds["PixelData"] = pydicom.DataElement(
        0x7FE00010, "OW", stored.astype(f"<{stored.dtype.kind}2").tobytes()
    )


def save(ds: FileDataset, path: Path) -> None:
    """Write a file with pydicom 3 or 2."""
    if pydicom.__version__ >= "3":
        ds.save_as(path, enforce_file_format=True)
    else:
        ds.is_little_endian, ds.is_implicit_VR = True, False
        ds.save_as(path, write_like_original=False)


def ds_numbers(values: Any) -> list[str]:
    return [pydicom.valuerep.format_number_as_ds(float(v)) for v in values]


@pytest.fixture
def make_series(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a series and returns its folder.

    ``stored`` is ``[k, j, i]``; slice k lies at ``origin + k * step``. ``edit(ds, k)`` may change a
    slice before it is written, or return False to leave it out.
    """

    def make(
        stored: np.ndarray | None = None,
        *,
        orientation: Any = (1, 0, 0, 0, 1, 0),
        origin: Any = (-10.0, -20.0, 30.0),
        step: Any = None,
        spacing: Any = (0.7, 0.8),
        gap: float = 1.25,
        rescale: tuple[float, float] | None = (1, -1024),
        edit: Callable[[FileDataset, int], Any] = lambda ds, k: None,
        folder: str = "series",
    ) -> Path:
        if stored is None:
            stored = np.random.default_rng(3).integers(0, 2000, (6, 12, 10)).astype(np.uint16)
        iop = np.array(orientation, dtype=float)
        if step is None:
            step = gap * np.cross(iop[:3], iop[3:])
        target = tmp_path / folder
        target.mkdir(exist_ok=True)
        for k, values in enumerate(stored):
            ds = base_dataset(k)
            ds.ImagePositionPatient = ds_numbers(np.array(origin) + k * np.array(step))
            ds.ImageOrientationPatient = ds_numbers(iop)
            ds.PixelSpacing, ds.SliceThickness = ds_numbers(spacing), "1.25"
            if rescale is not None:
                ds.RescaleSlope, ds.RescaleIntercept = ds_numbers(rescale)
            set_pixels(ds, values)
            if edit(ds, k) is not False:
                save(ds, target / f"{PATIENT}-{k:03d}.dcm")
        return target

    return make


@pytest.fixture
def make_enhanced(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes one enhanced multi-frame CT file with per-frame rescaling."""

    def make(
        stored: np.ndarray, positions: Any, intercepts: Any, frames: int | None = None
    ) -> Path:
        ds = base_dataset(0, ENHANCED_CT)
        set_pixels(ds, stored)
        ds.NumberOfFrames = len(stored) if frames is None else frames
        shared, measures, plane = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        measures.PixelSpacing, measures.SliceThickness = ["0.5", "0.6"], "2"
        plane.ImageOrientationPatient = ds_numbers((1, 0, 0, 0, 1, 0))
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
        ds.SharedFunctionalGroupsSequence = [shared]
        groups = []
        for position, intercept in zip(positions, intercepts, strict=True):
            group, place, scale = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
            place.ImagePositionPatient = ds_numbers(position)
            scale.RescaleSlope, scale.RescaleIntercept = ds_numbers((2, intercept))
            scale.RescaleType = "HU"
            group.PlanePositionSequence = [place]
            group.PixelValueTransformationSequence = [scale]
            groups.append(group)
        ds.PerFrameFunctionalGroupsSequence = groups
        path = tmp_path / "enhanced.dcm"
        save(ds, path)
        return path

    return make
