"""Projector and backprojector beside itk-rtk, in one run on the same cores.

    python Testing/benchmark/operators.py [--size 128 256] [--repeats 3] [--json FILE]

Each measurement runs in a process of its own, because peak memory belongs to a process. The pairs
take turns, and the smallest time of the repeats counts (the first run of each is a warm-up): read
the ratios, not the seconds; the range holds every pair of repeats. ``peak/plan`` is the growth of
the process over what :mod:`ctrestorelib.physics.memory` foretells. FDK has a script of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

THREADS = 2
DETECTOR = 256
SOD, SDD, SIDE = 1000.0, 1500.0, 256.0
PAIRS = {
    "forward": ("rtk:forward", "ours:forward", (60,)),
    "adjoint": ("rtk:adjoint", "ours:adjoint", (60,)),
    "backprojection": ("rtk:backprojection", "ours:backprojection", (60, 180)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--what", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1, help="turns of each pair")
    parser.add_argument("--backend", default="auto", choices=("auto", "numba", "torch", "numpy"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(json.loads(arguments.child))))
        return
    rows = []
    print(f"{'work':16}{'size':>6}{'views':>7}{'RTK s':>9}{'ours s':>9}{'ratio (range)':>20}"
          f"{'RTK MB':>9}{'ours MB':>9}{'/plan':>7}{'difference':>12}")  # fmt: skip
    for size in arguments.size:
        for what in arguments.what:
            for views in PAIRS[what][2]:
                rows.append(compare(what, size, views, arguments))
                print_row(rows[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps({"threads": THREADS, "rows": rows}, indent=1))


def compare(what: str, size: int, views: int, arguments: argparse.Namespace) -> dict:
    theirs, ours, _ = PAIRS[what]
    turns = {theirs: [], ours: []}
    for _ in range(arguments.rounds):
        for name in (theirs, ours):
            turns[name].append(run_child(name, size, views, arguments))
    best = {name: min(runs, key=lambda r: r["seconds"]) for name, runs in turns.items()}
    every = {name: [s for run in runs for s in run["every"]] for name, runs in turns.items()}
    return {
        "work": what, "size": size, "views": views,
        "rtk_s": best[theirs]["seconds"], "ours_s": best[ours]["seconds"],
        "ratio": best[theirs]["seconds"] / best[ours]["seconds"],
        "ratio_range": [
            min(every[theirs]) / max(every[ours]), max(every[theirs]) / min(every[ours])
        ],
        "rtk_mb": best[theirs]["peak_mb"], "ours_mb": best[ours]["peak_mb"],
        "ours_backend": best[ours]["backend"],
        "ours_over_plan": best[ours]["over_plan"],
        "difference": relative(best[ours], best[theirs]),
    }  # fmt: skip


def relative(ours: dict, theirs: dict) -> float:
    a, b = np.array(ours["sample"]), np.array(theirs["sample"])
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def print_row(row: dict) -> None:
    low, high = row["ratio_range"]
    over = f"{row['ours_over_plan']:.2f}" if row["ours_over_plan"] else "-"
    print(f"{row['work']:16}{row['size']:>6}{row['views']:>7}{row['rtk_s']:>9.2f}"
          f"{row['ours_s']:>9.2f}{row['ratio']:>8.1f} ({low:.1f}-{high:.1f})"
          f"{row['rtk_mb']:>9.0f}{row['ours_mb']:>9.0f}{over:>7}{row['difference']:>12.1e}",
          flush=True)  # fmt: skip


def run_child(name: str, size: int, views: int, arguments: argparse.Namespace) -> dict:
    task = {"name": name, "size": size, "views": views, "repeats": arguments.repeats,
            "backend": arguments.backend}  # fmt: skip
    command = [sys.executable, __file__, "--child", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


# -- in the child ---------------------------------------------------------------------------------
def measure(task: dict) -> dict:
    make = ours if task["name"].startswith("ours") else theirs
    work, backend, planned = make(task["name"].split(":")[1], task)
    forget_peak()
    base = peak_mb()
    result = work()  # warm-up: compiles, allocates, starts threads
    seconds = []
    for _ in range(task["repeats"]):
        result = None  # or its memory would count twice
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    centre = [slice(n // 4, n - n // 4, max(1, n // 24)) for n in result.shape]
    extra = peak_mb() - base
    return {
        "seconds": min(seconds), "every": seconds, "peak_mb": peak_mb(), "backend": backend,
        "over_plan": extra / planned if planned else None,
        "sample": np.asarray(result)[tuple(centre)].astype(float).ravel().tolist(),
    }  # fmt: skip


def peak_mb() -> float:
    """Return the peak resident memory of this process since :func:`forget_peak`, if Linux."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def forget_peak() -> None:
    """Let the peak start from now: making the phantom must not count (Linux only)."""
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5")


def inputs(task: dict):
    """Return scan, grid, volume and projections of the same phantom for both sides."""
    from ctrestorelib.core.volume import VolumeGeometry
    from ctrestorelib.geometry.phantoms import shepp_logan_3d
    from ctrestorelib.geometry.scan import ConeBeamGeometry, equal_angles

    n, views = task["size"], task["views"]
    grid = VolumeGeometry.from_spacing((n, n, n), (SIDE / n,) * 3)
    pixel = SIDE * SDD / SOD / DETECTOR * 1.15
    scan = ConeBeamGeometry.circular(
        sod_mm=SOD, sdd_mm=SDD, angles_rad=equal_angles(views),
        detector_shape=(DETECTOR, DETECTOR), pixel_mm=(pixel, pixel),
    )  # fmt: skip
    phantom = shepp_logan_3d(0.47 * SIDE)
    if "forward" in task["name"]:
        return scan, grid, phantom.voxelise(grid).values
    return scan, grid, phantom.project(scan)


def ours(what: str, task: dict):
    from ctrestorelib.physics.backend import choose_backend
    from ctrestorelib.physics.backproject import backproject
    from ctrestorelib.physics.memory import backproject_bytes, operator_bytes
    from ctrestorelib.physics.operators import XrayOperator

    scan, grid, values = inputs(task)
    backend = choose_backend(task["backend"])
    warm(backend)
    volume_mb = 4e-6 * grid.voxels
    if what in ("forward", "adjoint"):
        A = XrayOperator(scan, grid, backend=backend, threads=THREADS)
        given = A.asarray(values)
        planned = 1e-6 * operator_bytes(scan, grid, backend)
        if what == "forward":
            return lambda: A.to_numpy(A(given)), backend, planned + 4e-6 * np.prod(A.range)
        # The caller's copy in C order is made after the scratch was given back.
        return (
            lambda: A.to_numpy(A.T(given)), backend,
            volume_mb + max(planned, volume_mb),
        )  # fmt: skip
    planned = volume_mb + 1e-6 * backproject_bytes(scan, grid, backend)
    settings = {"distance_weight": False, "backend": backend, "threads": THREADS}
    return (lambda: backproject(values, scan, grid, **settings)), backend, planned


def warm(backend: str) -> None:
    """Load libraries and machine code before memory is counted."""
    from ctrestorelib.core.volume import VolumeGeometry
    from ctrestorelib.geometry.scan import ConeBeamGeometry
    from ctrestorelib.physics.backproject import backproject
    from ctrestorelib.physics.operators import XrayOperator

    grid = VolumeGeometry.from_spacing((8, 8, 8), (1, 1, 1))
    scan = ConeBeamGeometry.circular(
        sod_mm=50, sdd_mm=80, angles_rad=[0.0, 1.0], detector_shape=(8, 8), pixel_mm=(2, 2)
    )
    A = XrayOperator(scan, grid, backend=backend, threads=THREADS)
    A.T(A(A.zeros_domain()))
    backproject(np.ones(A.range, np.float32), scan, grid, backend=backend, threads=THREADS)


def theirs(what: str, task: dict):
    import itk

    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(THREADS)
    rtk = itk.RTK
    scan, grid, values = inputs(task)
    geometry = rtk.ThreeDCircularProjectionGeometry.New()
    for view in range(scan.views):
        geometry.AddProjection(SOD, SDD, 360.0 * view / scan.views, 0.0, 0.0)
    rows, cols = scan.detector_shape
    pixel = scan.pixel_mm[0]

    def image(array, spacing, origin):
        out = itk.image_from_array(np.ascontiguousarray(array, dtype=np.float32))
        out.SetSpacing([float(x) for x in spacing])
        out.SetOrigin([float(x) for x in origin])
        return out

    def stack(array):
        return image(
            array, (pixel, pixel, 1.0), (-(cols - 1) / 2 * pixel, -(rows - 1) / 2 * pixel, 0)
        )

    def volume(array):
        return image(array, grid.spacing_mm, grid.ijk_to_lps[:3, 3])

    empty_volume = np.zeros(grid.shape, np.float32)
    empty_stack = np.zeros((scan.views, rows, cols), np.float32)
    first, second = {
        "forward": lambda: (stack(empty_stack), volume(values)),
        "adjoint": lambda: (volume(empty_volume), stack(values)),
        "backprojection": lambda: (volume(empty_volume), stack(values)),
    }[what]()
    kind = type(first)

    def work():
        name = {"forward": "JosephForwardProjectionImageFilter",
                "adjoint": "JosephBackProjectionImageFilter",
                "backprojection": "BackProjectionImageFilter"}[what]  # fmt: skip
        make = getattr(rtk, name)[kind, kind].New()
        make.SetInput(1, second)
        if hasattr(make, "SetInPlace"):
            make.SetInPlace(False)
        make.SetInput(0, first)
        make.SetGeometry(geometry)
        make.Update()
        return itk.array_from_image(make.GetOutput())

    return work, "rtk", None


if __name__ == "__main__":
    main()
