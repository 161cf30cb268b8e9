"""Volumes that the stories send, and checks of the files that come back."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

AFFINE_TOLERANCE_MM = 1e-3


def read(path: Path):
    """Return an image with an independent reader."""
    import SimpleITK as sitk

    return sitk.ReadImage(str(path))


def values(image) -> np.ndarray:
    """Return the voxels `[k, j, i]` of an image."""
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(image)


def same_place(image, other) -> None:
    """Assert that two images have the same grid in space."""
    assert image.GetSize() == other.GetSize()
    for of in ("GetOrigin", "GetSpacing", "GetDirection"):
        found, wanted = getattr(image, of)(), getattr(other, of)()
        np.testing.assert_allclose(found, wanted, atol=AFFINE_TOLERANCE_MM, err_msg=of)


def write_case(path: Path, shape=(20, 48, 56), seed: int = 1) -> np.ndarray:
    """Write a noisy rod in water as NIfTI, tilted in space; return its voxels."""
    import SimpleITK as sitk

    array = rod(shape, seed)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.8, 0.9, 1.5))
    image.SetOrigin((-12.5, 30.0, 101.0))
    turn = np.deg2rad(10)
    image.SetDirection((np.cos(turn), -np.sin(turn), 0, np.sin(turn), np.cos(turn), 0, 0, 0, 1))
    sitk.WriteImage(image, str(path))
    return array


def rod(shape, seed: int) -> np.ndarray:
    """Return a bone rod in a water cylinder in air, in HU with noise, as 16-bit integers."""
    _k, j, i = np.mgrid[: shape[0], : shape[1], : shape[2]].astype(np.float32)
    middle = (np.array(shape[1:]) - 1) / 2
    inside = np.hypot((j - middle[0]) / middle[0], (i - middle[1]) / middle[1]) < 0.85
    array = np.where(inside, 40.0, -1000.0)
    array[np.hypot(j - middle[0], i - middle[1] - 6) < 5] = 900.0
    array += np.random.default_rng(seed).normal(0, 25, shape)
    return array.round().astype(np.int16)


def write_dicom_zip(path: Path, shape=(12, 48, 56), seed: int = 3) -> np.ndarray:
    """Write a small CT series as a zip archive, slices in disorder; return its voxels in HU."""
    from pydicom.uid import generate_uid

    array = rod(shape, seed)
    study, series, frame = (generate_uid() for _ in range(3))
    order = np.random.default_rng(seed).permutation(shape[0])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, k in enumerate(order):
            data = _slice(array[k], int(k), study, series, frame)
            archive.writestr(f"CT/image{place:03d}.dcm", data)
    return array


def _slice(array, k: int, study: str, series: str, frame: str) -> bytes:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    head = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    given = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": study, "SeriesInstanceUID": series, "FrameOfReferenceUID": frame,
        "Modality": "CT", "PatientName": "Story^Rod", "PatientID": "STORY-1",
        "PatientBirthDate": "", "PatientSex": "", "StudyDate": "20260101", "StudyTime": "101010",
        "AccessionNumber": "", "ReferringPhysicianName": "", "StudyID": "1", "Manufacturer": "None",
        "SeriesNumber": 4, "InstanceNumber": k + 1, "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ImagePositionPatient": [-20.0, 15.0, 40.0 + 2.5 * k], "SliceThickness": 2.5,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [0.9, 0.7],
        "PositionReferenceIndicator": "", "KVP": 120, "AcquisitionNumber": 1,
        "RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "HU",
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "Rows": array.shape[0], "Columns": array.shape[1], "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 1,
        "PixelData": (array.astype(np.int32) + 1024).astype("<i2").tobytes(),
    }  # fmt: skip
    for name, value in given.items():
        setattr(head, name, value)
    out = io.BytesIO()
    head.save_as(out, enforce_file_format=True)
    return out.getvalue()


def dicom_series_of(archive: Path):
    """Return the datasets of a downloaded zip, from foot to head, and their values in HU."""
    import pydicom

    with zipfile.ZipFile(archive) as found:
        names = [n for n in found.namelist() if n.lower().endswith(".dcm")]
        heads = [pydicom.dcmread(io.BytesIO(found.read(n))) for n in names]
    heads.sort(key=lambda h: float(h.ImagePositionPatient[2]))
    layers = [h.pixel_array * float(h.RescaleSlope) + float(h.RescaleIntercept) for h in heads]
    return heads, np.stack(layers)


def surface_of(path: Path) -> tuple[np.ndarray, float]:
    """Return corners `[x y z low, x y z high]` in mm and volume in mm3 of a surface file."""
    import vtk

    reader = vtk.vtkSTLReader()
    reader.SetFileName(str(path))
    reader.Update()
    mass = vtk.vtkMassProperties()
    mass.SetInputConnection(reader.GetOutputPort())
    bounds = np.array(reader.GetOutput().GetBounds()).reshape(3, 2).T
    return bounds.ravel(), mass.GetVolume()


def corners_above(image, threshold: float) -> np.ndarray:
    """Return the box around all voxel centres of at least this value, in mm (LPS)."""
    found = np.argwhere(values(image) >= threshold)[:, ::-1].astype(float)
    spacing, matrix = np.array(image.GetSpacing()), np.array(image.GetDirection()).reshape(3, 3)
    points = found * spacing @ matrix.T + image.GetOrigin()
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def volumes_of_scene(path: Path, folder: Path) -> dict[str, Path]:
    """Unpack a saved scene (MRB); return the file of each scalar volume by its node's name."""
    import xml.etree.ElementTree as ET

    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    (description,) = folder.rglob("*.mrml")
    root = ET.parse(description).getroot()
    stored = {n.get("id"): n.get("fileName") for n in root.iter("VolumeArchetypeStorage")}
    found = {}
    for node in root.iter("Volume"):
        role = dict(r.split(":") for r in (node.get("references") or "").split(";") if ":" in r)
        file = stored.get(role.get("storage", "").strip())
        if file:
            from urllib.parse import unquote

            found[node.get("name")] = description.parent / unquote(file)
    return found
