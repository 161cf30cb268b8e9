"""Where the scans of the benchmarks are, and what two of them count as body."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume

REPOSITORY = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("CTRESTORE_DATA", REPOSITORY.parent / "shared" / "data"))


@dataclass(frozen=True)
class Scanned:
    """One object of a benchmark.

    Parameters
    ----------
    name, title
        Short identifier, and what a person reads.
    file
        Name in the data folder; empty for a procedural object.
    """

    name: str
    title: str
    file: str

    @property
    def path(self) -> Path:
        """Where the file is."""
        return DATA / self.file

    @property
    def is_here(self) -> bool:
        """Whether the file can be read (a procedural object always can)."""
        return not self.file or self.path.exists()


def seed_of(name: str) -> int:
    """Return the seed of a case: the same name always gives the same numbers."""
    return int.from_bytes(name.encode(), "little") % (2**32)


def body_of(reference: Volume) -> NDArray[np.bool_]:
    """Return the body with all its holes filled; everything for grey values."""
    from scipy.ndimage import binary_fill_holes, uniform_filter

    if reference.unit is Unit.GREY:
        return np.ones(reference.shape, dtype=bool)
    solid = uniform_filter(reference.values, (1, 5, 5)) > -300
    return np.stack([binary_fill_holes(plane) for plane in solid])
