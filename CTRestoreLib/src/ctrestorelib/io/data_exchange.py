"""HDF5 files in the DataExchange layout of synchrotron beamlines (layer: io).

Layout: doi:10.1107/S160057751401604X. Read are ``exchange/data``, ``data_white``, ``data_dark`` and
``theta``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.optional import optional_module
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.io.flat_field import line_integrals
from ctrestorelib.io.notes import Note
from ctrestorelib.io.parallel_scan import parallel_scan
from ctrestorelib.io.reading import ReadOptions
from ctrestorelib.io.stored import check_memory


def read(path: Path, options: ReadOptions) -> tuple[ProjectionSet, list[Note]]:
    """Read a parallel-beam scan; flat and dark fields are applied."""
    h5py = optional_module("h5py", "Reading HDF5 files")

    try:
        with h5py.File(path, "r") as file:
            exchange = file.get("exchange")
            if not isinstance(exchange, h5py.Group) or "data" not in exchange:
                message = f"{path.name} is HDF5, but not in the DataExchange layout."
                raise InputError(message, hint="Expected the data set exchange/data.")
            check_memory(path.name, exchange["data"].shape, 8)
            arrays = {n: _images(exchange, n) for n in ("data", "data_white", "data_dark")}
            theta, units = _theta(exchange)
    except OSError as error:
        message = f"{path.name} cannot be read as HDF5: the file is damaged or cut off."
        raise InputError(message, hint="Copy or export the file again.") from error
    values, i0, notes = _to_line_integrals(arrays, options, path.name)
    angles, angle_notes = _angles(theta, units, len(values), path.name)
    # Row 0 of a camera image is its upper edge; ours lies at the lower end of the axis.
    values = np.ascontiguousarray(values[:, ::-1])
    geometry, geometry_notes = parallel_scan(values, angles, options)
    projections = ProjectionSet(values, geometry, ProjectionKind.LINE_INTEGRAL, i0)
    return projections, notes + angle_notes + geometry_notes


def _images(exchange: Any, name: str) -> NDArray[Any] | None:
    if name not in exchange or 0 in exchange[name].shape:
        return None
    array = np.asarray(exchange[name][()])
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.dtype.kind not in "iuf":
        message = f"exchange/{name} must be images [theta, y, x] of real numbers."
        raise InputError(message, hint=f"It has {array.ndim} dimensions of {array.dtype}.")
    axes = exchange[name].attrs.get("axes", "")
    text = axes.decode() if isinstance(axes, bytes) else str(axes)
    order = [part.split("_")[0] for part in text.split(":")]
    if len(order) == 3 and sorted(order) == ["theta", "x", "y"]:
        array = array.transpose([order.index(axis) for axis in ("theta", "y", "x")])
    return array


def _theta(exchange: Any) -> tuple[NDArray[np.float64] | None, str]:
    if "theta" not in exchange:
        return None, ""
    units = exchange["theta"].attrs.get("units", "degrees")
    units = units.decode() if isinstance(units, bytes) else str(units)
    return np.asarray(exchange["theta"][()], dtype=np.float64).ravel(), units


def _angles(
    theta: NDArray[np.float64] | None, units: str, views: int, name: str
) -> tuple[NDArray[np.float64], list[Note]]:
    if theta is None:
        text = f"The file states no angles; {views} equal steps over 180 degrees were taken."
        return np.pi * np.arange(views) / views, [Note("angles-assumed", text)]
    if len(theta) != views or not np.isfinite(theta).all():
        message = f"{name} holds {views} projections but {len(theta)} angles."
        raise InputError(message, hint="Repair exchange/theta.")
    return (theta if units.lower().startswith("rad") else np.deg2rad(theta)), []


def _to_line_integrals(
    arrays: dict[str, NDArray[Any] | None], options: ReadOptions, name: str
) -> tuple[NDArray[np.float32], float | None, list[Note]]:
    data, flats, darks = arrays["data"], arrays["data_white"], arrays["data_dark"]
    if data is None:
        message = f"{name} holds no projections: exchange/data is empty."
        raise InputError(message)
    if options.kind is ProjectionKind.LINE_INTEGRAL:
        return data.astype(np.float32), options.i0, []
    notes = []
    if flats is None and options.i0 is None:
        message = f"{name} holds no flat fields (exchange/data_white): how bright is the open beam?"
        hint = "Give i0, the reading without an object, or say that these are line integrals."
        raise InputError(message, hint=hint)
    if flats is None:
        flats = np.full((1, *data.shape[1:]), options.i0, dtype=np.float32)
    if darks is None:
        text = "The file holds no dark fields; they were taken to be zero."
        notes.append(Note("dark-assumed", text))
        darks = np.zeros((0, *data.shape[1:]), dtype=np.float32)
    for images, what in ((flats, "data_white"), (darks, "data_dark")):
        if images.shape[1:] != data.shape[1:]:
            message = f"exchange/{what} and exchange/data in {name} differ in size."
            raise InputError(message, hint="Flat and dark fields must have the projections' size.")
    values, i0, flat_notes = line_integrals(data, flats, darks)
    return values, (i0 if options.i0 is None else options.i0), notes + flat_notes
