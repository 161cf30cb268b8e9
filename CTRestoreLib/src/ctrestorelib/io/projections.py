"""Reading and writing projection sets of every supported format (layer: io)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ctrestorelib.core.errors import InputError
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.io import (
    data_exchange,
    dicom_projections,
    matlab_projections,
    nikon,
    projection_stacks,
    skyscan,
    vendor_panels,
)
from ctrestorelib.io.geometry_files import read_geometry
from ctrestorelib.io.notes import Note
from ctrestorelib.io.paths import existing, suffix_of
from ctrestorelib.io.reading import ReadOptions
from ctrestorelib.io.rtk_xml import DetectorImage

FORMATS = (
    "stacks (.mha, .nrrd, .tif, .npy or a folder of .tif) with a geometry file, HDF5 DataExchange "
    "(.h5), HTC 2022 (.mat), Nikon (.xtekct), Bruker/Skyscan (.log), DICOM (CT-PD and rotational "
    "angiography) and, with the rtk extra, flat-panel files (.hnd, .hnc, .xim, .his)"
)


@dataclass(frozen=True)
class ProjectionsRead:
    """Projections as read, and what was assumed on the way.

    Parameters
    ----------
    projections
        Values, geometry, kind.
    notes
        Assumptions and oddities, in reading order.
    format
        ``stack``, ``dataexchange``, ``matlab``, ``nikon``, ``skyscan``, ``dicom`` or ``panel``.
    """

    projections: ProjectionSet
    notes: tuple[Note, ...] = ()
    format: str = ""


def read_projections(
    path: Path | str,
    *,
    geometry: Path | str | None = None,
    i0: float | None = None,
    kind: ProjectionKind | None = None,
    pixel_mm: float | None = None,
    centre: float | None = None,
) -> ProjectionsRead:
    """Read the projections of a scan together with their geometry.

    Rows come out upwards along the rotation axis and columns to the right as seen from the source.

    Parameters
    ----------
    path
        File, or folder with a TIFF stack or a scanner's header file.
    geometry
        Our JSON or RTK's XML. Without it, a stack ``NAME.mha`` looks for ``NAME.geometry.json`` and
        ``NAME.xml`` beside it; the other formats bring their own.
    i0
        Reading without an object; wins over the file's own.
    kind
        Counts or line integrals, where the file does not say. Otherwise: whole numbers and values
        above 50 are counts.
    pixel_mm
        Detector pixel size, where the file does not state it.
    centre
        Column of the rotation axis (0 is the first pixel's centre), for formats with a turntable.
        Without it: what the file says, or for parallel beams what the data show.

    Raises
    ------
    InputError
        If the file is missing, damaged, of unknown format, or counts lack ``i0``.
    GeometryError
        If there is no geometry, or it does not fit the projections.
    ResourceError
        If they would not fit into memory.
    """
    path = existing(Path(path))
    options = ReadOptions(
        geometry=None if geometry is None else Path(geometry),
        i0=i0,
        kind=None if kind is None else ProjectionKind(kind),
        pixel_mm=pixel_mm,
        centre=centre,
    )
    file, name, reader = _reader_for(path)
    projections, notes = reader(file, options)
    if options.geometry is not None and name not in ("stack", "panel"):
        rows_cols = projections.geometry.detector_shape
        detector = DetectorImage.centred(rows_cols, projections.geometry.pixel_mm)
        projections = projections.replace(geometry=read_geometry(options.geometry, detector))
        text = "The geometry file given replaces the scan's own geometry."
        notes = [*notes, Note("geometry-replaced", text)]
    return ProjectionsRead(projections, tuple(notes), name)


Reader = Callable[[Path, ReadOptions], "tuple[ProjectionSet, list[Note]]"]


def _reader_for(path: Path) -> tuple[Path, str, Reader]:
    if path.is_dir():
        return _reader_for_folder(path)
    suffix = suffix_of(path)
    readers: list[tuple[tuple[str, ...], str, Reader]] = [
        ((".h5", ".hdf5", ".hdf", ".nxs"), "dataexchange", data_exchange.read),
        ((".mat",), "matlab", matlab_projections.read),
        ((".xtekct",), "nikon", nikon.read),
        ((".log",), "skyscan", skyscan.read),
        (vendor_panels.SUFFIXES, "panel", vendor_panels.read),
        (projection_stacks.SUFFIXES, "stack", projection_stacks.read),
    ]
    for suffixes, name, reader in readers:
        if suffix in suffixes:
            return path, name, reader
    if suffix in dicom_projections.SUFFIXES or dicom_projections.holds_dicom(path):
        return path, "dicom", dicom_projections.read
    message = f"{path.name} is not a projection format that CTRestore reads."
    if suffix in (".json", ".xml"):
        message = f"{path.name} is a geometry file; expected the projections it belongs to."
    raise InputError(message, hint=f"It reads {FORMATS}.")


def _reader_for_folder(folder: Path) -> tuple[Path, str, Reader]:
    for suffix, name, reader in (
        (".xtekct", "nikon", nikon.read),
        (".log", "skyscan", skyscan.read),
    ):
        headers = sorted(p for p in folder.iterdir() if p.suffix.lower() == suffix)
        # NRecon leaves a second log beside its slices, with _rec in its name.
        headers = [p for p in headers if not p.stem.endswith("_rec")]
        if len(headers) > 1:
            message = f"{folder.name} holds {len(headers)} {suffix} files; which one is not clear."
            raise InputError(message, hint="Open the header file itself.")
        if headers:
            return headers[0], name, reader
    if any(p.suffix.lower() in vendor_panels.SUFFIXES for p in folder.iterdir()):
        return folder, "panel", vendor_panels.read
    if dicom_projections.holds_dicom(folder):
        return folder, "dicom", dicom_projections.read
    return folder, "stack", projection_stacks.read


def write_projections(projections: ProjectionSet, path: Path | str) -> tuple[Note, ...]:
    """Write a stack with ``NAME.geometry.json`` and, where possible, RTK's ``NAME.xml``.

    All files appear together or none does; reading them back gives the same projections, exactly.

    Parameters
    ----------
    projections
        Counts or line integrals; i0 and electronic noise go into the JSON.
    path
        Ends in .mha, .nrrd, .tif or .npy.

    Returns
    -------
    tuple of Note
        Says why if there is no XML.

    Raises
    ------
    UsageError
        If the suffix is none of those.
    ResourceError
        If the folder cannot be written to or the disk is full.
    """
    return projection_stacks.write(projections, Path(path))
