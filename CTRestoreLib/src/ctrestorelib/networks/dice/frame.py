"""The cube that DiCE fills, between the world and the network (layer: networks; numpy only).

The network's cube stands upright in the gantry: z along the rotation axis towards the head, x to
the patient's left, y to the back where the scanner turns about the long axis of a patient. In the
world it may lie anyhow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.core.volume import VolumeGeometry, read_only
from ctrestorelib.geometry.frames import patient_to_gantry
from ctrestorelib.geometry.scan import ConeBeamGeometry


@dataclass(frozen=True, eq=False)
class CubeFrame:
    """Where the cube lies.

    Parameters
    ----------
    world_from_cube
        4x4 map from cube coordinates (x, y, z), -1 to 1 from face to face, to world mm.

    Raises
    ------
    GeometryError
        If the map has no inverse, or its axes are of different length (it is no cube).
    """

    world_from_cube: NDArray[np.float64]

    def __post_init__(self) -> None:
        matrix = np.asarray(self.world_from_cube, dtype=np.float64)
        lengths = np.linalg.norm(matrix[:3, :3], axis=0)
        if not (
            np.isfinite(matrix).all() and lengths.min() > 0 and np.ptp(lengths) < 1e-6 * lengths[0]
        ):
            message = (
                f"Expected the frame of a cube; its half edges are {lengths.tolist()} mm long."
            )
            raise GeometryError(message, hint="Give a grid with equal extent along its three axes.")
        object.__setattr__(self, "world_from_cube", read_only(matrix))

    @classmethod
    def of_grid(cls, grid: VolumeGeometry) -> CubeFrame:
        """Return the cube that the voxels of a grid fill, faces at their outer edges."""
        k, j, i = grid.shape
        matrix = np.array(grid.ijk_to_lps)
        matrix[:3, :3] *= np.array([i, j, k]) / 2.0
        matrix[:3, 3] = grid.centre_lps_mm
        return cls(matrix)

    @classmethod
    def about_isocentre(cls, geometry: ConeBeamGeometry, edge_mm: float) -> CubeFrame:
        """Return the upright cube about the isocentre of a scan."""
        upright = patient_to_gantry() @ np.diag([edge_mm / 2.0] * 3 + [1.0])
        return cls(np.linalg.inv(geometry.world_to_gantry) @ upright)

    @property
    def edge_mm(self) -> float:
        """Length of an edge in mm."""
        return 2.0 * float(np.linalg.norm(self.world_from_cube[:3, 0]))

    def to_cube(self, lps_mm: ArrayLike) -> NDArray[np.float64]:
        """Map world points ``(..., 3)`` to cube coordinates ``(..., 3)``."""
        inverse = np.linalg.inv(self.world_from_cube)
        points = np.asarray(lps_mm, dtype=np.float64)
        return np.asarray(points @ inverse[:3, :3].T + inverse[:3, 3])

    def matrices(self, geometry: ConeBeamGeometry) -> NDArray[np.float32]:
        """Return the matrices of the lifting ``[view, 3, 4]``: cube to detector coordinates.

        Detector coordinates (column, row) run from -1 to 1 between the outer edges of the detector.
        """
        rows, cols = geometry.detector_shape
        to_edges = np.array(
            [[2.0 / cols, 0, 1.0 / cols - 1], [0, 2.0 / rows, 1.0 / rows - 1], [0, 0, 1]]
        )
        return (to_edges @ geometry.matrices @ self.world_from_cube).astype(np.float32)
