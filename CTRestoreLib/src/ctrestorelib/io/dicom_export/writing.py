"""Write a derived CT series into a new folder, all of it or nothing (layer: io)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ctrestorelib import __version__
from ctrestorelib.core.errors import InputError, ResourceError, UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.core.volume import Volume
from ctrestorelib.io.dicom.quiet import quiet, read_errors
from ctrestorelib.io.dicom_export.header import CT_IMAGE, series_header, slice_header
from ctrestorelib.io.dicom_export.options import (
    DEFAULT_OPTIONS,
    DEFAULT_STAMP,
    Dataset,
    ExportOptions,
    Stamp,
)
from ctrestorelib.io.dicom_export.pixels import Encoding, as_exported, encoding_for
from ctrestorelib.io.dicom_export.plan import ExportPlan, plan_export
from ctrestorelib.io.dicom_export.source import SourceLike
from ctrestorelib.io.notes import Note

IMPLEMENTATION_UID = "2.25.13771137888372644403865684778296386614"
"""Names CTRestore as the writer in every file; made once, at random."""

_EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Parameters
    ----------
    files
        In the order of their positions along the slices' normal.
    clipped
        Voxels whose value a signed 16-bit number cannot hold.
    notes
        What was assumed or changed, in sentences without names.
    same_grid
        Whether every slice repeats the pixels' places of one source slice.
    """

    files: tuple[Path, ...]
    clipped: int
    notes: tuple[Note, ...]
    series_uid: str
    study_uid: str
    same_grid: bool


def export_series(
    volume: Volume,
    provenance: Provenance | None,
    folder: Path,
    *,
    source: SourceLike = None,
    options: ExportOptions = DEFAULT_OPTIONS,
    stamp: Stamp = DEFAULT_STAMP,
    job: Job | None = None,
) -> ExportReport:
    """Write a volume as a derived CT series, one file a slice.

    Parameters
    ----------
    volume
        Values ``[k, j, i]`` in HU, 1/mm (converted) or grey values (declared as such).
    provenance
        How it was made; goes into the descriptions and a private block.
    folder
        A new or empty folder; it appears only when the series is complete.
    source
        What it was made from: lends patient, study and frame of reference. A path, paths, data sets
        or a :class:`SourceSeries`; None makes a new patient and study. Where the grid is that of
        the source's slices, positions are copied text for text.
    options, stamp
        Choices, and where UIDs and time come from.
    job
        Asked before every slice whether the person cancelled, and told how far it is.

    Raises
    ------
    UsageError
        If the folder exists and is not empty.
    InputError
        If the volume has values that are not numbers, or the source cannot be read.
    GeometryError
        If DICOM cannot hold the grid, or the record names another source.
    ResourceError
        If the disk is full or the folder cannot be written to.
    """
    require_free(folder)
    with quiet():
        plan = plan_export(volume, provenance, source=source, options=options, stamp=stamp)
        values, notes = as_exported(volume, plan)
        encoding, more = encoding_for(values, plan)
        common = series_header(plan, encoding)
        with new_folder(folder) as temporary:
            names, clipped = _write_slices(
                temporary, plan, common, values, encoding=encoding, stamp=stamp, job=job or Job()
            )
    notes = [*plan.notes, *notes, *more, *_clip_notes(clipped, volume)]
    files = tuple(folder / name for name in names)
    return ExportReport(
        files, clipped, tuple(notes), plan.series_uid, plan.study_uid, plan.matches is not None
    )


def _write_slices(
    folder: Path,
    plan: ExportPlan,
    common: Dataset,
    volume: Volume,
    *,
    encoding: Encoding,
    stamp: Stamp,
    job: Job,
) -> tuple[list[str], int]:
    names, clipped = [], 0
    with job.stage("Write the images", 1.0) as stage:
        for n, k in enumerate(stage.track(plan.order)):
            header = slice_header(plan, common, k, stamp.new_uid())
            stored, lost = encoding.stored(volume.values[k])
            clipped += lost
            names.append(f"IM{n + 1:05d}.dcm")
            write_image(header, stored, folder / names[-1])
    return names, clipped


def write_image(header: Dataset, stored: NDArray[np.int16], path: Path) -> None:
    """Write one uncompressed CT image, Explicit VR Little Endian.

    Raises
    ------
    InputError
        If the header holds something that cannot be written; the message names no value.
    """
    import pydicom

    header.file_meta = _file_meta(header.SOPInstanceUID)
    header.add_new(0x7FE00010, "OW", stored.tobytes())
    try:
        if int(pydicom.__version__.split(".")[0]) >= 3:
            header.save_as(path, enforce_file_format=True)
        else:
            header.is_little_endian, header.is_implicit_VR = True, False
            header.save_as(path, write_like_original=False)
    except OSError:
        raise
    except read_errors():
        # The cause is not chained: its text may quote a patient's data.
        message = "An attribute copied from the source series cannot be written."
        hint = "The source's header is damaged; export the series again from the archive."
        raise InputError(message, hint=hint) from None


def _file_meta(uid: str) -> Dataset:
    from pydicom.dataset import FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CT_IMAGE, uid
    meta.TransferSyntaxUID = _EXPLICIT_LITTLE
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = f"CTRESTORE_{__version__}"[:16]
    return meta


def _clip_notes(clipped: int, volume: Volume) -> list[Note]:
    if not clipped:
        return []
    text = (
        f"{clipped} voxels lay outside -32768 to 32767 {volume.unit.label} and were set to the "
        "nearest of these."
    )
    return [Note("clipped", text)]


def require_free(folder: Path) -> None:
    """Raise :class:`UsageError` unless a folder is new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        message = f"The output folder {folder.name} exists already and is not empty."
        raise UsageError(message, hint="Name a new folder; nothing is ever overwritten.")


@contextmanager
def new_folder(folder: Path) -> Generator[Path, None, None]:
    """Yield a temporary folder beside ``folder``; rename it when the block succeeds.

    Raises
    ------
    UsageError
        If ``folder`` exists and is not empty.
    ResourceError
        If it cannot be written to or the disk is full; nothing remains then.
    """
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".ctrestore-", dir=folder.parent))
        yield temporary
        require_free(folder)
        if folder.exists():
            folder.rmdir()
        temporary.chmod(0o777 & ~_umask())
        temporary.rename(folder)
    except OSError as error:
        message = f"Cannot write {folder.name}: {error.strerror or 'the disk refused'}."
        hint = "Check free space and write permission; nothing was written."
        raise ResourceError(message, hint=hint) from error
    finally:
        if temporary is not None and temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    import os

    mask = os.umask(0)
    os.umask(mask)
    return mask
