"""What the learned denoiser's guards cost and gain, on simulated noise with known truth.

python Testing/benchmark/denoise_guards.py [--weights ctd-standard | --file X.safetensors]
                                           [--data ../shared/data] [--slices 6] [--side 160]
                                           [--sigma 25] [--json FILE]

The truths: volumes of the training list, binned by 2 so that hardly any noise is left, and
procedural anatomy. Their noise is simulated as in training, with fresh recipes. Printed per truth:
the error left with each setting of the guards (RMSE in HU, inside the body and in bone), and how
far local means of 8 mm drift. At the end the seconds of each guard for a slice of 512 x 512.
Validation volumes are not touched: defaults may be chosen by these numbers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.inference.coherence import excess, kept_share
from ctrestorelib.inference.low_frequency import without_low_frequencies
from ctrestorelib.inference.protection import bone_share, untouchable
from ctrestorelib.inference.residual_volume import Guards, ResidualDenoiser
from ctrestorelib.inference.runtimes import (
    Runtime,
    TorchRuntime,
    choose_runtime,
    load_network,
    load_runtime,
)
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.quality.sigma_map import sigma_map
from ctrestorelib.training.anatomy import make_anatomy
from ctrestorelib.training.clean_volumes import as_trainable, binned, training_files
from ctrestorelib.training.noise_images import noise_images
from ctrestorelib.training.noise_recipe import draw_recipe

ROOT = Path(__file__).resolve().parents[2]
SPLIT = ROOT / "Scripts" / "training" / "split.json"
TRUTHS = ("leg_knee_vhf", "shoulder", "hip_sts011")
"""Beginnings of the names of volumes to take, the first of the training list that fits each."""
BODY_HU, BONE_HU, DRIFT_MM = -950.0, 150.0, 8.0
SEED = 31_000
SETTINGS = {
    "no guard": Guards(veto_mm=0.0, coherence=False),
    "veto 3 mm": Guards(veto_mm=3.0, coherence=False),
    "veto 6 mm": Guards(veto_mm=6.0, coherence=False),
    "veto 12 mm": Guards(veto_mm=12.0, coherence=False),
    "coherence": Guards(veto_mm=0.0, coherence=True),
    "default": Guards(),
    "bone 0.5": Guards(bone_strength=0.5),
    "bone 0": Guards(bone_strength=0.0),
}


@dataclass(frozen=True)
class Case:
    """A truth and the same with noise."""

    name: str
    clean: Volume
    noisy: Volume


class _Remembering:
    """A network that answers a slice once: guards come after it and change nothing before."""

    def __init__(self, runtime: Runtime) -> None:
        self.name, self._runtime = runtime.name, runtime
        self._known: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    def run(self, stack: np.ndarray, context: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        key = hashlib.sha256(stack.tobytes()).digest()
        if key not in self._known:
            self._known[key] = self._runtime.run(stack, context)
        return self._known[key]


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", default="ctd-standard")
    parser.add_argument("--file", type=Path, help="safetensors of a training instead")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--slices", type=int, default=6)
    parser.add_argument("--side", type=int, default=160)
    parser.add_argument("--sigma", type=float, default=25.0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    runtime = _runtime(given.weights, given.file)
    found = {
        "cases": {
            case.name: measured(case, runtime)
            for case in cases(given.data, given.slices, given.side, given.sigma)
        },
        "seconds_512": guard_seconds(),
    }
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


def cases(data: Path, slices: int, side: int, sigma: float) -> Iterator[Case]:
    """Yield truths with simulated noise of ``sigma`` HU."""
    files = training_files(data, SPLIT) if data.is_dir() else []
    for number, start in enumerate(TRUTHS):
        path = next((p for p in files if p.name.startswith(start)), None)
        if path is None:
            _say(f"{start}: not there")
            continue
        made = binned(as_trainable(read_volume(path).volume), 2, path.name)
        yield _noisy(path.name, _middle(made.values, slices, side), made.spacing_mm, sigma, number)
    rng = np.random.default_rng([SEED, 0])
    values = make_anatomy(rng, (slices, side, side), (0.8, 0.8, 1.2))
    yield _noisy("procedural anatomy", values, (0.8, 0.8, 1.2), sigma, len(TRUTHS))


def measured(case: Case, runtime: Runtime) -> dict[str, dict[str, float]]:
    """Return RMSE in body and bone, and drift, for each setting; print them."""
    truth = case.clean.values
    body, bone = truth > BODY_HU, truth > BONE_HU
    smooth = (0, *(DRIFT_MM / mm for mm in case.clean.geometry.spacing_mm[1::-1]))

    def row(values: np.ndarray) -> dict[str, float]:
        error = values - truth
        return {
            "body": _rms(error[body]),
            "bone": _rms(error[bone]) if bone.any() else float("nan"),
            "drift": float(np.abs(gaussian_filter(error, smooth))[body].max()),
        }

    level = sigma_map(case.noisy)
    rows = {"noisy": row(case.noisy.values)}
    for name, guards in SETTINGS.items():
        restored = ResidualDenoiser(runtime, guards).restore(case.noisy, level)
        rows[name] = row(restored.values) | {"given_back": restored.given_back}
    _say(f"\n{case.name}, {case.clean.shape}, measured noise {level.typical:.1f} HU")
    _say(f"{'':12s} {'body':>8s} {'bone':>8s} {'drift':>8s} {'given back':>11s}")
    for name, numbers in rows.items():
        back = f"{numbers['given_back']:11.1%}" if "given_back" in numbers else ""
        _say(f"{name:12s} {numbers['body']:8.2f} {numbers['bone']:8.2f} "
             f"{numbers['drift']:8.2f} {back}")  # fmt: skip
    return rows


def guard_seconds() -> dict[str, float]:
    """Return the processor time of each guard for one slice of 512 x 512; print it."""
    rng = np.random.default_rng(SEED)
    here, there = rng.normal(0, 1, (2, 512, 512)).astype(np.float32)
    slice_hu = (400 * gaussian_filter(here, 6)).astype(np.float32)
    level = np.full_like(here, 25.0)
    work = {
        "coherence gate": lambda: kept_share([excess(here, there)]),
        "veto": lambda: without_low_frequencies(here, 8.0),
        "bone": lambda: bone_share(slice_hu, 0.7),
        "metal and starved": lambda: untouchable(slice_hu, level, 25.0, 0.7),
    }
    found = {}
    _say("\nProcessor time for 512 x 512, s")
    for name, do in work.items():
        do()
        start = time.process_time()
        for _ in range(3):
            do()
        found[name] = (time.process_time() - start) / 3
        _say(f"{name:18s} {found[name]:.4f}")
    return found


def _runtime(name: str, file: Path | None) -> Runtime:
    if file is None:
        return _Remembering(load_runtime(name, choose_runtime(), 1))
    return _Remembering(TorchRuntime(load_network(file), "float32", "cpu", 1))


def _noisy(
    name: str, values: np.ndarray, spacing_mm: tuple[float, float, float], sigma: float, number: int
) -> Case:
    rng = np.random.default_rng([SEED, 1, number])
    made = noise_images(values, spacing_mm[0], draw_recipe(rng, spacing_mm[0]), rng)
    grid = VolumeGeometry.from_spacing(values.shape, spacing_mm)
    clean = Volume(values, grid, Unit.HU)
    return Case(name, clean, clean.with_values(values + np.float32(sigma) * made.noise))


def _middle(values: np.ndarray, slices: int, side: int) -> np.ndarray:
    starts = [max(0, (n - m) // 2) for n, m in zip(values.shape, (slices, side, side), strict=True)]
    k, j, i = starts
    return values[k : k + slices, j : j + side, i : i + side]


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
