"""Objects in their cube, twice as fine as what is reconstructed, and measured scans.

The object has voxels half as large as those of the reconstruction and is projected there with
several rays a pixel; the reference is the mean of 2 x 2 x 2 of its voxels. So no reconstruction on
the reference's grid can explain the projections exactly, as with a real object.

Micro-CT has no HU: its grey values are taken for a specimen of 8 HU per grey level.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.field_of_view import default_grid, field_of_view_mm
from ctrestorelib.geometry.knee import knee_phantom
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.geometry.resampling import block_mean
from ctrestorelib.io.projections import read_projections
from ctrestorelib.io.volumes import read_volume
from sparse_view.subjects import BY_NAME, Subject

Floats = NDArray[np.float32]
VERSION = 1
"""Raise it when objects change: everything kept of other versions is made again."""
FINER = 2
AIR_HU, HIGHEST_HU = -1000.0, 8000.0
_GREY_HU = 8.0


def cube_grid(cube_mm: float, cells: int) -> VolumeGeometry:
    """Return a cube of ``cells``^3 voxels along the LPS axes, centred at the origin."""
    matrix = np.diag([cube_mm / cells] * 3 + [1.0])
    matrix[:3, 3] = -(cells - 1) / 2 * cube_mm / cells
    return VolumeGeometry((cells,) * 3, matrix)


def into_cube(volume: Volume, cube_mm: float, cells: int) -> Volume:
    """Return a volume in HU resampled into a cube about its middle; air around it.

    Linear interpolation, after a blur along those axes whose voxels are smaller than the cube's.
    """
    from scipy.ndimage import affine_transform, gaussian_filter

    grid = cube_grid(cube_mm, cells)
    ratios = [cube_mm / cells / s for s in reversed(volume.geometry.spacing_mm)]
    blur = [0.4 * max(r * r - 1.0, 0.0) ** 0.5 for r in ratios]
    values = gaussian_filter(np.clip(volume.values, AIR_HU, HIGHEST_HU), blur)
    matrix = np.array(grid.ijk_to_lps)
    matrix[:3, 3] += volume.geometry.centre_lps_mm
    step = volume.geometry.lps_to_ijk @ matrix
    resampled = affine_transform(values, step[:3, :3][::-1, ::-1], step[:3, 3][::-1], grid.shape,
                                 order=1, mode="grid-constant", cval=AIR_HU)  # fmt: skip
    return Volume(resampled.astype(np.float32), grid, Unit.HU)


def fine_object(subject: Subject, cells: int) -> Volume:
    """Return the object on ``FINER * cells`` voxels along each edge, in HU."""
    if not subject.file:
        return knee_phantom(cube_grid(subject.cube_mm, FINER * cells), seed=7, implant=True)
    volume = read_volume(subject.path).volume
    if volume.unit is Unit.GREY:
        edge = subject.cube_mm / max(volume.shape)
        hu = _GREY_HU * volume.values + AIR_HU
        volume = Volume(hu, VolumeGeometry.from_spacing(volume.shape, (edge,) * 3), Unit.HU)
    return into_cube(volume, subject.cube_mm, FINER * cells)


@lru_cache(maxsize=1)
def load_object(name: str, cells: int, folder: Path) -> Volume:
    """Return an object from ``folder``, making and keeping it there the first time."""
    subject = BY_NAME[name]
    path = folder / "objects" / f"{name}-{cells}-v{VERSION}.npy"
    if not path.exists():
        hu = np.rint(fine_object(subject, cells).values).astype(np.int16)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, hu)
    values = np.load(path).astype(np.float32)
    return Volume(values, cube_grid(subject.cube_mm, FINER * cells), Unit.HU)


def reference_of(fine: Volume) -> Volume:
    """Return what a reconstruction is compared with."""
    return block_mean(fine, FINER)


def measured_scan(subject: Subject, cells: int) -> tuple[ProjectionSet, VolumeGeometry]:
    """Return a measured scan with all its views, and a grid of about ``cells`` across."""
    scan = read_projections(subject.path).projections.to_line_integrals()
    radius, _ = field_of_view_mm(scan.geometry)
    return scan, default_grid(scan.geometry, 2.0 * radius / cells)


def some_views(scan: ProjectionSet, views: int) -> ProjectionSet:
    """Return ``views`` of a scan's views, spread evenly from the first one on."""
    return scan[_chosen(scan.views, views)]


def other_views(scan: ProjectionSet, views: int) -> ProjectionSet:
    """Return the views that :func:`some_views` leaves out."""
    return scan[np.setdiff1d(np.arange(scan.views), _chosen(scan.views, views))]


def _chosen(of: int, views: int) -> NDArray[np.int64]:
    return np.floor(np.arange(views) * of / views).astype(np.int64)
