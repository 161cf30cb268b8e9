"""Small global errors of a scan geometry, and the geometry without them (layer: recon).

What is missing here cannot be seen in projections: turning all angles by the same amount turns the
volume and nothing else; enlarging all distances enlarges it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.geometry.frames import rotation_y
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry
from ctrestorelib.recon.arc import scan_arc


@dataclass(frozen=True, kw_only=True)
class GeometryCorrection:
    """What to add to a believed geometry; all 0 changes nothing.

    Parameters
    ----------
    shift_u_mm, shift_v_mm
        Detector shift along its columns' and rows' direction, in mm.
    tilt_deg
        Rotation of the detector in its plane, from u towards v.
    arc_scale
        Relative stretch of the arc about its middle: 0.01 means that views are 1 % farther apart.
    sdd_scale
        Relative change of the distance from source to detector; nothing for parallel beams.
    """

    shift_u_mm: float = 0.0
    shift_v_mm: float = 0.0
    tilt_deg: float = 0.0
    arc_scale: float = 0.0
    sdd_scale: float = 0.0

    def applied(self, geometry: ConeBeamGeometry) -> ConeBeamGeometry:
        """Return ``geometry`` with this correction."""
        pixel_v, pixel_u = geometry.pixel_mm
        u, v = geometry.u_mm / pixel_u, geometry.v_mm / pixel_v
        shift = self.shift_u_mm * u + self.shift_v_mm * v
        centre = geometry.detector_centre_mm
        if geometry.beam is Beam.CONE:
            centre = geometry.source + (1.0 + self.sdd_scale) * (centre - geometry.source)
        tilt = np.deg2rad(self.tilt_deg)
        moved = geometry.replace(
            detector_centre_mm=centre + shift,
            u_mm=pixel_u * (np.cos(tilt) * u + np.sin(tilt) * v),
            v_mm=pixel_v * (np.cos(tilt) * v - np.sin(tilt) * u),
        )
        return moved if self.arc_scale == 0.0 else _turned(moved, self._turns_rad(geometry))

    def to_json(self) -> dict[str, float]:
        """Return the values by name."""
        return asdict(self)

    def _turns_rad(self, geometry: ConeBeamGeometry) -> NDArray[np.float64]:
        at = scan_arc(geometry, half_turn=False).position_rad
        middle = 0.5 * (at.min() + at.max())
        return np.asarray(self.arc_scale * (at - middle))


def _turned(geometry: ConeBeamGeometry, turns_rad: NDArray[np.float64]) -> ConeBeamGeometry:
    """Turn each view about the rotation axis by its own angle."""
    to_gantry = geometry.world_to_gantry
    rotation, shift = to_gantry[:3, :3], to_gantry[:3, 3]
    turns = rotation.T @ rotation_y(turns_rad) @ rotation

    def vectors(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.einsum("nij,nj->ni", turns, values))

    isocentre = -rotation.T @ shift
    point = isocentre if geometry.beam is Beam.CONE else np.zeros(3)
    return geometry.replace(
        source=vectors(geometry.source - point) + point,
        detector_centre_mm=vectors(geometry.detector_centre_mm - isocentre) + isocentre,
        u_mm=vectors(geometry.u_mm),
        v_mm=vectors(geometry.v_mm),
    )
