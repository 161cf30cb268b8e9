"""Reading and writing volumes of every supported format (layer: io).

The format follows from the file's name. Everything comes out as float32 values ``[k, j, i]`` on an
LPS grid in millimetres, with notes on whatever had to be assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.io import itk_volumes, nifti, numpy_volumes, tiff_volumes
from ctrestorelib.io.notes import Note
from ctrestorelib.io.paths import ITK_SUFFIXES, NIFTI_SUFFIXES, VOLUME_FORMATS, existing, suffix_of
from ctrestorelib.io.stored import Stored, spacing_ijk, volume_from


@dataclass(frozen=True)
class VolumeRead:
    """A volume as read, and what was noticed on the way.

    Parameters
    ----------
    volume
        Values, grid and unit.
    notes
        Assumptions and oddities, in reading order.
    sop_instance_uids
        Of the DICOM instances read, sorted by position; empty for other formats.
    format
        ``nifti``, ``nrrd``, ``metaimage``, ``tiff``, ``numpy`` or ``dicom``.
    """

    volume: Volume
    notes: tuple[Note, ...] = ()
    sop_instance_uids: tuple[str, ...] = ()
    format: str = ""


@dataclass(frozen=True)
class WriteReport:
    """What writing a volume changed or left out.

    Parameters
    ----------
    clipped
        Voxels whose value did not fit into the integer type asked for.
    notes
        The same and more in sentences, such as an orientation the format cannot hold.
    """

    clipped: int = 0
    notes: tuple[Note, ...] = ()


def read_volume(
    path: Path | str,
    *,
    unit: Unit | None = None,
    spacing_mm: float | Sequence[float] | None = None,
    series: str | None = None,
    resample_tilt: bool = False,
) -> VolumeRead:
    """Read a volume: DICOM (folder, zip, file), NIfTI, NRRD, MetaImage, TIFF or NumPy.

    Parameters
    ----------
    path
        File, or folder with one DICOM series or one TIFF stack.
    unit
        What the values mean. Without it: 8-bit data are grey values, data that reach -500 or less
        are HU, everything else is grey values; a note says so.
    spacing_mm
        Voxel size, one number or three ``(i, j, k)``; needed where the file states none, and wins
        over the file's own.
    series
        DICOM only: which series of a folder, by its UID or number.
    resample_tilt
        DICOM only: resample a gantry-tilted stack to a right-angled grid.

    Raises
    ------
    InputError
        If the file is missing, damaged, of unknown format, or not one scalar 3-D volume.
    ResourceError
        If it would not fit into memory.
    """
    path = existing(Path(path))
    spacing = spacing_ijk(spacing_mm)
    suffix = suffix_of(path)
    if path.is_dir() and (pages := tiff_volumes.stack_in(path)):
        stored = tiff_volumes.read_stack(path, pages, spacing)
    elif path.is_dir() or suffix in ("", ".dcm", ".dicom", ".ima", ".zip"):
        return _read_dicom(path, unit, series, resample_tilt=resample_tilt)
    else:
        stored = _read_file(path, suffix, spacing)
    volume, notes = volume_from(stored, unit, spacing, path.name)
    return VolumeRead(volume, notes, (), stored.format)


def _read_file(path: Path, suffix: str, spacing: tuple[float, float, float] | None) -> Stored:
    if suffix in NIFTI_SUFFIXES:
        return nifti.read(path)
    if suffix in ITK_SUFFIXES:
        return itk_volumes.read(path, ITK_SUFFIXES[suffix])
    if suffix in (".tif", ".tiff"):
        return tiff_volumes.read_file(path, spacing)
    if suffix in (".npy", ".npz"):
        return numpy_volumes.read(path, spacing)
    message = f"{path.name} is not a volume format that CTRestore reads."
    raise InputError(message, hint=f"It reads {VOLUME_FORMATS}.")


def _read_dicom(
    path: Path, unit: Unit | None, series: str | None, *, resample_tilt: bool
) -> VolumeRead:
    from ctrestorelib.io.dicom_series import read_series

    read = read_series(path, series=series, resample_tilt=resample_tilt)
    volume = read.volume if unit is None else read.volume.with_values(read.volume.values, unit)
    return VolumeRead(volume, tuple(read.notes), tuple(read.sop_instance_uids), "dicom")


def write_volume(volume: Volume, path: Path | str, *, dtype: str = "float32") -> WriteReport:
    """Write a volume as NIfTI, NRRD, MetaImage, TIFF or NumPy; the file's name says which.

    Nothing appears under ``path`` unless it is complete.

    Parameters
    ----------
    volume
        Any orientation and handedness; TIFF and ``.npy`` keep only the voxel size or nothing, and
        the report says so.
    path
        Ends in .nii, .nii.gz, .nrrd, .mha, .mhd, .tif, .tiff, .npy or .npz.
    dtype
        Stored type: ``float32``, ``int16``, ``uint16``, ``int32`` or ``uint8``. Integers are
        rounded; values outside the type's range are clipped and counted.

    Raises
    ------
    UsageError
        If the format or the type is not one of those.
    GeometryError
        If the grid is sheared and the format cannot hold that.
    InputError
        If NaN values would have to become integers.
    ResourceError
        If the folder cannot be written to or the disk is full.
    """
    path = Path(path)
    suffix = suffix_of(path)
    if suffix in NIFTI_SUFFIXES:
        return WriteReport(*nifti.write(volume, path, dtype))
    if suffix in ITK_SUFFIXES:
        return WriteReport(*itk_volumes.write(volume, path, dtype))
    if suffix in (".tif", ".tiff"):
        return WriteReport(*tiff_volumes.write(volume, path, dtype))
    if suffix in (".npy", ".npz"):
        return WriteReport(*numpy_volumes.write(volume, path, dtype))
    message = f"CTRestore writes no volume format called {suffix or path.name!r}."
    raise UsageError(message, hint="Use .nii.gz, .nrrd, .mha, .tif or .npz.")
