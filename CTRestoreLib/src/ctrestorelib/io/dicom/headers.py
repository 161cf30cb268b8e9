"""What the reader keeps of a DICOM header: no name, no date, no free text (layer: io)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ctrestorelib.core.errors import InputError
from ctrestorelib.io.dicom import elements
from ctrestorelib.io.dicom.container import Container, open_container
from ctrestorelib.io.dicom.enhanced import frame_headers
from ctrestorelib.io.dicom.frames import FrameHeader
from ctrestorelib.io.dicom.meter import MeteredStream
from ctrestorelib.io.dicom.pixel_element import PixelElement, find_pixels
from ctrestorelib.io.dicom.quiet import read_errors
from ctrestorelib.io.dicom.sources import Source

CT_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.2.2",
)
"""CT Image, Enhanced CT Image, Legacy Converted Enhanced CT Image."""

_NOT_IMAGES = ("SEG", "SR", "PR", "KO", "REG", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD", "DOC",
               "PLAN", "FID", "RWV", "ECG", "AU")  # fmt: skip

_KEYWORDS = (
    "SOPClassUID", "SOPInstanceUID", "Modality", "ImageType", "SeriesInstanceUID", "SeriesNumber",
    "AcquisitionNumber", "InstanceNumber", "FrameOfReferenceUID", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "GantryDetectorTilt", "Rows",
    "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "NumberOfFrames", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "RescaleType",
    "ModalityLUTSequence", "LossyImageCompression", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
_PROJECTION_ANGLE = 0x70311001  # of DICOM-CT-PD


@dataclass(frozen=True, eq=False)
class FileHeader:
    """The header of one DICOM image file.

    Parameters
    ----------
    source
        Where the file can be opened again.
    transfer_syntax
        UID of the encoding of the file, after inflating.
    signed
        Whether stored values are signed.
    padding
        Lowest and highest stored value that mark pixels never measured, or None.
    is_projection
        Whether the file holds X-ray projections: DICOM-CT-PD, or a run of an angiography system.
    pixels
        Where the pixel data lie; None if the file has none.
    frames
        One header per frame; one for a classic single-slice file.
    """

    source: Source
    transfer_syntax: str
    syntax_assumed: bool
    sop_class: str
    sop_uid: str
    series_uid: str
    series_number: int
    acquisition: int
    modality: str
    frame_of_reference: str
    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    padding: tuple[int, int] | None
    lossy: bool
    has_lookup_table: bool
    tilt_tag_deg: float
    is_projection: bool
    pixels: PixelElement | None
    frames: tuple[FrameHeader, ...] = field(repr=False)


def read_header(source: Source) -> FileHeader | None:
    """Read the header of a file; None if it is not DICOM or holds no image.

    Call inside :func:`~ctrestorelib.io.dicom.quiet.quiet`.

    Raises
    ------
    InputError
        If the file says that it is DICOM but its header cannot be read, or is hostile.
    """
    found = read_with(source, ())
    return None if found is None else found[0]


def read_with(source: Source, tags: Sequence[str | int]) -> tuple[FileHeader, Any] | None:
    """Read a header, and the data set with further elements that ``tags`` names.

    Raises
    ------
    InputError
        As :func:`read_header`.
    """
    try:
        container = open_container(source)
        if container is None:
            return None
        with container.stream:
            return _parse(source, container, tags)
    except read_errors():
        # The cause is not chained: its text may quote a patient's data.
        message = "The header of a DICOM file is damaged and cannot be read."
        raise InputError(message, hint="Export or copy the series again.") from None


def _parse(
    source: Source, container: Container, tags: Sequence[str | int]
) -> tuple[FileHeader, Any] | None:
    import pydicom

    stream: Any = MeteredStream(container.stream)
    dataset = pydicom.dcmread(
        stream, stop_before_pixels=True, specific_tags=[*_KEYWORDS, _PROJECTION_ANGLE, *tags]
    )
    modality = elements.code(dataset, "Modality") or "OT"
    pixels = find_pixels(container.stream, container.transfer_syntax)
    sop_class = elements.uid(dataset, "SOPClassUID")
    if modality in _NOT_IMAGES or (pixels is None and sop_class not in CT_CLASSES):
        return None
    header = _collect(
        dataset, source, container, pixels=pixels, sop_class=sop_class, modality=modality
    )
    return header, dataset


def _collect(
    dataset: Any,
    source: Source,
    container: Container,
    *,
    pixels: PixelElement | None,
    sop_class: str,
    modality: str,
) -> FileHeader:
    allocated = elements.whole(dataset, "BitsAllocated", 16)
    stored = elements.whole(dataset, "BitsStored", allocated)
    signed = elements.whole(dataset, "PixelRepresentation") == 1
    return FileHeader(
        source=source,
        transfer_syntax=container.transfer_syntax,
        syntax_assumed=container.assumed,
        sop_class=sop_class,
        sop_uid=elements.uid(dataset, "SOPInstanceUID"),
        series_uid=elements.uid(dataset, "SeriesInstanceUID"),
        series_number=elements.whole(dataset, "SeriesNumber"),
        acquisition=elements.whole(dataset, "AcquisitionNumber"),
        modality=modality,
        frame_of_reference=elements.uid(dataset, "FrameOfReferenceUID"),
        rows=elements.whole(dataset, "Rows"),
        columns=elements.whole(dataset, "Columns"),
        samples=elements.whole(dataset, "SamplesPerPixel", 1),
        photometric=elements.code(dataset, "PhotometricInterpretation") or "MONOCHROME2",
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=elements.whole(dataset, "HighBit", stored - 1),
        signed=signed,
        padding=_padding(dataset, allocated, signed=signed),
        lossy=elements.text(dataset, "LossyImageCompression") == "01",
        has_lookup_table=bool(elements.items(dataset, "ModalityLUTSequence")),
        tilt_tag_deg=elements.number(dataset, "GantryDetectorTilt") or 0.0,
        is_projection=_PROJECTION_ANGLE in dataset or modality in ("XA", "RF"),
        pixels=pixels,
        frames=frame_headers(dataset),
    )


def _padding(dataset: Any, bits: int, *, signed: bool) -> tuple[int, int] | None:
    """Return the padding range in stored values.

    Writers confuse the signed and the unsigned form of these two elements, so the bit pattern
    counts, read as the pixels are.
    """
    value = elements.number(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = elements.number(dataset, "PixelPaddingRangeLimit")
    given = (value, value if limit is None else limit)
    ends = [_as_stored(int(v), bits, signed=signed) for v in given]
    return min(ends), max(ends)


def _as_stored(value: int, bits: int, *, signed: bool) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value
