"""Ellipsoid phantoms whose line integrals are known exactly (layer: geometry; numpy only)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry, read_only
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry

_BLOCK_POINTS = 2**18


@dataclass(frozen=True, eq=False)
class EllipsoidPhantom:
    """A sum of ellipsoids in the world; values add up where they overlap.

    Parameters
    ----------
    centres_mm
        Shape (ellipsoid, 3), LPS world.
    semi_axes_mm
        Shape (ellipsoid, 3). Infinity makes a cylinder, which has line integrals wherever a ray
        does not run along it.
    rotations
        Shape (ellipsoid, 3, 3): columns are the directions of the semi-axes in the world.
    values_per_mm
        Shape (ellipsoid,): attenuation that each ellipsoid adds, in 1/mm.

    Raises
    ------
    InputError
        If shapes disagree, a semi-axis is not positive or a matrix is not a rotation.
    """

    centres_mm: NDArray[np.float64]
    semi_axes_mm: NDArray[np.float64]
    rotations: NDArray[np.float64]
    values_per_mm: NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(self.values_per_mm)
        for name, shape in (
            ("centres_mm", (count, 3)),
            ("semi_axes_mm", (count, 3)),
            ("rotations", (count, 3, 3)),
            ("values_per_mm", (count,)),
        ):
            array = read_only(getattr(self, name))
            if array.shape != shape or np.isnan(array).any():
                message = f"{name} must be numbers of shape {shape}; got shape {array.shape}."
                raise InputError(message)
            object.__setattr__(self, name, array)
        if not (self.semi_axes_mm > 0).all():
            message = "Every semi-axis of an ellipsoid must be positive."
            raise InputError(message)
        gram = np.swapaxes(self.rotations, 1, 2) @ self.rotations
        if not np.allclose(gram, np.eye(3), atol=1e-6):
            message = "rotations must be matrices of perpendicular unit columns."
            raise InputError(message)

    def __len__(self) -> int:
        return len(self.values_per_mm)

    def values_at(self, lps_mm: ArrayLike) -> NDArray[np.float64]:
        """Return the attenuation in 1/mm at world points ``(..., 3)``."""
        points = np.asarray(lps_mm, dtype=np.float64)
        total = np.zeros(points.shape[:-1])
        for n in range(len(self)):
            local = self._into_sphere(n, points - self.centres_mm[n])
            total += self.values_per_mm[n] * ((local * local).sum(axis=-1) <= 1.0)
        return total

    def voxelise(self, grid: VolumeGeometry, oversample: int = 1) -> Volume:
        """Return the phantom on a grid, in 1/mm.

        Each voxel is the mean of ``oversample**3`` points spread evenly over it.
        """
        if oversample < 1:
            message = f"oversample must be at least 1; got {oversample}."
            raise InputError(message)
        shifts = (np.arange(oversample) + 0.5) / oversample - 0.5
        out = np.zeros(grid.shape)
        slices, rows, cols = grid.shape
        step = max(1, _BLOCK_POINTS // (rows * cols))
        for start in range(0, slices, step):
            k, j, i = np.mgrid[start : min(start + step, slices), :rows, :cols].astype(np.float64)
            for dk, dj, di in np.stack(np.meshgrid(shifts, shifts, shifts), -1).reshape(-1, 3):
                points = grid.to_world(np.stack([i + di, j + dj, k + dk], axis=-1))
                out[start : start + step] += self.values_at(points)
        return Volume((out / oversample**3).astype(np.float32), grid, Unit.PER_MM)

    def project(self, scan: ConeBeamGeometry) -> NDArray[np.float32]:
        """Return the exact line integrals, ``[view, row, col]``, from source to detector."""
        out = np.empty((scan.views, *scan.detector_shape), dtype=np.float32)
        for view in range(scan.views):
            pixels = scan.pixel_positions_mm(view)
            if scan.beam is Beam.PARALLEL:
                start, ray = pixels, np.broadcast_to(-scan.source[view], pixels.shape)
                limits = (-np.inf, np.inf)
            else:
                start = np.broadcast_to(scan.source[view], pixels.shape)
                ray, limits = pixels - start, (0.0, 1.0)
            out[view] = self.line_integrals(start, ray, limits)
        return out

    def line_integrals(
        self,
        start_mm: NDArray[np.float64],
        ray_mm: NDArray[np.float64],
        limits: tuple[float, float] = (-np.inf, np.inf),
    ) -> NDArray[np.float64]:
        """Integrate along ``start + t ray`` for t within ``limits``; arrays ``(..., 3)`` in mm."""
        total = np.zeros(start_mm.shape[:-1])
        norm = np.linalg.norm(ray_mm, axis=-1)
        for n in range(len(self)):
            o = self._into_sphere(n, start_mm - self.centres_mm[n])
            d = self._into_sphere(n, ray_mm)
            square = (d * d).sum(axis=-1)
            with np.errstate(divide="ignore", invalid="ignore"):
                nearest = -(o * d).sum(axis=-1) / square
                # Distance of the ray from the unit sphere's centre, without cancellation.
                away = o + nearest[..., None] * d
                half = np.sqrt(np.maximum(0.0, 1.0 - (away * away).sum(axis=-1)) / square)
                enter = np.maximum(nearest - half, limits[0])
                leave = np.minimum(nearest + half, limits[1])
            chord = np.where(square > 0, np.maximum(0.0, leave - enter), 0.0)
            total += self.values_per_mm[n] * chord * norm
        return total

    def _into_sphere(self, n: int, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return vectors in the frame in which ellipsoid n is a unit sphere."""
        local: NDArray[np.float64] = (vectors @ self.rotations[n]) / self.semi_axes_mm[n]
        return local


_CONTRASTS = {
    # Skull, what lies in it, then the small parts in the order of _SHEPP_LOGAN; brain is about 1.
    "original": (2.0, -0.98, -0.02, -0.02, 0.02, 0.02, 0.01, 0.01, 0.02, -0.02),
    "raised": (5.0, -4.0, -1.0, -1.0, 1.0, 1.0, 0.5, 0.5, 1.0, -1.0),
}

_SHEPP_LOGAN = (
    # semi-axes x y z, centre x y z, turn about z in degrees
    ((0.6900, 0.920, 0.900), (0.0, 0.0, 0.0), 0.0),
    ((0.6624, 0.874, 0.880), (0.0, 0.0, 0.0), 0.0),
    ((0.4100, 0.160, 0.210), (-0.22, 0.0, -0.25), 108.0),
    ((0.3100, 0.110, 0.220), (0.22, 0.0, -0.25), 72.0),
    ((0.2100, 0.250, 0.500), (0.0, 0.35, -0.25), 0.0),
    ((0.0460, 0.046, 0.046), (0.0, 0.1, -0.25), 0.0),
    ((0.0460, 0.023, 0.020), (-0.08, -0.65, -0.25), 0.0),
    ((0.0460, 0.023, 0.020), (0.06, -0.65, -0.25), 90.0),
    ((0.0560, 0.040, 0.100), (0.06, -0.105, 0.625), 90.0),
    ((0.0560, 0.056, 0.100), (0.0, 0.1, 0.625), 0.0),
)


def shepp_logan_3d(
    scale_mm: float,
    *,
    contrast: str = "original",
    value_per_mm: float = MU_WATER_PER_MM,
    placed: ArrayLike | None = None,
) -> EllipsoidPhantom:
    """Return the three-dimensional Shepp-Logan head.

    Parameters
    ----------
    scale_mm
        Half the side of the cube around it; the head is 0.92 times that long.
    contrast
        ``"original"``: skull 2, brain 1.02, parts of the brain differ by 0.01 to 0.02 (as Kak and
        Slaney). ``"raised"``: skull 5, brain 1, parts differ by 0.5 to 1, ventricles are empty.
    value_per_mm
        Attenuation that the value 1 stands for; water by default.
    placed
        4x4 rigid map of the phantom in the world: the identity by default, the head's long axis
        along y, its vertex along z.

    References
    ----------
    L. A. Shepp, B. F. Logan, doi:10.1109/TNS.1974.6499235 (two-dimensional); A. C. Kak,
    M. Slaney, Principles of Computerized Tomographic Imaging, doi:10.1137/1.9780898719277.
    """
    if contrast not in _CONTRASTS:
        message = f"contrast is one of {', '.join(_CONTRASTS)}; got {contrast!r}."
        raise InputError(message)
    place = np.eye(4) if placed is None else np.asarray(placed, dtype=np.float64)
    turns = np.deg2rad([row[2] for row in _SHEPP_LOGAN])
    about_z = np.zeros((len(turns), 3, 3))
    about_z[:, 0, 0] = about_z[:, 1, 1] = np.cos(turns)
    about_z[:, 1, 0], about_z[:, 0, 1] = np.sin(turns), -np.sin(turns)
    about_z[:, 2, 2] = 1.0
    centres = scale_mm * np.array([row[1] for row in _SHEPP_LOGAN])
    return EllipsoidPhantom(
        centres_mm=centres @ place[:3, :3].T + place[:3, 3],
        semi_axes_mm=scale_mm * np.array([row[0] for row in _SHEPP_LOGAN]),
        rotations=place[:3, :3] @ about_z,
        values_per_mm=value_per_mm * np.array(_CONTRASTS[contrast]),
    )


def water_ellipsoid(
    semi_axes_mm: tuple[float, float, float],
    *,
    centre_lps_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    value_per_mm: float = MU_WATER_PER_MM,
) -> EllipsoidPhantom:
    """Return one ellipsoid of water, its semi-axes along the world's x, y and z."""
    return EllipsoidPhantom(
        centres_mm=np.array([centre_lps_mm]),
        semi_axes_mm=np.array([semi_axes_mm]),
        rotations=np.eye(3)[None],
        values_per_mm=np.array([value_per_mm]),
    )


def water_cylinder(
    radius_mm: float,
    *,
    axis: int = 1,
    centre_lps_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    value_per_mm: float = MU_WATER_PER_MM,
) -> EllipsoidPhantom:
    """Return an endless cylinder of water along world axis ``axis`` (0, 1, 2 for x, y, z)."""
    semi_axes = [radius_mm] * 3
    semi_axes[axis] = np.inf
    x, y, z = semi_axes
    return water_ellipsoid((x, y, z), centre_lps_mm=centre_lps_mm, value_per_mm=value_per_mm)
