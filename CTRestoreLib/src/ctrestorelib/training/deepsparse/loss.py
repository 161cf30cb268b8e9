"""What DeepSparse minimises, and how it does on held-out subjects (layer: training)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from ctrestorelib.training.deepsparse.batches import truth_at, voxel_points
from ctrestorelib.training.deepsparse.hyvip import spread_views
from ctrestorelib.training.deepsparse.settings import DeepSparseSettings
from ctrestorelib.training.deepsparse.stored import Floats, StoredScans

WINDOW = 2.0
"""The published window, -1000 to 1000 HU, in units of water."""
_SUBJECTS, _POINTS = 6, 20000  # of the check on held-out subjects


class DeepSparseLoss:
    """Mean square error over the window's square, and the two losses of the network."""

    def __init__(self, settings: DeepSparseSettings) -> None:
        self.settings = settings

    def __call__(
        self, network: nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of a batch and its parts."""
        out = network(batch["projections"], batch["matrices"], batch["points"], int(batch["near"]))
        task = (out.values - batch["target"]).square().mean() / WINDOW**2
        value = (
            task
            + self.settings.quantisation * out.quantisation
            + self.settings.denoising * out.denoising
        )
        parts = {"task": task, "quantisation": out.quantisation, "denoising": out.denoising}
        return value, {name: float(part.detach()) for name, part in parts.items()}


class HeldOut:
    """PSNR on subjects that are never trained on, with evenly spread noise-free views.

    Parameters
    ----------
    scans
        Held-out scans; the first few are used.
    views
        Views of the 2-D and of the 3-D part alike, as in a reconstruction.
    mean
        Mean image of the training subjects ``[k, j, i]``, for comparison.
    """

    def __init__(self, scans: StoredScans, views: int, mean: Floats) -> None:
        self.views = views
        rng = np.random.default_rng(5)
        self.cases, blind = [], []
        for number in scans.numbers[:: -(-len(scans.numbers) // _SUBJECTS)]:
            scan = scans.get(number)
            chosen = rng.integers(scan.truth.size, size=_POINTS)
            index = spread_views(scan.views, views)
            parts = (scan.projections[index] / np.float32(scan.edge_mm), scan.matrices[index],
                     voxel_points(chosen, scan.truth.shape[0]))  # fmt: skip
            truth = torch.from_numpy(truth_at(scan, chosen, WINDOW))
            self.cases.append((*(torch.from_numpy(p)[None] for p in parts), truth))
            blind.append(psnr_db(torch.from_numpy(mean.reshape(-1)[chosen]), truth))
        self.mean_image_db = float(np.mean(blind))

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Return the mean PSNR in dB."""
        device = next(network.parameters()).device
        found = []
        for *seen, truth in self.cases:
            projections, matrices, points = (part.to(device) for part in seen)
            values = network(projections, matrices, points, self.views).values[0]
            found.append(psnr_db(values.cpu(), truth))
        return {"held_out_psnr_db": float(np.mean(found))}


def psnr_db(values: torch.Tensor, truth: torch.Tensor) -> float:
    """Return the peak signal to noise ratio in the published window, in dB."""
    error = (values.clamp(0, WINDOW) - truth.clamp(0, WINDOW)).square().mean() / WINDOW**2
    return float(-10.0 * torch.log10(error.clamp_min(1e-12)))
