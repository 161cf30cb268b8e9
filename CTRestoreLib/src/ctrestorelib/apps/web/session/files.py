"""What the files are that a person opens, and their content as arrays (layer: apps).

Nothing here touches the scene, so that reading can happen beside the page's event loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.volume import Volume
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.io.dicom.series import scan
from ctrestorelib.io.dicom.sources import FileSource, open_sources
from ctrestorelib.io.dicom_series import list_series, read_series
from ctrestorelib.io.notes import Note
from ctrestorelib.io.paths import ITK_SUFFIXES, NIFTI_SUFFIXES, suffix_of
from ctrestorelib.io.projections import read_projections
from ctrestorelib.io.volumes import read_volume

PROJECTION_SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs", ".mat", ".xtekct", ".log",
                       ".hnd", ".hnc", ".xim", ".his")  # fmt: skip
GEOMETRY_SUFFIXES = (".json", ".xml")
DICOM_SUFFIXES = ("", ".dcm", ".dicom", ".ima")
TIFF_SUFFIXES = (".tif", ".tiff")
VOLUME_SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES, *TIFF_SUFFIXES, ".npy", ".npz")


@dataclass(frozen=True)
class Opened:
    """One thing that was read.

    Parameters
    ----------
    name
        What the node is called; never a full path.
    content
        A volume, or projections with their scan geometry.
    notes
        What had to be assumed.
    sop_instance_uids
        Of a DICOM series.
    instances
        Its files by SOP Instance UID, for a later export.
    """

    name: str
    content: Volume | ProjectionSet
    notes: tuple[Note, ...] = ()
    sop_instance_uids: tuple[str, ...] = ()
    instances: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SeriesChoice:
    """Several DICOM series lie in one place: the person says which.

    Parameters
    ----------
    path
        The folder or archive.
    entries
        What each series is, and its number.
    """

    path: Path
    entries: tuple[tuple[str, str], ...]


def places_of(paths: Sequence[Path]) -> list[Path]:
    """Return what to open, each thing once: a file, or the folder of a series or stack.

    A geometry file beside its projections belongs to them; so do the raw data of a header file.
    """
    out: list[Path] = []
    for path in paths:
        for inner in _inside(path) if path.is_dir() else [path]:
            slices = inner.is_file() and suffix_of(inner) in DICOM_SUFFIXES and len(paths) > 1
            place = inner.parent if slices else inner
            if place not in out and not _belongs(place):
                out.append(place)
    return out


def read_place(path: Path, series: str | None = None) -> Opened | SeriesChoice:
    """Read a volume, a DICOM series or projections; takes a while.

    Parameters
    ----------
    path
        File or folder.
    series
        Number of the DICOM series wanted.

    Raises
    ------
    CTRestoreError
        If it cannot be read; the sentence says what was expected.
    """
    if is_projections(path):
        read = read_projections(path)
        return Opened(name_of(path), read.projections, read.notes)
    if suffix_of(path) in (*DICOM_SUFFIXES, ".zip") or path.is_dir():
        return _read_dicom(path, series) if not _holds(path, TIFF_SUFFIXES) else _read(path)
    return _read(path)


def is_projections(path: Path) -> bool:
    """Return whether this holds X-ray views: by its suffix, or by the geometry file beside it."""
    if path.is_dir():
        return _holds(path, PROJECTION_SUFFIXES)
    suffix = suffix_of(path)
    return suffix in PROJECTION_SUFFIXES or (suffix in VOLUME_SUFFIXES and _has_geometry(path))


def is_geometry(path: Path) -> bool:
    """Return whether this may be a scan geometry alone."""
    return path.is_file() and suffix_of(path) in GEOMETRY_SUFFIXES


def name_of(path: Path) -> str:
    """Return a name for a node: the file's own without its suffix."""
    return path.name if path.is_dir() else path.name.removesuffix(_ending(path)) or path.name


def _read(path: Path) -> Opened:
    read = read_volume(path)
    return Opened(name_of(path), read.volume, read.notes, read.sop_instance_uids)


def _read_dicom(path: Path, series: str | None) -> Opened | SeriesChoice:
    try:
        read = read_series(path, series=series)
    except InputError:
        listed = [] if series else list_series(path)
        listed = [info for info in listed if info.kind == "ct"] or listed
        if len(listed) < 2:
            raise
        return SeriesChoice(path, tuple((str(info), str(info.index)) for info in listed))
    uids = read.sop_instance_uids
    return Opened(name_of(path), read.volume, read.notes, uids, _instances(path, set(uids)))


def _instances(path: Path, wanted: set[str]) -> dict[str, str]:
    """Return the file of each instance; nothing for an archive, whose members are no files."""
    with open_sources(path) as sources:
        return {
            item.file.sop_uid: str(item.file.source.path)
            for series in scan(sources).series
            for item in series.slices
            if item.file.sop_uid in wanted and isinstance(item.file.source, FileSource)
        }


def _inside(folder: Path) -> list[Path]:
    """Return the single files of a folder, or the folder itself where its files are one thing."""
    whole = (*DICOM_SUFFIXES, *TIFF_SUFFIXES, *PROJECTION_SUFFIXES)
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith(".")]
    single = [p for p in files if suffix_of(p) in (*VOLUME_SUFFIXES, *GEOMETRY_SUFFIXES)]
    if not single or any(suffix_of(p) in whole for p in files):
        return [folder]
    return single


def _belongs(path: Path) -> bool:
    """Return whether a file is a part of another one beside it."""
    suffix = suffix_of(path)
    if suffix == ".raw":
        return path.with_suffix(".mhd").is_file() or path.with_suffix(".nhdr").is_file()
    if suffix not in GEOMETRY_SUFFIXES:
        return False
    stem = path.name.removesuffix(".geometry.json").removesuffix(".xml")
    beside = (p for p in path.parent.iterdir() if suffix_of(p) in VOLUME_SUFFIXES)
    return any(name_of(p) == stem for p in beside)


def _has_geometry(path: Path) -> bool:
    return any(path.with_name(name_of(path) + end).is_file() for end in (".geometry.json", ".xml"))


def _holds(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.is_dir() and any(p.suffix.lower() in suffixes for p in path.iterdir())


def _ending(path: Path) -> str:
    return path.name[len(path.name) - len(suffix_of(path)) :]
