"""How far two segments agree: overlap, surface distance, volume (layer: quality; scipy inside).

Definitions
-----------
Dice
    2 |A and B| / (|A| + |B|).
Mean surface distance
    Average symmetric surface distance: the distance from every piece of either surface to the
    nearest piece of the other, averaged by area over both surfaces.
HD95
    The larger of the two directed 95th percentiles (by area) of these distances.
Islands
    Parts of a segment connected through voxel faces.

Surfaces are those of :mod:`ctrestorelib.quality.surface_elements`: pieces with area, as in
Nikolov et al. 2018, doi:10.48550/arXiv.1809.04430. A distance is taken between centres of pieces,
so it is exact for shifts by whole voxels and else at most about half a voxel too large. Which
measure says what: Maier-Hein, Reinke et al. 2024 (Metrics Reloaded),
doi:10.1038/s41592-023-02151-z.

Segments on different grids are compared where both grids have voxels, without resampling either:
the overlap is counted on the finer grid by looking up the nearest voxel of the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.quality.result import Measure
from ctrestorelib.quality.surface_elements import (
    SurfaceElements,
    bounding_box,
    surface_elements,
)

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

MOST_ELEMENTS = 150_000
"""Distances start from at most so many pieces of a surface (every n-th); noise makes millions."""

_TITLES = {
    "dice": "Dice overlap",
    "surface_distance": "Mean surface distance",
    "hd95": "95th percentile surface distance (HD95)",
    "volume_difference": "Volume difference",
}


@dataclass(frozen=True)
class GridMask:
    """A segment on its voxel grid.

    Parameters
    ----------
    inside
        Boolean array ``[k, j, i]``, true inside the segment.
    geometry
        The grid; its shape must equal that of ``inside``.
    """

    inside: Mask
    geometry: VolumeGeometry

    def __post_init__(self) -> None:
        if self.inside.dtype != np.bool_:
            message = f"A segment is an array of true and false; got {self.inside.dtype}."
            raise InputError(message, hint="Compare the label with a number first.")
        if self.inside.shape != self.geometry.shape:
            message = f"The mask has shape {self.inside.shape}, its grid {self.geometry.shape}."
            raise GeometryError(message)

    @property
    def volume_ml(self) -> float:
        """Volume in millilitres (voxels times voxel volume)."""
        return int(np.count_nonzero(self.inside)) * self.geometry.voxel_volume_mm3 / 1000.0


@dataclass(frozen=True)
class SegmentOverlap:
    """The four measures of a second segment against a first.

    Parameters
    ----------
    dice
        0 to 1.
    surface_distance, hd95
        In mm.
    volume_difference
        100 (second - first) / first, in percent.
    """

    dice: Measure
    surface_distance: Measure
    hd95: Measure
    volume_difference: Measure

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All four in the order of the table."""
        return self.dice, self.surface_distance, self.hd95, self.volume_difference


def count_islands(inside: Mask) -> int:
    """Return the number of parts of a mask ``[k, j, i]`` connected through voxel faces."""
    from scipy.ndimage import label

    box = bounding_box(inside)
    return 0 if box is None else int(label(inside[box])[1])


def lookup(segment: GridMask, geometry: VolumeGeometry) -> Mask:
    """Return which voxel centres of another grid lie in a segment, ``[k, j, i]``.

    The value of the nearest voxel counts; outside the segment's grid there is no segment.
    """
    if segment.geometry.matches(geometry):
        return segment.inside
    from scipy.ndimage import affine_transform

    # scipy maps output indices (k, j, i) to input indices: the same affine with both axes turned.
    step = segment.geometry.lps_to_ijk @ geometry.ijk_to_lps
    matrix, offset = step[:3, :3][::-1, ::-1], step[:3, 3][::-1]
    bits = segment.inside.view(np.uint8)
    found: Mask = affine_transform(
        bits, matrix, offset, geometry.shape, order=0, mode="grid-constant", cval=0
    ).view(np.bool_)
    return found


def segment_overlap(first: GridMask, second: GridMask) -> SegmentOverlap:
    """Compare a second segment with a first; what is not defined says why.

    Raises
    ------
    GeometryError
        If the two grids do not overlap anywhere.
    """
    same = first.geometry.matches(second.geometry)
    if not same:
        _require_common_field(first.geometry, second.geometry)
    one, two, both = _volumes_mm3(first, second, same=same)
    if one == 0 or two == 0:
        return _undefined(_empty_sentence(one, two))
    dice = Measure("dice", _TITLES["dice"], min(1.0, 2 * both / (one + two)),
                   protocol="2 |A and B| / (|A| + |B|)" + ("" if same else _FINER))  # fmt: skip
    difference = Measure("volume_difference", _TITLES["volume_difference"],
                         100 * (two - one) / one, "%", protocol="voxel volumes")  # fmt: skip
    return SegmentOverlap(dice, *_surface_measures(first, second, same=same), difference)


_FINER = ", where both grids have voxels, on the finer grid by nearest voxel"


def _empty_sentence(one: float, two: float) -> str:
    which = "both segments are" if one == two else f"the {'first' if one == 0 else 'second'} is"
    return f"{which} empty where the two are compared."


def _undefined(why: str) -> SegmentOverlap:
    dice, distance, hd95, difference = (Measure.missing(n, t, why) for n, t in _TITLES.items())
    return SegmentOverlap(dice, distance, hd95, difference)


def _require_common_field(first: VolumeGeometry, second: VolumeGeometry) -> None:
    corners = []
    for grid in (first, second):
        k, j, i = (n - 0.5 for n in grid.shape)
        ends = [(x, y, z) for x in (-0.5, i) for y in (-0.5, j) for z in (-0.5, k)]
        corners.append(grid.to_world(ends))
    low = np.max([c.min(axis=0) for c in corners], axis=0)
    high = np.min([c.max(axis=0) for c in corners], axis=0)
    if (low >= high).any():
        message = "The two segments lie in images that have no place in common."
        hint = "Choose segments of the same scan, or register the scans first."
        raise GeometryError(message, hint=hint)


def _volumes_mm3(first: GridMask, second: GridMask, *, same: bool) -> tuple[float, float, float]:
    """Return the volumes of both and of their overlap, in the common field."""
    if same:
        size = first.geometry.voxel_volume_mm3
        counts = (first.inside, second.inside, first.inside & second.inside)
        one, two, both = (int(np.count_nonzero(m)) * size for m in counts)
        return one, two, both
    one, one_in_two = _looked_up(first, second)
    two, two_in_one = _looked_up(second, first)
    finer = first.geometry.voxel_volume_mm3 <= second.geometry.voxel_volume_mm3
    return one, two, one_in_two if finer else two_in_one


def _looked_up(segment: GridMask, other: GridMask) -> tuple[float, float]:
    """Return the volume of a segment within the other's grid, and within the other segment."""
    ijk = np.argwhere(segment.inside)[:, ::-1]
    to_other = other.geometry.lps_to_ijk @ segment.geometry.ijk_to_lps
    nearest = np.floor(ijk @ to_other[:3, :3].T + (to_other[:3, 3] + 0.5 + 1e-9)).astype(np.int64)
    covered = ((nearest >= 0) & (nearest < other.geometry.shape[::-1])).all(axis=1)
    i, j, k = nearest[covered].T
    size = segment.geometry.voxel_volume_mm3
    return len(i) * size, int(np.count_nonzero(other.inside[k, j, i])) * size


def _surface_measures(first: GridMask, second: GridMask, *, same: bool) -> tuple[Measure, Measure]:
    one = surface_elements(first.inside, first.geometry)
    two = surface_elements(second.inside, second.geometry)
    if not same:
        near_one, near_two = one.within(second.geometry), two.within(first.geometry)
    else:
        near_one, near_two = one, two
    if not len(near_one) or not len(near_two):
        why = "a segment has no surface inside the image (it fills it, or is a single slice)."
        return tuple(Measure.missing(n, _TITLES[n], why)
                     for n in ("surface_distance", "hd95"))  # type: ignore[return-value] # fmt: skip
    there, back = _distances(near_one, two), _distances(near_two, one)
    area = there[1].sum() + back[1].sum()
    mean = (there[0] @ there[1] + back[0] @ back[1]) / area
    far = max(_percentile(*there, 0.95), _percentile(*back, 0.95))
    protocol = "area-weighted surface elements, both directions"
    return (
        Measure("surface_distance", _TITLES["surface_distance"], float(mean), "mm",
                protocol=protocol),
        Measure("hd95", _TITLES["hd95"], far, "mm",
                protocol=protocol + ", the larger directed 95th percentile"),
    )  # fmt: skip


def _distances(start: SurfaceElements, goal: SurfaceElements) -> tuple[Floats, Floats]:
    """Return the distance in mm from pieces of one surface to the other, and their areas."""
    from scipy.spatial import cKDTree

    step = -(-len(start) // MOST_ELEMENTS)
    points, area = start.points_lps_mm[::step], start.area_mm2[::step]
    # Fat leaves and no balancing: twice as fast on the ordered points of a surface.
    tree = cKDTree(goal.points_lps_mm, leafsize=32, balanced_tree=False, compact_nodes=False)
    distance, _ = tree.query(points, workers=-1)
    # Each kept piece stands for all those it replaces.
    return distance, area * (start.area_mm2.sum() / area.sum())


def _percentile(values: Floats, weights: Floats, share: float) -> float:
    """Return the smallest value that at least ``share`` of the weight does not exceed."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, share * reached[-1])])
