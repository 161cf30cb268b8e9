"""Flat-panel files of treatment machines, through the optional extra ``rtk`` (layer: io).

RTK reads them in a child process: its libraries take seconds and much memory to load, and a crash
in them must not take the program down.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.child_python import child_environment, module_command
from ctrestorelib.core.errors import GeometryError, InputError, ResourceError
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.io.geometry_files import read_geometry
from ctrestorelib.io.notes import Note
from ctrestorelib.io.paths import existing, natural_key
from ctrestorelib.io.projection_stacks import geometry_beside
from ctrestorelib.io.reading import ReadOptions
from ctrestorelib.io.rtk_xml import DetectorImage

SUFFIXES = (".hnd", ".hnc", ".xim", ".his", ".edf", ".att")
TIMEOUT_S = 1800


def read(path: Path, options: ReadOptions) -> tuple[ProjectionSet, list[Note]]:
    """Read one panel image or a folder of them; RTK takes the logarithm."""
    files = _files(path)
    require_rtk(path.name)
    geometry_file = geometry_beside(path) if options.geometry is None else options.geometry
    values, detector = _read_in_child(files, path.name)
    geometry = read_geometry(existing(geometry_file), detector)
    text = "RTK read the panel images and took the logarithm with the format's own open-beam value."
    notes = [Note("read-by-rtk", text)]
    kind = options.kind or ProjectionKind.LINE_INTEGRAL
    return ProjectionSet(values, geometry, kind, options.i0), notes


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    groups: dict[str, list[Path]] = {}
    for file in path.iterdir():
        if file.suffix.lower() in SUFFIXES:
            groups.setdefault(file.suffix.lower(), []).append(file)
    if len(groups) != 1:
        message = f"{path.name} holds panel images of several kinds: {', '.join(sorted(groups))}."
        raise InputError(message, hint="Keep one scan in a folder.")
    return sorted(next(iter(groups.values())), key=lambda p: natural_key(p.name))


def require_rtk(name: str) -> None:
    """Raise if RTK's Python package is not installed."""
    if importlib.util.find_spec("itk") is None:
        message = f"Reading {name} needs RTK, which is not installed."
        raise ResourceError(message, hint="Install it with: pip install 'ctrestorelib[rtk]'")


def _read_in_child(files: list[Path], name: str) -> tuple[NDArray[np.float32], DetectorImage]:
    with tempfile.TemporaryDirectory(prefix="ctrestore-") as folder:
        order = Path(folder) / "files.json"
        order.write_text(json.dumps([str(f.resolve()) for f in files]), encoding="utf-8")
        command = [*module_command("ctrestorelib.io.vendor_child"), str(order)]
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=TIMEOUT_S, check=False,
                env=child_environment(1),
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            message = f"RTK did not finish reading {name} within {TIMEOUT_S // 60} minutes."
            raise ResourceError(message) from error
        result = Path(folder) / "values.npy"
        if done.returncode or not result.exists():
            message = f"RTK cannot read {name}: the images are damaged or of another format."
            raise InputError(message, hint="Check that the folder holds one complete scan.")
        values = np.load(result, allow_pickle=False)
        grid: dict[str, Any] = json.loads((Path(folder) / "grid.json").read_text(encoding="utf-8"))
    if values.ndim != 3:
        message = f"RTK returned {values.ndim} dimensions for {name}; expected [view, row, col]."
        raise GeometryError(message)
    (x, y), (du, dv) = grid["origin"][:2], grid["spacing"][:2]
    return values, DetectorImage(values.shape[1:], (dv, du), (y, x))
