"""Peak memory of a whole denoising job: the worker process, and the host beside it.

python Testing/benchmark/job_memory.py [--method nlm] [--shape 300 512 512] [--json FILE]

The worker's peak counts everything in it: Python, libraries, the memory-mapped input, the result.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import psutil

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import RunningJob
from ctrestorelib.restorer.protocol import Inputs


def noisy_volume(shape: tuple[int, int, int]) -> Volume:
    """Return a water cylinder in air with 20 HU of slightly correlated noise."""
    _, j, i = shape
    y, x = np.mgrid[:j, :i].astype(np.float32)
    disc = np.where(np.hypot(y - j / 2, x - i / 2) < 0.42 * min(j, i), 40.0, -1000.0)
    values = np.empty(shape, dtype=np.float32)
    rng = np.random.default_rng(0)
    for k in range(shape[0]):
        noise = rng.normal(0, 28, (j, i)).astype(np.float32)
        values[k] = disc + (noise + np.roll(noise, 1, 1)) / 2
    return Volume(values, VolumeGeometry.from_spacing(shape, (0.7, 0.7, 1.0)), Unit.HU)


def high_water_bytes(pid: int) -> int:
    """Return the peak resident memory of a process so far."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        return 0


def measure(method: str, shape: tuple[int, int, int]) -> dict[str, float]:
    """Run one job; return peaks as multiples of the volume, seconds and the plan's figures."""
    volume = noisy_volume(shape)
    size = volume.values.nbytes
    worker = both = 0
    with RunningJob(JobRequest(method, Inputs(volume=volume))) as job:
        while not job.finished:
            worker = max(worker, high_water_bytes(job.pid))
            both = max(both, worker + psutil.Process().memory_info().rss)
            job.poll()
            time.sleep(0.02)
        seconds = job.seconds
        job.result()
        plan = job.plan
    return {
        "volume_mb": size / 2**20,
        "worker_peak_in_volumes": worker / size,
        "worker_peak_over_plan": worker / plan.peak_host_bytes,
        "worker_and_host_in_volumes": both / size,
        "seconds": seconds,
        "planned_seconds": plan.seconds,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="nlm")
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    row = measure(options.method, tuple(options.shape))
    for name, value in row.items():
        print(f"{name:28} {value:8.2f}")
    if options.json:
        options.json.write_text(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
