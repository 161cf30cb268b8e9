"""A projection set: detector readings of all views with their geometry (layer: geometry)."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, InputError, UnitError
from ctrestorelib.core.volume import all_finite
from ctrestorelib.geometry.scan import ConeBeamGeometry


@enum.unique
class ProjectionKind(str, enum.Enum):
    """Detector readings before or after the logarithm."""

    COUNTS = "counts"
    LINE_INTEGRAL = "line_integral"


@dataclass(frozen=True, eq=False)
class ProjectionSet:
    """All projections of one scan.

    Parameters
    ----------
    values
        Array ``[view, row, col]``, float32. Counts, or line integrals of attenuation (no unit:
        1/mm times mm).
    geometry
        Source and detector of every view.
    kind
        Counts or line integrals.
    i0
        Counts without an object: one number, or None if unknown. Line integrals keep it as the
        dose of the scan: it drives noise weights and stopping rules.
    electronic_sd
        Standard deviation of the detector's electronic noise, in counts.

    Raises
    ------
    InputError
        If the array is not three-dimensional, or counts come without ``i0``.
    GeometryError
        If views, rows or columns differ from the geometry.
    """

    values: NDArray[np.float32]
    geometry: ConeBeamGeometry
    kind: ProjectionKind
    i0: float | None = None
    electronic_sd: float = 0.0

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.ndim != 3 or values.dtype.kind not in "biuf":
            message = (
                "Projections must be a real array with axes [view, row, col]; "
                f"got {values.ndim} dimensions of type {values.dtype}."
            )
            raise InputError(message)
        expected = (self.geometry.views, *self.geometry.detector_shape)
        if values.shape != expected:
            message = (
                f"The geometry describes {expected[0]} views of {expected[1]} rows x {expected[2]} "
                f"columns; the projections have shape {values.shape}."
            )
            raise GeometryError(message, hint="Use the geometry file that belongs to this scan.")
        if self.i0 is not None and not self.i0 > 0:
            message = f"The unattenuated intensity i0 must be positive; got {self.i0}."
            raise InputError(message)
        object.__setattr__(self, "kind", ProjectionKind(self.kind))
        if self.kind is ProjectionKind.COUNTS and self.i0 is None:
            message = "Counts need i0, the reading without an object."
            raise InputError(message, hint="Give it with --i0, or supply flat fields.")
        object.__setattr__(self, "values", np.ascontiguousarray(values, dtype=np.float32))

    @property
    def views(self) -> int:
        """Number of views."""
        return self.geometry.views

    def __getitem__(self, key: slice | Sequence[int] | NDArray[Any]) -> ProjectionSet:
        """Return some of the views with their geometry."""
        index = np.atleast_1d(np.arange(self.views)[key])
        return self.replace(values=self.values[index], geometry=self.geometry[index])

    def replace(self, **changes: Any) -> ProjectionSet:
        """Return a projection set with some fields changed (validated again)."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return ProjectionSet(**{**fields, **changes})

    def to_line_integrals(self) -> ProjectionSet:
        """Return ``-ln(max(counts, 1) / i0)``; line integrals come back unchanged.

        Readings below one count are raised to one: the detector cannot tell them apart.
        """
        if self.kind is ProjectionKind.LINE_INTEGRAL:
            return self
        if self.i0 is None:  # excluded by the constructor
            message = "Counts need i0 to become line integrals."
            raise UnitError(message)
        floor = min(1.0, self.i0)
        values = -np.log(np.maximum(self.values, floor) / np.float32(self.i0))
        return self.replace(values=values, kind=ProjectionKind.LINE_INTEGRAL)

    def require_finite(self) -> None:
        """Raise :class:`InputError` if any reading is NaN or infinite."""
        if all_finite(self.values):
            return
        bad = np.argwhere(~np.isfinite(self.values))
        message = (
            f"The projections contain {len(bad)} readings that are not numbers, the first at "
            f"view, row, col = {tuple(int(n) for n in bad[0])}."
        )
        hint = "Mark dead pixels and replace them by their neighbours before reconstruction."
        raise InputError(message, hint=hint)
