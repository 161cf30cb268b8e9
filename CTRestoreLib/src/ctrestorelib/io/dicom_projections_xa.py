"""Rotational X-ray angiography: a C-arm's run in one multi-frame file (layer: io).

DICOM PS3.3, C.8.7.5: the positioner's angles point from the isocentre to the detector; 0 is in
front of the patient's chest, the primary angle grows towards the left hand, the secondary towards
the head. Distances are to the isocentre and to the detector; pixels are measured at the detector.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry
from ctrestorelib.io.dicom_projections_readings import check_views, rescaled_readings
from ctrestorelib.io.dicom_projections_xa_header import HINT
from ctrestorelib.io.dicom_projections_xa_header import KEYWORDS as KEYWORDS
from ctrestorelib.io.dicom_projections_xa_header import Run as Run
from ctrestorelib.io.dicom_projections_xa_header import is_run as is_run
from ctrestorelib.io.dicom_projections_xa_header import parse as parse
from ctrestorelib.io.notes import Note
from ctrestorelib.io.reading import ReadOptions

_LEFT, _FRONT, _HEAD = np.array([1.0, 0, 0]), np.array([0, -1.0, 0]), np.array([0, 0, 1.0])
_CLEARLY = 0.5
_LETTERS = {"L": _LEFT, "R": -_LEFT, "A": _FRONT, "P": -_FRONT, "H": _HEAD, "F": -_HEAD}

Floats = NDArray[np.float64]


def read_run(run: Run, options: ReadOptions) -> tuple[ProjectionSet, list[Note]]:
    """Turn a run into projections; rows upwards, columns to the right as seen from the source.

    Raises
    ------
    InputError
        If the readings are neither intensities with ``i0`` nor said to be line integrals.
    GeometryError
        If the C-arm did not turn, or the header's distances are impossible.
    ResourceError
        If the run does not fit into memory.
    """
    header = run.images[0].file
    check_views(run.images, (header.rows, header.columns))
    kind = _kind(run, options)
    geometry = run_geometry(run)
    flip_rows, flip_columns = _flips(run)
    values = np.empty((len(run.images), header.rows, header.columns), np.float32)
    for n, reading in enumerate(rescaled_readings(run.images)):
        values[n] = reading[::flip_rows, ::flip_columns]
    if kind is ProjectionKind.LINE_INTEGRAL and not run.falls and run.relation == "LOG":
        values *= np.float32(-1)  # a logarithm of the intensity, not of the attenuation
        values -= values.min()
    projections = ProjectionSet(values, geometry, kind, options.i0)
    return projections, _notes(run, kind)


def _kind(run: Run, options: ReadOptions) -> ProjectionKind:
    if run.images[0].file.has_lookup_table and options.kind is None:
        message = "The run turns stored numbers into intensities by a lookup table."
        raise InputError(message, hint="Export the run with linear pixel values.")
    if options.kind is not None:
        return options.kind
    if run.relation == "LIN" and not run.falls:
        return ProjectionKind.COUNTS
    word = run.relation if run.relation in ("LIN", "LOG", "DISP") else "not stated"
    message = (
        f"The readings of the run are no plain X-ray intensities (their relation to them: {word}), "
        "and DICOM does not say by how much to scale them."
    )
    raise InputError(message, hint="Say what they are with --kind, or export linear pixel values.")


def run_geometry(run: Run) -> ConeBeamGeometry:
    """Return source and detector of each frame in LPS mm about the isocentre."""
    if (run.sdd_mm <= run.sod_mm).any():
        message = (
            f"The header puts the isocentre {run.sod_mm[0]:g} mm from the source, the detector "
            f"{run.sdd_mm[0]:g} mm: it would not lie behind it."
        )
        raise GeometryError(message, hint=HINT)
    towards, across, up = _frames(run)
    header = run.images[0].file
    row_mm, column_mm = run.pixel_mm
    return ConeBeamGeometry(
        beam=Beam.CONE,
        source=-towards * run.sod_mm[:, None],
        detector_centre_mm=towards * (run.sdd_mm - run.sod_mm)[:, None],
        u_mm=-across * column_mm,
        v_mm=up * row_mm,
        detector_shape=(header.rows, header.columns),
        world_to_gantry=_gantry(towards),
    )


def _frames(run: Run) -> tuple[Floats, Floats, Floats]:
    """Return unit vectors to the detector, along image columns and upwards; (frame, 3) each.

    At 0 degrees the columns run to the patient's left: images show the patient from the front.
    """
    a, b = np.deg2rad(run.primary)[:, None], np.deg2rad(run.secondary)[:, None]
    level = np.sin(a) * _LEFT + np.cos(a) * _FRONT
    across = np.cos(a) * _LEFT - np.sin(a) * _FRONT
    towards = np.cos(b) * level + np.sin(b) * _HEAD
    return towards, across, np.cos(b) * _HEAD - np.sin(b) * level


def _gantry(towards: Floats) -> Floats:
    """Return the map to a gantry whose y axis is that of the rotation."""
    middle = towards.mean(axis=0)
    _, spread, axes = np.linalg.svd(towards - middle)
    if spread[0] < 1e-3:
        message = "The C-arm did not turn during the run: its angles stay the same."
        raise GeometryError(message, hint="Open a rotational run.")
    axis = axes[2] if spread[1] > 0.05 * spread[0] else np.cross(middle, axes[0])
    axis = axis / np.linalg.norm(axis)
    axis = axis * (1.0 if axis @ (_HEAD + 0.5 * _LEFT) > 0 else -1.0)
    front = _FRONT if abs(axis @ _FRONT) < 0.9 else -_HEAD
    z = front - (front @ axis) * axis
    z = z / np.linalg.norm(z)
    matrix = np.eye(4)
    matrix[:3, :3] = [np.cross(axis, z), axis, z]
    return matrix


def _flips(run: Run) -> tuple[int, int]:
    """Return the steps (1 or -1) that put rows upwards and columns right, seen from the source."""
    _, across, up = _frames(run)
    along = _agreement(run, (across[0], -up[0]))
    if np.abs(_agreement(run, (-up[0], across[0]))).min() > _CLEARLY:
        message = "The images lie on their side: rows and columns are exchanged."
        raise GeometryError(message, hint=HINT)
    # Image rows run downwards, columns to the left as seen from the source.
    return (1 if along[1] < -_CLEARLY else -1), (1 if along[0] < -_CLEARLY else -1)


def _agreement(run: Run, directions: tuple[Floats, Floats]) -> Floats:
    """Return the cosines between the file's letters and two directions; 0 where it has none."""
    letters = run.letters if len(run.letters) == 2 else ("", "")
    named = [_LETTERS.get(word[:1], np.zeros(3)) for word in letters]
    return np.array([float(n @ d) for n, d in zip(named, directions, strict=True)])


def _notes(run: Run, kind: ProjectionKind) -> list[Note]:
    text = (
        "The central ray was taken to hit the middle of the detector, and the C-arm to turn "
        "without sagging: the file does not say more. Use a calibrated geometry if there is one."
    )
    notes = [Note("ideal-c-arm", text)]
    arc = float(np.ptp(np.unwrap(np.deg2rad(run.primary))))
    arc = max(arc, float(np.ptp(np.deg2rad(run.secondary))))
    fan = _fan(run)
    if arc < np.pi + fan:
        text = (
            f"The C-arm turned by {np.rad2deg(arc):.0f} degrees; {np.rad2deg(np.pi + fan):.0f} are "
            "needed to see every structure from all sides."
        )
        notes.append(Note("short-arc", text))
    if run.steps_added:
        text = "The angles of the frames are steps from one to the next; they were added up."
        notes.append(Note("angle-steps", text))
    _, across, up = _frames(run)
    if np.abs(_agreement(run, (across[0], -up[0]))).min() <= _CLEARLY:
        text = (
            "The file does not say clearly how its images lie; the usual display was assumed, with "
            "the head up and the patient seen from the detector."
        )
        notes.append(Note("orientation-assumed", text))
    if kind is ProjectionKind.LINE_INTEGRAL and run.relation == "LOG" and not run.falls:
        text = "The readings are logarithms of the intensity; the brightest one was taken as air."
        notes.append(Note("log-intensity", text))
    return notes


def _fan(run: Run) -> float:
    width = run.images[0].file.columns * run.pixel_mm[1]
    return 2 * float(np.arctan(width / 2 / run.sdd_mm[0]))
