"""Calibrate the uncertainty of released weights on simulated pairs.

    python Scripts/training/calibrate.py ctd-standard --data ../shared/data

Which pairs: procedural anatomy of seeds that training never draws, and the volumes of the training
list, binned by 2 as in training, both with fresh noise of fresh recipes. Validation volumes stay
out: results on them are reported elsewhere and must not have helped. The network has seen the
anatomy of the volumes (not this noise), so their errors could be a little small; the pairs of
anatomy, more than half, have no such doubt, and every run checks coverage on the user's own scan.
The whole method runs, with its guards and with the noise level as measured, not as known. Written:
``<name>.calibration.json`` beside the weights.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.inference.residual_volume import CLASSES_HU, Guards, ResidualDenoiser
from ctrestorelib.inference.runtimes import choose_runtime, load_runtime
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.quality.sigma_map import sigma_map
from ctrestorelib.training.anatomy import make_anatomy
from ctrestorelib.training.calibration import PairErrors, calibrate, pair_errors
from ctrestorelib.training.clean_volumes import as_trainable, binned, training_files
from ctrestorelib.training.noise_images import noise_images
from ctrestorelib.training.noise_recipe import draw_recipe
from ctrestorelib.weights.store import FOLDER, released, sha256_of, weights_file

SPLIT = Path(__file__).with_name("split.json")
SEED = 20_000  # training seeds its items with small numbers
SLICES, SIDE = 10, 160
CLEANER_BY = 3.0
SIGMA_HU = (8.0, 80.0)


def main() -> None:
    """Simulate, restore, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="released weights, such as ctd-standard")
    parser.add_argument("--data", type=Path, help="folder of volumes; anatomy only without it")
    parser.add_argument("--anatomies", type=int, default=36)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    denoiser = ResidualDenoiser(load_runtime(given.name, choose_runtime(), given.threads), Guards())
    found = calibrated(denoiser, clean_stacks(given.data, given.anatomies))
    record = {
        **found,
        "risk": 0.10,
        "protocol": "anatomy of fresh seeds and training-list volumes binned by 2, fresh noise of "
        f"{SIGMA_HU[0]:g} to {SIGMA_HU[1]:g} HU, default guards, measured noise level",
        "weights_sha256": sha256_of(weights_file(given.name, "safetensors")),
    }
    path = released()[given.name].folder / f"{given.name}.calibration.json"
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(found, indent=2), f"\nWritten to {path.relative_to(FOLDER)}.")


Clean = tuple[Volume, float, str]
"""Volume without noise, the noise that is left in it all the same, and its name."""


def calibrated(denoiser: ResidualDenoiser, stacks: Iterable[Clean]) -> dict[str, dict[str, float]]:
    """Return what :func:`~ctrestorelib.training.calibration.calibrate` finds on these stacks."""
    pairs = []
    for number, clean in enumerate(stacks):
        rng = np.random.default_rng([SEED, 1, number])
        pairs.append(errors_of(denoiser, clean, rng))
        print(f"{number + 1}: {clean[2]}", flush=True)
    return calibrate(pairs, list(CLASSES_HU))


def clean_stacks(data: Path | None, anatomies: int) -> Iterator[Clean]:
    """Yield clean stacks: volumes of the training list, then anatomy."""
    for path in [] if data is None else training_files(data, SPLIT):
        made = binned(as_trainable(read_volume(path).volume), 2, path.name)
        if made.is_hu and min(made.values.shape[1:]) >= 64 and len(made.values) >= SLICES:
            middle = (len(made.values) - SLICES) // 2
            values = centre(made.values[middle : middle + SLICES])
            grid = VolumeGeometry.from_spacing(values.shape, made.spacing_mm)
            yield Volume(values, grid, Unit.HU), made.sigma, path.name
    for number in range(anatomies):
        rng = np.random.default_rng([SEED, 0, number])
        pixel_mm = float(rng.uniform(0.4, 1.0))
        spacing_mm = (pixel_mm, pixel_mm, float(pixel_mm * np.exp(rng.uniform(0.0, 1.6))))
        values = make_anatomy(rng, (SLICES, SIDE, SIDE), spacing_mm)
        yield (
            Volume(values, VolumeGeometry.from_spacing(values.shape, spacing_mm), Unit.HU),
            0.0,
            "anatomy",
        )


def centre(values: np.ndarray) -> np.ndarray:
    """Return the middle of each slice."""
    j, i = (max(0, (n - SIDE) // 2) for n in values.shape[1:])
    return values[:, j : j + SIDE, i : i + SIDE]


def errors_of(denoiser: ResidualDenoiser, clean: Clean, rng: np.random.Generator) -> PairErrors:
    """Put noise on a stack, restore it and compare the stated with the true error."""
    volume, left, _ = clean
    pixel_mm = volume.geometry.spacing_mm[0]
    made = noise_images(volume.values, pixel_mm, draw_recipe(rng, pixel_mm), rng)
    low = min(max(SIGMA_HU[0], CLEANER_BY * left), SIGMA_HU[1])
    level = np.exp(rng.uniform(np.log(low), np.log(SIGMA_HU[1])))
    noisy = volume.with_values(volume.values + np.float32(level) * made.noise)
    restored = denoiser.restore(noisy, sigma_map(noisy), uncertainty=True)
    assert restored.uncertainty is not None
    stated = np.maximum(restored.uncertainty, 1e-3)
    return pair_errors(restored.values - volume.values, stated, volume.values, CLASSES_HU, rng)


if __name__ == "__main__":
    main()
