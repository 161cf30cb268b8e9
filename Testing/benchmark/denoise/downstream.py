"""Does a threshold find more of the truth? Bone and vessels on noisy and denoised volumes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.quality.segment_overlap import GridMask, segment_overlap
from denoise.cases import Case

Floats = NDArray[np.float32]


def segment_scores(case: Case, values: Floats) -> dict[str, Any]:
    """Return Dice and HD95 (mm) of a thresholded volume against the thresholded reference.

    Nothing is cleaned up: isolated noise pixels count, as they do for a person with a threshold.
    """
    assert case.region.segment is not None
    _, level = case.region.segment
    grid = case.reference.geometry
    truth = GridMask((case.reference.values >= level) & case.body, grid)
    found = GridMask((values >= level) & case.body, grid)
    overlap = segment_overlap(truth, found)
    return {"dice": overlap.dice.value, "hd95_mm": overlap.hd95.value}
