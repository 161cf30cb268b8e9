"""The supervised upper bound: the released network, trained further on just this kind of noise.

For each region the network sees pairs made as the cases are (reference of a *training* volume, the
region's kernel, slice correlation and noise level, doses between 10 % and 25 %), so it knows the
noise better than a released network can. Its error is what this network could reach; it is no
method for users. Where no weights are released yet, it starts from scratch and says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common.scans import DATA, REPOSITORY
from numpy.typing import NDArray

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.quality.noise import noise_map
from denoise.cases import (
    VERSION,
    Case,
    averaged_blocks,
    central,
    low_dose,
    reference_of,
    without_padding,
)
from denoise.regions import Region

Floats = NDArray[np.float32]
RELEASED, WIDTH, SLICES = "ctd-standard", 32, 5
_TAKEN = 14  # slices of each training volume
_PATCH, _BATCH = 48, 8
_MAP_MODULES = ("noise_shape", "noise", "flatness")


@dataclass(frozen=True, eq=False)
class Pair:
    """A training volume with noise: everything in the volume's unit, ``[k, j, i]``."""

    reference: Floats
    noisy: Floats
    sigma: Floats
    is_hu: bool


def train_bound(region: Region, folder: Path, steps: int, released: str) -> Path:
    """Return the file with the region's network, training it the first time.

    ``released`` is the identity of the weights to start from, "" for none.
    """
    from ctrestorelib.training.export import save_weights

    made_of = f"{released[:12] or 'scratch'}-{noise_map_identity()[:6]}"
    name = f"{region.name}-v{VERSION}-{steps}-{made_of}.safetensors"
    path = folder / "bounds" / name
    if path.exists():
        return path
    network = _network(released)
    pairs = training_pairs(region)
    steps = steps if released else 4 * steps
    _train(network, pairs, steps, 2e-4 if released else 2e-3)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(network, path)
    return path


def bounded(case: Case, weights: Path) -> Floats:
    """Return the case restored by its region's network."""
    from ctrestorelib.training.export import load_weights

    network = load_weights(weights)
    sigma = sigma_of(case.noisy)
    return restore_slices(network, case.noisy.values, sigma, case.noisy.unit is Unit.HU)


def released_identity() -> str:
    """Return the SHA-256 of the released weights, or "" where none are installed."""
    import importlib.util

    if importlib.util.find_spec("ctrestorelib.weights.store") is None:
        return ""
    import hashlib

    from ctrestorelib.core.errors import CTRestoreError
    from ctrestorelib.weights import store

    try:
        path = store.weights_file(RELEASED, "safetensors")
    except (CTRestoreError, KeyError, OSError):
        return ""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def noise_map_identity() -> str:
    """Return what the noise map depends on: the learned denoisers work in its units."""
    import hashlib

    from ctrestorelib import quality

    folder = Path(quality.__file__).parent
    files = [*sorted(folder.glob("sigma_*.py")), *(folder / f"{n}.py" for n in _MAP_MODULES)]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


def _network(released: str) -> Any:
    import torch

    from ctrestorelib.networks.residual_unet import ResidualUNet

    torch.manual_seed(0)
    if not released:
        return ResidualUNet(width=WIDTH, slices=SLICES)
    from ctrestorelib.training.export import load_weights
    from ctrestorelib.weights import store

    return load_weights(store.weights_file(RELEASED, "safetensors")).train()


def training_pairs(region: Region) -> list[Pair]:
    """Return noisy training volumes made as the region's cases are, two doses of each."""
    _, scanner, _ = reference_of(region)
    split = json.loads((REPOSITORY / "Scripts/training/split.json").read_text())
    wanted = ".tif" if region.name == "microct" else ".nii.gz"
    files = [n for n in split["train"] if n.endswith(wanted) and (DATA / n).exists()]
    pairs = []
    for number, file in enumerate(files):
        reference = _training_reference(DATA / file)
        for dose in (0.25, 0.10):
            noisy, _ = low_dose(reference, scanner, dose, seed=1000 + number)
            sigma = sigma_of(noisy)
            hu = reference.unit is Unit.HU
            pairs.append(Pair(reference.values, noisy.values, sigma, hu))
    return pairs


def _training_reference(path: Path) -> Volume:
    volume = read_volume(path).volume
    bins = 1 if volume.unit is Unit.GREY else 2
    values = averaged_blocks(central(without_padding(volume), _TAKEN), (1, bins, bins))
    dx, dy, dz = volume.geometry.spacing_mm
    grid = VolumeGeometry.from_spacing(values.shape, (dx * bins, dy * bins, dz))
    return Volume(values, grid, volume.unit)


def sigma_of(noisy: Volume) -> Floats:
    """Return the local noise level, never less than a tenth of its median."""
    level = noise_map(noisy).values
    return np.maximum(level, max(1e-3, 0.1 * float(np.median(level))))


def stack_at(values: Floats, k: int) -> Floats:
    """Return the slices around ``k``, the outermost repeated beyond the ends."""
    half = SLICES // 2
    return values[np.clip(np.arange(k - half, k + half + 1), 0, len(values) - 1)]


def network_inputs(stack: Floats, sigma: Floats, *, is_hu: bool) -> tuple[Floats, Floats]:
    """Return the network's ``(stack, context)`` for slices and the middle one's noise level."""
    middle = stack[len(stack) // 2]
    context = np.zeros((2, *middle.shape), np.float32)
    if is_hu:
        context[0] = np.clip(middle / 1000.0, -1.0, 3.0)
        context[1] = np.clip(np.log2(sigma / 20.0), -4.0, 4.0)
    return (stack / sigma).astype(np.float32), context


def _train(network: Any, pairs: list[Pair], steps: int, rate: float) -> None:
    import torch

    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps + 1, pct_start=0.1
    )
    rng = np.random.default_rng(0)
    for _ in range(steps):
        stack, context, target = _batch(pairs, rng)
        mean, _scale = network(stack, context)
        error = ((mean - target) ** 2).mean()
        optimizer.zero_grad(set_to_none=True)
        error.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def _batch(pairs: list[Pair], rng: np.random.Generator) -> tuple[Any, Any, Any]:
    import torch

    stacks, contexts, targets = [], [], []
    while len(stacks) < _BATCH:
        pair = pairs[rng.integers(len(pairs))]
        slices, rows, cols = pair.noisy.shape
        k, j, i = (int(rng.integers(n)) for n in (slices, rows - _PATCH + 1, cols - _PATCH + 1))
        box = (slice(j, j + _PATCH), slice(i, i + _PATCH))
        if pair.is_hu and pair.reference[k][box].mean() < -700 and rng.random() < 0.9:
            continue
        sigma = pair.sigma[k][box]
        stack, context = network_inputs(stack_at(pair.noisy, k)[:, box[0], box[1]], sigma,
                                        is_hu=pair.is_hu)  # fmt: skip
        target = ((pair.noisy[k] - pair.reference[k])[box] / sigma)[None]
        quarter, mirror = int(rng.integers(4)), bool(rng.integers(2))
        parts = [np.rot90(p, quarter, (1, 2)) for p in (stack, context, target)]
        parts = [p[..., ::-1] if mirror else p for p in parts]
        for kept, part in zip((stacks, contexts, targets), parts, strict=True):
            kept.append(np.ascontiguousarray(part))
    return tuple(torch.from_numpy(np.stack(p)) for p in (stacks, contexts, targets))


def restore_slices(network: Any, values: Floats, sigma: Floats, is_hu: bool) -> Floats:
    """Return a volume restored by a :class:`ResidualUNet`; slices get mirrored margins."""
    import torch

    from ctrestorelib.networks.residual_unet import DOWN

    rows, cols = values.shape[1:]
    high, wide = (-(-n // DOWN) * DOWN + DOWN - n for n in (rows, cols))
    margin = ((0, 0), (DOWN, high), (DOWN, wide))
    out = np.empty_like(values)
    with torch.no_grad():
        for k in range(len(values)):
            stack, context = network_inputs(stack_at(values, k), sigma[k], is_hu=is_hu)
            seen = [torch.from_numpy(np.pad(p, margin, mode="symmetric")[None])
                    for p in (stack, context)]  # fmt: skip
            mean = network(*seen)[0][0, 0, DOWN : DOWN + rows, DOWN : DOWN + cols].numpy()
            out[k] = values[k] - mean * sigma[k]
    return out
