"""The TIFF images of a micro-CT scanner, one for each view (layer: io)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.io.paths import natural_key
from ctrestorelib.io.tiff_volumes import read_stack


def images_with_prefix(folder: Path, prefix: str) -> list[Path]:
    """Return the TIFF files named ``prefix`` + digits, in counting order."""
    pattern = re.compile(re.escape(prefix) + r"[_~-]?\d+\.tiff?$", re.IGNORECASE)
    found = [p for p in folder.iterdir() if pattern.match(p.name)]
    return sorted(found, key=lambda p: natural_key(p.name))


def read_camera_images(header: Path, prefix: str, detector_shape: tuple[int, int]) -> NDArray[Any]:
    """Return readings ``[view, row, col]``, rows upwards and columns right as seen from the source.

    A camera looks at the source: its images have the upper edge first and are mirrored for who
    stands at the source. Both axes are reversed here.
    """
    pages = images_with_prefix(header.parent, prefix)
    if not pages:
        message = f"There are no images {prefix}*.tif beside {header.name}."
        raise InputError(message, hint="Keep the header file in the folder of its projections.")
    values = read_stack(header.parent, pages, (1.0, 1.0, 1.0)).values
    if values.shape[1:] != detector_shape:
        rows, cols = detector_shape
        message = (
            f"{header.name} describes images of {cols} x {rows} pixels; they have "
            f"{values.shape[2]} x {values.shape[1]}."
        )
        raise GeometryError(message, hint="Were the images binned or cropped after the scan?")
    return np.ascontiguousarray(values[:, ::-1, ::-1])
