"""The checks of a reconstruction as traffic lights (layer: quality)."""

from __future__ import annotations

from collections.abc import Iterable

from ctrestorelib.quality.lights import Light
from ctrestorelib.quality.result import Measure

SCAN_LIGHTS: tuple[tuple[str, str, str], ...] = (
    ("fit", "Fit of the views", "view_fit"),
    ("left_out", "Left-out view", "left_out_view"),
    ("measured", "Measured share", "measured_share"),
    ("geometry", "Scan geometry", "geometry"),
)
"""Name and title of every light, and the measure that it shows."""


def scan_lights(measures: Iterable[Measure]) -> tuple[Light, ...]:
    """Return one light per measure of a reconstruction, in a fixed order."""
    known = {m.name: m for m in measures}
    return tuple(
        Light(name, title, known[measure].verdict, known[measure].sentence)
        for name, title, measure in SCAN_LIGHTS
        if measure in known
    )
