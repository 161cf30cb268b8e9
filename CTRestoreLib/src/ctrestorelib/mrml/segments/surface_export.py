"""Bone surfaces as STL or OBJ files for planning and printing (layer: mrml)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vtk

from ctrestorelib.core.errors import ResourceError, UsageError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.segments.labelmaps import in_world, mask_of, segment_of
from ctrestorelib.mrml.segments.surfaces import (
    MeshCheck,
    SurfaceOptions,
    check_mesh,
    surface_of,
)
from ctrestorelib.mrml.segments.threshold import role_of

FORMATS = ("stl", "obj")
_LONGEST_NAME = 60


@dataclass(frozen=True)
class ExportedSurface:
    """One written file and whether it can be trusted.

    Parameters
    ----------
    path
        The file.
    check
        Watertightness and volume of the mesh.
    segment_ml
        Volume of the segment's voxels, to compare with that of the mesh; None under a warping
        transform.
    """

    path: Path
    check: MeshCheck
    segment_ml: float | None

    @property
    def sentence(self) -> str:
        """What a planner should know about the file."""
        state = "is watertight" if self.check.watertight else (
            f"is NOT watertight ({self.check.open_edges} open edges)")  # fmt: skip
        voxels = "" if self.segment_ml is None else f" (voxels: {self.segment_ml:.4g} ml)"
        return f"{self.path.name} {state}, {self.check.volume_ml:.4g} ml{voxels}."


def export_surfaces(
    segmentation: Node,
    segment_ids: Sequence[str],
    folder: Path,
    file_format: str = "stl",
    *,
    lps: bool = True,
    options: SurfaceOptions | None = None,
    names: Sequence[str] | None = None,
    overwrite: bool = False,
) -> tuple[ExportedSurface, ...]:
    """Write the closed surface of each segment to a file of its own, in millimetres.

    Coordinates are LPS (as in DICOM and in planning programs) unless told otherwise; the file says
    which (``SPACE=LPS``, which Slicer reads back). Parent transforms are applied. All files appear
    together when the last is complete; a failure leaves the folder as it was.

    Parameters
    ----------
    file_format
        ``stl`` (binary) or ``obj``.
    names
        File names without ending. By default range and role of a threshold segment
        (``bone_original``), never the volume's name, which may tell who the patient is; for any
        other segment the name that its author gave it.
    overwrite
        Whether files of these names may be replaced.

    Raises
    ------
    UsageError
        If the format is unknown, nothing is chosen, or names are missing or repeated.
    InputError
        If a segment is gone or empty.
    ResourceError
        If a file exists, or the folder cannot be written to.
    """
    if file_format not in FORMATS:
        message = f"A surface is written as stl or obj; got {file_format!r}."
        raise UsageError(message)
    paths = _paths(segmentation, segment_ids, Path(folder), file_format, names)
    taken = [p.name for p in paths if p.exists()]
    if taken and not overwrite:
        message = f"{', '.join(taken)} exists already; nothing was written."
        raise ResourceError(message, hint="Choose another folder, or allow files to be replaced.")
    meshes = [surface_of(segmentation, s, options) for s in segment_ids]
    with ExitStack() as stack:
        for path, mesh in zip(paths, meshes, strict=True):
            _write(stack.enter_context(atomic_path(path)), mesh, lps=lps)
    return tuple(
        ExportedSurface(path, check_mesh(mesh), _segment_ml(segmentation, segment_id))
        for path, mesh, segment_id in zip(paths, meshes, segment_ids, strict=True)
    )


def file_stem(segmentation: Node, segment_id: str) -> str:
    """Return the file name, without ending, that a segment's surface gets by default."""
    own = role_of(segmentation, segment_id)
    name = "_".join(own) if own else str(segment_of(segmentation, segment_id).GetName())
    return _safe(name) or "segment"


def _safe(name: str) -> str:
    # Letters of any language stay; what file systems or shells treat specially becomes _.
    return re.sub(r"[^\w-]+", "_", name).strip("_")[:_LONGEST_NAME]


def _paths(
    segmentation: Node,
    segment_ids: Sequence[str],
    folder: Path,
    file_format: str,
    names: Sequence[str] | None,
) -> list[Path]:
    if not segment_ids:
        message = "No segment is chosen to export."
        raise UsageError(message)
    if names is None:
        return [folder / f"{stem}.{file_format}" for stem in _distinct(
            [file_stem(segmentation, s) for s in segment_ids])]  # fmt: skip
    if len(names) != len(segment_ids) or len(set(names)) != len(names):
        message = f"{len(segment_ids)} different file names are needed; got {list(names)}."
        raise UsageError(message)
    wrong = [n for n in names if n != _safe(n) or not n]
    if wrong:
        message = f"A file name has letters, digits, - and _ only; got {wrong[0]!r}."
        raise UsageError(message, hint="Choose the folder separately; the ending is added.")
    return [folder / f"{name}.{file_format}" for name in names]


def _distinct(stems: list[str]) -> list[str]:
    """Return the names with a number on those that occur twice, upper or lower case alike."""
    out: list[str] = []
    for stem in stems:
        name, n = stem, 2
        while name.lower() in (o.lower() for o in out):
            name, n = f"{stem}_{n}", n + 1
        out.append(name)
    return out


def _write(path: Path, mesh: Any, *, lps: bool) -> None:
    space = "LPS" if lps else "RAS"
    header = f"CTRestore surface. SPACE={space}. Unit mm."
    writer = vtk.vtkOBJWriter() if path.suffix == ".obj" else vtk.vtkSTLWriter()
    writer.SetInputData(_turned(mesh) if lps else mesh)
    writer.SetFileName(str(path))
    if path.suffix == ".stl":
        writer.SetFileTypeToBinary()
        writer.SetHeader(header)
    if not writer.Write() or writer.GetErrorCode() != 0:
        message = f"The surface could not be written to {path.parent.name}."
        raise ResourceError(message, hint="Check free space and write permission of the folder.")
    if path.suffix == ".obj":
        path.write_bytes(f"# {header}\n".encode() + path.read_bytes())


def _turned(mesh: Any) -> Any:
    """Return a mesh in RAS as LPS: half a turn about the long axis, so normals stay outward."""
    half_turn = vtk.vtkTransform()
    half_turn.Scale(-1, -1, 1)
    turn = vtk.vtkTransformPolyDataFilter()
    turn.SetTransform(half_turn)
    turn.SetInputData(mesh)
    turn.Update()
    return turn.GetOutput()


def _segment_ml(segmentation: Node, segment_id: str) -> float | None:
    parent = segmentation.GetParentTransformNode()
    if parent is not None and not parent.IsTransformToWorldLinear():
        return None
    return in_world(mask_of(segmentation, segment_id), segmentation).volume_ml
