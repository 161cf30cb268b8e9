"""A volume: values on a voxel grid in the LPS world, in millimetres (layer: core)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctrestorelib.core.errors import GeometryError, InputError, UnitError
from ctrestorelib.core.units import MU_WATER_PER_MM, Unit, hu_from_mu, mu_from_hu

PADDING_BELOW_HU = -1500.0
"""Nothing absorbs less than air (-1000 HU) but for noise: values below this mark unmeasured voxels.

Scanners pad with -2000, -2048, -3024 or less; noise of 100 HU in air stays above."""


def read_only(array: ArrayLike, dtype: Any = np.float64) -> NDArray[Any]:
    """Return a C-contiguous copy of ``array`` that cannot be written to."""
    out = np.array(array, dtype=dtype, order="C")
    out.setflags(write=False)
    return out


@dataclass(frozen=True, eq=False)
class VolumeGeometry:
    """Where the voxels of a volume lie.

    Parameters
    ----------
    shape
        Number of voxels along the numpy axes ``(k, j, i)``.
    ijk_to_lps
        4x4 matrix from voxel indices ``(i, j, k, 1)`` (voxel centres at whole numbers) to LPS world
        millimetres. Any rotation, any handedness; the columns need not be orthogonal (a tilted
        stack is sheared), but must span the space.

    Raises
    ------
    GeometryError
        If the shape is not three positive whole numbers, or the matrix is not a finite, invertible
        affine.
    """

    shape: tuple[int, int, int]
    ijk_to_lps: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            message = f"A volume's shape is three positive numbers (k, j, i); got {self.shape}."
            raise GeometryError(message)
        matrix = np.asarray(self.ijk_to_lps, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            message = f"ijk_to_lps must be a finite 4x4 matrix; got shape {matrix.shape}."
            raise GeometryError(message)
        if not np.allclose(matrix[3], (0, 0, 0, 1)):
            message = f"The last row of ijk_to_lps must be 0 0 0 1; got {matrix[3].tolist()}."
            raise GeometryError(message)
        lengths = np.linalg.norm(matrix[:3, :3], axis=0)
        if lengths.min() <= 0 or abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-3:
            message = (
                "The axes of ijk_to_lps must be three independent directions of non-zero spacing."
            )
            raise GeometryError(message, hint="Check the voxel size and orientation of the file.")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "ijk_to_lps", read_only(matrix))

    @classmethod
    def from_spacing(
        cls,
        shape: Sequence[int],
        spacing_mm: Sequence[float],
        *,
        origin_lps_mm: Sequence[float] | None = None,
    ) -> VolumeGeometry:
        """Build an axis-aligned grid; without an origin its centre lies at the world's origin.

        Parameters
        ----------
        shape
            ``(k, j, i)``.
        spacing_mm
            Voxel size along ``(i, j, k)``, in mm.
        origin_lps_mm
            World position of voxel (0, 0, 0).
        """
        k, j, i = (int(n) for n in shape)
        matrix = np.diag([*(float(s) for s in spacing_mm), 1.0])
        if origin_lps_mm is None:
            origin_lps_mm = -(np.array([i, j, k]) - 1) / 2.0 * np.asarray(spacing_mm, dtype=float)
        matrix[:3, 3] = origin_lps_mm
        return cls((k, j, i), matrix)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along (i, j, k) in mm."""
        x, y, z = np.linalg.norm(self.ijk_to_lps[:3, :3], axis=0).tolist()
        return (x, y, z)

    @cached_property
    def direction(self) -> NDArray[np.float64]:
        """Unit vectors of the i, j and k axes as columns, in LPS; shape (3, 3)."""
        return read_only(self.ijk_to_lps[:3, :3] / np.array(self.spacing_mm))

    @property
    def origin_lps_mm(self) -> NDArray[np.float64]:
        """World position of the centre of voxel (0, 0, 0), shape (3,)."""
        return self.ijk_to_lps[:3, 3]

    @cached_property
    def lps_to_ijk(self) -> NDArray[np.float64]:
        """Inverse of ``ijk_to_lps``."""
        return read_only(np.linalg.inv(self.ijk_to_lps))

    @cached_property
    def centre_lps_mm(self) -> NDArray[np.float64]:
        """World position of the middle of the grid, shape (3,)."""
        middle = [(n - 1) / 2.0 for n in reversed(self.shape)]
        return read_only((self.ijk_to_lps @ [*middle, 1.0])[:3])

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in cubic millimetres."""
        return float(abs(np.linalg.det(self.ijk_to_lps[:3, :3])))

    @property
    def is_orthogonal(self) -> bool:
        """Whether the three axes are perpendicular (false for a sheared, gantry-tilted stack)."""
        gram = self.direction.T @ self.direction
        return bool(np.allclose(gram, np.eye(3), atol=1e-4))

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    def to_world(self, ijk: ArrayLike) -> NDArray[np.float64]:
        """Map voxel indices ``(..., 3)`` in the order (i, j, k) to LPS millimetres ``(..., 3)``."""
        points = np.asarray(ijk, dtype=np.float64)
        return points @ self.ijk_to_lps[:3, :3].T + self.ijk_to_lps[:3, 3]

    def to_ijk(self, lps_mm: ArrayLike) -> NDArray[np.float64]:
        """Map LPS millimetres ``(..., 3)`` to fractional voxel indices (i, j, k)."""
        points = np.asarray(lps_mm, dtype=np.float64)
        return points @ self.lps_to_ijk[:3, :3].T + self.lps_to_ijk[:3, 3]

    def crop(self, kji: tuple[slice, slice, slice]) -> VolumeGeometry:
        """Return the geometry of ``values[kji]``; slices have step 1."""
        ranges = [s.indices(n) for s, n in zip(kji, self.shape, strict=True)]
        start_ijk = [r[0] for r in reversed(ranges)]
        matrix = np.array(self.ijk_to_lps)
        matrix[:3, 3] = self.to_world(start_ijk)
        k, j, i = (max(0, stop - start) for start, stop, _ in ranges)
        return VolumeGeometry((k, j, i), matrix)

    def matches(self, other: VolumeGeometry, *, tolerance_mm: float = 1e-3) -> bool:
        """Whether every voxel of both grids lies at the same place within ``tolerance_mm``."""
        if self.shape != other.shape:
            return False
        k, j, i = (n - 1 for n in self.shape)
        corners = [(x, y, z) for x in (0, i) for y in (0, j) for z in (0, k)]
        gap = np.abs(self.to_world(corners) - other.to_world(corners)).max()
        return bool(gap <= tolerance_mm)

    def to_json(self) -> dict[str, Any]:
        """Return plain values from which :meth:`from_json` rebuilds the geometry exactly."""
        return {"shape_kji": list(self.shape), "ijk_to_lps": self.ijk_to_lps.tolist()}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> VolumeGeometry:
        """Rebuild a geometry written by :meth:`to_json`."""
        k, j, i = record["shape_kji"]
        return cls((k, j, i), np.asarray(record["ijk_to_lps"], dtype=np.float64))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, VolumeGeometry)
            and self.shape == other.shape
            and np.array_equal(self.ijk_to_lps, other.ijk_to_lps)
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.ijk_to_lps.tobytes()))


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxel values with their geometry and unit.

    Parameters
    ----------
    values
        Array ``[k, j, i]``; stored as C-contiguous float32 (converted if needed). The array is not
        copied when it already is; nobody in CTRestore writes to it.
    geometry
        The voxel grid; its shape must equal that of ``values``.
    unit
        HU, 1/mm or grey value.

    Raises
    ------
    InputError
        If the array is not a real, three-dimensional array of numbers.
    GeometryError
        If array and geometry differ in shape.
    """

    values: NDArray[np.float32]
    geometry: VolumeGeometry
    unit: Unit

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.ndim != 3 or values.dtype.kind not in "biuf":
            message = (
                "A volume's values must be a three-dimensional array of real numbers; "
                f"got {values.ndim} dimensions of type {values.dtype}."
            )
            hint = "Choose one channel of a colour or vector volume, one time point of a series."
            raise InputError(message, hint=hint)
        if values.shape != self.geometry.shape:
            message = f"Values have shape {values.shape}, their geometry {self.geometry.shape}."
            raise GeometryError(message)
        object.__setattr__(self, "values", np.ascontiguousarray(values, dtype=np.float32))
        object.__setattr__(self, "unit", Unit(self.unit))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along (k, j, i)."""
        return self.geometry.shape

    def with_values(self, values: NDArray[Any], unit: Unit | None = None) -> Volume:
        """Return new values on this very grid (the geometry object is shared, so it is equal)."""
        return Volume(values, self.geometry, self.unit if unit is None else unit)

    def crop(self, kji: tuple[slice, slice, slice]) -> Volume:
        """Return the part ``values[kji]`` with its geometry."""
        return Volume(self.values[kji], self.geometry.crop(kji), self.unit)

    def to_unit(self, unit: Unit, mu_water_per_mm: float = MU_WATER_PER_MM) -> Volume:
        """Return the volume in ``unit``.

        Raises
        ------
        UnitError
            If grey values would have to be turned into HU or 1/mm: nobody knows how.
        """
        if unit == self.unit:
            return self
        if Unit.GREY in (unit, self.unit):
            message = f"Cannot convert {self.unit.label} to {unit.label}."
            hint = "Grey values carry no physical scale; say the unit when you open the file."
            raise UnitError(message, hint=hint)
        convert = mu_from_hu if self.unit == Unit.HU else hu_from_mu
        return self.with_values(convert(self.values, mu_water_per_mm), unit)

    def require_finite(self, name: str = "The volume") -> None:
        """Raise :class:`InputError` if any value is NaN or infinite, saying how many and where."""
        if all_finite(self.values):
            return
        bad = np.argwhere(~np.isfinite(self.values))
        message = (
            f"{name} contains {len(bad)} voxels that are not numbers (NaN or infinite), "
            f"the first at k, j, i = {tuple(int(n) for n in bad[0])}."
        )
        hint = "Replace them (for instance by -1000 HU, air) or restrict the work to a region."
        raise InputError(message, hint=hint)


def all_finite(array: NDArray[np.float32]) -> bool:
    """Return whether no value is NaN or infinite, without a mask of the array's size."""
    # A float64 sum of float32 values is finite exactly when all of them are.
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(array.sum(dtype=np.float64)))


def padding_mask(volume: Volume) -> NDArray[np.bool_]:
    """Return where an HU volume was never measured (scanner padding), shape ``[k, j, i]``.

    Scanners fill the corners outside the scan circle with values such as -2000 or -3024. Volumes in
    another unit have no such convention: the mask is all false.
    """
    if volume.unit != Unit.HU:
        return np.zeros(volume.shape, dtype=bool)
    return volume.values < PADDING_BELOW_HU


def has_padding(volume: Volume) -> bool:
    """Return whether any voxel was never measured (see :func:`padding_mask`)."""
    return volume.unit == Unit.HU and bool(volume.values.min() < PADDING_BELOW_HU)
