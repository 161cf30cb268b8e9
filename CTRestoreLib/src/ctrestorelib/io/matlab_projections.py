"""MATLAB files of two published scans: HTC 2022 and the ToMoBAR dendrites (layer: io).

MATLAB files have no common layout for projections; any other one is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.optional import optional_module
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.io.notes import Note
from ctrestorelib.io.parallel_scan import parallel_scan
from ctrestorelib.io.reading import ReadOptions

HTC_FIELDS = ("distanceSourceOrigin", "distanceSourceDetector", "angles", "pixelSizePost")


def read(path: Path, options: ReadOptions) -> tuple[ProjectionSet, list[Note]]:
    """Read a fan-beam scan of HTC 2022 or the parallel-beam dendrites."""
    content = load_mat(path)
    for value in content.values():
        if isinstance(value, dict) and "sinogram" in value and "parameters" in value:
            return _htc(value, path.name)
    if "sinoRD" in content and "anglesRad" in content:
        return _dendrites(content, options, path.name)
    message = f"{path.name} is a MATLAB file of unknown layout: where are sinogram and geometry?"
    hint = "Save the projections as .npy or .tif with a geometry file (see the documentation)."
    raise InputError(message, hint=hint)


def load_mat(path: Path) -> dict[str, Any]:
    """Return the numbers of a .mat file (any version) as nested dictionaries of arrays.

    Arrays come out in MATLAB's order of axes; text and other types are left out.
    """
    import scipy.io

    try:
        with path.open("rb") as file:
            modern = file.read(128)[124:126] == b"\x00\x02"
        if modern:
            return _load_hdf5(path)
        raw = scipy.io.loadmat(path, struct_as_record=False)
    except (OSError, ValueError, TypeError, EOFError, NotImplementedError, IndexError) as error:
        message = f"{path.name} cannot be read as a MATLAB file: it is damaged or cut off."
        raise InputError(message, hint="Copy or export the file again.") from error
    return {k: _plain(v) for k, v in raw.items() if not k.startswith("__")}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
        value = value.item()
    fields = getattr(value, "_fieldnames", None)
    if fields is not None:
        return {name: _plain(getattr(value, name)) for name in fields}
    return value


def _load_hdf5(path: Path) -> dict[str, Any]:
    h5py = optional_module("h5py", "Reading MATLAB 7.3 files")

    def walk(group: Any) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, item in group.items():
            if name.startswith("#"):
                continue
            if isinstance(item, h5py.Group):
                out[name] = walk(item)
            elif item.dtype.kind in "iuf" and item.attrs.get("MATLAB_class") != b"char":
                out[name] = np.asarray(item[()]).T
        return out

    with h5py.File(path, "r") as file:
        return walk(file)


def _number(parameters: dict[str, Any], name: str) -> float:
    return float(np.asarray(parameters[name]).ravel()[0])


def _htc(record: dict[str, Any], name: str) -> tuple[ProjectionSet, list[Note]]:
    parameters = record["parameters"]
    missing = [f for f in HTC_FIELDS if f not in parameters]
    if missing:
        message = f"{name} looks like HTC 2022 but lacks {', '.join(missing)}."
        raise InputError(message)
    angles_deg = np.asarray(parameters["angles"], dtype=np.float64).ravel()
    sinogram: NDArray[Any] = np.asarray(record["sinogram"], dtype=np.float32)
    if sinogram.ndim != 2 or len(angles_deg) not in sinogram.shape:
        message = f"{name}: {len(angles_deg)} angles do not fit a sinogram of {sinogram.shape}."
        raise InputError(message)
    if sinogram.shape[0] != len(angles_deg):
        sinogram = sinogram.T
    pixel = _number(parameters, "pixelSizePost")
    geometry = ConeBeamGeometry.circular(
        sod_mm=_number(parameters, "distanceSourceOrigin"),
        sdd_mm=_number(parameters, "distanceSourceDetector"),
        # The sense is the one in which the edges of all its discs are circles of one radius.
        angles_rad=np.deg2rad(angles_deg),
        detector_shape=(1, sinogram.shape[1]),
        pixel_mm=(pixel, pixel),
    )
    values = sinogram[:, None]
    return ProjectionSet(values, geometry, ProjectionKind.LINE_INTEGRAL), []


def _dendrites(
    content: dict[str, Any], options: ReadOptions, name: str
) -> tuple[ProjectionSet, list[Note]]:
    angles = np.asarray(content["anglesRad"], dtype=np.float64).ravel()
    sinogram = np.asarray(content["sinoRD"], dtype=np.float32)
    if sinogram.ndim != 2 or sinogram.shape[1] != len(angles):
        message = f"{name}: {len(angles)} angles do not fit a sinogram of {sinogram.shape}."
        raise InputError(message)
    text = "The line integrals were stored times 1000 and have been divided by that."
    notes = [Note("values-scaled", text)]
    values = np.ascontiguousarray(sinogram.T[:, None]) / np.float32(1000)
    geometry, more = parallel_scan(values, np.mod(angles, 2 * np.pi), options)
    return ProjectionSet(values, geometry, ProjectionKind.LINE_INTEGRAL), notes + more
