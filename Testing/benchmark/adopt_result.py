"""How long a host stands still when a job is started and when its result is taken.

    python Testing/benchmark/adopt_result.py [--shape 300 512 512] [--json FILE]

Starting writes the input to the job folder; taking the result reads the volume and stamps the
provenance. Nearly all of that is the system's work of handing out new memory; a mapped result needs
none. The last figure is what the host would need more if it computed the hashes itself.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from ctrestorelib.core.provenance import array_sha256
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import RunningJob
from ctrestorelib.restorer.protocol import Inputs

T = TypeVar("T")


def volume_of(shape: tuple[int, int, int]) -> Volume:
    """Return a volume of pure noise."""
    values = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return Volume(values, VolumeGeometry.from_spacing(shape, (0.7, 0.7, 1.0)), Unit.HU)


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return what a call returns, and the seconds it took."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def measure(shape: tuple[int, int, int]) -> dict[str, float]:
    """Run one job that returns its input (strength 0); time what its host does with the end."""
    volume = volume_of(shape)
    job, starting = timed(
        lambda: RunningJob(JobRequest("nlm", Inputs(volume=volume), strength=0.0))
    )
    with job:
        while not job.finished:
            job.poll()
            time.sleep(0.02)
        result, mapping = timed(lambda: job.result(mapped=True))
        target = volume.values.copy()  # memory that is there already
        _, copying = timed(lambda: np.copyto(target, result.volume.values))
        result, taking = timed(job.result)
    made = result.volume.values
    _, hashing = timed(lambda: (array_sha256(volume.values), array_sha256(made)))
    return {
        "volume_mb": volume.values.nbytes / 1e6,
        "start_seconds": starting,
        "result_seconds": taking,
        "mapped_result_seconds": mapping,
        "copy_from_mapped": copying,
        "hashing_seconds_saved": hashing,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    row = measure(tuple(options.shape))
    for name, value in row.items():
        print(f"{name:24} {value:8.3f}")
    if options.json:
        options.json.write_text(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
