"""The headers of the series that a result was made from (layer: io)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.io.dicom import elements
from ctrestorelib.io.dicom.container import open_container
from ctrestorelib.io.dicom.enhanced import frame_headers
from ctrestorelib.io.dicom.frames import FrameHeader
from ctrestorelib.io.dicom.headers import CT_CLASSES
from ctrestorelib.io.dicom.quiet import quiet, read_errors
from ctrestorelib.io.dicom.series import choose, scan, without_copies
from ctrestorelib.io.dicom.sources import FileSource, Source, open_sources
from ctrestorelib.io.dicom_export.options import Dataset

_HINT = "Name the folder of the series that the result was made from."


@dataclass(frozen=True, eq=False)
class SourceSlice:
    """One image of the source.

    Parameters
    ----------
    header
        All its attributes without pixels, those of a frame of a multi-frame file included.
    frame
        Geometry and value scale, as the reader understands them.
    """

    header: Dataset
    frame: FrameHeader

    @property
    def rows_columns(self) -> tuple[int, int]:
        """Size in pixels."""
        return elements.whole(self.header, "Rows"), elements.whole(self.header, "Columns")

    @cached_property
    def corners_lps_mm(self) -> NDArray[np.float64] | None:
        """Centres of the first pixel, of its row's and column's last one, and of the last."""
        frame, (rows, columns) = self.frame, self.rows_columns
        if frame.position is None or frame.orientation is None or frame.pixel_spacing is None:
            return None
        origin, axes = np.array(frame.position), np.array(frame.orientation).reshape(2, 3)
        along_row = axes[0] * frame.pixel_spacing[1] * (columns - 1)
        along_column = axes[1] * frame.pixel_spacing[0] * (rows - 1)
        corners = [0 * along_row, along_row, along_column, along_row + along_column]
        found: NDArray[np.float64] = origin + np.array(corners)
        return found


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """A series of one patient: CT slices, or projections that lend only patient and study."""

    slices: tuple[SourceSlice, ...]

    @property
    def first(self) -> Dataset:
        """Header that speaks for patient, study and series."""
        return self.slices[0].header

    @cached_property
    def is_ct(self) -> bool:
        """Whether these are CT slices with a place in space."""
        known = {elements.uid(s.header, "SOPClassUID") for s in self.slices} <= set(CT_CLASSES)
        return known and all(s.corners_lps_mm is not None for s in self.slices)

    @cached_property
    def sop_instance_uids(self) -> frozenset[str]:
        """Of all its files."""
        return frozenset(elements.uid(s.header, "SOPInstanceUID") for s in self.slices)

    @classmethod
    def of(cls, source: SourceLike) -> SourceSeries | None:
        """Return a series from whatever names it: itself, a path, paths or data sets.

        Raises
        ------
        InputError
            If it holds no image, several series, or files that cannot be read.
        """
        if source is None or isinstance(source, SourceSeries):
            return source
        if isinstance(source, Path):
            return cls.open(source)
        return cls.from_files(list(source))

    @classmethod
    def open(cls, path: Path, series: str | None = None) -> SourceSeries:
        """Read the headers of one series of a folder, a zip archive or a file.

        Parameters
        ----------
        path
            Where to look; subfolders are included.
        series
            Its number or SeriesInstanceUID, needed if there are several CT series.

        Raises
        ------
        InputError
            If no series, or more than one, could be meant.
        """
        with open_sources(path) as sources:
            chosen, _notes = choose(scan(sources), series)
            slices, _notes = without_copies(chosen.slices)
            kept = [s for s in slices if not s.frame.is_localizer] or slices
            headers: dict[int, Dataset] = {}
            for item in kept:
                if id(item.file) not in headers:
                    headers[id(item.file)] = _read_header(item.file.source)
            found = [(headers[id(s.file)], s.frame) for s in kept]
        return cls(tuple(SourceSlice(_flat(ds, frame), frame) for ds, frame in found))

    @classmethod
    def from_files(cls, items: Sequence[Path | Dataset]) -> SourceSeries:
        """Return the series of files or of data sets already in memory.

        Raises
        ------
        InputError
            If there is none, one cannot be read, or they belong to several series.
        """
        found: list[SourceSlice] = []
        for item in items:
            header = _read_path(item) if isinstance(item, Path) else item
            if not elements.uid(header, "SOPClassUID"):
                message = "A file of the source series is no DICOM image."
                raise InputError(message, hint=_HINT)
            with quiet():
                frames = frame_headers(header)
                found += [SourceSlice(_flat(header, f), f) for f in frames if not f.is_localizer]
        if not found:
            message = "The source series holds no image."
            raise InputError(message, hint=_HINT)
        uids = {elements.uid(s.header, "SeriesInstanceUID") for s in found}
        if len(uids) > 1:
            message = f"The source images belong to {len(uids)} series; one was expected."
            raise InputError(message, hint=_HINT)
        return cls(tuple(found))


SourceLike = SourceSeries | Path | Sequence[Any] | None


def _read_path(path: Path) -> Dataset:
    if not path.is_file():
        message = "A file of the source series does not exist any more."
        raise InputError(message, hint=_HINT)
    return _read_header(FileSource(path, "", path.stat().st_size))


def _read_header(source: Source) -> Dataset:
    import pydicom

    with quiet():
        try:
            container = open_container(source)
            if container is None:
                raise EOFError
            with container.stream:
                return pydicom.dcmread(container.stream, stop_before_pixels=True)
        except read_errors():
            # The cause is not chained: its text may quote a patient's data.
            message = "The header of an image of the source series cannot be read."
            raise InputError(message, hint="Copy or export the series again.") from None


def _flat(header: Dataset, frame: FrameHeader) -> Dataset:
    """Return the header with the values of one frame at its root, as classic files have them."""
    groups = [elements.first_item(header, "SharedFunctionalGroupsSequence")]
    own = elements.items(header, "PerFrameFunctionalGroupsSequence")
    groups += [own[frame.frame]] if own else []
    if not any(groups):
        return header
    import pydicom

    flat = pydicom.Dataset()
    flat.update({e.tag: e for e in header if "FunctionalGroups" not in e.keyword})
    flat.file_meta = getattr(header, "file_meta", None)
    for group in (g for g in groups if g is not None):
        for sequence in group:
            item = elements.first_item(group, sequence.keyword)
            flat.update({} if item is None else {e.tag: e for e in item})
    return flat


def require_known_origin(source: SourceSeries, said: Sequence[str]) -> None:
    """Refuse a source that is not what the record says the result was made from.

    Raises
    ------
    GeometryError
        Never for an empty record; otherwise if none of its images is in the source.
    """
    if said and source.sop_instance_uids.isdisjoint(said):
        message = (
            f"The record says that the result was made from {len(said)} other images: none of "
            "them is in the source series given."
        )
        hint = "Name the series that was restored; a result must not get another patient's name."
        raise GeometryError(message, hint=hint)
