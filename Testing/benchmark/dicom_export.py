"""Seconds to write a volume as a derived DICOM series beside its source.

python Testing/benchmark/dicom_export.py [--shape 300 512 512] [--repeats 3] [--json FILE]

The source is written first and is not timed. The bar is 10 s for 300 slices of 512 x 512 on two
cores, reading the source's headers included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.dicom_export import export_segmentation, export_series

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "dicom"))
from export_sources import record, restored, write_source


def seconds_for(shape: tuple[int, int, int], root: Path, name: str) -> dict[str, float]:
    """Return the time of each kind of export."""
    source = root / "source"
    if not source.exists():
        write_source(source, shape=shape)
    volume, made = restored(source)
    grid = VolumeGeometry.from_spacing(shape, (0.4, 0.4, 0.5))
    rebuilt = Volume(volume.values, grid, Unit.HU)
    start = time.perf_counter()
    report = export_series(volume, made, root / f"{name}-same", source=source)
    same = time.perf_counter()
    export_series(rebuilt, record(role="projections"), root / f"{name}-new", source=source)
    new = time.perf_counter()
    masks = [("Bone", volume.values > 300)]
    export_segmentation(masks, volume.geometry, report.files, root / f"{name}-seg")
    end = time.perf_counter()
    return {"denoised": same - start, "reconstructed": new - same, "one segment": end - new}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for n in range(options.repeats):
            runs.append(seconds_for(tuple(options.shape), Path(folder), str(n)))
    best = {kind: round(min(run[kind] for run in runs), 2) for kind in runs[0]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {
        "shape": list(options.shape), "cores": os.cpu_count(), "load": os.getloadavg()[0],
        "seconds": best, "peak_mib": round(peak), "input_mib": round(
            4 * float(np.prod(options.shape)) / 2**20),
    }  # fmt: skip
    print(json.dumps(told, indent=1))
    if options.json:
        options.json.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
