"""Parallel-beam scans on a turntable, as synchrotrons make them (layer: io; imports numpy only)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry
from ctrestorelib.io.notes import Note
from ctrestorelib.io.reading import ReadOptions
from ctrestorelib.io.rotation_centre import METHOD, find_rotation_centre


def parallel_scan(
    values: NDArray[np.float32], angles_rad: NDArray[np.float64], options: ReadOptions
) -> tuple[ConeBeamGeometry, list[Note]]:
    """Return the geometry of line integrals ``[view, row, col]`` and notes on what was assumed.

    The rotation axis is where the person says, or where the middle row shows it.
    """
    _, rows, cols = values.shape
    notes = []
    pixel = options.pixel_mm
    if pixel is None:
        pixel = 1.0
        text = "The file states no pixel size; it was taken to be 1 mm. Give it if lengths matter."
        notes.append(Note("pixel-size-assumed", text))
    centre = options.centre
    if centre is None:
        centre = find_rotation_centre(values[:, rows // 2], angles_rad)
        text = f"The rotation axis was found at column {centre:.2f} of {cols}, by the {METHOD}."
        notes.append(Note("centre-found", text))
    text = (
        "The file does not say in which sense the object turned; if it was the other one, the "
        "volume is a mirror image."
    )
    notes.append(Note("sense-assumed", text))
    width = cols * pixel
    geometry = ConeBeamGeometry.circular(
        sod_mm=width,
        sdd_mm=2 * width,
        angles_rad=angles_rad,
        detector_shape=(rows, cols),
        pixel_mm=(pixel, pixel),
        offset_mm=(0.0, ((cols - 1) / 2 - centre) * pixel),
        beam=Beam.PARALLEL,
    )
    return geometry, notes
