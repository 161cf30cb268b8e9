"""One picture per case: what every method made of its middle and of its worst slice.

Pictures of patients are written to the results folder only, never into the repository.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from common.pictures import tile, write_rows
from numpy.typing import NDArray

from ctrestorelib.apps.pictures import Grey
from sparse_view.cases import Case

Floats = NDArray[np.float32]
_ERROR_HU = 500.0


def worst_slice(case: Case, values: Floats) -> int:
    """Return the axial slice with the largest squared error inside body and view."""
    where = case.body & case.seen
    error = np.where(where, np.square(values - case.reference.values), 0.0)
    return int(np.argmax(error.sum(axis=(1, 2)) / np.maximum(where.sum(axis=(1, 2)), 50)))


def sheet(case: Case, shown: dict[str, Floats], main: str, path: Path) -> None:
    """Write the picture of a case: volumes in one row, their errors below.

    Parameters
    ----------
    shown
        Volumes by caption in order, the reference not among them.
    main
        Caption of the volume that the worst slice is chosen by.
    """
    low, high = case.window
    window, error = Grey(low, high), Grey(-_ERROR_HU, _ERROR_HU)
    truth = case.reference.values
    rows = []
    for k in dict.fromkeys((len(truth) // 2, worst_slice(case, shown[main]))):
        first = [tile(window.apply(truth[k]), f"reference, slice {k}")]
        second = [tile(np.zeros(truth[k].shape, np.uint8), f"errors, {-_ERROR_HU:g} to "
                        f"{_ERROR_HU:g} HU")]  # fmt: skip
        for name, values in shown.items():
            first.append(tile(window.apply(values[k]), name))
            second.append(tile(error.apply(values[k] - truth[k]), name))
        rows += [first, second]
    write_rows(rows, path)
