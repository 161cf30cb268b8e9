"""DICOM-CT-PD: the open format of measured CT projections, one file a view (layer: io).

B. Chen et al. 2015, doi:10.1118/1.4935406. Seen from the front of the gantry, x runs to the right,
y up and z towards the viewer; an angle phi puts the focal spot at rho * (-sin phi, cos phi).
Columns count anticlockwise about the focal spot, rows against z, both from 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry
from ctrestorelib.io.dicom.series import without_copies
from ctrestorelib.io.dicom_projections_ctpd_header import HINT as HINT
from ctrestorelib.io.dicom_projections_ctpd_header import TAGS as TAGS
from ctrestorelib.io.dicom_projections_ctpd_header import View as View
from ctrestorelib.io.dicom_projections_ctpd_header import is_view as is_view
from ctrestorelib.io.dicom_projections_ctpd_header import parse as parse
from ctrestorelib.io.dicom_projections_curved import FlatDetector, Shape
from ctrestorelib.io.dicom_projections_readings import check_views, rescaled_readings
from ctrestorelib.io.dicom_projections_sense import SENSE_VIEWS, columns_run_backwards
from ctrestorelib.io.notes import Note
from ctrestorelib.io.reading import ReadOptions

# Directions of the format's y (up) and z (out of the gantry) in LPS, for each patient position.
_LEFT, _BACK, _HEAD = np.eye(3)
_POSITIONS = {
    "HFS": (-_BACK, -_HEAD), "HFP": (_BACK, -_HEAD), "HFDR": (_LEFT, -_HEAD),
    "HFDL": (-_LEFT, -_HEAD), "FFS": (-_BACK, _HEAD), "FFP": (_BACK, _HEAD),
    "FFDR": (_LEFT, _HEAD), "FFDL": (-_LEFT, _HEAD),
}  # fmt: skip


def read_views(views: Sequence[View], options: ReadOptions) -> tuple[ProjectionSet, list[Note]]:
    """Put the views of one series together.

    Raises
    ------
    InputError, GeometryError, ResourceError
        If they are of several scans, of impossible geometry, or too large.
    """
    kept, notes = without_copies([v.image for v in views])
    chosen = {id(image) for image in kept}
    ordered = sorted((v for v in views if id(v.image) in chosen), key=_time)
    _check_one_scan(ordered)
    check_views([v.image for v in ordered], _detector(ordered[0]).size)
    turned = _is_transposed(ordered[0])
    some = _some_of_first_turn(ordered)
    mirrored = columns_run_backwards(_middle_rows(some, turned), *_fan(some))
    if mirrored:
        ordered = [replace(v, centre=(v.centre[0], v.columns - 1 - v.centre[1])) for v in ordered]
    detector = _detector(ordered[0])
    values = np.empty((len(ordered), *detector.size), np.float32)
    for n, reading in enumerate(rescaled_readings([v.image for v in ordered])):
        straight = reading.T if turned else reading
        values[n] = detector.flatten(straight[:, ::-1] if mirrored else straight, local(ordered[n]))
    geometry = scan_geometry(ordered, detector)
    notes += [*_notes(ordered, detector), *_mirror_note(mirrored)]
    return _projections(values, geometry, ordered, options), notes


def _detector(view: View) -> FlatDetector:
    elements_of = (view.rows, view.columns)
    return FlatDetector(view.shape, elements_of, view.element_mm, view.centre, view.distance_mm)


def _some_of_first_turn(views: Sequence[View]) -> list[View]:
    angles = np.unwrap([v.focal[0] for v in views])
    first = np.flatnonzero(np.abs(angles - angles[0]) < 2 * math.pi * 1.001)
    return [views[n] for n in first[:: max(1, len(first) // SENSE_VIEWS)]]


def _time(view: View) -> tuple[int, float]:
    return view.image.frame.number or 0, view.focal[0]


def _projections(
    values: NDArray[np.float32],
    geometry: ConeBeamGeometry,
    views: Sequence[View],
    options: ReadOptions,
) -> ProjectionSet:
    stated = ProjectionKind.LINE_INTEGRAL if views[0].is_log else ProjectionKind.COUNTS
    photons = [v.photons for v in views if v.photons is not None and v.photons > 0]
    i0 = options.i0 or (float(np.median(photons)) if photons else None)
    return ProjectionSet(values, geometry, options.kind or stated, i0)


def _check_one_scan(views: Sequence[View]) -> None:
    parts: tuple[tuple[str, set[Any]], ...] = (
        ("series", {v.image.file.series_uid for v in views}),
        ("X-ray sources or spectra", {v.beam_index for v in views}),
        ("detectors", {(v.shape, v.rows, v.columns, v.distance_mm, v.centre, v.element_mm)
                       for v in views}),
        ("patient positions", {v.position for v in views}),
    )  # fmt: skip
    for word, found in parts:
        if len(found) > 1:
            message = f"The folder mixes projections of {len(found)} {word}."
            raise InputError(message, hint="Put the files of one of them into a folder of its own.")
    if len(views) < 2:
        message = "The folder holds one projection; a scan has many."
        raise InputError(message, hint="Open the folder with all views of the scan.")
    view = views[0]
    if view.focal[2] >= view.distance_mm:
        message = (
            f"The rotation axis lies {view.focal[2]:g} mm from the source, but the detector only "
            f"{view.distance_mm:g} mm."
        )
        raise GeometryError(message, hint=HINT)


def _is_transposed(view: View) -> bool:
    """Whether an image row is a detector column, as the format demands."""
    stored = view.image.file.rows, view.image.file.columns
    if stored == (view.columns, view.rows):
        return True
    if stored == (view.rows, view.columns):
        return False
    message = (
        f"The images have {stored[0]} x {stored[1]} pixels, but the detector "
        f"{view.rows} rows and {view.columns} columns."
    )
    raise GeometryError(message, hint=HINT)


def _cylinder(phi: float, z: float, rho: float) -> NDArray[np.float64]:
    return np.array([-rho * math.sin(phi), rho * math.cos(phi), z])


def _axes(view: View) -> NDArray[np.float64]:
    """Return unit vectors towards the detector, along its columns, and along z; shape (3, 3)."""
    phi = view.focal[0]
    return np.array(
        [[math.sin(phi), -math.cos(phi), 0], [math.cos(phi), math.sin(phi), 0], [0, 0, 1.0]]
    )


def local(view: View) -> tuple[float, float, float]:
    """Return the focal spot relative to its centre: towards the detector, along columns, z; mm."""
    spot = _cylinder(*(c + d for c, d in zip(view.focal, view.shift, strict=True)))
    towards, along, up = _axes(view) @ (spot - _cylinder(*view.focal))
    return float(towards), float(along), float(up)


def scan_geometry(views: Sequence[View], detector: FlatDetector) -> ConeBeamGeometry:
    """Return the geometry in LPS mm; the origin is the isocentre at table position 0."""
    up, out = _POSITIONS.get(views[0].position, _POSITIONS["HFS"])
    to_lps = np.stack([np.cross(up, out), up, out])  # rows: the format's axes
    row_mm, column_mm = detector.element_mm
    sources, centres, columns = [], [], []
    for view in views:
        towards, along, z = _axes(view)
        focal = _cylinder(*view.focal)
        down, right = detector.middle_mm
        sources.append(focal + np.array(local(view)) @ np.stack([towards, along, z]))
        centres.append(focal + towards * detector.distance_mm + along * right - z * down)
        columns.append(along * column_mm)
    turn = np.array([to_lps[0], -to_lps[2], to_lps[1]])  # LPS to a gantry that turns about y
    to_gantry = np.eye(4)
    to_gantry[:3, :3] = turn
    middle = float(np.mean([v.focal[1] for v in views]))
    to_gantry[:3, 3] = -turn @ (np.array([0, 0, middle]) @ to_lps)
    return ConeBeamGeometry(
        beam=Beam.CONE,
        source=np.array(sources) @ to_lps,
        detector_centre_mm=np.array(centres) @ to_lps,
        u_mm=np.array(columns) @ to_lps,
        v_mm=np.tile(np.array([0, 0, -row_mm]) @ to_lps, (len(views), 1)),
        detector_shape=detector.size,
        world_to_gantry=to_gantry,
    )


def _middle_rows(views: Sequence[View], turned: bool) -> NDArray[np.float32]:
    """Return readings of the row opposite the focal centre, shape (view, col)."""
    row = min(max(round(views[0].centre[0]), 0), views[0].rows - 1)
    readings = rescaled_readings([v.image for v in views])
    return np.array([r[:, row] if turned else r[row] for r in readings], np.float32)


def _fan(views: Sequence[View]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the views' angles (unwrapped) and the columns' fan angles, in radians."""
    first = views[0]
    offsets = (np.arange(first.columns) - first.centre[1]) * first.element_mm[1] / first.distance_mm
    fan = np.arctan(offsets) if first.shape is Shape.FLAT else offsets
    return np.asarray(np.unwrap([v.focal[0] for v in views])), np.asarray(fan)


def _mirror_note(mirrored: bool) -> list[Note]:
    text = (
        "Opposite rays agree only if the detector columns run the other way than the format says; "
        "they were turned round."
    )
    return [Note("columns-mirrored", text)] if mirrored else []


def _notes(views: Sequence[View], detector: FlatDetector) -> list[Note]:
    first, notes = views[0], []
    text = (
        "Places are relative to the scanner's isocentre and table zero, as the format gives them: "
        "they are not those of the patient's other images."
    )
    notes.append(Note("gantry-coordinates", text))
    if first.position not in _POSITIONS:
        text = "The files do not say how the patient lay; head first on the back was assumed."
        notes.append(Note("position-assumed", text))
    if first.shape is not Shape.FLAT:
        text = (
            f"The detector is curved ({first.columns} columns): its readings were interpolated, "
            f"each along its own ray, onto a flat detector of {detector.size[1]} columns."
        )
        notes.append(Note("detector-flattened", text))
    if first.water_per_mm is not None and math.isfinite(first.water_per_mm):
        text = f"The scanner states {first.water_per_mm:g} as the attenuation of water, per mm."
        notes.append(Note("water-attenuation", text))
    return [*notes, *_path_notes(views)]


def _path_notes(views: Sequence[View]) -> list[Note]:
    notes = []
    travel = float(np.ptp([v.focal[1] for v in views]))
    angles = np.sort(np.unwrap([v.focal[0] for v in views]))
    turns = float(np.ptp(angles)) / (2 * math.pi)
    if travel > 0.01 * views[0].focal[2] or (travel > 1 and turns > 1.5):
        text = (
            f"A helical scan: the table moved by {travel:.1f} mm during {turns:.1f} turns. "
            "Filtered backprojection (FDK) assumes a circle; choose an iterative reconstruction."
        )
        notes.append(Note("helical-scan", text))
    gaps = np.diff(angles)
    usual = float(np.median(gaps))
    if len(gaps) and usual > 0 and gaps.max() > 1.6 * usual:
        text = (
            f"Views are missing: the angle steps by up to {math.degrees(gaps.max()):.3g} degrees "
            f"instead of {math.degrees(usual):.3g}."
        )
        notes.append(Note("views-missing", text))
    if any(any(v.shift) for v in views):
        text = "The focal spot moved between views (flying focal spot); each view has its own."
        notes.append(Note("flying-focal-spot", text))
    return notes
