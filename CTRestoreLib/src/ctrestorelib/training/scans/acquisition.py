"""How training subjects are scanned: published geometries, and random ones (layer: training).

A reconstructor that saw one geometry fails at the next. So most scans are drawn at random within
what real cone-beam scanners do, and the rest repeat the geometries of the published benchmarks, so
that results stay comparable.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctrestorelib.core.errors import UsageError
from ctrestorelib.physics.scan_protocol import ScanProtocol

ANCHOR_VIEWS = (6, 8, 10, 24, 60)
"""Numbers of views of the published comparisons, and two that surgeons use."""
VIEWS = (4, 60)
"""Fewest and most views that are drawn."""
ELECTRONIC_SD = 10.0
"""Electronic noise of the published noisy data sets, in counts."""

_ANCHOR_CUBE_MM = 409.6
_KNEE_CUBE_MM = 204.8
_HALF_DIAGONAL = float(np.sqrt(0.5))  # of a slice, in edges of the cube
_CLEARANCE = 1.02  # source and detector pass the cube's edge by 2 percent


def anchor_protocol(
    cube_mm: float, views: int, pixels: int = 256, *, i0: float | None = None
) -> ScanProtocol:
    """Return the geometry of the published chest, abdomen and pelvis benchmarks.

    There the cube has an edge of 409.6 mm, SOD is 800 mm, SDD 1200 mm and the detector 614.4 mm
    wide; all lengths are scaled to ``cube_mm``. Views spread evenly over 180 degrees without the
    end point.

    Parameters
    ----------
    cube_mm
        Edge of the reconstructed cube in mm.
    views, pixels
        Number of views; detector pixels along each edge.
    i0
        Photons per pixel; None is free of noise.

    Raises
    ------
    UsageError
        If the cube has no size, or views or pixels are out of range.
    """
    scale = _checked(cube_mm) / _ANCHOR_CUBE_MM
    return _anchor((800.0 * scale, 1200.0 * scale, 614.4 * scale), views, pixels, i0)


def knee_protocol(
    cube_mm: float, views: int, pixels: int = 256, *, i0: float | None = None
) -> ScanProtocol:
    """Return the geometry of the published knee benchmark, scaled to the cube.

    SOD 1000 mm, SDD 2000 mm and a detector of 512 mm for a cube of 204.8 mm. Arguments and errors
    as of :func:`anchor_protocol`.
    """
    scale = _checked(cube_mm) / _KNEE_CUBE_MM
    return _anchor((1000.0 * scale, 2000.0 * scale, 512.0 * scale), views, pixels, i0)


def draw_protocol(
    rng: np.random.Generator, cube_mm: float, pixels: int, *, anchor_share: float = 0.3
) -> ScanProtocol:
    """Return a random acquisition of a cube.

    Parameters
    ----------
    rng
        Decides everything.
    cube_mm
        Edge of the cube in mm. Neither source nor detector ever enters it.
    pixels
        Detector pixels along each edge.
    anchor_share
        Share of draws that repeat a published geometry with 6, 8, 10, 24 or 60 views.

    Notes
    -----
    Else: 4 to 60 views (evenly in the logarithm) over 180, 200 to 220, 360 or 120 to 360 degrees
    from any start; SOD 500 to 1100 mm, for half of the draws scaled with the cube as in a micro-CT;
    SDD up to twice SOD; a detector that is 0.8 to 1.3 times as wide as the cube's shadow, offset
    by up to 40 % of its width in some full turns; hidden misalignment of up to half a pixel and 0.2
    degrees in 30 %; no noise in 30 %, else 1e4 to 1e6 photons and 0 to 20 counts of electronic
    noise; detector blur in 40 %.
    """
    _checked(cube_mm)
    if rng.random() < anchor_share:
        return _drawn_anchor(rng, cube_mm, pixels)
    arc = _arc_deg(rng)
    low, high = VIEWS
    views = round(float(np.exp(rng.uniform(np.log(low - 0.5), np.log(high + 0.5)))))
    sod, sdd = _distances_mm(rng, cube_mm)
    side = float(rng.uniform(0.8, 1.3)) * cube_mm * sdd / sod
    offset = 0.0
    if arc == 360.0 and rng.random() < 0.35:
        offset = float(rng.choice([-1, 1]) * rng.uniform(0.0, 0.4)) * side
    return ScanProtocol(
        views=int(np.clip(views, low, high)),
        arc_deg=arc,
        start_deg=float(rng.uniform(0, 360)),
        sod_mm=sod,
        sdd_mm=sdd,
        rows=pixels,
        cols=pixels,
        pixel_mm=side / pixels,
        offset_mm=offset,
        **_dose(rng, 0.3),
        **_misalignment(rng, side / pixels),
        detector_blur_px=float(rng.uniform(0.3, 0.8)) if rng.random() < 0.4 else 0.0,
    )


def _checked(cube_mm: float) -> float:
    if not (np.isfinite(cube_mm) and cube_mm > 0):
        message = f"cube_mm, the edge of the cube, must be a positive length; got {cube_mm}."
        raise UsageError(message)
    return float(cube_mm)


def _anchor(
    sizes_mm: tuple[float, float, float], views: int, pixels: int, i0: float | None
) -> ScanProtocol:
    """Return a scan over 180 degrees; sizes are SOD, SDD and the detector's edge."""
    sod, sdd, side = sizes_mm
    return ScanProtocol(
        views=views,
        arc_deg=180.0,
        sod_mm=sod,
        sdd_mm=sdd,
        rows=pixels,
        cols=pixels,
        pixel_mm=side / pixels,
        i0=i0,
        electronic_sd=ELECTRONIC_SD,
    )


def _drawn_anchor(rng: np.random.Generator, cube_mm: float, pixels: int) -> ScanProtocol:
    views = int(rng.choice(ANCHOR_VIEWS))
    i0 = None if rng.random() < 0.5 else 1e5
    make = knee_protocol if rng.random() < 0.25 else anchor_protocol
    return make(cube_mm, views, pixels, i0=i0)


def _arc_deg(rng: np.random.Generator) -> float:
    kind = rng.integers(4)
    if kind == 0:
        return 180.0
    if kind == 1:
        return float(rng.uniform(200, 220))
    return 360.0 if kind == 2 else float(rng.uniform(120, 360))


def _distances_mm(rng: np.random.Generator, cube_mm: float) -> tuple[float, float]:
    """Draw SOD and SDD such that source and detector stay outside the turning cube."""
    radius = _CLEARANCE * _HALF_DIAGONAL * cube_mm
    scale = cube_mm / _ANCHOR_CUBE_MM if rng.random() < 0.5 else 1.0
    sod = max(float(rng.uniform(500, 1100)) * scale, 1.2 * radius)
    least = max(1.2, 1 + radius / sod)
    return sod, sod * float(rng.uniform(least, max(least, 2.0)))


def _dose(rng: np.random.Generator, noise_free: float) -> dict[str, Any]:
    if rng.random() < noise_free:
        return {"i0": None, "electronic_sd": 0.0}
    i0 = float(np.exp(rng.uniform(np.log(1e4), np.log(1e6))))
    return {"i0": i0, "electronic_sd": float(rng.uniform(0, 20))}


def _misalignment(rng: np.random.Generator, pixel_mm: float) -> dict[str, Any]:
    if rng.random() >= 0.3:
        return {}
    shift_u, shift_v = rng.uniform(-0.5, 0.5, 2) * pixel_mm
    return {
        "shift_u_mm": float(shift_u),
        "shift_v_mm": float(shift_v),
        "tilt_deg": float(rng.uniform(-0.2, 0.2)),
        "angle_jitter_deg": float(rng.uniform(0, 0.2)),
    }
