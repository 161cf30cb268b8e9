"""The value range in which a score is computed, always said, never guessed (layer: quality)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctrestorelib.core.errors import UsageError


@dataclass(frozen=True)
class Window:
    """Values are clipped to ``[low, high]`` and mapped to ``[0, 1]``: the data range is 1.

    The sparse-view papers use ``Window(-1000, 1000)`` HU, the low-dose challenge
    ``Window(-160, 240)`` HU; scores of different windows cannot be compared.

    Raises
    ------
    UsageError
        If ``high`` is not above ``low``.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low, self.high]).all() and self.high > self.low):
            message = f"A window needs low < high; got low {self.low:g}, high {self.high:g}."
            raise UsageError(message, hint="For CT in HU take -1000 and 1000.")

    @property
    def width(self) -> float:
        """``high - low``."""
        return self.high - self.low

    def apply(self, values: ArrayLike) -> NDArray[np.float32]:
        """Return ``values`` clipped to the window and scaled to ``[0, 1]``, float32."""
        clipped = np.clip(np.asarray(values, dtype=np.float32), self.low, self.high)
        scaled: NDArray[Any] = (clipped - np.float32(self.low)) / np.float32(self.width)
        return scaled.astype(np.float32, copy=False)

    def __str__(self) -> str:
        return f"window [{self.low:g}, {self.high:g}], data range 1"


FIELD_WINDOW = Window(-1000.0, 1000.0)
"""The window of the sparse-view cone-beam papers, in HU."""
