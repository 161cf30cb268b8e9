"""Sizes of a DiCE network (layer: networks; standard library only)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class DiceSettings:
    """How wide and how fine a DiCE network is; the defaults are the published ones.

    Parameters
    ----------
    widths
        Channels of the 2-D features, finest scale first; each scale has half the pixels of the one
        before.
    pixels
        Detector pixels along each edge that the network is made for; a multiple of
        2^(scales - 1).
    grid
        Voxels along each edge of the 3-D features.
    codes
        Entries of each codebook.
    channels
        Channels of the 3-D decoder.
    hidden
        Widths of the point decoder between input and answer.
    published_head
        Whether a normalisation and an activation follow the last layer too, as in the released
        code. It keeps the answer from settling freely, so that it is off here; it has two
        parameters.

    Raises
    ------
    ValueError
        If a size makes no sense.
    """

    widths: tuple[int, ...] = (16, 32, 64, 128)
    pixels: int = 256
    grid: int = 32
    codes: int = 512
    channels: int = 128
    hidden: tuple[int, ...] = (184, 128, 64, 16)
    published_head: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(int(n) for n in self.widths))
        object.__setattr__(self, "hidden", tuple(int(n) for n in self.hidden))
        least = min(*self.widths, *self.hidden, self.channels, self.codes, self.grid)
        if least < 1 or self.pixels < 1 or self.pixels % 2 ** (len(self.widths) - 1):
            message = (
                "Sizes of a DiCE network are positive, and its pixels a multiple of "
                f"2^(scales - 1); got {self}."
            )
            raise ValueError(message)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> DiceSettings:
        """Return the settings that :meth:`to_json` wrote."""
        return cls(**record)


FULL = DiceSettings()
"""The published network: 7.2 million parameters with denoise layers, 256 x 256 pixels."""

COMPACT = DiceSettings(
    widths=(8, 16, 32, 64), pixels=128, grid=16, codes=256, channels=48, hidden=(60, 48, 32, 16)
)
"""A network that one processor core trains at about two steps a second."""

SIZES = {"full": FULL, "compact": COMPACT}
