"""NIfTI volumes (layer: io).

ITK interprets the orientation, so that CTRestore and 3D Slicer agree on it. The values go through
our own code: ITK returns noise for a file that is cut off, and reports success when the disk is
full.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.io.itk_volumes import grid_of, open_header
from ctrestorelib.io.nifti_header import (
    TYPES,
    Header,
    damaged,
    header_bytes,
    parse,
    qform_to_lps,
    sform_to_lps,
)
from ctrestorelib.io.notes import Note
from ctrestorelib.io.stored import (
    Stored,
    check_dimensions,
    check_memory,
    check_promise,
    to_stored,
)

CODES = {"float32": 16, "int16": 4, "uint16": 512, "int32": 8, "uint8": 2}
UNIT_PREFIX = "CTRestore unit="
CHUNK_BYTES = 2**26


def read(path: Path) -> Stored:
    """Read a scalar .nii or .nii.gz file.

    Raises
    ------
    InputError
        If the file is damaged or cut off, or holds colours, vectors or a time series.
    """
    try:
        header = read_nifti_header(path)
        matrix, notes = _grid(path, header)
        return _read_values(path, header, matrix, notes)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise damaged(path.name) from error


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast("IO[bytes]", gzip.open(path)) if packed else path.open("rb")


def read_nifti_header(path: Path) -> Header:
    """Return the header of a file; refuse what is not one real 3-D volume."""
    with _open(path) as file:
        header = parse(file.read(540), path.name)
    check_dimensions(header.dim[1 : header.dim[0] + 1], path.name)
    if header.datatype not in TYPES:
        message = (
            f"{path.name} stores colours, complex or extended numbers (NIfTI type "
            f"{header.datatype}); a CT volume has one real number per voxel."
        )
        raise InputError(message, hint="Export a scalar (grey) volume.")
    return header


def _grid(path: Path, header: Header) -> tuple[NDArray[np.float64], list[Note]]:
    reader = open_header(path, "NIfTI")
    if reader is None:
        text = (
            "The axes of the file are not at right angles (its sform is sheared); they were kept "
            "as they are."
        )
        return sform_to_lps(header), [Note("sheared", text)]
    _, matrix, notes = grid_of(reader, path.name)
    if not header.sform and min(header.pixdim[1:4]) == 0:
        text = "The file states no voxel size; it was taken to be 1 mm. Give it if lengths matter."
        notes.append(Note("spacing-assumed", text))
    if not header.sform and not header.qform:
        text = (
            "The file states no orientation: left, right, front and back may be swapped. The axes "
            "were taken to point to the patient's left, back and head."
        )
        notes.append(Note("orientation-assumed", text))
    elif header.sform and header.qform:
        notes += _two_orientations(header)
    return matrix, notes


def _two_orientations(header: Header) -> list[Note]:
    last = np.array([*(n - 1 for n in reversed(header.shape)), 1.0])
    gap = np.abs((sform_to_lps(header) - qform_to_lps(header)) @ np.stack([last, [0, 0, 0, 1]]).T)
    if gap.max() < 0.5 * min(header.pixdim[1:4]):
        return []
    text = (
        f"The file states two orientations (qform and sform) that differ by {gap.max():.3g} mm; "
        "the one that ITK prefers was taken."
    )
    return [Note("two-orientations", text)]


def _read_values(
    path: Path, header: Header, matrix: NDArray[np.float64], notes: list[Note]
) -> Stored:
    check_promise(path, header.shape, header.dtype.itemsize)
    check_memory(path.name, header.shape, header.dtype.itemsize)
    values: NDArray[Any] = np.empty(header.shape, header.dtype)
    with _open(path) as file:
        file.seek(header.offset)
        _fill(file, values, path.name)
        file.read(1)  # reading to the end makes gzip compare its checksum
    if header.intent == 1002:
        text = "The file says that it holds labels (a segmentation), not a CT image."
        notes.append(Note("label-map", text))
    return Stored(_scaled(values, header), matrix, "nifti", tuple(notes), _unit(header))


def _fill(file: IO[bytes], values: NDArray[Any], name: str) -> None:
    buffer = values.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(buffer):
        count = file.readinto(buffer[done : done + CHUNK_BYTES])  # type: ignore[attr-defined]
        if not count:
            raise damaged(name)
        done += count


def _scaled(values: NDArray[Any], header: Header) -> NDArray[Any]:
    slope, inter = header.slope, header.inter
    usable = slope != 0 and math.isfinite(slope) and math.isfinite(inter)
    if not usable or (slope == 1 and inter == 0):
        return values
    exact = np.float64 if values.dtype.itemsize > 2 else np.float32
    scaled: NDArray[Any] = np.multiply(values, slope, dtype=exact)
    np.add(scaled, inter, out=scaled)
    return scaled


def _unit(header: Header) -> Unit | None:
    stated = header.description.removeprefix(UNIT_PREFIX)
    known = stated != header.description and stated in {u.value for u in Unit}
    return Unit(stated) if known else None


def write(volume: Volume, path: Path, dtype: str) -> tuple[int, tuple[Note, ...]]:
    """Write NIfTI-1; return the number of clipped voxels and notes.

    Raises
    ------
    GeometryError
        If the grid is sheared or longer than 32767 voxels along an axis.
    """
    if not volume.geometry.is_orthogonal:
        message = "NIfTI readers such as ITK do not accept axes that are not at right angles."
        hint = "Write .nrrd, .mha or .npz, or resample the tilted stack when reading it."
        raise GeometryError(message, hint=hint)
    if max(volume.shape) > 32767:
        message = f"NIfTI-1 holds at most 32767 voxels along an axis; got {max(volume.shape)}."
        raise GeometryError(message, hint="Write .nrrd or .mha instead.")
    values, clipped, notes = to_stored(volume, dtype)
    head = header_bytes(
        volume.geometry, CODES[dtype], values.itemsize, UNIT_PREFIX + volume.unit.value
    )
    body = (
        np.ascontiguousarray(values, values.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data
    )
    with atomic_path(path) as temporary, _open_for_writing(temporary) as file:
        file.write(head)
        for start in range(0, len(body), CHUNK_BYTES):
            file.write(body[start : start + CHUNK_BYTES])
    return clipped, notes


def _open_for_writing(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        # Level 1: noise does not compress, and level 9 takes ten times as long for 2 % less.
        return cast("IO[bytes]", gzip.GzipFile(path, "wb", compresslevel=1, mtime=0))
    return path.open("wb")
