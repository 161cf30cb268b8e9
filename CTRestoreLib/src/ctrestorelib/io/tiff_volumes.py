"""Multi-page TIFF files and folders of TIFF slices (layer: io).

TIFF holds no orientation. The voxel size comes from ImageJ, OME or resolution tags, or from the
person; without any of them it is 1 mm, and a note says so.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.optional import optional_module
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.notes import Note
from ctrestorelib.io.paths import natural_key
from ctrestorelib.io.stored import Stored, check_memory, check_promise, to_stored

TO_MM = {
    "nm": 1e-6, "nanometer": 1e-6, "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "micron": 1e-3,
    "microns": 1e-3, "micrometer": 1e-3, "\\u00b5m": 1e-3, "\\u00B5m": 1e-3,
    "mm": 1.0, "millimeter": 1.0, "cm": 10.0, "centimeter": 10.0,
    "m": 1000.0, "meter": 1000.0, "inch": 25.4, "in": 25.4,
}  # fmt: skip
UNIT_PREFIX = "CTRestore unit="

Spacing = tuple[float, float, float]


def stack_in(folder: Path) -> list[Path]:
    """Return the TIFF slices of a folder in counting order; empty if most files are others."""
    files = [p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")]
    pages = [p for p in files if p.suffix.lower() in (".tif", ".tiff")]
    others = [p for p in files if p.suffix.lower() in (".dcm", ".ima", ".dicom", "")]
    if len(others) > len(pages):
        return []
    return sorted(pages, key=lambda p: natural_key(p.name))


def read_file(path: Path, spacing: Spacing | None) -> Stored:
    """Read a TIFF file of one or more pages; pages are the slices k."""
    tifffile = optional_module("tifffile", "Reading TIFF files")
    try:
        with _quiet(), tifffile.TiffFile(path) as tiff:
            shape, dtype = _layout(tiff, path)
            check_promise(path, shape, dtype.itemsize)
            check_memory(path.name, shape, dtype.itemsize)
            found = None if spacing else _spacing_of(tiff)
            unit = _stated_unit(tiff)
            values = _page_values(tiff, path, shape, dtype)
    except (tifffile.TiffFileError, ValueError, OSError, KeyError, IndexError) as error:
        raise _damaged(path.name, error) from error
    return _stored(values, found, unit, given=spacing is not None)


@contextmanager
def _quiet() -> Generator[None, None, None]:
    """Keep tifffile from logging: what matters becomes an error with a sentence."""
    logger = logging.getLogger("tifffile")
    was, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was


def _damaged(name: str, error: Exception) -> InputError:
    message = f"{name} cannot be read as TIFF: the file is damaged, cut off or another format."
    hint = "Export it again, uncompressed or with deflate compression."
    if "imagecodecs" in str(error):
        message = f"{name} is compressed in a way that needs the optional package imagecodecs."
        hint = "Install ctrestorelib[codecs], or export the file without compression."
    return InputError(message, hint=hint)


def _layout(tiff: Any, path: Path) -> tuple[tuple[int, int, int], np.dtype[Any]]:
    series = tiff.series[0]
    axes, shape = series.axes, series.shape
    sizes = dict(zip(axes, shape, strict=True))
    if sizes.get("S", 1) > 1 or tiff.pages[0].photometric.name in ("RGB", "PALETTE", "YCBCR"):
        message = f"{path.name} is a colour image; a CT volume has one number per voxel."
        raise InputError(message, hint="Convert it to 8-, 16- or 32-bit grey values.")
    long = [n for n in shape if n > 1]
    for axis, what in (("C", "channels"), ("T", "time points")):
        if sizes.get(axis, 1) > 1 and len(long) > 3:
            message = f"{path.name} holds {sizes[axis]} {what} of a volume; expected one volume."
            raise InputError(message, hint=f"Export one of the {what} as its own file.")
    rows, cols = (int(n) for n in tiff.pages[0].shape[-2:])
    if len(tiff.series) > 1 and len({s.shape for s in tiff.series}) > 1 and not _pyramid(tiff):
        sizes_found = sorted({f"{s.shape[-1]} x {s.shape[-2]}" for s in tiff.series})
        message = f"The pages of {path.name} have different sizes: {', '.join(sizes_found)}."
        raise InputError(message, hint="Keep only the slices of one volume in the file.")
    count = sum(int(np.prod(s.shape)) for s in _wanted(tiff))
    return (count // (rows * cols), rows, cols), np.dtype(series.dtype)


def _pyramid(tiff: Any) -> bool:
    return bool(tiff.is_ome or tiff.series[0].is_pyramidal)


def _wanted(tiff: Any) -> list[Any]:
    return [tiff.series[0]] if _pyramid(tiff) else list(tiff.series)


def _page_values(
    tiff: Any, path: Path, shape: tuple[int, int, int], dtype: np.dtype[Any]
) -> NDArray[Any]:
    values: NDArray[Any] = np.empty(shape, dtype)
    k = 0
    _check_complete(tiff, path)
    for series in _wanted(tiff):
        part = series.asarray().reshape(-1, *shape[1:])
        values[k : k + len(part)] = part
        k += len(part)
    if k != shape[0]:
        raise _damaged(path.name, ValueError("pages are missing"))
    return values


def _check_complete(tiff: Any, path: Path) -> None:
    """Refuse a file that ends before its values do: tifffile would return zeros for them."""
    length = path.stat().st_size
    ends = [0]
    for series in _wanted(tiff):
        if series.dataoffset is not None:
            ends.append(series.dataoffset + series.nbytes)
            continue
        for page in series.pages:
            if page is None:
                raise _damaged(path.name, ValueError("a page is missing"))
            parts = zip(page.dataoffsets, page.databytecounts, strict=False)
            ends += [start + count for start, count in parts]
    if max(ends) > length or _more_announced(tiff):
        raise _damaged(path.name, ValueError("values are missing"))


def _more_announced(tiff: Any) -> bool:
    """Whether the last page that was found points to another one."""
    kind, file = tiff.tiff, tiff.filehandle
    file.seek(tiff.pages[-1].offset)
    (tags,) = struct.unpack(kind.tagnoformat, file.read(kind.tagnosize))
    file.seek(tags * kind.tagsize, 1)
    following = file.read(kind.offsetsize)
    return len(following) < kind.offsetsize or any(following)


def read_stack(folder: Path, pages: list[Path], spacing: Spacing | None) -> Stored:
    """Read a folder of single-page TIFF slices of equal size, in counting order."""
    first = read_file(pages[0], spacing)
    one, rows, cols = first.values.shape
    if one != 1:
        if len(pages) == 1:
            return first
        message = f"{folder.name} holds several multi-page TIFF files; which one is not clear."
        raise InputError(message, hint="Open one of the files instead of the folder.")
    check_memory(folder.name, (len(pages), rows, cols), first.values.itemsize)
    values: NDArray[Any] = np.empty((len(pages), rows, cols), first.values.dtype)
    for k, page in enumerate(pages):
        values[k] = _same_size(read_file(page, spacing).values, first.values, page, pages[0])
    lengths = np.diag(first.ijk_to_lps)[:3]
    found = (float(lengths[0]), float(lengths[1]), None) if first.spacing_known else None
    return _stored(values, found, first.unit, given=spacing is not None)


def _same_size(
    slice_values: NDArray[Any], first: NDArray[Any], page: Path, first_page: Path
) -> NDArray[Any]:
    if slice_values.shape == first.shape and slice_values.dtype == first.dtype:
        return np.asarray(slice_values[0])
    message = (
        f"{page.name} is {_describe(slice_values)}, but {first_page.name} is {_describe(first)}; "
        "all slices of a stack need the same size and type."
    )
    raise InputError(message, hint="Remove files from the folder that are not slices.")


def _describe(values: NDArray[Any]) -> str:
    pages, rows, cols = values.shape
    return f"{cols} x {rows}" + (f" x {pages}" if pages > 1 else "") + f" {values.dtype}"


# -- voxel size -------------------------------------------------------------------------------
Found = tuple[float, float, float | None]


def _stored(values: NDArray[Any], found: Found | None, unit: Unit | None, *, given: bool) -> Stored:
    notes = []
    if found is not None and found[2] is None:
        text = (
            "The file states no slice distance; it was taken to be the pixel size, "
            f"{found[0]:.6g} mm."
        )
        notes.append(Note("slice-spacing-assumed", text))
    if found is None and not given:
        text = "The file states no voxel size; it was taken to be 1 mm. Give it if lengths matter."
        notes.append(Note("spacing-assumed", text))
    i, j, k = found or (1.0, 1.0, 1.0)
    spacing = (i, j, k or i)
    geometry = VolumeGeometry.from_spacing(values.shape, spacing)
    return Stored(
        values, geometry.ijk_to_lps, "tiff", tuple(notes), unit, spacing_known=found is not None
    )


def _spacing_of(tiff: Any) -> Found | None:
    return _from_ome(tiff) or _from_imagej(tiff) or _from_resolution(tiff.pages[0])


def _from_ome(tiff: Any) -> Found | None:
    if not tiff.is_ome:
        return None
    xml = optional_module("defusedxml.ElementTree", "Reading OME-TIFF")
    try:
        root: Element = xml.fromstring(tiff.ome_metadata)
    except xml.ParseError:
        return None
    pixels = next((e for e in root.iter() if e.tag.endswith("}Pixels")), None)
    if pixels is None or "PhysicalSizeX" not in pixels.attrib:
        return None

    def size(axis: str) -> float | None:
        text = pixels.get(f"PhysicalSize{axis}")
        scale = TO_MM.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        return float(text) * scale if text and scale else None

    return _checked(size("X"), size("Y"), size("Z"))


def _from_imagej(tiff: Any) -> Found | None:
    metadata = tiff.imagej_metadata or {}
    scale = TO_MM.get(str(metadata.get("unit", "")).strip())
    steps = _pixels_per_unit(tiff.pages[0])
    if scale is None or steps is None:
        return None
    distance = metadata.get("spacing")
    return _checked(
        scale / steps[0], scale / steps[1], None if distance is None else scale * float(distance)
    )


def _from_resolution(page: Any) -> Found | None:
    steps = _pixels_per_unit(page)
    unit = page.tags.get("ResolutionUnit")
    scale = {2: 25.4, 3: 10.0}.get(0 if unit is None else int(unit.value))
    # 72, 96 and 300 dots per inch say how large to print, not how large a voxel is.
    if steps is None or scale is None or (scale == 25.4 and steps[0] in (1, 72, 96, 150, 300)):
        return None
    return _checked(scale / steps[0], scale / steps[1], None)


def _pixels_per_unit(page: Any) -> tuple[float, float] | None:
    out = []
    for name in ("XResolution", "YResolution"):
        tag = page.tags.get(name)
        if tag is None or not all(tag.value):
            return None
        out.append(tag.value[0] / tag.value[1])
    return (out[0], out[1])


def _checked(x: float | None, y: float | None, z: float | None) -> Found | None:
    if not (x and y and x > 0 and y > 0):
        return None
    return (x, y, abs(z) if z else None)


def _stated_unit(tiff: Any) -> Unit | None:
    info = str((tiff.imagej_metadata or {}).get("Info", ""))
    for unit in Unit:
        if info.strip() == UNIT_PREFIX + unit.value:
            return unit
    return None


def write(volume: Volume, path: Path, dtype: str) -> tuple[int, tuple[Note, ...]]:
    """Write a TIFF of one page per slice; return clipped voxels and notes."""
    values, clipped, notes = to_stored(volume, dtype)
    with atomic_path(path) as temporary:
        write_pages(values, temporary, volume.geometry.spacing_mm, UNIT_PREFIX + volume.unit.value)
    return clipped, (*notes, *orientation_dropped(volume.geometry, "TIFF"))


def write_pages(values: NDArray[Any], path: Path, spacing_mm: Spacing, info: str) -> None:
    """Write an array ``[k, j, i]`` as an ImageJ TIFF, or OME-TIFF for types ImageJ lacks."""
    tifffile = optional_module("tifffile", "Writing TIFF files")
    i, j, k = spacing_mm
    if values.dtype.name in ("float32", "uint16", "uint8"):
        metadata = {"spacing": k, "unit": "mm", "axes": "ZYX", "Info": info}
        tifffile.imwrite(
            path, values, imagej=True, resolution=(1 / i, 1 / j), metadata=metadata,
            photometric="minisblack",
        )  # fmt: skip
        return
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("XYZ", (i, j, k), strict=True)}
    units = {f"PhysicalSize{axis}Unit": "mm" for axis in "XYZ"}
    tifffile.imwrite(
        path, values, ome=True, photometric="minisblack",
        metadata={"axes": "ZYX", "Description": info, **sizes, **units},
    )  # fmt: skip


def orientation_dropped(geometry: VolumeGeometry, title: str) -> tuple[Note, ...]:
    """Return a note if a file without orientation loses one."""
    if np.allclose(geometry.direction, np.eye(3), atol=1e-6):
        return ()
    text = f"{title} holds no orientation: the file keeps the values and the voxel size only."
    return (Note("orientation-dropped", text),)
