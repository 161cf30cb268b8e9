"""Gather an exported series into one multi-frame file, for archives that prefer it (layer: io).

The object is a Legacy Converted Enhanced CT Image (DICOM PS3.3, A.70), made by highdicom. It names
the single images that it was converted from, so it goes beside them and never instead of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ctrestorelib.core.errors import InputError
from ctrestorelib.io.dicom import elements
from ctrestorelib.io.dicom.quiet import quiet, read_errors
from ctrestorelib.io.dicom_export.copying import item
from ctrestorelib.io.dicom_export.options import DEFAULT_STAMP, Dataset, Stamp
from ctrestorelib.io.dicom_export.segmentation import highdicom_package
from ctrestorelib.io.dicom_export.writing import new_folder

_FOURTH_WORD = {"113085": "RESAMPLED", "113087": "FILTERED"}
"""Code of the first derivation step -> value 4 of the image type of an enhanced image."""


def export_multi_frame(
    exported_files: Sequence[Path], folder: Path, *, stamp: Stamp = DEFAULT_STAMP
) -> Path:
    """Write one Legacy Converted Enhanced CT file with all images of an exported series.

    Parameters
    ----------
    exported_files
        The images, as :class:`ExportReport` lists them.
    folder
        A new or empty folder, which gets ``MF00001.dcm``.

    Raises
    ------
    UsageError
        If the folder is not empty.
    InputError
        If the images cannot be read or gathered, or highdicom is not installed.
    ResourceError
        If the folder cannot be written to; nothing remains then.
    """
    hd = highdicom_package("a multi-frame file")
    with quiet(), new_folder(folder) as temporary:
        _gathered(hd, exported_files, stamp).save_as(temporary / "MF00001.dcm")
    return folder / "MF00001.dcm"


def _gathered(hd: Any, files: Sequence[Path], stamp: Stamp) -> Dataset:
    import pydicom

    try:
        images = [pydicom.dcmread(path) for path in files]
        made = hd.legacy.LegacyConvertedEnhancedCTImage(
            images,
            series_instance_uid=stamp.new_uid(),
            series_number=elements.whole(images[0], "SeriesNumber") + 1,
            sop_instance_uid=stamp.new_uid(),
            instance_number=1,
        )
        _finish(made, images)
    except read_errors():
        # The cause is not chained: its text may quote a patient's data.
        message = "The exported images cannot be gathered into one multi-frame file."
        raise InputError(message, hint="Name the images of one exported series.") from None
    return made


def _finish(made: Dataset, images: Sequence[Dataset]) -> None:
    """Add what highdicom leaves out, and use the words that enhanced images have.

    The second word of their image type is always PRIMARY (PS3.3, C.8.16.1.2).
    """
    made.SeriesDescription = images[0].SeriesDescription
    codes = elements.items(images[0], "DerivationCodeSequence")
    fourth = _FOURTH_WORD.get(codes[0].CodeValue, "NONE") if codes else "NONE"
    made.ImageType = ["DERIVED", "PRIMARY", "VOLUME", fourth]
    for group in (made.SharedFunctionalGroupsSequence, made.PerFrameFunctionalGroupsSequence):
        for one in group:
            for kind in elements.items(one, "CTImageFrameTypeSequence"):
                kind.FrameType = made.ImageType
    evidence = _evidence(images)
    if evidence is not None:
        made.SourceImageEvidenceSequence = [evidence]


def _evidence(images: Sequence[Dataset]) -> Dataset | None:
    listed = [s for image in images for s in elements.items(image, "ReferencedSeriesSequence")]
    if not listed:
        return None
    instances = {
        elements.uid(r, "ReferencedSOPInstanceUID"): elements.uid(r, "ReferencedSOPClassUID")
        for series in listed
        for r in elements.items(series, "ReferencedInstanceSequence")
    }
    references = [
        item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=uid)
        for uid, sop_class in instances.items()
    ]
    series = item(SeriesInstanceUID=listed[0].SeriesInstanceUID, ReferencedSOPSequence=references)
    return item(StudyInstanceUID=images[0].StudyInstanceUID, ReferencedSeriesSequence=[series])
