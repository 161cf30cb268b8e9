"""Source series as scanners write them, records, and validators for what is exported."""

from __future__ import annotations

import datetime
import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from ctrestorelib.core.provenance import InputIdentity, Provenance
from ctrestorelib.core.volume import Volume
from ctrestorelib.io.dicom_export import Stamp
from ctrestorelib.io.dicom_series import read_series

CT = "1.2.840.10008.5.1.4.1.1.2"
NAME = "Käfer^Jörg"
MARKS = ("Käfer", "Jörg", "ID-4711", "19600229", "Überweiser", "ACC-99")
PADDING_HU = -3024


def numbers(values: Any) -> list[str]:
    return [pydicom.valuerep.format_number_as_ds(float(v)) for v in values]


def turned(x_deg: float, y_deg: float, z_deg: float) -> np.ndarray:
    """Return a rotation matrix."""
    out = np.eye(3)
    for axis, degrees in enumerate((x_deg, y_deg, z_deg)):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        a, b = [n for n in range(3) if n != axis]
        turn = np.eye(3)
        turn[a, a], turn[a, b], turn[b, a], turn[b, b] = c, -s, s, c
        out = turn @ out
    return out


def source_slice(k: int, *, charset: str | None, name: str) -> FileDataset:
    """Return a header with everything that an export must copy, change or drop."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CT, f"1.2.3.4.{k + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    if charset is not None:
        ds.SpecificCharacterSet = charset
    ds.SOPClassUID, ds.SOPInstanceUID = CT, f"1.2.3.4.{k + 1}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.9"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = (
        name,
        "ID-4711",
        "19600229",
        "M",
    )
    ds.ReferringPhysicianName, ds.AccessionNumber = name, "ACC-99"
    ds.StudyDate, ds.StudyTime, ds.StudyID = "20240105", "101112.5", "77"
    ds.StudyDescription, ds.PatientAge, ds.PatientWeight = "Knee", "063Y", "81.5"
    ds.SeriesDate, ds.SeriesTime, ds.SeriesNumber = "20240105", "101500", 4
    ds.SeriesDescription, ds.Modality, ds.ImageType = (
        "Knee 0.6",
        "CT",
        ["ORIGINAL", "PRIMARY", "AXIAL"],
    )
    ds.AcquisitionDate, ds.AcquisitionTime, ds.AcquisitionNumber = "20240105", "101333", 2
    ds.ContentDate, ds.ContentTime = "20240105", "101501"
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = "Acme", "Scan 9000", ["a", "b"]
    ds.StationName, ds.InstitutionName, ds.DeviceSerialNumber = "CT-1", "Klinik", "4242"
    ds.BodyPartExamined, ds.Laterality, ds.PatientPosition = "KNEE", "L", "HFS"
    ds.ProtocolName, ds.KVP, ds.XRayTubeCurrent, ds.Exposure = "Knie", "120", 200, 100
    ds.ConvolutionKernel, ds.TableSpeed, ds.CTDIvol = "B60", 0.0, 12.5
    ds.PositionReferenceIndicator = ""
    ds.SliceThickness = "0.75"
    ds.WindowCenter, ds.WindowWidth = ["400", "40"], ["1800", "350"]
    ds.WindowCenterWidthExplanation = ["BONE", "SOFT_TISSUE"]
    ds.SmallestImagePixelValue = 0
    ds.add_new(0x00280107, "US", 4095)
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.OperatorsName = name
    step = Dataset()
    step.ReferencedSOPClassUID, step.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.3", "1.2.8"
    ds.ReferencedPerformedProcedureStepSequence = [step]
    block = ds.private_block(0x0019, "ACME PRIVATE", create=True)
    block.add_new(0x01, "LO", name)
    return ds


def write_source(
    folder: Path,
    *,
    shape: tuple[int, int, int] = (5, 14, 11),
    axes: np.ndarray | None = None,
    step: np.ndarray | None = None,
    origin: Any = (-20.25, -31.5, 100.123456),
    spacing: tuple[float, float] = (0.45, 0.4),
    gap: float = 1.25,
    charset: str | None = "ISO_IR 100",
    name: str = NAME,
    padding: bool = False,
    edit: Any = lambda ds, k: None,
) -> Path:
    """Write a source series of 12-bit HU + 1024, in random file order and reversed numbering."""
    turn = np.eye(3) if axes is None else axes
    travel = gap * turn[:, 2] if step is None else np.asarray(step)
    rng = np.random.default_rng(5)
    folder.mkdir(parents=True)
    for k in range(shape[0]):
        ds = source_slice(k, charset=charset, name=name)
        place = np.asarray(origin) + k * travel
        ds.ImagePositionPatient = numbers(place)
        ds.ImageOrientationPatient = numbers([*turn[:, 0], *turn[:, 1]])
        ds.PixelSpacing, ds.InstanceNumber = numbers(spacing), shape[0] - k
        ds.SliceLocation = numbers([place @ turn[:, 2]])[0]
        stored = rng.integers(24, 3000, shape[1:]).astype(np.int16)
        if padding:
            stored[0, :3] = PADDING_HU + 1024
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Rows, ds.Columns = shape[1:]
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = "1", "-1024"
        if padding:  # as many writers do: unsigned, though the pixels are signed
            ds.add_new(0x00280120, "US", (PADDING_HU + 1024) & 0xFFFF)
        ds.PixelData = stored.tobytes()
        edit(ds, k)
        ds.save_as(folder / f"{(k * 7) % shape[0]}-{k}", enforce_file_format=True)
    return folder


def record(
    uids: tuple[str, ...] = (),
    *,
    role: str = "volume",
    method: str = "nlm",
    weights: dict[str, str] | None = None,
    **more: Any,
) -> Provenance:
    """Return a record as the runner makes it."""
    inputs = (InputIdentity(role, "0" * 64, (90, 8, 9), uids),)
    return Provenance(
        method, "3", more.pop("params", {"h": 0.5}), inputs, {}, 0,
        weights_sha256=weights or {}, output_sha256="a" * 64, **more,
    )  # fmt: skip


def restored(source: Path, shift: float = 0.3) -> tuple[Volume, Provenance]:
    """Return a source's volume, a little changed except for its padding, and its record."""
    read = read_series(source)
    values = np.where(read.volume.values < -1500, read.volume.values, read.volume.values + shift)
    return read.volume.with_values(values), record(read.sop_instance_uids)


def fixed_stamp() -> Stamp:
    """Return the same UIDs and the same time in every test."""
    counter = itertools.count(1)
    zone = datetime.timezone(datetime.timedelta(hours=1))
    now = datetime.datetime(2026, 5, 4, 3, 2, 1, tzinfo=zone)
    return Stamp(lambda: f"2.25.{next(counter)}", lambda: now)


def datasets(files: Any) -> list[Dataset]:
    return [pydicom.dcmread(path) for path in files]


needs_validators = pytest.mark.skipif(
    shutil.which("dciodvfy") is None or shutil.which("dcentvfy") is None,
    reason="dicom3tools are not installed",
)


def complaints(path: Path) -> list[str]:
    """Return what dciodvfy says about a file, without what it says about our private block."""
    command = ["dciodvfy", "-new", str(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.startswith(("Error", "Warning"))]
    return [line for line in lines if '"CTRESTORE RECORD 1"' not in line]


def disagreements(files: Any) -> str:
    """Return what dcentvfy says about series that belong to one study."""
    command = ["dcentvfy", *map(str, files)]
    done = subprocess.run(command, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")
