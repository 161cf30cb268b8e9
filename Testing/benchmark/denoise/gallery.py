"""One picture per case: what every stage made of its middle and of its worst slice.

Pictures of patients are written to the results folder only, never into the repository.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from common.pictures import tile, write_rows
from numpy.typing import NDArray

from ctrestorelib.apps.pictures import Grey
from denoise.cases import Case

Floats = NDArray[np.float32]
DIFFERENCE = 5


def worst_slice(case: Case, values: Floats) -> int:
    """Return the slice with the largest error inside the body."""
    error = np.where(case.body, (values - case.reference.values) ** 2, 0.0)
    inside = np.maximum(case.body.sum(axis=(1, 2)), 1)
    return int(np.argmax(error.sum(axis=(1, 2)) / inside))


def sheet(case: Case, shown: dict[str, Floats], main: str, path: Path) -> None:
    """Write the picture of a case.

    Parameters
    ----------
    shown
        Volumes by caption, in order; among them ``main``, whose errors and removed noise are shown.
    main
        Caption of the volume that the worst slice is chosen by.
    """
    window = Grey(*_contrast(case))
    reference, noisy, restored = case.reference.values, case.noisy.values, shown[main]
    half = (window.high - window.low) / 2
    grain = max(4.0 * float((noisy - reference)[case.body].std()), 1e-3)
    differences = {
        f"{main}: error x {DIFFERENCE}": (DIFFERENCE * (restored - reference), half),
        f"{main}: removed noise": (noisy - restored, grain),
        "true noise": (noisy - reference, grain),
    }
    rows = []
    for k in (case.reference.shape[0] // 2, worst_slice(case, restored)):
        tiles = [tile(window.apply(v[k]), name) for name, v in shown.items()]
        tiles += [tile(Grey(-h, h).apply(v[k]), name) for name, (v, h) in differences.items()]
        rows.append(tiles)
    write_rows(rows, path)


def _contrast(case: Case) -> tuple[float, float]:
    """Return the display window: that of the scores, or a wider one where it is very narrow."""
    low, high = case.region.window
    return (low, high) if high - low >= 200 else (low - 60, high + 60)
