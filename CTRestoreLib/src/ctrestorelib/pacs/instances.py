"""The DICOM files of a folder as things to send (layer: pacs)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctrestorelib.core.errors import InputError
from ctrestorelib.io.dicom import elements
from ctrestorelib.io.dicom.container import open_container
from ctrestorelib.io.dicom.pixel_element import PixelElement, find_pixels
from ctrestorelib.io.dicom.quiet import quiet, read_errors
from ctrestorelib.io.dicom.sources import FileSource, open_sources
from ctrestorelib.io.paths import natural_key

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_SIZES = ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel", "NumberOfFrames")


@dataclass(frozen=True)
class Instance:
    """One DICOM file.

    Parameters
    ----------
    number
        1, 2, ... in the natural order of the files; how log lines and sentences name it.
    path
        The file.
    sop_class, uid, study, series
        UIDs of its class, itself, its study and its series.
    syntax
        UID of its transfer syntax.
    whole
        Whether the file holds all pixels that its header states.
    """

    number: int
    path: Path
    sop_class: str
    uid: str
    study: str
    series: str
    syntax: str
    whole: bool = True


def is_uid(text: str) -> bool:
    """Whether a text has the form of a DICOM unique identifier."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def require_uid(text: str, what: str) -> str:
    """Return ``text`` if it is a UID.

    Raises
    ------
    InputError
        If not.
    """
    if not is_uid(text):
        message = f"The {what} must be a DICOM UID: numbers with dots, at most 64 signs."
        raise InputError(message, hint="Copy it from the archive's viewer.")
    return text


def find_instances(folder: Path) -> tuple[Instance, ...]:
    """Return the DICOM instances of a folder with its subfolders, in natural order of the names.

    Raises
    ------
    InputError
        If the folder does not exist, holds no DICOM file, a file cannot be sent (damaged header,
        no UIDs, no patient ID), or two files have the same SOP instance UID.
    """
    if not folder.is_dir():
        message = "The folder to send does not exist."
        raise InputError(message, hint="Name the folder that the export wrote.")
    found: list[Instance] = []
    with open_sources(folder) as sources, quiet():
        files = [s for s in sources if isinstance(s, FileSource)]
        for source in sorted(files, key=lambda s: natural_key(str(s.path))):
            instance = _read(source, len(found) + 1)
            found += [instance] if instance else []
    if not found:
        message = "The folder holds no DICOM file."
        raise InputError(message, hint="Name the folder that the export wrote.")
    _require_distinct(found)
    return tuple(found)


def _read(source: FileSource, number: int) -> Instance | None:
    """Return the instance in a file; None if this is no DICOM file."""
    import pydicom

    try:
        container = open_container(source)
        if container is None:
            return None
        with container.stream as stream:
            tags = [*_UIDS, *_SIZES, "PatientID"]
            header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=tags)
            pixels = find_pixels(stream, container.transfer_syntax)
            syntax = str(header.file_meta.TransferSyntaxUID)
    except read_errors():
        message = f"File {number} of the folder is DICOM, but its header is damaged."
        raise InputError(message, hint="Export the series again.") from None
    whole = pixels is None or (pixels.is_complete and _enough(pixels, header))
    return _instance(number, source.path, header, syntax=syntax, whole=whole)


def _enough(pixels: PixelElement, header: Any) -> bool:
    """Whether plain pixel data are as long as the header's sizes ask for."""
    rows, columns, bits = (elements.whole(header, name) for name in _SIZES[:3])
    samples, frames = (elements.whole(header, name, 1) for name in _SIZES[3:])
    return pixels.fragments > 0 or pixels.length * 8 >= rows * columns * bits * samples * frames


def _instance(number: int, path: Path, header: Any, *, syntax: str, whole: bool) -> Instance:
    sop_class, uid, study, series = (elements.uid(header, name) for name in _UIDS)
    if not all(is_uid(u) for u in (sop_class, uid, study, series)):
        message = f"File {number} of the folder has no valid class, instance, study or series UID."
        raise InputError(message, hint="Export the series again.")
    if not elements.text(header, "PatientID"):
        message = f"File {number} of the folder has no patient ID; an archive could not file it."
        raise InputError(message, hint="Export with a source series or a template of the patient.")
    return Instance(number, path, sop_class, uid, study, series, syntax, whole)


def _require_distinct(found: list[Instance]) -> None:
    first: dict[str, int] = {}
    for instance in found:
        other = first.setdefault(instance.uid, instance.number)
        if other != instance.number:
            message = f"Files {other} and {instance.number} have the same SOP instance UID."
            hint = "Send a folder with one copy of the series."
            raise InputError(message, hint=hint)
