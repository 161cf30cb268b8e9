"""Who made the pixels and from what: equipment, derivation, references (layer: io)."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from ctrestorelib import __version__
from ctrestorelib.io.dicom import elements
from ctrestorelib.io.dicom_export.copying import ascii_text, code_item, copy_elements, found, item
from ctrestorelib.io.dicom_export.options import Dataset
from ctrestorelib.io.dicom_export.plan import ExportPlan, Origin
from ctrestorelib.io.dicom_export.source import SourceSlice
from ctrestorelib.io.dicom_export.wording import (
    derivation_description,
    kernel_label,
    record_json,
    software_versions,
)

MANUFACTURER = "CTRestore project"
MODEL = "CTRestore"
PRIVATE_GROUP = 0x0077
PRIVATE_CREATOR = "CTRESTORE RECORD 1"

_EQUIPMENT = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions")
_PLACE = ("StationName", "InstitutionName", "InstitutionalDepartmentName")


def add_equipment(header: Dataset, plan: ExportPlan) -> None:
    """Name CTRestore as the maker of the pixels and the scanner as a contributor.

    PS3.3, C.12.1.1.5: a post-processing application describes itself in the General Equipment
    module; what contributed before goes into the Contributing Equipment Sequence.
    """
    header.Manufacturer, header.ManufacturerModelName = MANUFACTURER, MODEL
    header.DeviceSerialNumber = f"version {__version__}"
    header.SoftwareVersions = software_versions(plan)
    chain = []
    if plan.source is not None:
        first = plan.source.first
        chain = copy.deepcopy(list(elements.items(first, "ContributingEquipmentSequence")))
        chain.append(_scanner(first))
        if plan.options.scanner_as_manufacturer:
            copy_elements(first, header, ("Manufacturer", "ManufacturerModelName"))
    chain.append(_own_item(header, plan))
    header.ContributingEquipmentSequence = chain


def _scanner(source: Dataset) -> Dataset:
    made = item(Manufacturer="UNKNOWN")
    copy_elements(source, made, (*_EQUIPMENT, *_PLACE))
    if not elements.text(made, "Manufacturer"):
        made.Manufacturer = "UNKNOWN"  # Type 1 inside this sequence
    derived = elements.texts(source, "ImageType")[:1] == ("DERIVED",)
    made.PurposeOfReferenceCodeSequence = [code_item("109102" if derived else "109101")]
    return made


def _own_item(header: Dataset, plan: ExportPlan) -> Dataset:
    made = item(
        Manufacturer=MANUFACTURER,
        ManufacturerModelName=MODEL,
        SoftwareVersions=header.SoftwareVersions,
        ContributionDateTime=plan.now.strftime("%Y%m%d%H%M%S"),
        ContributionDescription=ascii_text(f"{plan.origin.value}; research use only", 1024),
    )
    purpose = "109100" if plan.options.synthetic else "109102"
    made.PurposeOfReferenceCodeSequence = [code_item(purpose)]
    return made


def add_derivation(header: Dataset, plan: ExportPlan) -> None:
    """Say that the image is derived, how, and that it is for research."""
    header.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    header.DerivationDescription = derivation_description(plan)
    codes = _derivation_codes(plan)
    if codes:
        header.DerivationCodeSequence = [code_item(code) for code in codes]
    header.ContentQualification = "RESEARCH"
    if plan.options.synthetic or _is_synthetic(plan):
        header.add_new(0x0008001C, "CS", "YES")  # SyntheticData; pydicom 2 has no keyword
    if plan.origin is Origin.RECONSTRUCTED:
        header.ConvolutionKernel = kernel_label(plan)


def _derivation_codes(plan: ExportPlan) -> list[str]:
    """Return the successive steps; no code of CID 7203 fits what is not listed here."""
    if plan.origin is Origin.DENOISED:
        return ["113087"]
    if plan.origin is Origin.RESAMPLED:
        return ["113085", "113087"]
    if plan.origin is Origin.RECONSTRUCTED and plan.provenance is not None and not plan.learned:
        return ["113962" if plan.provenance.method in ("fdk", "fbp") else "113963"]
    return []


def _is_synthetic(plan: ExportPlan) -> bool:
    if plan.source is None or 0x0008001C not in plan.source.first:
        return False
    return str(plan.source.first[0x0008001C].value).strip().upper() == "YES"


def add_source_series(header: Dataset, plan: ExportPlan) -> None:
    """Refer to the source series as a whole."""
    if plan.source is None or not elements.uid(plan.source.first, "SeriesInstanceUID"):
        return
    purpose = [code_item("121323")]
    header.RelatedSeriesSequence = [
        item(
            StudyInstanceUID=plan.study_uid,
            SeriesInstanceUID=elements.uid(plan.source.first, "SeriesInstanceUID"),
            PurposeOfReferenceCodeSequence=purpose,
        )
    ]


def add_source_images(header: Dataset, slices: Iterable[SourceSlice], *, same_places: bool) -> None:
    """Refer to the images that one slice was made from, and list them by series."""
    images, instances, seen = [], [], set()
    for one in slices:
        image = _reference(one)
        frames = elements.whole(one.header, "NumberOfFrames", 1) > 1
        if frames:
            image.ReferencedFrameNumber = one.frame.frame + 1
        image.SpatialLocationsPreserved = "YES" if same_places else "NO"
        image.PurposeOfReferenceCodeSequence = [code_item("121322")]
        images.append(image)
        if image.ReferencedSOPInstanceUID not in seen:
            seen.add(image.ReferencedSOPInstanceUID)
            instances.append(_reference(one))
        series = elements.uid(one.header, "SeriesInstanceUID")
    if not images or not all(i.ReferencedSOPInstanceUID for i in instances) or not series:
        return
    header.SourceImageSequence = images
    header.ReferencedSeriesSequence = [
        item(SeriesInstanceUID=series, ReferencedInstanceSequence=instances)
    ]


def _reference(one: SourceSlice) -> Dataset:
    return item(
        ReferencedSOPClassUID=elements.uid(one.header, "SOPClassUID"),
        ReferencedSOPInstanceUID=elements.uid(one.header, "SOPInstanceUID"),
    )


def add_private_block(header: Dataset, plan: ExportPlan) -> None:
    """Keep the whole record in one private block; archives may drop it, so it is a copy only.

    ========== == =====================================================
    (0077,xx01) UT the record as JSON: ASCII, no names, folders or curves
    (0077,xx02) LO method and version
    (0077,xx03) LO SHA-256 of the restored values, as float32
    ========== == =====================================================
    """
    record = plan.provenance
    if record is None or not plan.options.private_block:
        return
    block: Any = header.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True)
    block.add_new(0x01, "UT", record_json(record))
    block.add_new(0x02, "LO", ascii_text(f"{record.method} {record.method_version}", 64))
    if record.output_sha256:
        block.add_new(0x03, "LO", ascii_text(record.output_sha256, 64))
    header.PrivateDataElementCharacteristicsSequence = [
        item(
            PrivateGroupReference=PRIVATE_GROUP,
            PrivateCreatorReference=PRIVATE_CREATOR,
            BlockIdentifyingInformationStatus="SAFE",
        )
    ]


def add_loss(header: Dataset, source: Dataset, keywords: Iterable[str]) -> None:
    """Carry on that pixels were once compressed with loss: that never becomes untrue."""
    copy_elements(source, header, keywords)
    syntax = getattr(getattr(source, "file_meta", None), "TransferSyntaxUID", "")
    if str(syntax) in _LOSSY_SYNTAXES and found(header, "LossyImageCompressionMethod") is None:
        header.LossyImageCompression = "01"


_LOSSY_SYNTAXES = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 81))
