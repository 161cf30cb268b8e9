"""What a person may say about projections when opening them (layer: io)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ctrestorelib.core.errors import UsageError
from ctrestorelib.geometry.projections import ProjectionKind


@dataclass(frozen=True)
class ReadOptions:
    """Arguments of :func:`~ctrestorelib.io.projections.read_projections`, checked."""

    geometry: Path | None = None
    i0: float | None = None
    kind: ProjectionKind | None = None
    pixel_mm: float | None = None
    centre: float | None = None

    def __post_init__(self) -> None:
        for name in ("i0", "pixel_mm"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                message = f"{name} must be a positive number; got {value}."
                raise UsageError(message)
        if self.centre is not None and not math.isfinite(self.centre):
            message = f"The rotation centre must be a column number; got {self.centre}."
            raise UsageError(message)

    def centre_from_right(self, cols: int) -> float:
        """Return the rotation axis' column after mirrored camera images were turned round."""
        if self.centre is None:
            message = "No rotation centre was given."
            raise UsageError(message)
        return cols - 1 - self.centre
