"""Sort image files into series and choose the one to read (layer: io)."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ctrestorelib.core.errors import InputError
from ctrestorelib.io.dicom.frames import FrameHeader
from ctrestorelib.io.dicom.headers import CT_CLASSES, FileHeader, read_header
from ctrestorelib.io.dicom.quiet import quiet
from ctrestorelib.io.dicom.sources import Source
from ctrestorelib.io.notes import Note


@dataclass(frozen=True)
class SeriesInfo:
    """One series of a folder, without anything about the patient.

    Parameters
    ----------
    index
        Number for ``--series``, counted from 1.
    kind
        ``"ct"`` (slices of a CT image), ``"localizer"`` (scout views), ``"projections"`` or
        ``"other"``.
    uid
        SeriesInstanceUID; empty if the files state none.
    images
        Number of slices.
    pixel_spacing_mm
        Distance between rows, then columns; None if the first image does not say.
    """

    index: int
    kind: str
    modality: str
    uid: str = field(repr=False)
    images: int
    rows: int
    columns: int
    pixel_spacing_mm: tuple[float, float] | None

    def __str__(self) -> str:
        word = self.kind if self.kind in ("localizer", "projections") else self.modality
        images = f"{self.images} image" + "s" * (self.images != 1)
        spacing = self.pixel_spacing_mm
        pixel = f", {spacing[1]:.4g} x {spacing[0]:.4g} mm pixels" if spacing else ""
        return f"{self.index}: {word}, {images} of {self.columns} x {self.rows}{pixel}"


@dataclass(frozen=True, eq=False)
class Slice:
    """One image: a frame and the file that holds it."""

    file: FileHeader
    frame: FrameHeader


@dataclass(frozen=True, eq=False)
class Series:
    """A series: what to tell about it, and its slices as they were found."""

    info: SeriesInfo
    slices: tuple[Slice, ...]


@dataclass(frozen=True, eq=False)
class Scan:
    """Everything found under a path.

    Parameters
    ----------
    damaged
        Number of files that say they are DICOM but cannot be read.
    ignored
        Number of files that hold no image.
    """

    series: tuple[Series, ...]
    damaged: int
    ignored: int


def scan(sources: Sequence[Source]) -> Scan:
    """Read the header of every file once and group the images into series.

    Raises
    ------
    InputError
        If the only file is damaged or hostile; among several, such files are counted.
    """
    found: list[FileHeader] = []
    damaged = ignored = 0
    with quiet():
        for source in sources:
            try:
                header = read_header(source)
            except InputError:
                if len(sources) == 1:
                    raise
                damaged += 1
                continue
            if header is None:
                ignored += 1
            else:
                found.append(header)
    return Scan(_group(found), damaged, ignored)


def choose(found: Scan, wanted: str | None) -> tuple[Series, list[Note]]:
    """Return the series to read, with notes about what was left aside.

    Without ``wanted`` the only series is taken, or the only CT image series among others.

    Raises
    ------
    InputError
        If there is none, or more than one that could be meant.
    """
    if not found.series:
        count = found.damaged + found.ignored
        message = f"No DICOM image was found among {count} file" + "s" * (count != 1) + "."
        if found.damaged:
            message = f"{message[:-1]}; {found.damaged} of them are damaged."
        raise InputError(message, hint="Name the folder that holds the slices of one CT series.")
    series = _only(found) if wanted is None else _named(found, wanted)
    others = [s for s in found.series if s is not series]
    notes = [_others_note(others)] if others else []
    if found.damaged:
        text = f"{found.damaged} files say they are DICOM but are damaged; they were left out."
        notes.append(Note("damaged-files", text))
    return series, notes


def without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], list[Note]]:
    """Drop files that repeat another one byte for byte."""
    counts = Counter((s.file.sop_uid, s.frame.frame) for s in slices)
    seen: set[tuple[str, int, str]] = set()
    kept: list[Slice] = []
    for item in slices:
        key = (item.file.sop_uid, item.frame.frame)
        if counts[key] > 1:
            identity = (*key, _digest(item.file.source))
            if identity in seen:
                continue
            seen.add(identity)
        kept.append(item)
    dropped = len(slices) - len(kept)
    text = f"{dropped} images are identical copies of others in the series; each was read once."
    return kept, [Note("identical-copies", text)] if dropped else []


def _digest(source: Source) -> str:
    digest = hashlib.sha256()
    with source.open() as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _group(headers: Iterable[FileHeader]) -> tuple[Series, ...]:
    by_uid: dict[str, list[FileHeader]] = defaultdict(list)
    for header in headers:
        by_uid[header.series_uid].append(header)
    groups = [part for files in by_uid.values() for part in _split_by_folder(files)]
    groups.sort(key=lambda files: (files[0].series_number, files[0].series_uid))
    return tuple(_series(files, index + 1) for index, files in enumerate(groups))


def _split_by_folder(files: list[FileHeader]) -> list[list[FileHeader]]:
    """Split a series that lies in two folders twice; leave one spread over folders together."""
    places: dict[str, set[str]] = defaultdict(set)
    for header in files:
        places[header.sop_uid].add(header.source.folder)
    if all(len(folders) == 1 for folders in places.values()):
        return [files]
    by_folder: dict[str, list[FileHeader]] = defaultdict(list)
    for header in files:
        by_folder[header.source.folder].append(header)
    return list(by_folder.values())


def _series(files: list[FileHeader], index: int) -> Series:
    slices = tuple(Slice(header, frame) for header in files for frame in header.frames)
    first = slices[0]
    spacing = first.frame.pixel_spacing
    info = SeriesInfo(
        index=index,
        kind=_kind(slices),
        modality=first.file.modality,
        uid=first.file.series_uid,
        images=len(slices),
        rows=first.file.rows,
        columns=first.file.columns,
        pixel_spacing_mm=(spacing[0], spacing[1]) if spacing else None,
    )
    return Series(info, slices)


def _kind(slices: Sequence[Slice]) -> str:
    if all(s.frame.is_localizer for s in slices):
        return "localizer"
    if any(s.file.is_projection for s in slices):
        return "projections"
    is_ct = all(s.file.modality == "CT" and s.file.sop_class in CT_CLASSES for s in slices)
    return "ct" if is_ct else "other"


def _only(found: Scan) -> Series:
    for candidates in ([s for s in found.series if s.info.kind == "ct"], list(found.series)):
        if len(candidates) == 1:
            return candidates[0]
    raise _ambiguous(found, "The folder holds {count} series")


def _named(found: Scan, wanted: str) -> Series:
    matches = [s for s in found.series if wanted.strip() in (str(s.info.index), s.info.uid)]
    if len(matches) != 1:
        raise _ambiguous(found, "The series that --series names is not among the {count} found")
    return matches[0]


def _ambiguous(found: Scan, start: str) -> InputError:
    listed = "; ".join(str(s.info) for s in found.series[:12])
    more = "; ..." if len(found.series) > 12 else ""
    message = f"{start.format(count=len(found.series))} - {listed}{more}."
    return InputError(message, hint="Choose one by its number, for example --series 1.")


def _others_note(others: Sequence[Series]) -> Note:
    listed = "; ".join(str(s.info).partition(": ")[2] for s in others[:5])
    more = "; ..." if len(others) > 5 else ""
    word = "series was" if len(others) == 1 else "series were"
    return Note("other-series", f"{len(others)} other {word} left aside: {listed}{more}.")
