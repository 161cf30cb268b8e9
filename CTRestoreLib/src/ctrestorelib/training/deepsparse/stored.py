"""Stored scans as DiCE sees them: a cube of edge 2, projections without a unit (layer: training).

The items are those of :mod:`ctrestorelib.training.scans.store`. They are mapped, not read: a step
looks at a few views and at some thousand voxels only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import MU_WATER_PER_MM
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.networks.dice import CubeFrame
from ctrestorelib.training.scans.store import item_numbers

Floats = NDArray[np.float32]

_HELD_OUT_EVERY, _HELD_OUT = 12, 5


@dataclass(frozen=True, eq=False)
class StoredScan:
    """One item.

    Parameters
    ----------
    truth
        ``[k, j, i]`` in units of water, mapped from the disk.
    projections
        ``[view, row, col]`` in mm of water, mapped.
    matrices
        ``[view, 3, 4]``: cube to detector coordinates.
    edge_mm
        Edge of the cube.
    mu_water_per_mm
        Attenuation of water of the scan, for its noise.
    """

    truth: NDArray[np.float16]
    projections: Floats
    matrices: Floats
    edge_mm: float
    mu_water_per_mm: float

    @property
    def views(self) -> int:
        """Stored views."""
        return len(self.projections)


class StoredScans:
    """The items of a folder by number.

    Parameters
    ----------
    folder
        Of items; see :func:`ctrestorelib.training.scans.store.make_items`.
    numbers
        Which of them; all if None.

    Raises
    ------
    InputError
        If there are none.
    """

    def __init__(self, folder: Path, numbers: list[int] | None = None) -> None:
        self.folder = folder
        self.numbers = item_numbers(folder) if numbers is None else numbers
        if not self.numbers:
            message = f"The folder {folder.name!r} holds no training items."
            raise InputError(message, hint="Make the training items first.")
        self.get = lru_cache(maxsize=4096)(self._get)

    def _get(self, number: int) -> StoredScan:
        stem = self.folder / f"{number:06d}"
        record = json.loads(stem.with_suffix(".json").read_text())
        geometry = ConeBeamGeometry.from_json(record["geometry"])
        frame = CubeFrame.of_grid(VolumeGeometry.from_json(record["grid"]))
        return StoredScan(
            np.load(stem.parent / f"{stem.name}_truth.npy", mmap_mode="r"),
            np.load(stem.parent / f"{stem.name}_projections.npy", mmap_mode="r"),
            frame.matrices(geometry),
            frame.edge_mm,
            float(record["protocol"].get("mu_water_per_mm", MU_WATER_PER_MM)),
        )

    def split(self) -> tuple[StoredScans, StoredScans | None]:
        """Return the scans to train on, and those held out (None where there is one source only).

        All subjects that were made of one volume are on the same side.
        """
        groups: dict[str, list[int]] = {}
        for number in self.numbers:
            task = json.loads((self.folder / f"{number:06d}.json").read_text())["task"]
            groups.setdefault(str(task.get("source") or f"procedural {number:06d}"), []).append(
                number
            )
        names = sorted(groups)
        aside = set(names[_HELD_OUT::_HELD_OUT_EVERY]) or set(names[-1:])
        if len(names) == 1:
            return self, None
        parts = [[n for name in names if (name in aside) is out for n in groups[name]]
                 for out in (False, True)]  # fmt: skip
        return StoredScans(self.folder, parts[0]), StoredScans(self.folder, parts[1])


def mean_truth(scans: StoredScans) -> Floats:
    """Return the mean of all truths ``[k, j, i]``: what one knows without looking at a scan."""
    total = np.zeros(scans.get(scans.numbers[0]).truth.shape, np.float64)
    for number in scans.numbers:
        total += scans.get(number).truth
    return (total / len(scans.numbers)).astype(np.float32)
