"""Speed and memory of the learned denoiser: every runtime of this machine, stage by stage.

python Testing/benchmark/denoise_speed.py [--shape 300 512 512] [--threads 2] [--json FILE]

Each row is a job in a worker process of its own: what a person waits for, and the peak memory of
that process with the memory-mapped input. Run it on a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import RunningJob
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs

ROWS: dict[str, dict[str, Any]] = {
    "standard": {},
    "standard, uncertainty": {"uncertainty": True},
    "standard, no guards": {"coherence": False, "veto_mm": 0.0},
    "standard, fast precision": {"precision": "fast"},
    "fast": {"variant": "fast"},
    "fast, fast precision": {"variant": "fast", "precision": "fast"},
}


def noisy_volume(shape: tuple[int, int, int]) -> Volume:
    """Return a body with bone in air, with 20 HU of noise."""
    slices, rows, cols = shape
    j, i = np.mgrid[:rows, :cols].astype(np.float32)
    across = np.hypot((j - rows / 2) / (0.36 * rows), (i - cols / 2) / (0.44 * cols))
    body = np.where(across < 1, 40.0, -1000.0)
    body[np.hypot(j - 0.65 * rows, i - cols / 2) < 0.06 * cols] = 400.0
    values = np.empty(shape, dtype=np.float32)
    rng = np.random.default_rng(0)
    for k in range(slices):
        noise = rng.normal(0, 28, (rows, cols)).astype(np.float32)
        values[k] = body + (noise + np.roll(noise, 1, 1)) / 2
    return Volume(values, VolumeGeometry.from_spacing(shape, (0.7, 0.7, 1.0)), Unit.HU)


def high_water_mb(pid: int) -> float:
    """Return the peak resident memory of a process so far, in MB of a million bytes."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) * 1024e-6
    except (OSError, IndexError):
        return 0.0


def measure(volume: Volume, params: dict[str, Any], budget: Budget) -> dict[str, Any]:
    """Run one job; return seconds by stage, peak memory and what the plan had said."""
    request = JobRequest("ctd", Inputs(volume=volume), params=params, budget=budget)
    starts: list[tuple[str, float]] = []
    peak, begun = 0.0, time.perf_counter()
    with RunningJob(request) as job:
        while not job.finished:
            peak = max(peak, high_water_mb(job.pid))
            stages = [e["title"] for e in job.poll() if e["kind"] == "stage"]
            starts += [(title, time.perf_counter()) for title in stages]
            time.sleep(0.02)
        job.result(mapped=True)
        ended = time.perf_counter()
        plan = job.plan
    moments = [*(t for _, t in starts), ended]
    spans = zip((t for t, _ in starts), np.diff(moments), strict=True)
    return {
        "runtime": f"{plan.backend} {plan.precision}",
        "seconds": ended - begun,
        "stages": {title: float(span) for title, span in spans},
        "peak_mb": peak,
        "planned_seconds": plan.seconds,
        "planned_mb": plan.peak_host_bytes * 1e-6,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    volume = noisy_volume(tuple(options.shape))
    budget = Budget(host_bytes=8 * 2**30, threads=options.threads)
    table = {}
    print(
        f"{'settings':26}{'runtime':22}{'s':>7}{'planned':>9}{'peak MB':>9}{'planned':>9}  stages"
    )
    for name in options.rows:
        row = table[name] = measure(volume, ROWS[name], budget)
        stages = ", ".join(f"{title} {span:.1f}" for title, span in row["stages"].items())
        print(f"{name:26}{row['runtime']:22}{row['seconds']:7.1f}{row['planned_seconds']:9.1f}"
              f"{row['peak_mb']:9.0f}{row['planned_mb']:9.0f}  {stages}", flush=True)  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
