"""RTK's geometry files, ``ThreeDCircularProjectionGeometry`` XML versions 2 and 3 (layer: io).

Meaning of the nine parameters: RTK's documentation of its 3-D circular projection geometry
(doi:10.1088/1742-6596/489/1/012079). RTK's world is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.core.optional import optional_module
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry

ROOT = "RTKThreeDCircularGeometry"

PARAMETERS = (
    "SourceToIsocenterDistance",
    "SourceToDetectorDistance",
    "GantryAngle",
    "ProjectionOffsetX",
    "ProjectionOffsetY",
    "OutOfPlaneAngle",
    "InPlaneAngle",
    "SourceOffsetX",
    "SourceOffsetY",
)
"""Per-view parameters; angles in degrees, lengths in mm. What is absent is zero."""

NO_COLLIMATION = 1e300


@dataclass(frozen=True)
class DetectorImage:
    """Where the pixels of a projection stack lie in RTK's detector plane.

    Parameters
    ----------
    shape
        ``(rows, cols)``.
    pixel_mm
        ``(row spacing, column spacing)``.
    origin_mm
        ``(y, x)`` of the centre of pixel (0, 0): the stack's ITK origin.
    """

    shape: tuple[int, int]
    pixel_mm: tuple[float, float]
    origin_mm: tuple[float, float]

    @classmethod
    def centred(cls, shape: tuple[int, int], pixel_mm: tuple[float, float]) -> DetectorImage:
        """Return a detector whose middle is the origin of its plane."""
        y, x = (-(n - 1) / 2.0 * p for n, p in zip(shape, pixel_mm, strict=True))
        return cls(shape, pixel_mm, (y, x))

    @property
    def middle_mm(self) -> tuple[float, float]:
        """``(y, x)`` of the middle of the detector."""
        y, x = (
            o + (n - 1) / 2.0 * p
            for o, n, p in zip(self.origin_mm, self.shape, self.pixel_mm, strict=True)
        )
        return (y, x)


def read_rtk_xml(path: Path, detector: DetectorImage) -> ConeBeamGeometry:
    """Read an RTK geometry file for a projection stack.

    Raises
    ------
    InputError
        If the file is no RTK geometry or of another version.
    GeometryError
        If the detector is cylindrical or collimated, cone and parallel views are mixed, or a stored
        matrix contradicts its parameters.
    """
    views = parse_rtk_xml(path)
    table = {name: np.array([v[name] for v in views]) for name in PARAMETERS}
    rotation = rotations(table)
    back = np.swapaxes(rotation, 1, 2)
    sod, sdd = table["SourceToIsocenterDistance"], table["SourceToDetectorDistance"]
    parallel = sdd == 0
    if parallel.any() and not parallel.all():
        message = f"{path.name} mixes cone-beam and parallel-beam views."
        raise GeometryError(message, hint="Split the scan into one file for each kind.")
    ex, ey, ez = np.eye(3)
    if parallel.all():
        source, depth = back @ ez, -np.abs(sod)
    else:
        at = np.stack([table["SourceOffsetX"], table["SourceOffsetY"], sod], axis=1)
        source, depth = np.einsum("nij,nj->ni", back, at), sod - sdd
    y, x = detector.middle_mm
    centre = np.stack(
        [x + table["ProjectionOffsetX"], y + table["ProjectionOffsetY"], depth], axis=1
    )
    return ConeBeamGeometry(
        beam=Beam.PARALLEL if parallel.all() else Beam.CONE,
        source=source,
        detector_centre_mm=np.einsum("nij,nj->ni", back, centre),
        u_mm=back @ (ex * detector.pixel_mm[1]),
        v_mm=back @ (ey * detector.pixel_mm[0]),
        detector_shape=detector.shape,
        world_to_gantry=orbit_frame(source),
    )


def parse_rtk_xml(path: Path) -> list[dict[str, float]]:
    """Return the nine parameters of every view; common values are filled in."""
    forbidden = optional_module("defusedxml", "Reading RTK geometry").DefusedXmlException
    xml = optional_module("defusedxml.ElementTree", "Reading RTK geometry")
    try:
        root = xml.parse(path).getroot()
    except (xml.ParseError, forbidden, UnicodeDecodeError) as error:
        message = f"{path.name} is not readable XML."
        raise InputError(message, hint="Expected a geometry file written by RTK.") from error
    if root is None or root.tag != ROOT or root.get("version") not in ("2", "3"):
        message = f"{path.name} is not an RTK geometry file of version 2 or 3."
        raise InputError(message, hint="Write it again with a current version of RTK.")
    current = dict.fromkeys(PARAMETERS, 0.0)
    views: list[dict[str, float]] = []
    for element in root:
        if element.tag != "Projection":
            _take(element.tag, element.text, current, path.name)
            continue
        # RTK carries a view's values over to the views after it that do not state them.
        matrix = None
        for child in element:
            if child.tag == "Matrix":
                matrix = _numbers(child.text, 12, path.name).reshape(3, 4)
            else:
                _take(child.tag, child.text, current, path.name)
        if matrix is not None:
            _check_matrix(matrix, current, len(views), path.name)
        views.append(dict(current))
    if not views:
        message = f"{path.name} describes no projection."
        raise InputError(message)
    return views


def _take(tag: str, text: str | None, current: dict[str, float], name: str) -> None:
    tag = "GantryAngle" if tag == "Angle" else tag
    if tag in current:
        current[tag] = float(_numbers(text, 1, name)[0])
    elif tag == "RadiusCylindricalDetector" and _numbers(text, 1, name)[0] != 0:
        message = f"{name} describes a cylindrical detector; CTRestore handles flat detectors."
        raise GeometryError(message, hint="Resample the projections to a flat detector with RTK.")
    elif tag.startswith("Collimation") and abs(_numbers(text, 1, name)[0]) < NO_COLLIMATION:
        message = f"{name} limits the beam by collimators, which CTRestore does not model."
        raise GeometryError(message, hint="Crop the projections to the open part of the beam.")


def _numbers(text: str | None, count: int, name: str) -> NDArray[np.float64]:
    try:
        values = np.array([float(t) for t in (text or "").split()])
    except ValueError:
        values = np.empty(0)
    if len(values) != count or not np.isfinite(values).all():
        message = f"{name}: expected {count} number(s), got {(text or '').strip()[:40]!r}."
        raise InputError(message, hint="The geometry file is damaged; write it again.")
    return values


def _check_matrix(
    matrix: NDArray[np.float64], parameters: Mapping[str, float], view: int, name: str
) -> None:
    expected = matrix_of(parameters)
    if np.abs(matrix - expected).max() > 1e-3 + 1e-6 * np.abs(expected).max():
        message = f"{name}: the matrix of view {view} contradicts the view's parameters."
        hint = "The file was edited by hand in one place only; write it again."
        raise GeometryError(message, hint=hint)


def rotations(table: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return RTK's rotations world -> detector, ``Rz(-in) Rx(-out) Ry(-gantry)``: (view, 3, 3)."""
    out = np.eye(3)[None]
    for name, axis in (("InPlaneAngle", 2), ("OutOfPlaneAngle", 0), ("GantryAngle", 1)):
        out = out @ _about(axis, -np.deg2rad(np.atleast_1d(table[name])))
    return out


def _about(axis: int, angles_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    out = np.zeros((len(angles_rad), 3, 3))
    out[:, axis, axis] = 1.0
    out[:, i, i] = out[:, j, j] = np.cos(angles_rad)
    out[:, i, j], out[:, j, i] = -np.sin(angles_rad), np.sin(angles_rad)
    return out


def matrix_of(parameters: Mapping[str, float]) -> NDArray[np.float64]:
    """Return RTK's 3x4 projection matrix of one view (world mm to detector mm)."""
    p = parameters
    rotation = np.eye(4)
    rotation[:3, :3] = rotations(p)[0]
    sdd, sod = p["SourceToDetectorDistance"], p["SourceToIsocenterDistance"]
    sx, sy = p["SourceOffsetX"], p["SourceOffsetY"]
    px, py = p["ProjectionOffsetX"], p["ProjectionOffsetY"]
    if sdd == 0:
        return np.array([[1.0, 0, 0, -px], [0, 1, 0, -py], [0, 0, 0, 1]]) @ rotation
    shift = np.array([[1.0, 0, sx - px], [0, 1, sy - py], [0, 0, 1]])
    magnify = np.array([[-sdd, 0, 0, 0], [0, -sdd, 0, 0], [0, 0, 1, -sod]])
    to_source = np.eye(4)
    to_source[:2, 3] = -sx, -sy
    return np.asarray(shift @ magnify @ to_source @ rotation, dtype=np.float64)


def orbit_frame(source: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``world_to_gantry`` for sources or directions (view, 3): the orbit's axis becomes y.

    RTK's files do not say about which axis the scanner turns. Orbits about y, the usual ones, and
    those too short to tell, keep the identity.
    """
    frame = np.eye(4)
    spread = source - source.mean(axis=0)
    _, sizes, axes = np.linalg.svd(spread, full_matrices=False)
    if len(sizes) < 3 or sizes[1] < 0.05 * max(sizes[0], 1e-12):
        return frame
    normal = axes[2] * (1.0 if axes[2][np.abs(axes[2]).argmax()] > 0 else -1.0)
    if abs(normal[1]) > np.cos(np.deg2rad(10)):
        return frame
    x = np.eye(3)[np.abs(normal).argmin()]
    x = x - (x @ normal) * normal
    x /= np.linalg.norm(x)
    frame[:3, :3] = np.stack([x, normal, np.cross(x, normal)])
    return frame


# -- writing ----------------------------------------------------------------------------------
def rtk_parameters(geometry: ConeBeamGeometry) -> list[dict[str, float]]:
    """Return RTK's nine parameters of every view, for a stack whose ITK origin is its middle.

    Raises
    ------
    GeometryError
        If rows and columns of the detector are not perpendicular, the pixel size changes between
        views, or parallel rays do not hit the detector at right angles.
    """
    du, dv = (np.linalg.norm(a, axis=1) for a in (geometry.u_mm, geometry.v_mm))
    ex, ey = geometry.u_mm / du[:, None], geometry.v_mm / dv[:, None]
    if np.abs(np.einsum("ij,ij->i", ex, ey)).max() > 1e-6:
        message = "RTK's geometry files need detector rows and columns at right angles."
        raise GeometryError(message, hint="Keep our JSON geometry, which holds any detector.")
    if np.ptp(du) > 1e-6 * du[0] or np.ptp(dv) > 1e-6 * dv[0]:
        message = "RTK's geometry files need one pixel size for all views."
        raise GeometryError(message, hint="Keep our JSON geometry, which holds any detector.")
    ez = np.cross(ex, ey)
    parallel = geometry.beam is Beam.PARALLEL
    rotation = np.stack([ex, ey, ez], axis=1)
    source = np.einsum("nij,nj->ni", rotation, geometry.source)
    centre = np.einsum("nij,nj->ni", rotation, geometry.detector_centre_mm)
    if parallel and np.abs(np.abs(source[:, 2]) - 1).max() > 1e-6:
        message = "RTK's parallel rays hit the detector at right angles; these do not."
        raise GeometryError(message, hint="Keep our JSON geometry, which holds any detector.")
    return [
        _one_view(r, s, c, parallel=parallel)
        for r, s, c in zip(rotation, source, centre, strict=True)
    ]


def _one_view(
    rotation: NDArray[np.float64],
    source: NDArray[np.float64],
    centre: NDArray[np.float64],
    *,
    parallel: bool,
) -> dict[str, float]:
    gantry, out_of_plane, in_plane = euler_deg(rotation)
    values = {
        "SourceToIsocenterDistance": abs(centre[2]) if parallel else source[2],
        "SourceToDetectorDistance": 0.0 if parallel else source[2] - centre[2],
        "GantryAngle": gantry,
        "ProjectionOffsetX": centre[0],
        "ProjectionOffsetY": centre[1],
        "OutOfPlaneAngle": out_of_plane,
        "InPlaneAngle": in_plane,
        "SourceOffsetX": 0.0 if parallel else source[0],
        "SourceOffsetY": 0.0 if parallel else source[1],
    }
    return {name: float(value) for name, value in values.items()}


def euler_deg(rotation: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return gantry, out-of-plane and in-plane angles in degrees of a rotation (3, 3)."""
    r = rotation
    out = np.arcsin(np.clip(r[2, 1], -1, 1))
    if abs(r[2, 1]) > 1 - 1e-12:  # gimbal lock: in-plane and gantry turn about the same axis
        gantry, within = np.arctan2(r[0, 2], r[0, 0]), 0.0
    else:
        gantry, within = np.arctan2(-r[2, 0], r[2, 2]), np.arctan2(-r[0, 1], r[1, 1])
    gantry_deg, out_deg, in_deg = np.rad2deg([-gantry, -out, -within]).tolist()
    return gantry_deg % 360.0, out_deg + 0.0, in_deg + 0.0


def rtk_xml_text(geometry: ConeBeamGeometry) -> str:
    """Return an RTK geometry file (version 3) for a stack whose ITK origin is its middle."""
    lines = ['<?xml version="1.0"?>', "<!DOCTYPE RTKGEOMETRY>", f'<{ROOT} version="3">']
    for view in rtk_parameters(geometry):
        lines.append("  <Projection>")
        lines += [f"    <{name}>{value!r}</{name}>" for name, value in view.items()]
        rows = [" ".join(f"{x!r}" for x in row) for row in matrix_of(view).tolist()]
        lines += ["    <Matrix>", *(f"      {row}" for row in rows), "    </Matrix>"]
        lines.append("  </Projection>")
    return "\n".join([*lines, f"</{ROOT}>", ""])
