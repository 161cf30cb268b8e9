"""Seconds to take a finished result into a Slicer scene, and a volume out of it.

python Testing/benchmark/adopt_node.py [--shape 300 512 512] [--repeats 3] [--json FILE]

The first repeat also pays for memory that the process asks for the first time. The bar is 2 s for
the whole adoption: values, display, place in the tree and record.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkOSOpenGLRenderWindow")

import numpy as np
import slicer

from ctrestorelib.core.provenance import InputIdentity, Provenance
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.jobs.runner import JobResult
from ctrestorelib.mrml.adopt import adopt_result
from ctrestorelib.mrml.derived import blend_node, removed_noise_node
from ctrestorelib.mrml.display import same_display, set_window
from ctrestorelib.mrml.records import attach_record
from ctrestorelib.mrml.scene import SceneContext
from ctrestorelib.mrml.volumes import new_volume_node, set_volume, volume_from_node


def host() -> SceneContext:
    """Return a scene with the logics of a Slicer application, without a window."""
    from trame_slicer.core.slicer_app import SlicerApp

    app = SlicerApp()
    slicer.mrmlScene = app.scene
    return SceneContext(app.scene, app.volumes_logic, app.segmentations_logic)


def volume_of(shape: tuple[int, int, int]) -> Volume:
    """Return noise in HU."""
    values = np.random.default_rng(0).normal(0, 100, shape).astype(np.float32)
    return Volume(values, VolumeGeometry.from_spacing(shape, (0.5, 0.5, 0.7)), Unit.HU)


def record_for(volume: Volume) -> Provenance:
    """Return a record of ordinary length."""
    report = {"residual": np.linspace(1, 0, 200).tolist()}
    uids = tuple(f"1.2.826.0.1.3680043.8.498.{n}" for n in range(volume.shape[0]))
    inputs = (InputIdentity("volume", "0" * 64, volume.shape, uids),)
    return Provenance("nlm", "1", {}, inputs, {}, 0, report=report)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long a call took, and what it returned."""
    start = time.perf_counter()
    made = work()
    return time.perf_counter() - start, made


def measure(context: SceneContext, shape: tuple[int, int, int]) -> dict[str, float]:
    """Return the seconds of each step and of the whole adoption."""
    context.scene.Clear(0)
    volume = volume_of(shape)
    record = record_for(volume)
    source = new_volume_node(context, "Source", volume)
    set_window(source, 40, 400)
    out: dict[str, float] = {}
    part = context.new_node("vtkMRMLScalarVolumeNode", "Parts")
    out["set_volume"], _ = seconds(lambda: set_volume(part, volume))
    out["display"], _ = seconds(lambda: same_display(source, part))
    out["record"], _ = seconds(lambda: attach_record(context, part, record, source=source))
    context.scene.RemoveNode(part)
    result = JobResult(volume, record)
    out["adopt_result"], node = seconds(
        lambda: adopt_result(context, result, source_id=source.GetID(), title="benchmark")
    )
    out["overwrite"], _ = seconds(
        lambda: adopt_result(
            context, result, source_id=source.GetID(), title="benchmark", into_id=node.GetID()
        )
    )
    out["volume_from_node"], _ = seconds(lambda: volume_from_node(source))
    out["removed_noise"], _ = seconds(lambda: removed_noise_node(context, source, node))
    out["blend"], _ = seconds(lambda: blend_node(context, source, node, 0.5))
    return {name: round(value, 3) for name, value in out.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    context = host()
    runs = [measure(context, tuple(given.shape)) for _ in range(given.repeats)]
    for name in runs[0]:
        figures = "  ".join(f"{run[name]:7.3f}" for run in runs)
        print(f"{name:18s} {figures}  s")
    if given.json:
        given.json.write_text(json.dumps({"shape_kji": given.shape, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
