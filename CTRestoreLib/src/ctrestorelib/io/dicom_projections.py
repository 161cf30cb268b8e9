"""Projections in DICOM files: DICOM-CT-PD series and rotational X-ray angiography (layer: io).

::

    files -> headers (once) -> views of one series -> checks -> readings -> ProjectionSet
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ctrestorelib.core.errors import InputError
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.io import dicom_projections_ctpd as ctpd
from ctrestorelib.io import dicom_projections_xa as xa
from ctrestorelib.io.dicom.headers import read_with
from ctrestorelib.io.dicom.memory import memory_told
from ctrestorelib.io.dicom.quiet import quiet
from ctrestorelib.io.dicom.sources import Source, open_sources
from ctrestorelib.io.notes import Note
from ctrestorelib.io.reading import ReadOptions

SUFFIXES = (".dcm", ".dicom", ".ima", ".zip")
_PEEKS = 8


def holds_dicom(path: Path) -> bool:
    """Whether a file, or one of the first files below a folder, begins as DICOM does."""
    inside = (p for p in path.rglob("*") if p.is_file()) if path.is_dir() else iter([path])
    for file in islice(inside, _PEEKS):
        try:
            with file.open("rb") as stream:
                if stream.read(132)[128:] == b"DICM":
                    return True
        except OSError:
            continue
    return False


def read(path: Path, options: ReadOptions) -> tuple[ProjectionSet, list[Note]]:
    """Read the one projection series under a folder, in a zip archive or in a file.

    Raises
    ------
    InputError
        If there is none, more than one, or it cannot be read.
    GeometryError
        If the headers do not describe a scan.
    ResourceError
        If it does not fit into memory.
    """
    with memory_told():
        return _read(path, options)


def _read(path: Path, options: ReadOptions) -> tuple[ProjectionSet, list[Note]]:
    with open_sources(path) as sources:
        found = _find(sources)
        if found.views and found.runs:
            message = "The folder holds CT projections and rotational angiography at once."
            raise InputError(message, hint="Open the folder of one scan.")
        if found.views:
            projections, notes = ctpd.read_views(found.views, options)
        else:
            projections, notes = xa.read_run(_one_run(found), options)
    if found.defects:
        text = f"{len(found.defects)} files say they are DICOM but are damaged; they were left out."
        notes.append(Note("damaged-files", text))
    return projections, notes


@dataclass
class _Found:
    views: list[ctpd.View] = field(default_factory=list)
    runs: list[xa.Run] = field(default_factory=list)
    defects: list[InputError] = field(default_factory=list)
    others: int = 0


def _find(sources: Sequence[Source]) -> _Found:
    found = _Found()
    tags = (*ctpd.TAGS, *xa.KEYWORDS)
    with quiet():
        for source in sources:
            try:
                read_file = read_with(source, tags)
                if read_file is None:
                    found.others += 1
                elif ctpd.is_view(read_file[1]):
                    found.views.append(ctpd.parse(*read_file))
                elif xa.is_run(*read_file):
                    found.runs.append(xa.parse(*read_file))
                else:
                    found.others += 1
            except InputError as error:
                found.defects.append(error)
    if found.defects and not (found.views or found.runs):
        raise found.defects[0]
    return found


def _one_run(found: _Found) -> xa.Run:
    if len(found.runs) == 1:
        return found.runs[0]
    if found.runs:
        message = f"The folder holds {len(found.runs)} X-ray runs; which one is not clear."
        raise InputError(message, hint="Open the file of the rotational run itself.")
    message = (
        f"None of the {found.others} files holds projections: expected "
        "DICOM-CT-PD or a rotational X-ray angiography run."
    )
    hint = "CT slices are opened as a volume, not as projections."
    raise InputError(message, hint=hint)
