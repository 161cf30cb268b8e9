"""Running SimpleITK filters on slabs (layer: inference)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ctrestorelib.inference.slabs import Floats


def kernel_spacing(spacing_mm: Sequence[float]) -> tuple[float, float, float]:
    """Return the spacing along (i, j, k) in units of the coarser in-plane pixel side.

    Filters then speak of pixels, and thick slices count as far apart. Slices closer than a pixel
    count as one pixel apart: they share noise, and a filter's reach in slices stays known.
    """
    unit = max(spacing_mm[:2])
    x, y, z = (float(s) / unit for s in spacing_mm)
    return (x, y, max(1.0, z))


def filter_with_itk(
    itk_filter: Any, slab: Floats, spacing: Sequence[float], threads: int
) -> Floats:
    """Return ``itk_filter`` applied to ``slab`` ``[k, j, i]`` with the given spacing (i, j, k)."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(slab)
    image.SetSpacing(tuple(spacing))
    itk_filter.SetNumberOfThreads(threads)
    return np.asarray(SimpleITK.GetArrayFromImage(itk_filter.Execute(image)), dtype=np.float32)
