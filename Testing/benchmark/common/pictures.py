"""Rows of captioned slices in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Grey8 = NDArray[np.uint8]
_TEXT, _SMALLEST = 14, 220


def tile(grey: Grey8, caption: str) -> Grey8:
    """Return a slice with its caption above, at least 220 pixels along its longer edge."""
    times = max(1, -(-_SMALLEST // max(grey.shape)))
    large = np.kron(grey, np.ones((times, times), np.uint8))
    canvas = Image.new("L", (large.shape[1] + 2, large.shape[0] + _TEXT + 2), 0)
    canvas.paste(Image.fromarray(large), (0, _TEXT))
    ImageDraw.Draw(canvas).text((2, 1), caption, fill=255)
    return np.asarray(canvas)


def write_rows(rows: Sequence[Sequence[Grey8]], path: Path) -> None:
    """Write rows of tiles as one picture, black where a row or a tile is smaller."""
    lines = [_row(tiles) for tiles in rows]
    width = max(line.shape[1] for line in lines)
    wide = [_padded(line, line.shape[0], width) for line in lines]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(wide)).save(path)


def _row(tiles: Sequence[Grey8]) -> Grey8:
    high, wide = (max(t.shape[a] for t in tiles) for a in (0, 1))
    return np.concatenate([_padded(t, high, wide) for t in tiles], axis=1)


def _padded(grey: Grey8, high: int, wide: int) -> Grey8:
    return np.pad(grey, ((0, high - grey.shape[0]), (0, wide - grey.shape[1])))
