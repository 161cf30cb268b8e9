"""NumPy volumes: ``.npy`` holds values only, our ``.npz`` also grid and unit (layer: io)."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.notes import Note
from ctrestorelib.io.stored import Stored, check_memory, to_stored


def read(path: Path, spacing: tuple[float, float, float] | None) -> Stored:
    """Read an array ``[k, j, i]``; nothing in the file is ever executed (no pickles)."""
    if path.suffix.lower() == ".npy":
        return _stored(load_array(path), None, None, given=spacing is not None)
    arrays = load_arrays(path)
    volumes = [name for name, array in arrays.items() if array.ndim in (2, 3) and array.size > 16]
    if "values" not in arrays and len(volumes) != 1:
        message = f"{path.name} holds {len(volumes)} arrays that could be the volume; expected one."
        raise InputError(message, hint="Name the array 'values', or save a single one.")
    values = arrays["values"] if "values" in arrays else arrays[volumes[0]]
    unit = str(arrays["unit"]) if "unit" in arrays else ""
    known = Unit(unit) if unit in {u.value for u in Unit} else None
    return _stored(values, arrays.get("ijk_to_lps"), known, given=spacing is not None)


def load_array(path: Path) -> NDArray[Any]:
    """Return the array of a .npy file after its header was checked against file and memory."""
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise _damaged(path.name) from error
    check_memory(path.name, mapped.shape, mapped.itemsize)
    return np.array(mapped)


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return all arrays of a .npz file after the sizes in its directory were checked."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_memory(path.name, [sum(i.file_size for i in archive.infolist())], 1)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(path.name) from error


def _damaged(name: str) -> InputError:
    message = (
        f"{name} cannot be read as a NumPy array of numbers: the file is damaged, cut off, or "
        "holds Python objects."
    )
    return InputError(message, hint="Save it with numpy.save from a plain numeric array.")


def _stored(
    values: NDArray[Any], matrix: NDArray[Any] | None, unit: Unit | None, *, given: bool
) -> Stored:
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or values.size == 0:
        shape = " x ".join(str(n) for n in values.shape)
        message = f"Expected a three-dimensional array [k, j, i]; the file holds one of {shape}."
        raise InputError(message, hint="Save one volume, one channel, one time point.")
    if matrix is not None:
        if matrix.shape != (4, 4):
            message = f"ijk_to_lps must be a 4x4 matrix; the file holds one of {matrix.shape}."
            raise GeometryError(message)
        return Stored(values, matrix, "numpy", (), unit)
    text = "A NumPy file states no voxel size; it was taken to be 1 mm. Give it if lengths matter."
    notes = () if given else (Note("spacing-assumed", text),)
    k, j, i = values.shape
    geometry = VolumeGeometry.from_spacing((k, j, i), (1.0, 1.0, 1.0))
    return Stored(values, geometry.ijk_to_lps, "numpy", notes, unit, spacing_known=False)


def write(volume: Volume, path: Path, dtype: str) -> tuple[int, tuple[Note, ...]]:
    """Write .npz (values, grid, unit) or .npy (values only); return clipped voxels and notes."""
    values, clipped, notes = to_stored(volume, dtype)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        if path.suffix.lower() == ".npz":
            matrix = volume.geometry.ijk_to_lps
            np.savez(file, values=values, ijk_to_lps=matrix, unit=np.array(volume.unit.value))
            return clipped, notes
        np.save(file, values, allow_pickle=False)
    text = ".npy holds values only: the file keeps neither voxel size, orientation nor unit."
    return clipped, (*notes, Note("geometry-dropped", text))
