"""NRRD and MetaImage volumes through SimpleITK, whose world is LPS like ours (layer: io)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError, ResourceError, UsageError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.io.notes import Note
from ctrestorelib.io.stored import Stored, check_dimensions, check_memory, to_stored

UNIT_KEY = "CTRestoreUnit"
"""Key-value pair of the header in which our own files state their unit."""


def read(path: Path, title: str) -> Stored:
    """Read a scalar volume; a 2-D image is one slice. ``title`` names the format in messages."""
    import SimpleITK as sitk  # noqa: N813

    with quiet(sitk):
        header = open_header(path, title)
        shape, matrix, notes = grid_of(header, path.name)
        check_memory(path.name, shape, _bytes_each(header))
        try:
            image = header.Execute()
        except RuntimeError as error:
            raise _damaged(path.name, title) from error
    values = sitk.GetArrayViewFromImage(image).reshape(shape)
    # The view ends with the image: keep a copy, already of the type a volume needs.
    kept = values.copy() if values.dtype.kind in "iu" else values.astype(np.float32)
    stated = image.GetMetaData(UNIT_KEY) if image.HasMetaDataKey(UNIT_KEY) else ""
    unit = Unit(stated) if stated in {u.value for u in Unit} else None
    return Stored(kept, matrix, title.lower(), tuple(notes), unit)


class quiet:  # noqa: N801 - used like a function
    """Keep ITK from printing warnings; what matters becomes a note or an error."""

    def __init__(self, sitk: Any) -> None:
        self._sitk = sitk

    def __enter__(self) -> None:
        self._was = self._sitk.ProcessObject.GetGlobalWarningDisplay()
        self._sitk.ProcessObject.SetGlobalWarningDisplay(False)

    def __exit__(self, *_: object) -> None:
        self._sitk.ProcessObject.SetGlobalWarningDisplay(self._was)


def open_header(path: Path, title: str) -> Any:
    """Return a SimpleITK reader that has read the header; None if ITK finds its axes sheared."""
    import SimpleITK as sitk  # noqa: N813

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with quiet(sitk):
            reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            return None
        raise _damaged(path.name, title) from error
    return reader


def _damaged(name: str, title: str) -> InputError:
    message = f"{name} cannot be read as {title}: the file is damaged, cut off or another format."
    return InputError(message, hint="Copy or export the file again.")


def _bytes_each(header: Any) -> int:
    import SimpleITK as sitk  # noqa: N813

    return int(sitk.Image([1, 1], header.GetPixelID()).GetSizeOfPixelComponent())


def grid_of(header: Any, name: str) -> tuple[tuple[int, ...], NDArray[np.float64], list[Note]]:
    """Return shape (k, j, i), ijk_to_lps and notes from a header; refuse what is no 3-D volume."""
    size, notes = list(header.GetSize()), []
    _check_scalar(header.GetNumberOfComponents(), header.GetPixelID(), name)
    check_dimensions(size, name)
    dims = len(size)
    spacing, origin = np.ones(3), np.zeros(3)
    direction = np.eye(3)
    n = min(3, dims)
    spacing[:n], origin[:n] = header.GetSpacing()[:n], header.GetOrigin()[:n]
    direction[:n, :n] = np.reshape(header.GetDirection(), (dims, dims))[:n, :n]
    if n == 2:
        text = "The file holds a single 2-D image; its slice thickness was taken to be 1 mm."
        notes.append(Note("slice-thickness-assumed", text))
        # Keep the third axis such that the volume's handedness is that of its plane.
        direction[2, 2] = np.sign(np.linalg.det(direction[:2, :2])) or 1.0
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = direction * spacing, origin
    return tuple(reversed([*size, 1][:3])), matrix, notes


def _check_scalar(components: int, pixel_id: int, name: str) -> None:
    import SimpleITK as sitk  # noqa: N813

    complex_ids = (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64)
    if components == 1 and pixel_id not in complex_ids:
        return
    what = f"{components} values per voxel" if components > 1 else "complex numbers"
    message = f"{name} holds {what}; a CT volume has one number per voxel."
    raise InputError(message, hint="Export a scalar (grey) volume instead of colours or vectors.")


def write(volume: Volume, path: Path, dtype: str) -> tuple[int, tuple[Note, ...]]:
    """Write NRRD or MetaImage; return the number of clipped voxels and notes."""
    if path.suffix.lower() in (".nhdr", ".mhd"):
        message = f"{path.suffix} files come in two parts, which cannot be written as one step."
        raise UsageError(message, hint="Use .nrrd or .mha: the same format in one file.")
    values, clipped, notes = to_stored(volume, dtype)
    geometry = volume.geometry
    metadata = {UNIT_KEY: volume.unit.value}
    with atomic_path(path) as temporary:
        write_image(
            values,
            temporary,
            geometry.spacing_mm,
            geometry.origin_lps_mm.tolist(),
            direction=geometry.direction,
            metadata=metadata,
            compress=True,
        )
    return clipped, notes


def write_image(
    values: NDArray[Any],
    path: Path,
    spacing_mm: Sequence[float],
    origin_mm: Sequence[float],
    *,
    direction: NDArray[np.float64] | None = None,
    metadata: Mapping[str, str] | None = None,
    compress: bool = False,
) -> None:
    """Write an array ``[k, j, i]`` with SimpleITK to ``path`` (of an atomic write)."""
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(values)
    image.SetSpacing(list(spacing_mm))
    image.SetOrigin(list(origin_mm))
    if direction is not None:
        image.SetDirection(direction.ravel().tolist())
    for key, value in (metadata or {}).items():
        image.SetMetaData(key, value)
    with quiet(sitk):
        try:
            sitk.WriteImage(image, str(path), useCompression=compress, compressionLevel=1)
        except RuntimeError as error:
            message = "Cannot write the image: the disk is full or the folder is read-only."
            hint = "Free some space or choose another folder; nothing was changed."
            raise ResourceError(message, hint=hint) from error
