"""One picture per case: what every method made of its middle and of its worst slice.

Pictures of patients are written to the results folder only, never into the repository.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ctrestorelib.apps.pictures import Grey
from sparse_view.cases import Case

Floats = NDArray[np.float32]
_ERROR_HU = 500.0
_TEXT, _SMALLEST = 14, 220


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
        first = [_tile(window.apply(truth[k]), f"reference, slice {k}")]
        second = [_tile(np.zeros(truth[k].shape, np.uint8), f"errors, {-_ERROR_HU:g} to "
                        f"{_ERROR_HU:g} HU")]  # fmt: skip
        for name, values in shown.items():
            first.append(_tile(window.apply(values[k]), name))
            second.append(_tile(error.apply(values[k] - truth[k]), name))
        rows += [_row(first), _row(second)]
    path.parent.mkdir(parents=True, exist_ok=True)
    width = max(r.shape[1] for r in rows)
    Image.fromarray(np.concatenate([_widened(r, width) for r in rows])).save(path)


def _tile(grey: NDArray[np.uint8], caption: str) -> NDArray[np.uint8]:
    times = max(1, -(-_SMALLEST // max(grey.shape)))
    large = np.kron(grey, np.ones((times, times), np.uint8))
    canvas = Image.new("L", (large.shape[1] + 2, large.shape[0] + _TEXT + 2), 0)
    canvas.paste(Image.fromarray(large), (0, _TEXT))
    ImageDraw.Draw(canvas).text((2, 1), caption, fill=255)
    return np.asarray(canvas)


def _row(tiles: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return tiles side by side, each as large as the largest."""
    high, wide = (max(t.shape[a] for t in tiles) for a in (0, 1))
    padded = [np.pad(t, ((0, high - t.shape[0]), (0, wide - t.shape[1]))) for t in tiles]
    return np.concatenate(padded, axis=1)


def _widened(row: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    return np.pad(row, ((0, 0), (0, width - row.shape[1])))
