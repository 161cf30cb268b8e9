"""Examples of DeepSparse: views drawn, noise put on, points chosen (layer: training)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ctrestorelib.physics.noise import transmission_noise
from ctrestorelib.training.deepsparse.hyvip import Indices, hybrid_views
from ctrestorelib.training.deepsparse.settings import (
    DeepSparseSettings,
    NoiseSettings,
    TrainingStage,
)
from ctrestorelib.training.deepsparse.stored import Floats, StoredScan, StoredScans


class DeepSparseBatches:
    """Draws the batches of one stage from stored scans.

    Parameters
    ----------
    scans
        Where they come from.
    settings
        Stage, views, points, noise.
    """

    def __init__(self, scans: StoredScans, settings: DeepSparseSettings) -> None:
        self.scans, self.settings = scans, settings

    def __call__(self, _step: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Return a batch.

        Returns
        -------
        dict
            ``projections`` ``[example, view, row, col]``, ``matrices`` ``[example, view, 3, 4]``,
            ``points`` ``[example, point, 3]``, ``target`` ``[example, point]`` and ``near``, the
            number of sparse views, which come first and are as many in all examples.
        """
        settings = self.settings
        near = settings.views
        if settings.stage is TrainingStage.PRETRAIN:
            near = int(rng.integers(settings.fewest, settings.dense + 1))
        examples = [self._example(rng, near) for _ in range(settings.batch)]
        batch = {
            name: torch.from_numpy(np.stack([e[name] for e in examples])) for name in examples[0]
        }
        return {**batch, "near": torch.tensor(near)}

    def _example(self, rng: np.random.Generator, near: int) -> dict[str, Floats]:
        scan = self.scans.get(int(rng.choice(self.scans.numbers)))
        views = hybrid_views(rng, scan.views, near, self.settings.dense)
        chosen = rng.integers(scan.truth.size, size=self.settings.points)
        return {
            "projections": noisy(scan, views, self.settings.noise, rng) / np.float32(scan.edge_mm),
            "matrices": scan.matrices[views],
            "points": voxel_points(chosen, scan.truth.shape[0]),
            "target": truth_at(scan, chosen, self.settings.top),
        }


def noisy(
    scan: StoredScan, views: Indices, noise: NoiseSettings, rng: np.random.Generator
) -> Floats:
    """Return some views ``[view, row, col]`` in mm of water with a random amount of noise."""
    clean: Floats = np.asarray(scan.projections[views], dtype=np.float32)
    i0 = float(np.exp(rng.uniform(*np.log(noise.i0))))
    sd = float(rng.uniform(*noise.electronic_sd))
    if rng.random() < noise.free_share:
        return clean
    mu = np.float32(scan.mu_water_per_mm)
    measured: Floats = transmission_noise(clean * mu, i0, sd, rng) / mu
    return measured


def voxel_points(chosen: NDArray[np.integer], cells: int) -> Floats:
    """Return the centres ``[point, 3]`` as (x, y, z) of voxels of a cube, by their flat index."""
    kji = np.stack(np.unravel_index(chosen, (cells, cells, cells)), axis=-1)
    return ((2 * kji[:, ::-1] + 1) / np.float32(cells) - 1).astype(np.float32)


def truth_at(scan: StoredScan, chosen: NDArray[np.integer], top: float) -> Floats:
    """Return the attenuation of voxels in units of water, from 0 to ``top``."""
    values = scan.truth.reshape(-1)[chosen]
    return np.asarray(np.clip(values, 0.0, top), dtype=np.float32)
