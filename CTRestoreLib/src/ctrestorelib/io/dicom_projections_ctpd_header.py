"""What one file of a DICOM-CT-PD series says about its view (layer: io).

The private elements are listed in table IV of T. R. Moen et al. 2021, doi:10.1002/mp.14594. They
come as numbers from files with explicit kinds of values, and as bare bytes from the others.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ctrestorelib.core.errors import InputError
from ctrestorelib.io.dicom import elements
from ctrestorelib.io.dicom.container import EXPLICIT_BIG
from ctrestorelib.io.dicom.headers import FileHeader
from ctrestorelib.io.dicom.quiet import read_errors
from ctrestorelib.io.dicom.series import Slice
from ctrestorelib.io.dicom_projections_curved import Shape

_ROWS, _COLUMNS, _SHAPE = 0x70291010, 0x70291011, 0x7029100B
_COLUMN_MM, _ROW_MM = 0x70291002, 0x70291006
_PHI, _Z, _RHO, _DISTANCE, _CENTRE = 0x70311001, 0x70311002, 0x70311003, 0x70311031, 0x70311033
_D_PHI, _D_Z, _D_RHO = 0x7033100B, 0x7033100C, 0x7033100D
_SOURCE, _SPECTRUM, _PHOTONS, _LOG, _WATER = (
    0x7033105D,
    0x70331063,
    0x70331065,
    0x70391009,
    0x70411001,
)
TAGS = (_ROWS, _COLUMNS, _SHAPE, _COLUMN_MM, _ROW_MM, _PHI, _Z, _RHO, _DISTANCE, _CENTRE, _D_PHI,
        _D_Z, _D_RHO, _SOURCE, _SPECTRUM, _PHOTONS, _LOG, _WATER, "PatientPosition")  # fmt: skip
"""Elements that a view needs beside those of every image."""

HINT = "Export the series again as DICOM-CT-PD; every view needs its own geometry."


@dataclass(frozen=True)
class View:
    """One file: an image, and where source and detector were.

    Parameters
    ----------
    focal
        ``(phi, z, rho)`` of the detector's focal centre, in radians and mm.
    shift
        By how much the focal spot lay off that centre, in the same coordinates.
    element_mm
        Row and column spacing at the detector.
    centre
        Row and column, from 0, of the element opposite the focal centre.
    distance_mm
        Focal centre to detector.
    beam_index
        Source and spectrum, where a scanner has several.
    """

    image: Slice
    focal: tuple[float, float, float]
    shift: tuple[float, float, float]
    shape: Shape
    rows: int
    columns: int
    element_mm: tuple[float, float]
    centre: tuple[float, float]
    distance_mm: float
    beam_index: tuple[int, int]
    position: str
    is_log: bool = True
    water_per_mm: float | None = None
    photons: float | None = field(default=None, repr=False)


def is_view(dataset: Any) -> bool:
    """Whether a file says where its focal spot was, as only this format does."""
    return _PHI in dataset


def parse(header: FileHeader, dataset: Any) -> View:
    """Return the view that a file holds.

    Raises
    ------
    InputError
        If it lacks a part of its geometry.
    """
    if len(header.frames) != 1:
        message = "A projection file holds several frames; expected one view in each file."
        raise InputError(message, hint=HINT)
    of = _Private(dataset, header.transfer_syntax)
    column, row = of.numbers(_CENTRE, 2, "central detector element")
    photons = of.optional(_PHOTONS)
    shape = of.code(_SHAPE)
    if shape not in Shape.__members__:
        message = "The detector is neither FLAT nor CYLINDRICAL nor SPHERICAL."
        raise InputError(message, hint="Only these detector shapes can be read.")
    view = View(
        image=Slice(header, header.frames[0]),
        focal=(of.number(_PHI, "angle"), of.number(_Z, "axial position"), of.size(_RHO, "radius")),
        shift=tuple(of.number(tag, default=0.0) for tag in (_D_PHI, _D_Z, _D_RHO)),  # type: ignore[arg-type]
        shape=Shape[shape],
        rows=int(of.size(_ROWS, "number of detector rows")),
        columns=int(of.size(_COLUMNS, "number of detector columns")),
        element_mm=(of.size(_ROW_MM, "row spacing"), of.size(_COLUMN_MM, "column spacing")),
        centre=(row - 1, column - 1),
        distance_mm=of.size(_DISTANCE, "distance from focal spot to detector"),
        beam_index=(int(of.number(_SOURCE, default=1)), int(of.number(_SPECTRUM, default=1))),
        position=elements.code(dataset, "PatientPosition"),
        is_log=of.code(_LOG) != "NO",
        water_per_mm=of.number(_WATER, default=math.nan),
        photons=None if not photons else float(np.median(photons)),
    )
    _check_spot(view)
    return view


def _check_spot(view: View) -> None:
    """Refuse a focal spot that no gantry can reach; it would make every ray impossible."""
    phi, z, _ = view.focal
    turn, along, out = view.shift
    far = abs(phi) > 1e4 or abs(z) > 1e5 or abs(turn) > 0.5
    if far or max(abs(along), abs(out)) > 0.5 * view.distance_mm:
        message = "A projection file puts the focal spot where it cannot be."
        raise InputError(message, hint=HINT)


class _Private:
    """Private elements: numbers where the file states their kind, bytes where it does not."""

    def __init__(self, dataset: Any, transfer_syntax: str) -> None:
        self._dataset = dataset
        self._order = ">" if transfer_syntax == EXPLICIT_BIG else "<"

    def optional(self, tag: int) -> tuple[float, ...]:
        """Return the finite numbers of an element; none if it is absent or malformed."""
        value = self._value(tag)
        if isinstance(value, bytes):
            value = self._unpacked(tag, value)
        if isinstance(value, str):
            value = value.split("\\")
        many: Any = value if hasattr(value, "__len__") else (value,)
        try:
            found = tuple(float(v) for v in many)
        except (TypeError, ValueError):
            return ()
        return found if all(map(math.isfinite, found)) else ()

    def _value(self, tag: int) -> Any:
        try:
            return getattr(self._dataset.get(tag), "value", None)
        except read_errors():
            return None

    def _unpacked(self, tag: int, value: bytes) -> Any:
        if tag == _WATER:
            return value.decode("ascii", "replace").strip("\0 ")
        kind, size = ("H", 2) if tag in (_ROWS, _COLUMNS, _SOURCE, _SPECTRUM) else ("f", 4)
        count = len(value) // size
        return struct.unpack(f"{self._order}{count}{kind}", value[: count * size])

    def numbers(self, tag: int, count: int, what: str) -> tuple[float, ...]:
        """Return exactly ``count`` numbers."""
        found = self.optional(tag)
        if len(found) != count:
            message = f"A projection file does not state its {what}."
            raise InputError(message, hint=HINT)
        return found

    def number(self, tag: int, what: str = "", *, default: float | None = None) -> float:
        """Return one number, or ``default`` where there is none."""
        found = self.optional(tag)
        if default is not None and len(found) != 1:
            return default
        return self.numbers(tag, 1, what)[0]

    def size(self, tag: int, what: str) -> float:
        """Return a positive number."""
        value = self.number(tag, what)
        if not 0 < value < 1e5:
            message = f"A projection file states an impossible {what}: {value:g}."
            raise InputError(message, hint=HINT)
        return value

    def code(self, tag: int) -> str:
        """Return a short code in capitals."""
        value = self._value(tag)
        text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
        return text.strip("\0 ").upper()[:16]
