"""FDK beside RTK's FDK: speed ratio, PSNR, and peak memory against the plan.

Usage: python Testing/benchmark/fdk.py [--json FILE] [--sizes 128 256] [--views 60 180]

Both run in one process, alternating, on the same number of threads; the fastest of the repeats
counts, compilation excluded. Peak memory is that of a fresh process that runs the method from
projections in memory to a volume in HU, as a job does. Needs the rtk extra for the comparison.
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
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.phantoms import EllipsoidPhantom, shepp_logan_3d
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry, equal_angles

HALF_MM = 128.0
DETECTOR = 256


def head() -> EllipsoidPhantom:
    return shepp_logan_3d(HALF_MM)


def scan_of(views: int) -> ConeBeamGeometry:
    return ConeBeamGeometry.circular(
        sod_mm=800,
        sdd_mm=1200,
        angles_rad=equal_angles(views),
        detector_shape=(DETECTOR, DETECTOR),
        pixel_mm=(2.0, 2.0),
    )


def grid_of(size: int) -> VolumeGeometry:
    return VolumeGeometry.from_spacing((size,) * 3, (2 * HALF_MM / size,) * 3)


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    return float(10 * np.log10(truth.max() ** 2 / np.square(image - truth).mean()))


def compare(size: int, views: int, threads: int, repeats: int) -> dict[str, Any]:
    """Return times, ratio and PSNR of one case."""
    from ctrestorelib.recon.fdk import fdk

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "recon"))
    from rtk_fdk import rtk_fdk

    scan, grid = scan_of(views), grid_of(size)
    values = head().project(scan)
    data = ProjectionSet(values, scan, ProjectionKind.LINE_INTEGRAL)
    truth = head().voxelise(grid, oversample=2 if size <= 128 else 1).values
    small = grid_of(16)
    fdk(data, small, threads=threads)  # compiles
    out: dict[str, Any] = {"size": size, "views": views, "threads": threads}
    ours, theirs = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        image = fdk(data, grid, window="ram-lak", truncation="none", threads=threads)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        reference = rtk_fdk(values, scan, grid)
        theirs.append(time.perf_counter() - start)
    out |= {
        "seconds": min(ours),
        "rtk_seconds": min(theirs),
        "ratio": min(theirs) / min(ours),
        "psnr": psnr(image, truth),
        "rtk_psnr": psnr(reference, truth),
    }
    return out


def measure_memory(size: int, views: int, threads: int) -> dict[str, Any]:
    """Run the method in a fresh process; return planned and measured peak, and seconds."""
    command = [sys.executable, __file__, "--child", str(size), str(views), str(threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak_bytes() -> int:
    """Return this process's own peak; ru_maxrss would count the parent that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def child(size: int, views: int, threads: int) -> None:
    from ctrestorelib.methods.registry import method
    from ctrestorelib.restorer.plan import Budget
    from ctrestorelib.restorer.protocol import Inputs

    scan, grid = scan_of(views), grid_of(size)
    values = np.empty((views, DETECTOR, DETECTOR), dtype=np.float32)
    phantom = head()
    for view in range(views):  # one at a time: making the data must not set the peak
        values[view] = phantom.project(scan[view : view + 1])[0]
    restorer = method("fdk")
    data = ProjectionSet(values, scan, ProjectionKind.LINE_INTEGRAL)
    inputs = Inputs(projections=data, grid=grid)
    plan = restorer.plan(inputs.shapes(), restorer.Params(), Budget(64 * 2**30, threads))
    start = time.perf_counter()
    estimate = restorer.restore(inputs, restorer.Params(), plan, Job())
    seconds = time.perf_counter() - start
    estimate.volume.to_unit(Unit.HU)
    record = {
        "planned_bytes": plan.peak_host_bytes,
        "peak_bytes": peak_bytes(),
        "method_seconds": seconds,
        "planned_seconds": plan.seconds,
    }
    sys.stdout.write(json.dumps(record))


def line(case: dict[str, Any]) -> str:
    return (
        f"{case['size']:4d}^3 {case['views']:4d} views  ours {case['seconds']:6.2f} s  "
        f"RTK {case['rtk_seconds']:6.2f} s  ratio {case['ratio']:5.2f}  "
        f"PSNR {case['psnr']:.2f} / {case['rtk_psnr']:.2f} dB  "
        f"peak {case['peak_bytes'] / 2**20:.0f} MiB, planned {case['planned_bytes'] / 2**20:.0f} "
        f"({case['planned_bytes'] / case['peak_bytes'] - 1:+.0%})  "
        f"method {case['method_seconds']:.1f} s, planned {case['planned_seconds']:.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--views", type=int, nargs="+", default=[60, 180])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(options.threads)
    cases = []
    for size in options.sizes:
        for views in options.views:
            case = compare(size, views, options.threads, options.repeats)
            case |= measure_memory(size, views, options.threads)
            cases.append(case)
            print(line(case), flush=True)
    if options.json:
        options.json.write_text(json.dumps(cases, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
