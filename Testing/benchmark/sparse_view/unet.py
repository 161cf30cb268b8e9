"""The peer that cleans up FDK slices: a 2-D U-Net, as in FBPConvNet, trained here.

Input is a slice of a Hann-filtered FDK and the logarithm of the number of views; output is what the
slice lacks. One network for all numbers of views, trained on the items of
:mod:`ctrestorelib.training.scans` (training list and procedural subjects), without and with noise.
It sees neither the neighbouring slices nor the projections.

Reference: Jin, McCann, Froustey and Unser 2017, doi:10.1109/TIP.2017.2713099.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.scans import DATA, REPOSITORY
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.physics.noise import transmission_noise
from ctrestorelib.training.loop import TrainingSettings, train
from ctrestorelib.training.scans.acquisition import ANCHOR_VIEWS
from ctrestorelib.training.scans.store import item_numbers, load_item, make_items, scan_tasks
from ctrestorelib.training.scans.subjects import subject_tasks
from sparse_view.running import hu, run_method

Floats = NDArray[np.float32]
VERSION = 1
DOWN = 8
_ALL_VIEWS = 120  # of a training item: a multiple of each of ANCHOR_VIEWS
_TYPICAL_VIEWS = 20.0
_BATCH = 8
_SEED = 41
_NOISY_I0, _ELECTRONIC_SD = 1e5, 10.0


@dataclass(frozen=True)
class Schooling:
    """How long the peer learns.

    Parameters
    ----------
    cells
        Size of its training volumes, that of the benchmark.
    items
        Training subjects; a quarter are scans of the training list.
    steps
        Optimiser steps of 8 slices.
    """

    cells: int
    items: int = 80
    steps: int = 6000

    def folder(self, store: Path) -> Path:
        """Return where items, checkpoints and weights lie."""
        return store / "unet" / f"{self.cells}-{self.items}-{self.steps}-v{VERSION}"


class SliceUNet(nn.Module):
    """A residual U-Net of four levels.

    Parameters
    ----------
    width
        Channels of the first level; each level below has twice as many.
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(4)]
        self.down = nn.ModuleList(
            _pair(a, b) for a, b in zip([2, *channels], channels, strict=False)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * c, c, 2, stride=2) for c in channels[:3])
        self.merge = nn.ModuleList(_pair(2 * c, c) for c in channels[:3])
        self.head = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, stack: torch.Tensor) -> torch.Tensor:
        """Return slices ``(n, 1, rows, columns)`` in units of water.

        ``stack`` is ``(n, 2, rows, columns)``: FDK in units of water, and the logarithm of the
        number of views; rows and columns are multiples of :data:`DOWN`.
        """
        x, skips = stack, []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for level in (2, 1, 0):
            x = self.merge[level](torch.cat([self.up[level](x), skips[level]], 1))
        result: torch.Tensor = stack[:, :1] + self.head(x)
        return result


def _pair(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(),
                         nn.Conv2d(b, b, 3, padding=1), nn.ReLU())  # fmt: skip


def hann_fdk(scan: ProjectionSet, grid: VolumeGeometry) -> Floats:
    """Return the FDK in units of water, with a Hann window."""
    estimate = run_method("fdk", scan, grid, {"window": "hann", "cutoff": 1.0})
    return np.asarray(hu(estimate.volume).values / np.float32(1000) + np.float32(1))


def trained(schooling: Schooling, store: Path, report: Callable[[str], None] | None = None) -> Path:
    """Return the weights, training what is still missing."""
    folder = schooling.folder(store)
    weights = folder / "training" / "final.safetensors"
    if weights.exists():
        return weights
    slices = _Slices(_pairs(schooling, folder, report))
    torch.manual_seed(_SEED)
    steps = schooling.steps
    settings = TrainingSettings(steps=steps, learning_rate=1e-3, seed=_SEED, ema_decay=0.995,
                                warmup_steps=min(100, steps // 4), validate_every=steps,
                                checkpoint_seconds=60, prefetch=0)  # fmt: skip
    run = train(SliceUNet(), slices.batch, _loss, settings, weights.parent, report=report)
    return run.weights


def identity(schooling: Schooling, store: Path) -> str:
    """Return what a result of the peer depends on, "" where it is not trained yet."""
    weights = schooling.folder(store) / "training" / "final.safetensors"
    return weights.parent.parent.name if weights.exists() else ""


def cleaned(scan: ProjectionSet, grid: VolumeGeometry, weights: Path) -> Floats:
    """Return the reconstruction in HU: FDK, then the network, slice by slice."""
    fdk = hann_fdk(scan, grid)
    network = _network(weights)
    rows, cols = fdk.shape[1:]
    margin = ((0, 0), (0, -rows % DOWN), (0, -cols % DOWN))
    stack = torch.from_numpy(np.pad(fdk, margin, mode="edge"))[:, None]
    out = np.empty_like(fdk)
    with torch.no_grad():
        for k in range(len(fdk)):
            one = network(with_views(stack[k : k + 1], scan.views))
            out[k] = one[0, 0, :rows, :cols].numpy()
    return (out - np.float32(1)) * np.float32(1000)


def with_views(slices: torch.Tensor, views: int) -> torch.Tensor:
    """Return slices ``(n, 1, rows, columns)`` with the channel that tells the number of views."""
    told = torch.full_like(slices, float(np.log(views / _TYPICAL_VIEWS)))
    return torch.cat([slices, told], 1)


@lru_cache(maxsize=1)
def _network(weights: Path) -> SliceUNet:
    from safetensors.torch import load_file

    network = SliceUNet()
    network.load_state_dict(load_file(weights))
    return network.eval()


def _pairs(schooling: Schooling, folder: Path, report: Callable[[str], None] | None) -> list[Path]:
    """Make the items and their FDK; return the files of pairs."""
    split = json.loads((REPOSITORY / "Scripts" / "training" / "split.json").read_text())
    files = [DATA / n for n in split["train"] if (DATA / n).exists()]
    scans = [files[n % len(files)] for n in range(schooling.items // 4)] if files else []
    subjects = subject_tasks(scans, schooling.items - len(scans), _SEED)
    items = folder / "items"
    make_items(scan_tasks(subjects, schooling.cells, schooling.cells, _ALL_VIEWS), items,
               report=report)  # fmt: skip
    return [_pair_file(items, folder / "pairs", n, v)
            for n in item_numbers(items) for v in ANCHOR_VIEWS]  # fmt: skip


def _pair_file(items: Path, pairs: Path, number: int, views: int) -> Path:
    """Return a file with FDK and truth, making it if it is not there."""
    path = pairs / f"{number:06d}-{views}.npz"
    if path.exists():
        return path
    scan, truth = load_item(items, number)
    scan = scan[:: _ALL_VIEWS // views]
    rng = np.random.default_rng([_SEED, number, views])
    if rng.random() < 0.5:
        noisy = transmission_noise(scan.values, _NOISY_I0, _ELECTRONIC_SD, rng)
        scan = scan.replace(values=np.asarray(noisy, dtype=np.float32), i0=_NOISY_I0)
    fdk = hann_fdk(scan, truth.geometry)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, fdk=fdk.astype(np.float16), views=views,
                 truth=(truth.values / 1000 + 1).astype(np.float16))  # fmt: skip
    return path


class _Slices:
    """Draws slices of random pairs; what was read once stays in memory."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self._read: dict[Path, tuple[Any, Any, int]] = {}

    def batch(self, _step: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Return ``stack`` ``(n, 2, rows, columns)`` and ``truth`` ``(n, 1, rows, columns)``."""
        stacks, truths = [], []
        for _ in range(_BATCH):
            fdk, truth, views = self._pair(self._files[int(rng.integers(len(self._files)))])
            k = int(rng.integers(len(truth)))
            mirrored = bool(rng.integers(2))
            seen, wanted = (torch.from_numpy(_plane(v[k], mirrored)) for v in (fdk, truth))
            stacks.append(with_views(seen[None, None], views)[0])
            truths.append(wanted[None])
        return {"stack": torch.stack(stacks), "truth": torch.stack(truths)}

    def _pair(self, path: Path) -> tuple[Any, Any, int]:
        if path not in self._read:
            with np.load(path) as kept:
                self._read[path] = kept["fdk"], kept["truth"], int(kept["views"])
        return self._read[path]


def _plane(plane: NDArray[np.float16], mirrored: bool) -> Floats:
    """Return a slice, mirrored left to right or not; the views' arc allows no other symmetry."""
    return np.ascontiguousarray(plane[:, ::-1] if mirrored else plane, dtype=np.float32)


def _loss(network: nn.Module, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
    error = functional.mse_loss(network(batch["stack"]), batch["truth"])
    return error, {}
