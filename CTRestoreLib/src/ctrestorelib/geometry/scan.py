"""Scan geometry: where source and detector were, view by view (layer: geometry).

Conventions (the ones of RTK, doi:10.1088/1742-6596/489/1/012079, and IEC 61217)
--------------------------------------------------------------------------------
* The geometry's world is the volume's world: LPS millimetres.
* ``world_to_gantry`` maps it to the gantry frame, in which the scanner turns about the **y axis**
  through the origin (the isocentre). By default both frames are the same.
* At angle 0 the source lies on the gantry's +z axis, the detector on the -z axis; its columns run
  along +x, its rows along +y. At angle b the source is at ``sod * (sin b, 0, cos b)``.
* A pixel's coordinates ``(u, v) = (col, row)`` are whole numbers at pixel centres.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.core.volume import VolumeGeometry, read_only
from ctrestorelib.geometry.frames import equal_angles as equal_angles
from ctrestorelib.geometry.frames import patient_to_gantry as patient_to_gantry
from ctrestorelib.geometry.frames import rigid_matrix, rotation_y, tilt_matrix


@enum.unique
class Beam(str, enum.Enum):
    """The shape of the beam; a fan beam is a cone beam on a detector of one row."""

    CONE = "cone"
    PARALLEL = "parallel"


@dataclass(frozen=True, eq=False)
class ConeBeamGeometry:
    """Per-view positions of source and flat detector, in world millimetres.

    The four vectors of each view are the truth; :attr:`matrices` is derived from them. Parallel
    beams have a direction instead of a source position, fan beams a detector of one row.

    Parameters
    ----------
    beam
        Cone or parallel.
    source
        Shape (view, 3). Cone: source positions in mm. Parallel: unit vectors *towards* the source.
    detector_centre_mm
        Shape (view, 3). World position of the middle of the detector.
    u_mm, v_mm
        Shape (view, 3). World step from one pixel to the next along columns (u) and rows (v).
    detector_shape
        ``(rows, cols)``.
    world_to_gantry
        4x4 rigid map to the gantry frame (rotation about y through the origin).

    Raises
    ------
    GeometryError
        If shapes disagree, values are not finite, a detector is degenerate or edge-on, a source
        lies on its detector, or ``world_to_gantry`` is not rigid.
    """

    beam: Beam
    source: NDArray[np.float64]
    detector_centre_mm: NDArray[np.float64]
    u_mm: NDArray[np.float64]
    v_mm: NDArray[np.float64]
    detector_shape: tuple[int, int]
    world_to_gantry: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "beam", Beam(self.beam))
        for name in ("source", "detector_centre_mm", "u_mm", "v_mm"):
            object.__setattr__(self, name, _vectors(name, getattr(self, name), len(self.source)))
        rows, cols = (int(n) for n in self.detector_shape)
        if rows < 1 or cols < 1:
            message = f"A detector needs at least one row and one column; got {rows} x {cols}."
            raise GeometryError(message)
        object.__setattr__(self, "detector_shape", (rows, cols))
        object.__setattr__(self, "world_to_gantry", rigid_matrix(self.world_to_gantry))
        self._check_views()

    def _check_views(self) -> None:
        area = np.linalg.norm(np.cross(self.u_mm, self.v_mm), axis=1)
        if area.min() <= 0:
            message = "The detector's column and row steps must be two independent directions."
            raise GeometryError(message)
        depth = np.einsum("ij,ij->i", self.ray_to_source, self.normals)
        if np.abs(depth).min() < 1e-6:
            message = (
                f"In view {int(np.abs(depth).argmin())} the source lies in the detector plane."
            )
            raise GeometryError(
                message, hint="Check source-to-axis and source-to-detector distance."
            )

    # -- construction -------------------------------------------------------------------------
    @classmethod
    def circular(
        cls,
        *,
        sod_mm: float,
        sdd_mm: float,
        angles_rad: ArrayLike,
        detector_shape: tuple[int, int],
        pixel_mm: tuple[float, float],
        offset_mm: tuple[float, float] = (0.0, 0.0),
        tilt_rad: tuple[float, float, float] = (0.0, 0.0, 0.0),
        world_to_gantry: ArrayLike | None = None,
        beam: Beam = Beam.CONE,
    ) -> ConeBeamGeometry:
        """Build a circular scan about the gantry's y axis.

        Parameters
        ----------
        sod_mm, sdd_mm
            Source to rotation axis and source to detector, in mm (``sdd_mm > sod_mm > 0``). For a
            parallel beam only their difference matters, and it does not change the projections.
        angles_rad
            One angle per view, radians.
        detector_shape
            ``(rows, cols)``.
        pixel_mm
            Pixel size ``(row spacing, column spacing)`` in mm.
        offset_mm
            Shift ``(along v, along u)`` of the detector centre in its plane, in mm.
        tilt_rad
            Detector rotations about its own u axis, v axis and normal (in this order), radians.
        world_to_gantry
            4x4 rigid map, identity by default; see :func:`patient_to_gantry`.
        beam
            Cone (also for a fan) or parallel.
        """
        angles = np.atleast_1d(np.asarray(angles_rad, dtype=np.float64))
        _check_circle(sod_mm, sdd_mm, angles, pixel_mm)
        turn = rotation_y(angles)  # (view, 3, 3), gantry frame
        ex, ey, ez = np.eye(3)
        rows_step, cols_step = pixel_mm
        twist = tilt_matrix(tilt_rad)
        centre = ez * (sod_mm - sdd_mm) + ey * offset_mm[0] + ex * offset_mm[1]
        source = ez * (sod_mm if Beam(beam) is Beam.CONE else 1.0)
        to_world = (
            np.eye(4) if world_to_gantry is None else np.linalg.inv(rigid_matrix(world_to_gantry))
        )
        rotation, shift = to_world[:3, :3], to_world[:3, 3]

        def placed(vector: NDArray[np.float64], *, point: bool) -> NDArray[np.float64]:
            return (turn @ vector) @ rotation.T + (shift if point else 0.0)

        return cls(
            beam=Beam(beam),
            source=placed(source, point=Beam(beam) is Beam.CONE),
            detector_centre_mm=placed(centre, point=True),
            u_mm=placed(twist @ ex * cols_step, point=False),
            v_mm=placed(twist @ ey * rows_step, point=False),
            detector_shape=detector_shape,
            world_to_gantry=np.linalg.inv(to_world),
        )

    @classmethod
    def from_matrices(
        cls,
        matrices: ArrayLike,
        *,
        detector_shape: tuple[int, int],
        pixel_mm: tuple[float, float],
        world_to_gantry: ArrayLike | None = None,
    ) -> ConeBeamGeometry:
        """Build a cone-beam geometry from 3x4 matrices that map world mm to pixel ``(u, v)``.

        The matrices fix the source and the directions of the rays; the pixel size fixes how far
        away the detector is. ``matrices`` has shape (view, 3, 4); their overall sign and scale are
        free. Detector columns and rows are assumed perpendicular up to the matrices' own skew.
        """
        array = np.asarray(matrices, dtype=np.float64)
        if array.ndim != 3 or array.shape[1:] != (3, 4):
            message = f"Projection matrices have shape (view, 3, 4); got {array.shape}."
            raise GeometryError(message)
        if np.abs(np.linalg.det(array[:, :, :3])).min() < 1e-15:
            message = "A cone-beam projection matrix must have an invertible left 3x3 part."
            raise GeometryError(
                message, hint="Build parallel beams with circular(beam='parallel')."
            )
        inverse = np.linalg.inv(array[:, :, :3])
        source = -np.einsum("nij,nj->ni", inverse, array[:, :, 3])
        # A ray to pixel (u, v) runs along inverse @ (u, v, 1): its columns are scaled u, v steps.
        scale = pixel_mm[1] / np.linalg.norm(inverse[:, :, 0], axis=1)
        rows, cols = detector_shape
        middle = inverse @ np.array([(cols - 1) / 2.0, (rows - 1) / 2.0, 1.0])
        return cls(
            beam=Beam.CONE,
            source=source,
            detector_centre_mm=source + _towards_isocentre(middle, source, scale, world_to_gantry),
            u_mm=_signed(inverse[:, :, 0], middle, source, scale, world_to_gantry),
            v_mm=_signed(inverse[:, :, 1], middle, source, scale, world_to_gantry),
            detector_shape=detector_shape,
            world_to_gantry=np.eye(4) if world_to_gantry is None else np.asarray(world_to_gantry),
        )

    # -- views --------------------------------------------------------------------------------
    @property
    def views(self) -> int:
        """Number of views."""
        return len(self.source)

    def __len__(self) -> int:
        return self.views

    def __getitem__(self, key: slice | Sequence[int] | NDArray[Any]) -> ConeBeamGeometry:
        """Return some of the views: ``geometry[::10]`` is a sparse-view scan."""
        index = np.atleast_1d(np.arange(self.views)[key])
        if index.size == 0:
            message = f"Selecting {key!r} of {self.views} views leaves none."
            raise GeometryError(message)
        return self.replace(
            source=self.source[index],
            detector_centre_mm=self.detector_centre_mm[index],
            u_mm=self.u_mm[index],
            v_mm=self.v_mm[index],
        )

    def replace(self, **changes: Any) -> ConeBeamGeometry:
        """Return a geometry with some fields changed (validated again)."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return ConeBeamGeometry(**{**fields, **changes})

    def moved(self, world_to_new_world: ArrayLike) -> ConeBeamGeometry:
        """Return the same scan seen from another world: rotate volume and scan together."""
        move = rigid_matrix(world_to_new_world)
        rotation, shift = move[:3, :3], move[:3, 3]
        point = 1.0 if self.beam is Beam.CONE else 0.0
        return self.replace(
            source=self.source @ rotation.T + point * shift,
            detector_centre_mm=self.detector_centre_mm @ rotation.T + shift,
            u_mm=self.u_mm @ rotation.T,
            v_mm=self.v_mm @ rotation.T,
            world_to_gantry=self.world_to_gantry @ np.linalg.inv(move),
        )

    # -- derived ------------------------------------------------------------------------------
    @cached_property
    def normals(self) -> NDArray[np.float64]:
        """Unit normals of the detector, on the source's side for a usual scan; shape (view, 3)."""
        normal = np.cross(self.u_mm, self.v_mm)
        return read_only(normal / np.linalg.norm(normal, axis=1, keepdims=True))

    @cached_property
    def ray_to_source(self) -> NDArray[np.float64]:
        """Vectors from detector centre to source (parallel: unit directions); shape (view, 3)."""
        if self.beam is Beam.PARALLEL:
            return self.source
        return read_only(self.source - self.detector_centre_mm)

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Pixel size ``(row spacing, column spacing)`` of the first view, in mm."""
        return float(np.linalg.norm(self.v_mm[0])), float(np.linalg.norm(self.u_mm[0]))

    @cached_property
    def matrices(self) -> NDArray[np.float64]:
        """Projection matrices (view, 3, 4): world mm ``(x, y, z, 1)`` to ``w (u, v, 1)``.

        Cone: ``w`` is the depth from the source along the detector normal, divided by the depth of
        the detector, so that ``1 / w`` is the magnification. Parallel: ``w`` is 1.
        """
        n, s, ray = self.normals, self.source, self.ray_to_source
        # Dual basis of (u, v): dot products with it count pixels within the detector plane.
        du = (
            np.cross(self.v_mm, n)
            / np.einsum("ij,ij->i", self.u_mm, np.cross(self.v_mm, n))[:, None]
        )
        dv = (
            np.cross(n, self.u_mm)
            / np.einsum("ij,ij->i", self.v_mm, np.cross(n, self.u_mm))[:, None]
        )
        rows, cols = self.detector_shape
        out = np.zeros((self.views, 3, 4))
        depth = np.einsum("ij,ij->i", ray, n)[:, None]
        if self.beam is Beam.PARALLEL:
            for row, dual, middle in ((0, du, (cols - 1) / 2), (1, dv, (rows - 1) / 2)):
                # Slide the point along the ray into the detector plane, then count pixels.
                functional = dual - np.einsum("ij,ij->i", dual, ray)[:, None] / depth * n
                out[:, row, :3] = functional
                out[:, row, 3] = middle - np.einsum("ij,ij->i", functional, self.detector_centre_mm)
            out[:, 2, 3] = 1.0
            return read_only(out)
        w = -n / depth
        for row, dual, middle in ((0, du, (cols - 1) / 2), (1, dv, (rows - 1) / 2)):
            principal = middle + np.einsum("ij,ij->i", dual, ray)[:, None]
            out[:, row, :3] = dual + principal * w
        out[:, 2, :3] = w
        out[:, :, 3] = -np.einsum("nij,nj->ni", out[:, :, :3], s)
        return read_only(out)

    @cached_property
    def source_gantry(self) -> NDArray[np.float64]:
        """Source positions (parallel: directions) in the gantry frame; shape (view, 3)."""
        point = 1.0 if self.beam is Beam.CONE else 0.0
        t = self.world_to_gantry
        return read_only(self.source @ t[:3, :3].T + point * t[:3, 3])

    @cached_property
    def angles_rad(self) -> NDArray[np.float64]:
        """Gantry angle of each view, in [-pi, pi]; shape (view,)."""
        return read_only(np.arctan2(self.source_gantry[:, 0], self.source_gantry[:, 2]))

    @cached_property
    def sod_mm(self) -> NDArray[np.float64]:
        """Distance of each source from the rotation axis, in mm (infinite for a parallel beam)."""
        if self.beam is Beam.PARALLEL:
            return read_only(np.full(self.views, np.inf))
        return read_only(np.hypot(self.source_gantry[:, 0], self.source_gantry[:, 2]))

    @cached_property
    def sdd_mm(self) -> NDArray[np.float64]:
        """Perpendicular distance of each source from its detector plane, in mm."""
        if self.beam is Beam.PARALLEL:
            return read_only(np.full(self.views, np.inf))
        return read_only(np.abs(np.einsum("ij,ij->i", self.ray_to_source, self.normals)))

    def project(self, lps_mm: ArrayLike) -> NDArray[np.float64]:
        """Map world points ``(..., 3)`` to pixel coordinates (col, row): ``(view, ..., 2)``."""
        points = np.asarray(lps_mm, dtype=np.float64)
        homogeneous = np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)
        uvw = np.einsum("nij,...j->n...i", self.matrices, homogeneous)
        uv: NDArray[np.float64] = uvw[..., :2] / uvw[..., 2:]
        return uv

    def pixel_positions_mm(self, view: int) -> NDArray[np.float64]:
        """World positions of all pixel centres of one view; shape (row, col, 3)."""
        rows, cols = self.detector_shape
        v = np.arange(rows)[:, None, None] - (rows - 1) / 2.0
        u = np.arange(cols)[None, :, None] - (cols - 1) / 2.0
        steps = u * self.u_mm[view] + v * self.v_mm[view]
        return np.asarray(self.detector_centre_mm[view] + steps, dtype=np.float64)

    def seen_by(self, volume: VolumeGeometry) -> NDArray[np.uint16]:
        """Count for every voxel the views whose detector it hits; shape ``[k, j, i]``."""
        count = np.zeros(volume.shape, dtype=np.uint16)
        rows, cols = self.detector_shape
        to_pixel = self.matrices @ volume.ijk_to_lps
        k, j, i = (np.arange(n, dtype=np.float64) for n in volume.shape)
        for m in to_pixel:
            u, v, w = (r[2] * k[:, None, None] + r[1] * j[:, None] + (r[0] * i + r[3]) for r in m)
            inside = (w > 0) & (np.abs(u - (cols - 1) / 2 * w) <= cols / 2 * w)
            count += inside & (np.abs(v - (rows - 1) / 2 * w) <= rows / 2 * w)
        return count

    # -- JSON ---------------------------------------------------------------------------------
    def to_json(self) -> dict[str, Any]:
        """Return plain values (our JSON geometry format, version 1)."""
        return {
            "format": "ctrestore-geometry",
            "version": 1,
            "beam": self.beam.value,
            "detector_shape_rows_cols": list(self.detector_shape),
            "world_to_gantry": self.world_to_gantry.tolist(),
            "views": [
                {"source": s, "detector_centre_mm": c, "u_mm": u, "v_mm": v}
                for s, c, u, v in zip(
                    self.source.tolist(),
                    self.detector_centre_mm.tolist(),
                    self.u_mm.tolist(),
                    self.v_mm.tolist(),
                    strict=True,
                )
            ],
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> ConeBeamGeometry:
        """Rebuild a geometry written by :meth:`to_json`.

        Raises
        ------
        GeometryError
            If the record is not of this format and version, or a field is missing.
        """
        if record.get("format") != "ctrestore-geometry" or record.get("version") != 1:
            message = (
                "Expected a geometry of format 'ctrestore-geometry', version 1; got "
                f"{record.get('format')!r}, version {record.get('version')!r}."
            )
            raise GeometryError(message)
        try:
            rows, cols = record["detector_shape_rows_cols"]
            views = record["views"]
            fields = {
                name: np.array([view[name] for view in views], dtype=np.float64)
                for name in ("source", "detector_centre_mm", "u_mm", "v_mm")
            }
            return cls(
                beam=Beam(record["beam"]),
                detector_shape=(rows, cols),
                world_to_gantry=np.array(record["world_to_gantry"], dtype=np.float64),
                **fields,
            )
        except (KeyError, TypeError, ValueError) as error:
            message = f"The geometry file is incomplete or damaged: {error}."
            raise GeometryError(message) from error


def _vectors(name: str, value: ArrayLike, views: int) -> NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    if array.shape != (views, 3) or views < 1:
        message = f"{name} must have shape (views, 3) with views = {views}; got {array.shape}."
        raise GeometryError(message)
    if not np.isfinite(array).all():
        message = f"{name} contains values that are not finite."
        raise GeometryError(message)
    return read_only(array)


def _check_circle(
    sod_mm: float, sdd_mm: float, angles: NDArray[np.float64], pixel_mm: tuple[float, float]
) -> None:
    if not (0 < sod_mm < sdd_mm and np.isfinite(sdd_mm)):
        message = (
            "The source must be nearer to the rotation axis than to the detector: expected "
            f"0 < SOD < SDD, got SOD {sod_mm:g} mm and SDD {sdd_mm:g} mm."
        )
        raise GeometryError(message, hint="Check that the two distances are not swapped.")
    if angles.ndim != 1 or not np.isfinite(angles).all():
        message = "angles_rad must be a list of finite numbers, one for each view."
        raise GeometryError(message)
    if min(pixel_mm) <= 0:
        message = f"Pixel sizes must be positive millimetres; got {pixel_mm}."
        raise GeometryError(message)


def _sides(
    middle: NDArray[np.float64], source: NDArray[np.float64], world_to_gantry: ArrayLike | None
) -> NDArray[np.float64]:
    """Return +1 or -1 for each view: the sign that points from the source to the isocentre."""
    to_world = (
        np.eye(4) if world_to_gantry is None else np.linalg.inv(rigid_matrix(world_to_gantry))
    )
    facing = np.einsum("ij,ij->i", middle, to_world[:3, 3] - source) >= 0
    return np.asarray(np.where(facing, 1.0, -1.0), dtype=np.float64)


def _towards_isocentre(
    middle: NDArray[Any],
    source: NDArray[Any],
    scale: NDArray[Any],
    world_to_gantry: ArrayLike | None,
) -> NDArray[np.float64]:
    return _signed(middle, middle, source, scale, world_to_gantry)


def _signed(
    step: NDArray[Any],
    middle: NDArray[Any],
    source: NDArray[Any],
    scale: NDArray[Any],
    world_to_gantry: ArrayLike | None,
) -> NDArray[np.float64]:
    signed_scale = scale * _sides(middle, source, world_to_gantry)
    return np.asarray(step * signed_scale[:, None], dtype=np.float64)
