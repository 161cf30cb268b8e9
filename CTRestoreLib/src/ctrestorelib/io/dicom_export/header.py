"""Assemble the header of a derived CT image (layer: io).

First what all images of the series share, then what one slice adds. Modules and types follow the
CT Image IOD (DICOM PS3.3, A.3.3).
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta, timezone

import numpy as np

from ctrestorelib.io.dicom import elements
from ctrestorelib.io.dicom_export import attributes as allowed
from ctrestorelib.io.dicom_export.copying import copy_elements, ds_text, ds_texts, found, has_value
from ctrestorelib.io.dicom_export.matching import slices_near
from ctrestorelib.io.dicom_export.options import Dataset
from ctrestorelib.io.dicom_export.origin import (
    add_derivation,
    add_equipment,
    add_loss,
    add_private_block,
    add_source_images,
    add_source_series,
)
from ctrestorelib.io.dicom_export.pixels import Encoding, add_pixel_module, has_window
from ctrestorelib.io.dicom_export.plan import ExportPlan
from ctrestorelib.io.dicom_export.source import SourceSlice
from ctrestorelib.io.dicom_export.wording import series_description

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_UTF_8, _LATIN_1 = "ISO_IR 192", "ISO_IR 100"
_DEFAULT_WINDOW = ("40", "400")
_DEFAULT_SERIES = 301
_TEXT_VRS = ("PN", "LO", "SH", "LT", "ST", "UT", "UC")


def series_header(plan: ExportPlan, encoding: Encoding) -> Dataset:
    """Return what every image of the series has in common."""
    import pydicom

    header = pydicom.Dataset()
    header.SpecificCharacterSet = _UTF_8
    if plan.source is None:
        _new_patient(header, plan)
    else:
        _copied_patient(header, plan.source.first)
    _add_body_part(header, plan)
    header.SOPClassUID, header.Modality = CT_IMAGE, "CT"
    header.StudyInstanceUID, header.SeriesInstanceUID = plan.study_uid, plan.series_uid
    header.FrameOfReferenceUID = plan.frame_uid
    header.SeriesNumber = _series_number(plan)
    header.SeriesDescription = series_description(plan)
    _add_times(header, plan)
    add_equipment(header, plan)
    add_derivation(header, plan)
    add_source_series(header, plan)
    add_private_block(header, plan)
    add_pixel_module(header, encoding, *plan.geometry.shape[1:])
    _add_spacing_between(header, plan)
    _declare_character_set(header)
    return header


def slice_header(plan: ExportPlan, common: Dataset, k: int, uid: str) -> Dataset:
    """Return the header of slice ``k``; elements of ``common`` are shared, not copied."""
    import pydicom

    header = pydicom.Dataset()
    header.update({element.tag: element for element in common})
    header.SOPInstanceUID = uid
    header.InstanceNumber = plan.instance_numbers[k]
    match = plan.matches[k] if plan.matches is not None else None
    if match is not None:
        copy_elements(match.header, header, allowed.GRID)
        add_source_images(header, [match], same_places=True)
    else:
        _computed_grid(header, plan, k)
        _near_sources(header, plan, k)
    model = match or _model_slice(plan)
    if model is not None:
        _copied_acquisition(header, plan, model.header)
    _add_window(header, plan, model)
    _complete(header)
    return header


def _new_patient(header: Dataset, plan: ExportPlan) -> None:
    who = plan.options.identity
    # Archives merge patients of equal ID, so an anonymous one gets an ID that nobody else has.
    made_up = "CTRESTORE-" + hashlib.sha256(plan.study_uid.encode()).hexdigest()[:12].upper()
    header.PatientName, header.PatientID = who.name, who.patient_id or made_up
    header.PatientBirthDate, header.PatientSex = who.birth_date, who.sex
    header.StudyDate, header.StudyTime = plan.now.strftime("%Y%m%d"), plan.now.strftime("%H%M%S")
    header.StudyID = "1"


def _copied_patient(header: Dataset, source: Dataset) -> None:
    charset = found(source, "SpecificCharacterSet")
    if charset is None or charset.is_empty:
        del header.SpecificCharacterSet
    else:
        header.SpecificCharacterSet = charset.value
    for keywords in (allowed.PATIENT, allowed.STUDY, allowed.SERIES, allowed.CONTRAST):
        copy_elements(source, header, keywords)
    _tidy_contrast(header)


def _tidy_contrast(header: Dataset) -> None:
    """Bring the contrast agent of an enhanced image into the form of a CT image."""
    agents = elements.items(header, "ContrastBolusAgentSequence")
    for agent in agents:
        for element in [e for e in agent if e.keyword not in allowed.CODE]:
            del agent[element.tag]
    if "ContrastBolusAgent" not in header and any(k in header for k in allowed.CONTRAST):
        header.ContrastBolusAgent = elements.text(agents[0], "CodeMeaning") if agents else ""


def _add_body_part(header: Dataset, plan: ExportPlan) -> None:
    if has_value(header, "BodyPartExamined"):
        return
    if plan.options.body_part:
        header.BodyPartExamined = plan.options.body_part
    if plan.options.laterality:
        header.Laterality = plan.options.laterality


def _declare_character_set(header: Dataset) -> None:
    """Name a character set where the source has letters but names none."""
    if "SpecificCharacterSet" in header:
        return
    texts = (e for e in header.iterall() if e.VR in _TEXT_VRS)
    if any(not str(e.value).isascii() for e in texts):
        # Without a declaration the bytes were understood as Latin-1, the customary guess.
        header.SpecificCharacterSet = _LATIN_1


def _series_number(plan: ExportPlan) -> int:
    if plan.options.series_number is not None:
        return plan.options.series_number
    source = elements.whole(plan.source.first, "SeriesNumber", -1) if plan.source else -1
    number = source * 100 + 1
    return number if 0 < number < 2**31 else _DEFAULT_SERIES


def _add_times(header: Dataset, plan: ExportPlan) -> None:
    now = _in_source_zone(header, plan.now)
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    for kind in ("Series", "Content", "InstanceCreation"):
        setattr(header, f"{kind}Date", date)
        setattr(header, f"{kind}Time", time)


def _in_source_zone(header: Dataset, now: datetime) -> datetime:
    """Return the time in the zone that the copied dates are in; drop a zone that is none."""
    said = re.fullmatch(r"([+-])(\d\d)(\d\d)", elements.text(header, "TimezoneOffsetFromUTC"))
    if said is None:
        if "TimezoneOffsetFromUTC" in header:
            del header.TimezoneOffsetFromUTC
        return now
    offset = timedelta(hours=int(said[2]), minutes=int(said[3]))
    return now.astimezone(timezone(-offset if said[1] == "-" else offset))


def _add_spacing_between(header: Dataset, plan: ExportPlan) -> None:
    """State the distance of the slices along their normal, if there is one distance."""
    if plan.geometry.shape[0] < 2:
        return
    i, j, _k = plan.geometry.direction.T
    normal = np.cross(i, j)
    places = plan.corners[:, 0] @ (normal / np.linalg.norm(normal))
    header.SpacingBetweenSlices = ds_text(round(float(np.abs(np.diff(places)).mean()), 9))


def _computed_grid(header: Dataset, plan: ExportPlan, k: int) -> None:
    grid = plan.geometry
    i, j, _k = grid.direction.T
    header.ImagePositionPatient = ds_texts(plan.corners[k][0])
    header.ImageOrientationPatient = ds_texts([*i, *j])
    header.PixelSpacing = ds_texts([grid.spacing_mm[1], grid.spacing_mm[0]])
    normal = np.cross(i, j)
    header.SliceLocation = ds_text(float(plan.corners[k][0] @ normal))


def _near_sources(header: Dataset, plan: ExportPlan, k: int) -> None:
    resampled = plan.keeps_padding and plan.source is not None and plan.source.is_ct
    if resampled and plan.source is not None:
        near = slices_near(plan.corners[k], plan.source.slices)
        add_source_images(header, near, same_places=False)


def _model_slice(plan: ExportPlan) -> SourceSlice | None:
    """Return the slice whose acquisition stands for all of a new grid."""
    if plan.source is None:
        return None
    return plan.source.slices[len(plan.source.slices) // 2]


def _copied_acquisition(header: Dataset, plan: ExportPlan, source: Dataset) -> None:
    copy_elements(source, header, (*allowed.ACQUISITION, "KVP"))
    if plan.keeps_scan:
        copy_elements(source, header, allowed.SCAN)
        copy_elements(source, header, ("ConvolutionKernel",))
    if plan.options.keep_dose and plan.keeps_scan:
        copy_elements(source, header, allowed.DOSE)
    add_loss(header, source, allowed.LOSSY)
    for keyword in allowed.ZERO_MEANS_UNKNOWN:
        if keyword in header and not elements.number(header, keyword):
            delattr(header, keyword)


def _add_window(header: Dataset, plan: ExportPlan, model: SourceSlice | None) -> None:
    if model is None or not plan.keeps_padding or not has_window(model.header):
        header.WindowCenter, header.WindowWidth = _DEFAULT_WINDOW
        return
    copy_elements(model.header, header, ("WindowCenter", "WindowWidth"))
    words = found(model.header, "WindowCenterWidthExplanation")
    if words is not None and words.VM == header["WindowCenter"].VM:
        copy_elements(model.header, header, ("WindowCenterWidthExplanation",))


def _complete(header: Dataset) -> None:
    """Add what must be there even if nobody knows its value."""
    for keyword in allowed.EMPTY_IF_ABSENT:
        if keyword not in header:
            setattr(header, keyword, None)
    # Type 2C where the body part is not named
    if "AnatomicRegionSequence" in header and not has_value(header, "Laterality"):
        header.pop("Laterality", None)
    elif not has_value(header, "BodyPartExamined") and "Laterality" not in header:
        header.Laterality = ""
