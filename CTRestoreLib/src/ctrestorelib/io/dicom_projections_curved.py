"""From a curved detector to a flat one, ray by ray (layer: io).

Elements of a CT detector lie on a cylinder (or sphere) about the focal spot. A flat detector that
touches it opposite the spot sees the same rays, only elsewhere: a flat pixel takes the value of the
curved element through which its ray from the *true* focal spot runs. Nothing is approximated but
the interpolation between elements (cubic B-spline).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError

Floats = NDArray[np.float64]
_MAX_FAN_RAD = 1.2
_KEPT_MAPS = 16


@enum.unique
class Shape(enum.Enum):
    """How the elements of a detector lie."""

    FLAT = "flat"
    CYLINDRICAL = "cylindrical"
    SPHERICAL = "spherical"


@dataclass(frozen=True)
class FlatDetector:
    """The flat detector that stands for a detector of any shape.

    Parameters
    ----------
    elements
        Rows and columns of the true detector.
    element_mm
        Row and column spacing, at the detector.
    centre
        Row and column, from 0, of the element opposite the focal centre.
    distance_mm
        Focal centre to detector.
    """

    shape: Shape
    elements: tuple[int, int]
    element_mm: tuple[float, float]
    centre: tuple[float, float]
    distance_mm: float
    _maps: dict[tuple[int, ...], Floats] = field(default_factory=dict, repr=False, compare=False)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the flat detector."""
        first, last = self._columns()
        return self.elements[0], last - first + 1

    @property
    def middle_mm(self) -> tuple[float, float]:
        """Where its middle lies, from the point opposite the focal centre, along rows and cols."""
        first, last = self._columns()
        rows = (self.elements[0] - 1) / 2 - self.centre[0]
        columns = (first + last) / 2 - self.centre[1]
        return rows * self.element_mm[0], columns * self.element_mm[1]

    def _columns(self) -> tuple[int, int]:
        """First and last column on the flat grid, counted as the true columns are."""
        ends = (np.array([0, self.elements[1] - 1]) - self.centre[1]) * self.element_mm[1]
        if self.shape is Shape.FLAT:
            return 0, self.elements[1] - 1
        fan = ends / self.distance_mm
        if np.abs(fan).max() > _MAX_FAN_RAD:
            span = np.degrees(np.ptp(fan))
            message = f"The detector spans {span:.0f} degrees seen from the focal spot."
            raise GeometryError(message, hint="No CT detector does; the header is damaged.")
        flat = np.tan(fan) * self.distance_mm / self.element_mm[1] + self.centre[1]
        return int(np.ceil(flat[0] - 1e-6)), int(np.floor(flat[1] + 1e-6))

    def flatten(
        self, readings: NDArray[np.float32], spot_mm: tuple[float, float, float]
    ) -> NDArray[np.float32]:
        """Return the readings ``[row, col]`` on the flat detector.

        Parameters
        ----------
        spot_mm
            The focal spot relative to the focal centre: towards the detector, along columns, along
            the axis (against the rows).
        """
        if self.shape is Shape.FLAT:
            return readings
        from scipy.ndimage import map_coordinates

        key = tuple(round(1000 * s) for s in spot_mm)
        if key not in self._maps:
            if len(self._maps) >= _KEPT_MAPS:
                self._maps.clear()
            self._maps[key] = self._map(spot_mm)
        out: NDArray[np.float32] = map_coordinates(
            readings, self._maps[key], output=np.float32, order=3, mode="nearest"
        )
        return out

    def _map(self, spot_mm: tuple[float, float, float]) -> Floats:
        """Return the true (row, col) of each flat pixel, shape (2, row, col)."""
        first, last = self._columns()
        across = (np.arange(first, last + 1) - self.centre[1]) * self.element_mm[1]
        down = (np.arange(self.elements[0]) - self.centre[0]) * self.element_mm[0]
        pixel = np.stack(np.broadcast_arrays(self.distance_mm, across, -down[:, None]), axis=-1)
        spot = np.array(spot_mm)
        ray = pixel - spot
        # Where spot + t * ray meets the cylinder (its axis along the third axis) or the sphere.
        weight = np.array([1.0, 1.0, float(self.shape is Shape.SPHERICAL)])
        a, b = (weight * ray * ray).sum(-1), (weight * spot * ray).sum(-1)
        c = (weight * spot * spot).sum() - self.distance_mm**2
        hit = spot + ((-b + np.sqrt(b * b - a * c)) / a)[..., None] * ray
        fan = np.arctan2(hit[..., 1], hit[..., 0])
        height = hit[..., 2]
        if self.shape is Shape.SPHERICAL:
            height = self.distance_mm * np.arcsin(height / self.distance_mm)
        rows = self.centre[0] - height / self.element_mm[0]
        columns = self.centre[1] + fan * self.distance_mm / self.element_mm[1]
        return np.stack([rows, columns])
