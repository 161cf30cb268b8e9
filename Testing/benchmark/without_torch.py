"""Reconstruction where torch and numba cannot be installed: 128^3 from 10 views, NumPy alone.

python Testing/benchmark/without_torch.py [--methods os-sart fdk]
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time

BLOCKED = {"torch", "numba"}


class Absent:
    """An import finder that answers as if the blocked packages were not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse the blocked packages; leave all others to the next finder."""
        del path, target
        if name.split(".", maxsplit=1)[0] in BLOCKED:
            message = f"No module named {name!r}"
            raise ModuleNotFoundError(message, name=name)


def block() -> None:
    """Hide the packages from imports and from availability checks."""
    find = importlib.util.find_spec
    sys.meta_path.insert(0, Absent())
    importlib.util.find_spec = lambda name, package=None: (
        None if name.split(".")[0] in BLOCKED else find(name, package)
    )


def main() -> None:
    """Reconstruct with each method and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["os-sart", "fdk"])
    options = parser.parse_args()
    block()
    from ctrestorelib.core.job import Job
    from ctrestorelib.core.volume import VolumeGeometry
    from ctrestorelib.geometry.phantoms import shepp_logan_3d
    from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
    from ctrestorelib.geometry.scan import ConeBeamGeometry, equal_angles
    from ctrestorelib.jobs.execute import execute
    from ctrestorelib.jobs.request import JobRequest
    from ctrestorelib.restorer.plan import Budget
    from ctrestorelib.restorer.protocol import Inputs

    scan = ConeBeamGeometry.circular(
        sod_mm=800,
        sdd_mm=1200,
        angles_rad=equal_angles(10, 180),
        detector_shape=(192, 192),
        pixel_mm=(2.0, 2.0),
    )
    grid = VolumeGeometry.from_spacing((128, 128, 128), (1.6, 1.6, 1.6))
    values = shepp_logan_3d(95.0, contrast="raised").project(scan) * 0.02
    inputs = Inputs(
        projections=ProjectionSet(values, scan, ProjectionKind.LINE_INTEGRAL), grid=grid
    )
    for method in options.methods:
        start = time.perf_counter()
        report = execute(JobRequest(method, inputs), Budget.detect(), Job()).report
        sweeps = report.get("iterations", "")
        print(f"{method:10} {time.perf_counter() - start:6.1f} s  {sweeps}")
    assert not BLOCKED & set(sys.modules)


if __name__ == "__main__":
    main()
