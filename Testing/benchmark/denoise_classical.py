"""Classical denoisers side by side: error on simulated CT noise, time, memory.

    python Testing/benchmark/denoise_classical.py                 # table of RMSE and drift
    python Testing/benchmark/denoise_classical.py --memory        # 300 x 512 x 512, peak memory
    python Testing/benchmark/denoise_classical.py --json out.json

Real volumes are taken from CTRESTORE_DATA if they are there. Their own noise counts as truth, so
their errors have a floor; the phantom has a true answer. Times depend on the machine: read ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ctrestorelib.core.job import Job
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.methods.registry import method, methods_of
from ctrestorelib.physics.noise import insert_noise
from ctrestorelib.physics.parallel2d import Kernel
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs
from ctrestorelib.restorer.spec import Kind

DATA = Path(os.environ.get("CTRESTORE_DATA", Path(__file__).resolve().parents[3] / "shared/data"))
BUDGET = Budget(host_bytes=16 * 2**30, threads=2)
REAL = {
    "chest": ("chest_lidc0314_1mm.nii.gz", (50, 60, 340, 100, 400)),
    "abdomen 5 mm": ("abdomen_crlm1006_5mm.nii.gz", (20, 0, 338, 0, 491)),
    "knee": ("knee_sts010_petct.nii.gz", (25, 0, 164, 0, 185)),
    "pelvis": ("pelvis_hip_sts036_petct.nii.gz", (30, 0, 192, 0, 192)),
    "leg": ("leg_knee_vhf_1mm.nii.gz", (120, 0, 255, 0, 270)),
    "head 4 mm": ("head_dicom2stl_4mm.nii.gz", (10, 0, 256, 0, 256)),
}
SLICES = 6


def main() -> None:
    options = parse()
    if options.child:
        print(json.dumps(measure_memory(options.child, options.shape)))
        return
    names = options.methods or list(methods_of(Kind.DENOISER))
    if options.memory:
        rows = [memory_of(name, options.shape) for name in names]
        show_memory(rows)
    else:
        rows = accuracy(names)
        show_accuracy(rows, names)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="*", help="ids; all denoisers if absent")
    parser.add_argument("--memory", action="store_true", help="time and peak memory, not error")
    parser.add_argument("--shape", nargs=3, type=int, default=(300, 512, 512), metavar="N")
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def accuracy(names: list[str]) -> list[dict[str, Any]]:
    rows = []
    for label, (clean, noisy) in cases().items():
        where = body_of(clean)
        soft = soft_of(clean)
        row: dict[str, Any] = {"case": label, "input": rmse(noisy, clean, where)}
        for name in names:
            start = time.perf_counter()
            restored = denoise(name, noisy)
            row[name] = {
                "rmse_hu": rmse(restored, clean, where),
                "drift_hu": float((restored.values - noisy.values)[soft].mean()),
                "seconds": time.perf_counter() - start,
            }
        rows.append(row)
    return rows


def cases() -> dict[str, tuple[Volume, Volume]]:
    """Clean volumes and their noisy versions: FBP noise, correlated as in CT."""
    rng = np.random.default_rng(0)
    truth = phantom()
    out = {
        "phantom soft": (truth, insert_noise(truth, 0.5, rng, i0=6e4, kernel=Kernel(0.38, 2))),
        "phantom sharp": (truth, insert_noise(truth, 0.5, rng, i0=1e5, kernel=Kernel(0.8, 3))),
    }
    for label, (name, (k, j0, j1, i0, i1)) in REAL.items():
        if (DATA / name).exists():
            volume = read(DATA / name).crop((slice(k, k + SLICES), slice(j0, j1), slice(i0, i1)))
            out[label] = (volume, insert_noise(volume, 0.25, rng))
    return out


def phantom(size: int = 224) -> Volume:
    """A body with rim fat, bones, low-contrast discs and a trabecular patch, slightly blurred."""
    from scipy.ndimage import gaussian_filter

    j, i = np.mgrid[:size, :size]
    middle = (size - 1) / 2
    radius = np.hypot((j - middle) / 85, (i - middle) / 100)
    values = np.where(radius < 1, -100.0, -1000.0)
    values[radius < 0.92] = 50.0
    discs = [(90, 80, 14, 300), (90, 150, 9, 120), (140, 80, 7, 30), (140, 110, 5, 70),
             (140, 140, 12, -100), (112, 112, 20, 800), (112, 112, 15, 150)]  # fmt: skip
    for row, col, size_px, value in discs:
        values[np.hypot(j - row, i - col) < size_px] = value
    texture = gaussian_filter(np.random.default_rng(5).normal(0, 1, values.shape), 1.0) > 0.1
    patch = np.hypot(j - 160, i - 160) < 14
    values[patch] = 50.0 + 350.0 * texture[patch]
    stack = np.repeat(gaussian_filter(values, 0.7)[None], SLICES, axis=0)
    return Volume(stack, VolumeGeometry.from_spacing(stack.shape, (0.8, 0.8, 1.0)), Unit.HU)


def read(path: Path) -> Volume:
    import SimpleITK

    image = SimpleITK.ReadImage(str(path))
    values = SimpleITK.GetArrayFromImage(image)
    grid = VolumeGeometry.from_spacing(values.shape, image.GetSpacing())
    return Volume(values, grid, Unit.HU)


def body_of(volume: Volume) -> np.ndarray:
    from scipy.ndimage import uniform_filter

    return np.asarray(uniform_filter(volume.values, (1, 9, 9)) > -300)


def soft_of(volume: Volume) -> np.ndarray:
    from scipy.ndimage import uniform_filter

    return np.asarray(np.abs(uniform_filter(volume.values, (1, 9, 9)) - 40) < 60)


def rmse(a: Volume, b: Volume, where: np.ndarray) -> float:
    return float(np.sqrt(((a.values - b.values)[where] ** 2).mean()))


def denoise(name: str, volume: Volume, budget: Budget = BUDGET) -> Volume:
    restorer = method(name)
    inputs, params = Inputs(volume=volume), restorer.Params()  # type: ignore[attr-defined]
    plan = restorer.plan(inputs.shapes(), params, budget)
    return restorer.restore(inputs, params, plan, Job()).volume


def memory_of(name: str, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Run one method in a process of its own and return what it reports."""
    command = [sys.executable, __file__, "--child", name, "--shape", *map(str, shape)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def measure_memory(name: str, shape: tuple[int, int, int]) -> dict[str, Any]:
    import resource

    values = np.empty(tuple(shape), dtype=np.float32)
    rng, inside = np.random.default_rng(0), soft_disc(shape[1], shape[2])
    for plane in values:
        plane[:] = inside + 20 * rng.standard_normal(plane.shape, dtype=np.float32)
    volume = Volume(values, VolumeGeometry.from_spacing(values.shape, (0.8, 0.8, 1.0)), Unit.HU)
    restorer = method(name)
    plan = restorer.plan(Inputs(volume=volume).shapes(), restorer.Params(), BUDGET)  # type: ignore[attr-defined]
    start = time.perf_counter()
    denoise(name, volume)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
    return {
        "method": name, "seconds": seconds, "planned_seconds": plan.seconds, "peak_bytes": peak,
        "planned_bytes": plan.peak_host_bytes, "peak_over_volume": peak / values.nbytes,
        "peak_over_plan": peak / plan.peak_host_bytes,
    }  # fmt: skip


def soft_disc(rows: int, cols: int) -> np.ndarray:
    j, i = np.mgrid[:rows, :cols]
    inside = np.hypot((j - rows / 2) / (0.4 * rows), (i - cols / 2) / (0.45 * cols)) < 1
    return np.where(inside, np.float32(40), np.float32(-1000))


def show_accuracy(rows: list[dict[str, Any]], names: list[str]) -> None:
    print("RMSE in HU inside the body (drift of soft tissue in HU; seconds)")
    print(f"{'case':14s} {'input':>7s} " + " ".join(f"{n:>22s}" for n in names))
    for row in rows:
        cells = [
            f"{c['rmse_hu']:6.2f} ({c['drift_hu']:+.2f}; {c['seconds']:4.1f})"
            for c in (row[n] for n in names)
        ]
        print(f"{row['case']:14s} {row['input']:7.2f} " + " ".join(f"{c:>22s}" for c in cells))
    means = [np.exp(np.mean([np.log(r[n]["rmse_hu"] / r["input"]) for r in rows])) for n in names]
    print(f"{'mean ratio':22s} " + " ".join(f"{m:>22.3f}" for m in means))


def show_memory(rows: list[dict[str, Any]]) -> None:
    heads = ("seconds", "planned", "peak MB", "/volume", "/plan")
    print(f"{'method':24s} " + " ".join(f"{head:>8s}" for head in heads))
    for r in rows:
        print(
            f"{r['method']:24s} {r['seconds']:8.1f} {r['planned_seconds']:8.1f} "
            f"{r['peak_bytes'] / 1e6:8.0f} {r['peak_over_volume']:8.2f} {r['peak_over_plan']:8.2f}"
        )


if __name__ == "__main__":
    main()
