"""Bruker/Skyscan scans: a ``.log`` header and one TIFF image per view (layer: io).

Lengths are millimetres or micrometres as the keys say, angles degrees. ``Rotation Direction=CC``
means that the object turns counter-clockwise as seen from above.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.geometry.turntable import turntable_scan
from ctrestorelib.io.camera_images import read_camera_images
from ctrestorelib.io.header_text import HeaderText
from ctrestorelib.io.notes import Note
from ctrestorelib.io.reading import ReadOptions


def read(path: Path, options: ReadOptions) -> tuple[ProjectionSet, list[Note]]:
    """Read a Skyscan scan: counts, already flat-field corrected by the scanner."""
    header = HeaderText(path)
    if "acquisition" not in header.sections:
        message = f"{path.name} has no section [Acquisition]: it is not a Skyscan log."
        raise InputError(message)
    shape = (header.count("Number Of Rows"), header.count("Number Of Columns"))
    values = read_camera_images(path, header.text("Filename Prefix") or path.stem, shape)
    announced = header.count("Number Of Files")
    if len(values) != announced:
        message = f"{path.name} announces {announced} images; {len(values)} are there."
        raise GeometryError(message, hint="Copy all images of the scan into the folder.")
    geometry, notes = skyscan_geometry(header, options)
    i0 = options.i0
    if i0 is None:
        default = 2.0 ** header.number("Depth (bits)", default=16) - 1
        i0 = header.number("Reference Intensity", default=default)
        text = f"The reading without an object was taken to be {i0:.6g}, and for X-ray quanta."
        notes.append(Note("dose-assumed", text))
    return ProjectionSet(values, geometry, options.kind or ProjectionKind.COUNTS, i0), notes


def skyscan_geometry(
    header: HeaderText, options: ReadOptions | None = None
) -> tuple[ConeBeamGeometry, list[Note]]:
    """Return the geometry that a log describes.

    In the laboratory frame x points right as seen from the source, y along the beam, z up.
    """
    rows, cols = header.count("Number Of Rows"), header.count("Number Of Columns")
    sod = header.number("Object to Source (mm)")
    sdd = header.number("Camera to Source (mm)", "Camera to Source")
    pixel, notes = _pixel_mm(header, sod, sdd)
    views = header.count("Number Of Files")
    turned = header.number("Rotation Step (deg)") * np.arange(views)
    start = header.number("Scanning Start Angle", default=0.0)
    sense, more = _sense(header)
    axis = 0.0
    if options is not None and options.centre is not None:
        axis = (options.centre_from_right(cols) - (cols - 1) / 2) * pixel * sod / sdd
    # Row 0 of the images is the upper edge, ours the lower one.
    central_row = (rows - 1) - header.number("Optical Axis (line)", default=(rows - 1) / 2)
    geometry = turntable_scan(
        source_mm=(0.0, 0.0, 0.0),
        detector_centre_mm=(0.0, sdd, ((rows - 1) / 2 - central_row) * pixel),
        u_mm=(pixel, 0.0, 0.0),
        v_mm=(0.0, 0.0, pixel),
        axis_point_mm=(axis, sod, 0.0),
        axis_direction=(0.0, 0.0, 1.0),
        angles_rad=sense * np.deg2rad(start + turned),
        detector_shape=(rows, cols),
    )
    return geometry, notes + more + _not_applied(header)


def _pixel_mm(header: HeaderText, sod: float, sdd: float) -> tuple[float, list[Note]]:
    """Return the detector's pixel size; the log states it at the object, binning included."""
    at_object = header.number("Image Pixel Size (um)", default=0.0) / 1000.0
    camera = header.number("Camera Pixel Size (um)", default=0.0) / 1000.0
    binning = (header.text("Camera binning") or "1x1").lower().split("x")[0]
    camera *= float(binning) if binning.isdigit() else 1.0
    if at_object <= 0:
        if camera <= 0:
            message = f"{header.name} states no pixel size."
            raise InputError(message, hint="Expected 'Image Pixel Size (um)'.")
        return camera, []
    pixel = at_object * sdd / sod
    if camera <= 0 or abs(pixel / camera - 1) < 0.02:
        return pixel, []
    text = (
        f"Image pixel size and distances give {1000 * pixel:.4g} um at the camera, whose pixels "
        f"are stated as {1000 * camera:.4g} um; the image pixel size was believed."
    )
    return pixel, [Note("pixel-size-differs", text)]


def _sense(header: HeaderText) -> tuple[float, list[Note]]:
    stated = (header.text("Rotation Direction") or "").upper()
    if stated.startswith("CC"):
        return -1.0, []
    if stated.startswith("CW"):
        return 1.0, []
    text = "The log does not say in which sense the object turned; counter-clockwise was taken."
    return -1.0, [Note("sense-assumed", text)]


def _not_applied(header: HeaderText) -> list[Note]:
    notes = []
    for key, what in (
        ("Image Rotation", "camera rotation"),
        ("Postalignment", "post-alignment found by NRecon"),
    ):
        if header.number(key, default=0.0) != 0:
            text = (
                f"The log states a {what} of {header.text(key)}; it was not applied. If edges look "
                "doubled, give the column of the rotation axis."
            )
            notes.append(Note("alignment-ignored", text))
    return notes
