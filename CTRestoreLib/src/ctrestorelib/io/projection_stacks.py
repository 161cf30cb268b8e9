"""Projection stacks in image formats, with their geometry in a file beside them (layer: io)."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, InputError, UsageError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.io import itk_volumes, numpy_volumes, tiff_volumes
from ctrestorelib.io.geometry_files import json_text, read_geometry, read_json
from ctrestorelib.io.notes import Note
from ctrestorelib.io.paths import ITK_SUFFIXES, existing, suffix_of
from ctrestorelib.io.reading import ReadOptions
from ctrestorelib.io.rtk_xml import DetectorImage, rtk_xml_text
from ctrestorelib.io.stored import Stored

SUFFIXES = (*ITK_SUFFIXES, ".tif", ".tiff", ".npy", ".npz")
WRITABLE = (".mha", ".nrrd", ".tif", ".tiff", ".npy")

LINE_INTEGRALS_AT_MOST = 50.0
"""A line integral of 50 would mean one photon in 10^21: larger values are counts."""


def read(path: Path, options: ReadOptions) -> tuple[ProjectionSet, list[Note]]:
    """Read a stack ``[view, row, col]`` and its geometry file."""
    stored = _stored(path)
    file = geometry_beside(path) if options.geometry is None else existing(options.geometry)
    return with_geometry_file(stored, file, options, path.name)


def with_geometry_file(
    stored: Stored, file: Path, options: ReadOptions, name: str
) -> tuple[ProjectionSet, list[Note]]:
    """Return stored values ``[view, row, col]`` as projections with the geometry of a file."""
    pixel, origin = _pixels(stored, options, name)
    detector = None
    if pixel is not None:
        rows, cols = stored.values.shape[1:]
        centred = DetectorImage.centred((rows, cols), pixel)
        detector = DetectorImage((rows, cols), pixel, origin or centred.origin_mm)
    geometry = read_geometry(file, detector)
    notes = [n for n in stored.notes if n.code == "sheared"]
    notes += _pixel_notes(geometry, pixel)
    said = read_json(file).get("projections", {}) if file.suffix.lower() == ".json" else {}
    projections, kind_notes = with_kind(stored.values, geometry, options, said)
    return projections, notes + kind_notes


def _stored(path: Path) -> Stored:
    suffix = suffix_of(path)
    if path.is_dir():
        pages = tiff_volumes.stack_in(path)
        if not pages:
            message = f"{path.name} holds no projections: no TIFF stack and no scanner header."
            raise InputError(message, hint="Open the folder that holds the .tif files.")
        return tiff_volumes.read_stack(path, pages, None)
    if suffix in ITK_SUFFIXES:
        return itk_volumes.read(path, ITK_SUFFIXES[suffix])
    if suffix in (".tif", ".tiff"):
        return tiff_volumes.read_file(path, None)
    return numpy_volumes.read(path, None)


def geometry_beside(path: Path) -> Path:
    """Return the geometry file that belongs to a stack by its name."""
    stem = path.name.removesuffix(suffix_of(path)) if path.is_file() else path.name
    candidates = [path.with_name(f"{stem}.geometry.json"), path.with_name(f"{stem}.xml")]
    if path.is_dir():
        candidates += [path / "geometry.json", path / "geometry.xml"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    message = f"There is no geometry for {path.name}: where were source and detector?"
    hint = (
        f"Give it with --geometry, or put {candidates[0].name} or {candidates[1].name} beside it."
    )
    raise GeometryError(message, hint=hint)


def _pixels(
    stored: Stored, options: ReadOptions, name: str
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Return pixel size (row, col) and origin (y, x) in mm, where the stack or the person says."""
    if options.pixel_mm is not None:
        return (options.pixel_mm, options.pixel_mm), None
    if not stored.spacing_known:
        return None, None
    matrix = stored.ijk_to_lps
    if abs(matrix[0, 1]) + abs(matrix[1, 0]) > 1e-6 or min(matrix[0, 0], matrix[1, 1]) <= 0:
        message = f"The image axes of {name} are turned or mirrored, which RTK ignores or refuses."
        raise GeometryError(message, hint="Store the projections with the identity as direction.")
    origin = (float(matrix[1, 3]), float(matrix[0, 3])) if stored.format != "tiff" else None
    return (float(matrix[1, 1]), float(matrix[0, 0])), origin


def _pixel_notes(geometry: ConeBeamGeometry, pixel: tuple[float, float] | None) -> list[Note]:
    if pixel is None or np.allclose(geometry.pixel_mm, pixel, rtol=1e-3):
        return []
    text = (
        f"The geometry's pixels ({geometry.pixel_mm[1]:.5g} mm) and those of the stack "
        f"({pixel[1]:.5g} mm) differ; the geometry was believed."
    )
    return [Note("pixel-size-differs", text)]


def with_kind(
    values: NDArray[Any], geometry: ConeBeamGeometry, options: ReadOptions, said: dict[str, Any]
) -> tuple[ProjectionSet, list[Note]]:
    """Return a projection set; kind and i0 come from the person, the file or the values."""
    i0 = options.i0 if options.i0 is not None else said.get("i0")
    stated = options.kind or said.get("kind")
    notes: list[Note] = []
    if stated is None:
        kind, notes = _guess_kind(values)
    else:
        kind = ProjectionKind(stated)
    electronic_sd = float(said.get("electronic_sd", 0.0))
    return ProjectionSet(values, geometry, kind, i0, electronic_sd), notes


def _guess_kind(values: NDArray[Any]) -> tuple[ProjectionKind, list[Note]]:
    highest = float(np.fmax.reduce(values, axis=None))
    counts = values.dtype.kind in "iu" or highest > LINE_INTEGRALS_AT_MOST
    kind = ProjectionKind.COUNTS if counts else ProjectionKind.LINE_INTEGRAL
    what = "counts" if counts else "line integrals (after the logarithm)"
    text = f"The values were taken to be {what}: they reach {highest:.5g}."
    return kind, [Note("kind-guessed", text)]


def scan_record(projections: ProjectionSet) -> dict[str, Any]:
    """Return all that a projection set is but for its values: what our geometry JSON holds."""
    about = {
        "kind": projections.kind.value,
        "i0": projections.i0,
        "electronic_sd": projections.electronic_sd,
    }
    return {**projections.geometry.to_json(), "projections": about}


def write(projections: ProjectionSet, path: Path) -> tuple[Note, ...]:
    """Write stack, JSON and, where possible, XML together."""
    suffix = suffix_of(path)
    if suffix not in WRITABLE:
        message = f"Projections are written as {', '.join(WRITABLE)}; got {path.name!r}."
        raise UsageError(message, hint="Use .mha if other programs (RTK) shall read them.")
    texts = {".geometry.json": json_text(scan_record(projections))}
    notes: tuple[Note, ...] = ()
    try:
        texts[".xml"] = rtk_xml_text(projections.geometry)
    except GeometryError as error:
        notes = (Note("no-rtk-xml", f"No RTK geometry file was written: {error.message}"),)
    stem = path.name.removesuffix(path.suffix)
    with ExitStack() as together:
        _write_values(projections, together.enter_context(atomic_path(path)), suffix)
        for ending, text in texts.items():
            beside = together.enter_context(atomic_path(path.with_name(stem + ending)))
            beside.write_text(text, encoding="utf-8")
    return notes


def _write_values(projections: ProjectionSet, path: Path, suffix: str) -> None:
    rows, cols = projections.geometry.pixel_mm
    if suffix == ".npy":
        with path.open("wb") as file:
            np.save(file, projections.values, allow_pickle=False)
    elif suffix in (".tif", ".tiff"):
        tiff_volumes.write_pages(projections.values, path, (cols, rows, 1.0), "")
    else:
        detector = DetectorImage.centred(projections.geometry.detector_shape, (rows, cols))
        origin = (detector.origin_mm[1], detector.origin_mm[0], 0.0)
        itk_volumes.write_image(projections.values, path, (cols, rows, 1.0), origin)
