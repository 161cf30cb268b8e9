"""Readings of projection images, with the checks that every image gets (layer: io)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import ResourceError
from ctrestorelib.core.system import available_memory_bytes
from ctrestorelib.io.dicom.checks import check_files
from ctrestorelib.io.dicom.pixels import PixelReader
from ctrestorelib.io.dicom.series import Slice
from ctrestorelib.io.dicom.values import check_rescale, has_rescale


def check_views(images: Sequence[Slice], size: tuple[int, int]) -> None:
    """Check format, completeness and memory before any pixel is read.

    Raises
    ------
    InputError, GeometryError
        If an image is not a complete grey picture, or sizes differ.
    ResourceError
        If ``len(images)`` views of ``size`` do not fit into memory.
    """
    check_files(images)
    check_rescale(images)
    need = 4 * len(images) * size[0] * size[1]
    free = available_memory_bytes()
    if need > free:
        message = f"The scan needs {need / 1e9:.1f} GB of memory; {free / 1e9:.1f} GB are free."
        raise ResourceError(message, hint="Close other programs, or open fewer views.")


def rescaled_readings(images: Sequence[Slice]) -> Iterator[NDArray[np.float32]]:
    """Yield ``stored * slope + intercept`` of each image, shape ``[row, column]``."""
    with PixelReader() as reader:
        for image in images:
            slope, intercept = 1.0, 0.0
            if has_rescale(image):
                slope, intercept = image.frame.slope or 1.0, image.frame.intercept or 0.0
            values = np.multiply(reader.read(image), np.float32(slope), dtype=np.float32)
            yield values + np.float32(intercept)
