"""Nikon (X-Tek) scans: an ``.xtekct`` header and one TIFF image per view (layer: io).

Lengths are millimetres, angles degrees. Seen from above, the object turns clockwise, so the source
runs anticlockwise around it. Orientation, axis offset and axis tilts follow the reading of this
format in the Core Imaging Library (doi:10.1098/rsta.2020.0192).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.geometry.turntable import turntable_scan
from ctrestorelib.io.camera_images import read_camera_images
from ctrestorelib.io.header_text import HeaderText
from ctrestorelib.io.notes import Note
from ctrestorelib.io.reading import ReadOptions


def read(path: Path, options: ReadOptions) -> tuple[ProjectionSet, list[Note]]:
    """Read a Nikon scan: counts, already flat-field corrected by the scanner."""
    header = HeaderText(path)
    if "xtekct" not in header.sections:
        message = f"{path.name} has no section [XTekCT]: it is not a Nikon scan header."
        raise InputError(message)
    shape = (header.count("DetectorPixelsY"), header.count("DetectorPixelsX"))
    prefix = header.text("Name") or path.stem
    values = read_camera_images(path, prefix, shape)
    views = header.count("Projections")
    if len(values) != views:
        message = f"{path.name} announces {views} projections; {len(values)} images are there."
        raise GeometryError(message, hint="Copy all images of the scan into the folder.")
    geometry, notes = nikon_geometry(header, options)
    i0 = header.number("WhiteLevel") if options.i0 is None else options.i0
    kind = options.kind or ProjectionKind.COUNTS
    text = "The white level was taken for the number of X-ray quanta in an unattenuated reading."
    return ProjectionSet(values, geometry, kind, i0), [*notes, Note("dose-assumed", text)]


def nikon_geometry(
    header: HeaderText, options: ReadOptions | None = None
) -> tuple[ConeBeamGeometry, list[Note]]:
    """Return the geometry that a header describes.

    In the laboratory frame x points right as seen from the source, y along the beam, z up.
    """
    rows, cols = header.count("DetectorPixelsY"), header.count("DetectorPixelsX")
    du, dv = header.number("DetectorPixelSizeX"), header.number("DetectorPixelSizeY")
    sod, sdd = header.number("SrcToObject"), header.number("SrcToDetector")
    angles_deg = header.number("InitialAngle", default=0.0) + header.number(
        "AngularStep"
    ) * np.arange(header.count("Projections"))
    offset, roll = _axis_offset_and_roll(header, rows * dv, sod / sdd)
    if options is not None and options.centre is not None:
        offset = -(options.centre_from_right(cols) - (cols - 1) / 2) * du * sod / sdd
    notes = _notes(header)
    geometry = turntable_scan(
        source_mm=(0.0, 0.0, 0.0),
        detector_centre_mm=(0.0, sdd, 0.0),
        u_mm=(du, 0.0, 0.0),
        v_mm=(0.0, 0.0, dv),
        axis_point_mm=(-offset, sod, 0.0),
        axis_direction=_axis(roll, -np.deg2rad(header.number("ObjectTilt", default=0.0))),
        angles_rad=np.deg2rad(angles_deg),
        detector_shape=(rows, cols),
    )
    return geometry, notes


def _axis_offset_and_roll(
    header: HeaderText, height_mm: float, demagnification: float
) -> tuple[float, float]:
    top = header.number("CentreOfRotationTop", default=0.0)
    bottom = header.number("CentreOfRotationBottom", default=0.0)
    # Older headers give the axis at both edges of the detector, newer ones at the object.
    offset = header.number("ObjectOffsetX", default=(top + bottom) / 2 * demagnification)
    roll_deg = header.number("ObjectRoll", default=-np.rad2deg(np.arctan2(top - bottom, height_mm)))
    return offset, float(np.deg2rad(roll_deg))


def _axis(roll_rad: float, tilt_rad: float) -> NDArray[np.float64]:
    x, z = np.sin(roll_rad), np.cos(roll_rad)
    return np.array([x, -np.sin(tilt_rad) * z, np.cos(tilt_rad) * z])


def _notes(header: HeaderText) -> list[Note]:
    notes = []
    for key in ("DetectorOffsetX", "DetectorOffsetY"):
        if header.number(key, default=0.0) != 0:
            text = f"The header's {key} was not applied: its meaning differs between versions."
            notes.append(Note("detector-offset-ignored", text))
    return notes
