"""Random display windows, HorusEye's way to see all of the HU range (layer: training)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

REFERENCE = (-1000.0, 1600.0)
"""Low edge and width, in HU, of the published window that extraction and refinement work in."""
GREY_REFERENCE = (-300.0, 1600.0)
"""The same for grey values scaled to 0 to 1000."""


@dataclass(frozen=True)
class WindowRange:
    """One of the published kinds of window: its share, and ranges of low edge and width in HU."""

    share: float
    low: tuple[float, float]
    width: tuple[float, float]


WINDOWS = (
    WindowRange(2 / 9, (-1200, -800), (1200, 1600)),
    WindowRange(2 / 9, (-250, -150), (300, 600)),
    WindowRange(2 / 9, (-260, -200), (250, 400)),
    WindowRange(2 / 9, (-300, -100), (800, 1200)),
    WindowRange(1 / 9, (-50, -10), (100, 140)),
)
"""The five kinds: lung, soft tissue (two), bone, brain."""
GREY_WINDOW = WindowRange(1.0, (-200, 100), (700, 1300))
"""For grey values scaled to 0 to 1000, which have no tissues."""


def draw_window(rng: np.random.Generator, *, is_hu: bool) -> tuple[float, float]:
    """Return low edge and width of a random window."""
    kinds = WINDOWS if is_hu else (GREY_WINDOW,)
    kind = kinds[int(rng.choice(len(kinds), p=[k.share for k in kinds]))]
    return float(rng.uniform(*kind.low)), float(rng.uniform(*kind.width))


def reference_window(*, is_hu: bool) -> tuple[float, float]:
    """Return low edge and width of the window that extraction and refinement work in."""
    return REFERENCE if is_hu else GREY_REFERENCE


def through(values: Floats, low: float, width: float) -> Floats:
    """Return ``values`` clipped to the window and scaled to [0, 1]."""
    scaled = (values - np.float32(low)) / np.float32(width)
    return np.asarray(np.clip(scaled, 0, 1), dtype=np.float32)
