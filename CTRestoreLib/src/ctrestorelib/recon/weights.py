"""Weights of rays that a scan measures twice: Parker, Wang, equal (layer: recon).

Angles are those of the gantry frame. A ray has the view's angle ``beta`` and a fan angle ``gamma``:
its direction *towards the source* has the angle ``beta + gamma`` in the plane of rotation. The same
line is measured from its other end by the conjugate ray ``(beta + pi + 2 gamma, -gamma)``; this
holds for both senses of rotation.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry
from ctrestorelib.recon.arc import ScanArc, scan_arc
from ctrestorelib.recon.obliquity import lateral

OFFSET_SHARE = 0.1
"""From this asymmetry on (wide side minus short side, by the width) a scan is an offset scan."""

THIN_OVERLAP_SHARE = 0.2
"""Overlap of an offset scan, by the width of the detector, below which arcs become visible."""

MAX_OFFSET_GAP_RAD = np.deg2rad(20.0)


@enum.unique
class Weighting(str, enum.Enum):
    """How rays that were measured twice share their weight."""

    AUTO = "auto"
    EQUAL = "equal"
    PARKER = "parker"
    WANG = "wang"


@dataclass(frozen=True, eq=False)
class Redundancy:
    """Weights of the rays by view and column.

    Parameters
    ----------
    weights
        Shape (view, col) or (view, 1), float32: redundancy times the angle (radians) that the view
        stands for.
    weighting
        What was used (never AUTO).
    arc
        The arc on which it was decided.
    half_fan_rad
        Largest fan angle of the detector (0 for parallel beams).
    limited_angle
        Whether lines exist that no view measured.
    doubts
        ``(code, sentence)`` pairs that the person should know.
    """

    weights: NDArray[np.float32]
    weighting: Weighting
    arc: ScanArc
    half_fan_rad: float
    limited_angle: bool
    doubts: tuple[tuple[str, str], ...] = ()


def parker(position_rad: ArrayLike, gamma_rad: ArrayLike, arc_rad: float) -> NDArray[np.float64]:
    """Return Parker's weights for an arc between pi + fan angle and a full turn.

    With ``d = (arc - pi) / 2`` in place of the half fan angle they use all of an over-scan.
    Weights of conjugate rays sum to 1.

    Parameters
    ----------
    position_rad
        View angle from the start of the arc, 0 to ``arc_rad``.
    gamma_rad
        Fan angle, counted as in this module; at most ``d`` in size.
    arc_rad
        Length of the arc.

    Raises
    ------
    GeometryError
        If the arc is shorter than pi plus twice the largest fan angle.

    References
    ----------
    Parker, Med. Phys. 9 (1982) 254, doi:10.1118/1.595078; Silver, Med. Phys. 27 (2000) 773,
    doi:10.1118/1.598939.
    """
    beta, gamma = np.broadcast_arrays(np.asarray(position_rad, float), np.asarray(gamma_rad, float))
    half = (arc_rad - np.pi) / 2.0
    if np.abs(gamma).max(initial=0.0) > half + 1e-9:
        message = (
            f"Parker weights need an arc of at least {_degrees(np.pi + 2 * np.abs(gamma).max())}; "
            f"this scan covers {_degrees(arc_rad)}."
        )
        raise GeometryError(message, hint="Use equal weights (a limited-angle reconstruction).")
    tiny = 1e-12
    rise = np.clip(beta / np.maximum(half - gamma, tiny) / 2.0, 0.0, 1.0)
    fall = np.clip((arc_rad - beta) / np.maximum(half + gamma, tiny) / 2.0, 0.0, 1.0)
    return np.asarray(np.sin(np.pi / 2 * rise) ** 2 * np.sin(np.pi / 2 * fall) ** 2)


def wang(
    position: ArrayLike, overlap: float, *, wide_side: int, transition: float = 1.0
) -> NDArray[np.float64]:
    """Return Wang's weights for a detector that was shifted to one side, on a full turn.

    Parameters
    ----------
    position
        Fan angle (or distance from the axis) of the ray.
    overlap
        Half-width of the zone that is measured from both sides, in the same unit.
    wide_side
        +1 if the detector reaches further on the positive side, -1 otherwise.
    transition
        Outer share of the overlap (0 to 1) in which the weight changes from 1/2 to 0 or 1; 1 is
        Wang's own choice, less keeps both measurements of the inner rays.

    Returns
    -------
    ndarray
        Weights from 0 to 1; those at ``position`` and ``-position`` sum to 1.

    References
    ----------
    Wang, Med. Phys. 29 (2002) 1634, doi:10.1118/1.1489043.
    """
    x = wide_side * np.asarray(position, dtype=np.float64) / overlap
    inner = 1.0 - transition
    outside = np.clip((np.abs(x) - inner) / transition, 0.0, 1.0)
    return np.asarray(0.5 * (1.0 + np.sign(x) * np.sin(np.pi / 2 * outside)))


def redundancy(geometry: ConeBeamGeometry, weighting: Weighting = Weighting.AUTO) -> Redundancy:
    """Choose and compute the weights of rays measured twice.

    AUTO takes equal weights for a full turn (a half turn of a parallel beam), Wang's for an offset
    detector on a full turn, Parker's for a shorter arc that still measures every line, and equal
    weights with the doubt ``"limited-angle"`` otherwise.

    Raises
    ------
    GeometryError
        If the axis is outside the detector, a detector offset meets an arc short of a full
        turn, or the asked weighting does not fit the scan.
    """
    weighting = Weighting(weighting)
    low, high = _sides(geometry)
    offset = abs(high + low) / (high - low)
    if weighting is Weighting.WANG or (
        weighting is Weighting.AUTO and offset > _tolerance(geometry)
    ):
        turn = scan_arc(geometry, half_turn=False)
        if turn.closed or turn.arc_rad >= 2 * np.pi - MAX_OFFSET_GAP_RAD:
            return _offset_scan(geometry, turn, low, high)
        # Half a turn of a parallel beam measures every line within the narrow side's reach.
        cone = geometry.beam is not Beam.PARALLEL
        if weighting is Weighting.WANG or (cone and offset > OFFSET_SHARE):
            raise _offset_short(turn, offset)
    arc = scan_arc(geometry)
    half_fan = 0.0 if geometry.beam is Beam.PARALLEL else max(-low, high)
    if weighting is Weighting.EQUAL or arc.closed:
        if weighting is Weighting.PARKER:
            message = "Parker weights are for short scans; these views go all the way round."
            raise GeometryError(message, hint="Leave the weighting automatic.")
        return _equal(arc, half_fan)
    return _short_scan(geometry, arc, half_fan, strict=weighting is Weighting.PARKER)


def _sides(geometry: ConeBeamGeometry) -> tuple[float, float]:
    """Return the smallest and largest lateral position that every view measures."""
    ends = lateral(geometry, [-0.5, geometry.detector_shape[1] - 0.5])
    low, high = float(ends.min(axis=1).max()), float(ends.max(axis=1).min())
    if low >= 0 or high <= 0:
        message = "The rotation axis projects beside the detector: no ray through it was measured."
        raise GeometryError(message, hint="Check the sign and unit (mm) of the detector offset.")
    return low, high


def _tolerance(geometry: ConeBeamGeometry) -> float:
    """Return the asymmetry of one pixel: less is a centring correction, not an offset."""
    return 2.0 / geometry.detector_shape[1]


def _equal(arc: ScanArc, half_fan: float) -> Redundancy:
    complete = arc.closed or arc.arc_rad >= np.pi + 2 * half_fan - 1e-6
    doubts = () if complete else (_limited(arc, half_fan),)
    weights = (arc.share_rad * np.pi / arc.arc_rad)[:, None].astype(np.float32)
    return Redundancy(weights, Weighting.EQUAL, arc, half_fan, not complete, doubts)


def _short_scan(
    geometry: ConeBeamGeometry, arc: ScanArc, half_fan: float, *, strict: bool
) -> Redundancy:
    needed = np.pi + 2 * half_fan
    # Each end view stands for half a gap beyond itself; that much may be missing in all.
    slack = min(arc.largest_gap_rad, arc.arc_rad) / 2.0
    enough = arc.arc_rad >= needed - slack
    if geometry.beam is Beam.PARALLEL or not (enough or strict):
        return _equal(arc, half_fan)
    length = max(arc.arc_rad, needed) if enough else arc.arc_rad
    position = arc.position_rad + (length - arc.arc_rad) / 2.0
    gamma = lateral(geometry, np.arange(geometry.detector_shape[1]))
    weights = parker(position[:, None], gamma, length) * arc.share_rad[:, None]
    return Redundancy(weights.astype(np.float32), Weighting.PARKER, arc, half_fan, False)


def _offset_scan(geometry: ConeBeamGeometry, arc: ScanArc, low: float, high: float) -> Redundancy:
    overlap, width = min(-low, high), high - low
    asymmetry = abs(high + low) / width
    position = lateral(geometry, np.arange(geometry.detector_shape[1]))
    weights = wang(
        position,
        overlap,
        wide_side=1 if high > -low else -1,
        transition=float(np.clip(asymmetry / OFFSET_SHARE, 0.1, 1.0)),
    )
    doubts = []
    if 2 * overlap < THIN_OVERLAP_SHARE * width:
        text = (
            f"The shifted detector measures only {200 * overlap / width:.0f} % of its width from "
            "both sides; arcs and rings around the axis are likely."
        )
        doubts.append(("thin-overlap", text))
    if not arc.closed:
        text = (
            f"The offset scan covers {_degrees(arc.arc_rad)} of a full turn; "
            "expect streaks from the gap."
        )
        doubts.append(("angular-gap", text))
    scaled = (weights * (arc.share_rad * 2 * np.pi / arc.arc_rad)[:, None]).astype(np.float32)
    half_fan = 0.0 if geometry.beam is Beam.PARALLEL else max(-low, high)
    return Redundancy(scaled, Weighting.WANG, arc, half_fan, False, tuple(doubts))


def _limited(arc: ScanArc, half_fan: float) -> tuple[str, str]:
    text = (
        f"The views cover {_degrees(arc.arc_rad)}, a complete scan needs "
        f"{_degrees(np.pi + 2 * half_fan)}: equal weights were used; expect shading and "
        "distorted edges along the missing directions."
    )
    return "limited-angle", text


def _offset_short(arc: ScanArc, offset: float) -> GeometryError:
    message = (
        f"The detector is shifted by {50 * offset:.0f} % of its width, which needs a full turn; "
        f"the views cover {_degrees(arc.arc_rad)}."
    )
    hint = (
        "Use an iterative method, or equal weights if the object lies within the part that is "
        "measured from both sides."
    )
    return GeometryError(message, hint=hint)


def _degrees(angle_rad: float) -> str:
    return f"{np.rad2deg(angle_rad):.1f} degrees"
