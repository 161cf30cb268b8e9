"""DICOM files made in code: every syntax, multi-frame files, projections. No patient in them.

The tests of this folder write them to read them back; the fuzzer spoils them.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY_ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.2"
XA = "1.2.840.10008.5.1.4.1.1.12.1"
ENHANCED_XA = "1.2.840.10008.5.1.4.1.1.12.1.1"

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED, PLAIN_FRAMES = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.1.98"
RLE, JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
JPEG_8, JPEG_LOSSLESS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70"

PATIENT = "Geheim^Person"


def dataset(n: int = 0, sop_class: str = CT, *, series: str = "1.2.3.4.5") -> FileDataset:
    """Return an image without pixels and geometry."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = f"{series}.{n + 1}"
    meta.TransferSyntaxUID = EXPLICIT
    ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, f"{series}.{n + 1}"
    ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.FrameOfReferenceUID = series, "1.2.3", "1.2.9"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = PATIENT, "ID-4711", "19600101"
    ds.Modality, ds.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.InstanceNumber = n + 1
    return ds


def numbers(values: Any) -> list[str]:
    """Return numbers as DICOM's decimal strings."""
    return [pydicom.valuerep.format_number_as_ds(float(v)) for v in values]


def set_pixels(ds: Dataset, stored: np.ndarray, bits: int = 16) -> None:
    """Put plain pixels into a data set."""
    size = stored.dtype.itemsize
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    used = min(bits, 8 * size)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * size, used, used - 1
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    if stored.ndim == 3:
        ds.NumberOfFrames = len(stored)
    ds.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    ds["PixelData"].VR = "OW"


def set_frames(ds: Dataset, syntax: str, frames: Sequence[bytes]) -> None:
    """Replace the pixels by compressed frames."""
    ds.PixelData = encapsulate(list(frames))
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = syntax


def packed(ds: FileDataset, syntax: str | None = None) -> bytes:
    """Return the bytes of a file; plain syntaxes are converted, others must be set already."""
    syntax = syntax or str(ds.file_meta.TransferSyntaxUID)
    ds.file_meta.TransferSyntaxUID = syntax
    little, implicit = syntax != BIG, syntax == IMPLICIT
    if not little:
        width = ds.BitsAllocated // 8
        ds.PixelData = np.frombuffer(ds.PixelData, f"<u{width}").astype(f">u{width}").tobytes()
    out = io.BytesIO()
    if pydicom.__version__ >= "3":
        pydicom.dcmwrite(out, ds, enforce_file_format=True)
    else:
        ds.is_little_endian, ds.is_implicit_VR = little, implicit
        pydicom.dcmwrite(out, ds, write_like_original=False)
    return out.getvalue()


def classic(
    n: int = 0, stored: np.ndarray | None = None, *, gap: float = 1.25, tilt: float = 0.0
) -> FileDataset:
    """Return one slice of a small CT series."""
    if stored is None:
        stored = np.random.default_rng(n).integers(0, 2000, (12, 10)).astype(np.uint16)
    ds = dataset(n)
    ds.ImagePositionPatient = numbers((-10, -20 + n * tilt, 30 + n * gap))
    ds.ImageOrientationPatient = numbers((1, 0, 0, 0, 1, 0))
    ds.PixelSpacing, ds.SliceThickness = ["0.7", "0.8"], "1.25"
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = "1", "-1024", "HU"
    set_pixels(ds, stored)
    return ds


def compressed(syntax: str) -> FileDataset:
    """Return one slice in a compressed syntax."""
    import imagecodecs

    stored = np.add.outer(np.arange(32), 3 * np.arange(24)).astype(np.uint16)
    if syntax == JPEG_8:
        ds = classic(0, stored.astype(np.uint8))
        frame = imagecodecs.jpeg_encode(stored.astype(np.uint8), level=95)
    else:
        ds = classic(0, stored)
        encode = {
            RLE: rle_frame,
            JPEG_LS: imagecodecs.jpegls_encode,
            JPEG_2000: lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k", reversible=True),
            JPEG_LOSSLESS: lambda a: imagecodecs.ljpeg_encode(a, bitspersample=16),
            PLAIN_FRAMES: lambda a: a.astype("<u2").tobytes(),
        }[syntax]
        frame = encode(stored)
    set_frames(ds, syntax, [bytes(frame)])
    return ds


def rle_frame(values: np.ndarray) -> bytes:
    """Return 16-bit values as DICOM's RLE, all of it literal runs."""
    segments = []
    for plane in (values >> 8, values & 0xFF):
        body = b""
        raw = plane.astype(np.uint8).tobytes()
        for start in range(0, len(raw), 128):
            part = raw[start : start + 128]
            body += bytes([len(part) - 1]) + part
        segments.append(body + b"\0" * (len(body) % 2))
    offsets = [64, 64 + len(segments[0])] + [0] * 13
    return struct.pack("<16L", 2, *offsets) + b"".join(segments)


def enhanced(
    stored: np.ndarray,
    positions: Sequence[Any],
    *,
    sop_class: str = ENHANCED_CT,
    intercepts: Sequence[float] | None = None,
    stacks: Sequence[str] | None = None,
    moments: Sequence[int] | None = None,
    shared_rescale: bool = False,
    orientations: Sequence[Any] | None = None,
) -> FileDataset:
    """Return a multi-frame CT with values shared by all frames or stated for each."""
    ds = dataset(0, sop_class)
    set_pixels(ds, stored)
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ["0.5", "0.6"], "2"
    shared.PixelMeasuresSequence = [measures]
    if orientations is None:
        plane.ImageOrientationPatient = numbers((1, 0, 0, 0, 1, 0))
        shared.PlaneOrientationSequence = [plane]
    if shared_rescale:
        shared.PixelValueTransformationSequence = [_rescale(-1024)]
    ds.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for n, position in enumerate(positions):
        group, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = numbers(position)
        content.DimensionIndexValues = [1, n + 1]
        if stacks is not None:
            content.StackID, content.InStackPositionNumber = stacks[n], n + 1
        if moments is not None:
            content.TemporalPositionIndex = moments[n]
        group.PlanePositionSequence, group.FrameContentSequence = [place], [content]
        if not shared_rescale:
            value = -1024 if intercepts is None else intercepts[n]
            group.PixelValueTransformationSequence = [_rescale(value)]
        if orientations is not None:
            own = Dataset()
            own.ImageOrientationPatient = numbers(orientations[n])
            group.PlaneOrientationSequence = [own]
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = groups
    return ds


def _rescale(intercept: float) -> Dataset:
    scale = Dataset()
    scale.RescaleSlope, scale.RescaleIntercept = numbers((2, intercept))
    scale.RescaleType = "HU"
    return scale


def projection(
    n: int,
    readings: np.ndarray,
    *,
    phi: float,
    z: float = 0.0,
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0),
    rho: float = 500.0,
    distance: float = 900.0,
    element_mm: tuple[float, float] = (4.0, 3.0),
    centre: tuple[float, float] | None = None,
    shape: str = "CYLINDRICAL",
    as_bytes: bool = False,
    position: str | None = "HFS",
    slope: float = 1e-4,
) -> FileDataset:
    """Return a file of a DICOM-CT-PD series; ``readings`` are line integrals ``[row, col]``.

    ``element_mm`` and ``centre`` name rows before columns, the latter counted from 1.
    """
    ds = dataset(n)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    set_pixels(ds, np.rint(readings.T / slope).clip(0, 65535).astype(np.uint16))
    ds.RescaleSlope, ds.RescaleIntercept = numbers((slope, 0))
    if position:
        ds.PatientPosition = position
    rows, columns = readings.shape
    row, column = centre or ((rows + 1) / 2, (columns + 1) / 2)
    of: list[tuple[int, str, Any]] = [
        (0x70291010, "US", rows), (0x70291011, "US", columns), (0x7029100B, "CS", shape),
        (0x70291002, "FL", element_mm[1]), (0x70291006, "FL", element_mm[0]),
        (0x70311001, "FL", phi), (0x70311002, "FL", z), (0x70311003, "FL", rho),
        (0x70311031, "FL", distance), (0x70311033, "FL", [column, row]),
        (0x7033100B, "FL", shift[0]), (0x7033100C, "FL", shift[1]), (0x7033100D, "FL", shift[2]),
        (0x70331065, "FL", [1e5] * columns), (0x70391009, "CS", "YES"),
        (0x70411001, "DS", "0.0193"),
    ]  # fmt: skip
    for group in (0x7029, 0x7031, 0x7033, 0x7039, 0x7041):
        ds.add_new(group << 16 | 0x10, "LO", "CT-PD")
    for tag, vr, value in of:
        ds.add_new(tag, vr, value)
        if as_bytes:
            ds[tag] = pydicom.DataElement(tag, "UN", _bytes(vr, value))
    return ds


def _bytes(vr: str, value: Any) -> bytes:
    if vr in ("CS", "DS"):
        return str(value).encode() + b" " * (len(str(value)) % 2)
    many = value if isinstance(value, list) else [value]
    return struct.pack(f"<{len(many)}{'H' if vr == 'US' else 'f'}", *many)


def run(
    readings: np.ndarray,
    primary_deg: Sequence[float],
    *,
    sod: float = 500.0,
    sdd: float = 900.0,
    pixel_mm: tuple[float, float] = (4.0, 3.0),
    secondary: float = 0.0,
    is_enhanced: bool = False,
    steps: str = "relative",
    letters: Sequence[str] | None = ("L", "F"),
) -> FileDataset:
    """Return a rotational run; ``readings`` are intensities ``[frame, row, col]`` as shown."""
    ds = dataset(0, ENHANCED_XA if is_enhanced else XA)
    ds.Modality, ds.ImageType = "XA", ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    set_pixels(ds, np.rint(readings).clip(0, 65535).astype(np.uint16))
    angles = np.asarray(primary_deg, dtype=float)
    if letters is not None:
        ds.PatientOrientation = list(letters)
    if is_enhanced:
        _enhanced_angles(ds, angles, secondary, (sod, sdd, pixel_mm))
        return ds
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LIN", 1
    ds.PositionerPrimaryAngle, ds.PositionerSecondaryAngle = numbers((angles[0], secondary))
    ds.PositionerMotion = "DYNAMIC"
    relative = angles - angles[0]
    if steps == "single":
        ds.PositionerPrimaryAngleIncrement = numbers([relative[1]])
    else:
        by = np.diff(relative, prepend=0) if steps == "each" else relative
        ds.PositionerPrimaryAngleIncrement = numbers(by)
    ds.DistanceSourceToPatient, ds.DistanceSourceToDetector = numbers((sod, sdd))
    ds.ImagerPixelSpacing = numbers(pixel_mm)
    return ds


def _enhanced_angles(ds: Dataset, angles: np.ndarray, secondary: float, shared_values: Any) -> None:
    sod, sdd, pixel_mm = shared_values
    shared, geometry, pixels = Dataset(), Dataset(), Dataset()
    geometry.DistanceSourceToIsocenter, geometry.DistanceSourceToDetector = sod, numbers([sdd])[0]
    pixels.ImagerPixelSpacing = numbers(pixel_mm)
    pixels.PixelIntensityRelationship, pixels.PixelIntensityRelationshipSign = "LIN", 1
    shared.XRayGeometrySequence, shared.FramePixelDataPropertiesSequence = [geometry], [pixels]
    ds.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for angle in angles:
        group, place = Dataset(), Dataset()
        place.PositionerPrimaryAngle, place.PositionerSecondaryAngle = numbers((angle, secondary))
        group.PositionerPositionSequence = [place]
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = groups


def without_preamble(data: bytes) -> bytes:
    """Return the data set alone, as some archives store it."""
    with io.BytesIO(data) as stream:
        ds = pydicom.dcmread(stream)
    out = io.BytesIO()
    ds.preamble = None
    if pydicom.__version__ >= "3":
        bare = Dataset(ds)
        pydicom.dcmwrite(out, bare, implicit_vr=True, little_endian=True)
    else:
        pydicom.dcmwrite(out, ds, write_like_original=True)
    return out.getvalue()


def deflate_bomb(megabytes: int) -> bytes:
    """Return a small deflated file that unfolds to ``megabytes``."""
    uid = DEFLATED.encode()
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(uid)) + uid
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = [engine.compress(struct.pack("<HH2sHL", 9, 0x10, b"OB", 0, megabytes << 20))]
    body += [engine.compress(bytes(1 << 20)) for _ in range(megabytes)]
    return bytes(128) + b"DICM" + meta + b"".join(body) + engine.flush()


def zipped(files: dict[str, bytes]) -> bytes:
    """Return an archive with files of any names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            member = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, data)
    return out.getvalue()


def seeds() -> Iterator[tuple[str, bytes]]:
    """Yield a name and the bytes of every kind of file that the reader knows."""
    for name, syntax in (("implicit", IMPLICIT), ("explicit", EXPLICIT), ("big", BIG),
                         ("deflated", DEFLATED)):  # fmt: skip
        yield name, packed(classic(), syntax)
    signed = np.random.default_rng(1).integers(-1000, 2000, (12, 10)).astype(np.int16)
    yield "signed", packed(classic(0, signed))
    yield "wide", packed(classic(0, signed.astype(np.int32)))
    yield "bytes", packed(classic(0, np.arange(120, dtype=np.uint8).reshape(12, 10)))
    for name, syntax in (("rle", RLE), ("jpeg-ls", JPEG_LS), ("jpeg-2000", JPEG_2000),
                         ("jpeg", JPEG_8), ("jpeg-lossless", JPEG_LOSSLESS),
                         ("plain-frames", PLAIN_FRAMES)):  # fmt: skip
        yield name, packed(compressed(syntax))
    stored = np.random.default_rng(2).integers(0, 2000, (4, 8, 8)).astype(np.uint16)
    places = [(0, 0, 2 * n) for n in range(4)]
    yield "enhanced", packed(enhanced(stored, places))
    yield "enhanced-big", packed(enhanced(stored, places), BIG)
    yield "enhanced-implicit", packed(enhanced(stored, places, stacks=list("aabb")), IMPLICIT)
    yield "legacy", packed(enhanced(stored, places, sop_class=LEGACY_ENHANCED_CT))
    multi = enhanced(stored, places)
    set_frames(multi, RLE, [rle_frame(s) for s in stored])
    yield "enhanced-rle", packed(multi)
    readings = np.random.default_rng(3).random((4, 12))
    yield "projection", packed(projection(0, readings, phi=0.1))
    yield "projection-bytes", packed(projection(0, readings, phi=0.1, as_bytes=True), IMPLICIT)
    frames = np.random.default_rng(4).random((5, 6, 8)) * 1000
    yield "run", packed(run(frames, [0, 40, 80, 120, 160]))
    yield "run-enhanced", packed(run(frames, [0, 40, 80, 120, 160], is_enhanced=True))
    yield "bare", without_preamble(packed(classic()))
    yield "zip", zipped({f"a/{n}": packed(classic(n)) for n in range(3)})
