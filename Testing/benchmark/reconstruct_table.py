"""Every reconstructor on virtual scans of real volumes, by number of views; writes the docs table.

    python Testing/benchmark/reconstruct_table.py                      # everything, full size
    python Testing/benchmark/reconstruct_table.py --size 96 --views 10 --methods tv,os-sart

Results are kept in a JSON file, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.job import Job
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.methods.registry import methods_of
from ctrestorelib.physics.virtual_scan import ScanProtocol, virtual_scan
from ctrestorelib.quality.reference import psnr, ssim
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs
from ctrestorelib.restorer.spec import Kind, Role

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CTRESTORE_DATA", REPOSITORY.parent / "shared" / "data"))
TABLE = REPOSITORY / "Docs" / "reference" / "reconstruction-table.md"
VOLUMES = "leg_knee_vhf_1mm,pelvis_hip_sts036_petct"
WINDOW_HU = (-1000.0, 1000.0)
DOSES = {"none": None, "1e5": 1e5, "1e4": 1e4}


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    store = Path(options.results)
    results: dict[str, Any] = json.loads(store.read_text()) if store.exists() else {}
    for name in options.volumes.split(","):
        truth = shrunk(read_volume(DATA / f"{name}.nii.gz").volume, options.size)
        for views in (int(v) for v in options.views.split(",")):
            for dose in options.doses.split(","):
                _run(name, truth, views, dose, options, results, store)
    if options.table:
        write_table(results, Path(options.table))
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--volumes", default=VOLUMES, help="names in CTRESTORE_DATA, by comma")
    parser.add_argument("--views", default="6,8,10,24,60")
    parser.add_argument("--doses", default="none,1e5", help=f"of {', '.join(DOSES)}")
    parser.add_argument("--methods", default="", help="ids by comma; default: all that can run")
    parser.add_argument("--size", type=int, default=0, help="largest slice edge in voxels; 0: full")
    parser.add_argument("--results", default="reconstruct_table.json")
    parser.add_argument("--table", default="", help="Markdown file to write, e.g. the docs page")
    parser.add_argument("--again", action="store_true", help="repeat results that are there")
    return parser.parse_args(arguments)


def shrunk(volume: Volume, size: int) -> Volume:
    """Average whole voxels within slices (and across, where they are thin enough) down to size."""
    factor = -(-max(volume.shape[1:]) // size) if size else 1
    if factor == 1:
        return volume
    spacing = volume.geometry.spacing_mm
    across = max(1, round(factor * spacing[0] / spacing[2]))
    steps = (across, factor, factor)
    kept = tuple(n // s for n, s in zip(volume.shape, steps, strict=True))
    box = tuple(slice(0, n * s) for n, s in zip(kept, steps, strict=True))
    blocks = volume.values[box].reshape(
        [m for n, s in zip(kept, steps, strict=True) for m in (n, s)]
    )
    matrix = np.array(volume.geometry.ijk_to_lps)
    matrix[:3, 3] = volume.geometry.to_world([(s - 1) / 2 for s in reversed(steps)])
    matrix[:3, :3] = matrix[:3, :3] * np.array(steps[::-1])
    return Volume(blocks.mean(axis=(1, 3, 5)), VolumeGeometry(kept, matrix), volume.unit)


def _run(
    name: str,
    truth: Volume,
    views: int,
    dose: str,
    options: argparse.Namespace,
    results: dict[str, Any],
    store: Path,
) -> None:
    def key(method: str) -> str:
        return "|".join([name, str(options.size), str(views), dose, method])

    wanted = [m for m in _methods(options.methods) if options.again or key(m) not in results]
    if not wanted:
        return
    protocol = ScanProtocol(views=views, arc_deg=180, sod_mm=800, sdd_mm=1200, i0=DOSES[dose])
    projections = virtual_scan(truth, protocol, Job(seed=1))
    seen = projections.geometry.seen_by(truth.geometry) == views
    for method in wanted:
        results[key(method)] = measured(method, truth, projections, seen)
        with atomic_path(store) as temporary:
            temporary.write_text(json.dumps(results, indent=1))
        r = results[key(method)]
        print(f"{key(method):60s} {r['psnr']:6.2f} dB  {r['psnr_in_view']:6.2f} dB in view  "
              f"SSIM {r['ssim']:.3f}  {r['seconds']:6.1f} s", flush=True)  # fmt: skip


def _methods(wanted: str) -> list[str]:
    able = [
        i
        for i, r in methods_of(Kind.RECONSTRUCTOR).items()
        if set(r.spec.needs.required) == {Role.PROJECTIONS} and not r.spec.weights
    ]
    return [m for m in able if not wanted or m in wanted.split(",")]


def measured(method: str, truth: Volume, projections: Any, seen: Any) -> dict[str, Any]:
    """Reconstruct on the truth's grid and return scores in the window, and seconds."""
    restorer = methods_of(Kind.RECONSTRUCTOR)[method]
    inputs = Inputs(projections=projections, grid=truth.geometry)
    start = time.perf_counter()
    params = restorer.Params()
    plan = restorer.plan(inputs.shapes(), params, Budget.detect())
    estimate = restorer.restore(inputs, params, plan, Job())
    seconds = time.perf_counter() - start
    low, high = WINDOW_HU
    found = np.clip(estimate.volume.to_unit(Unit.HU).values, low, high)
    wanted = np.clip(truth.values, low, high)
    scale = {"data_range": high - low}
    report = {k: v for k, v in estimate.report.items() if not isinstance(v, dict)}
    return {
        "psnr": psnr(found, wanted, **scale).value,
        "psnr_in_view": psnr(found, wanted, **scale, mask=seen).value,
        "ssim": ssim(found, wanted, **scale).value,
        "ssim_in_view": ssim(found, wanted, **scale, mask=seen).value,
        "seconds": seconds,
        "planned_seconds": plan.seconds,
        "shape": list(truth.shape),
        "chi_squared": estimate.report.get("residual", {}).get("chi_squared_per_reading"),
        "report": json.loads(json.dumps(report, default=str)),
    }


def write_table(results: dict[str, Any], path: Path) -> None:
    """Write the docs page: one table for each volume and dose."""
    lines = [
        "# Reconstruction from few views: all methods",
        "",
        "Generated by `Testing/benchmark/reconstruct_table.py`; do not edit. To repeat:",
        "",
        "```",
        *_commands(results),
        "```",
        "",
        "Virtual cone-beam scans over 180 degrees, SOD 800 mm, SDD 1200 mm, a detector that covers "
        "the volume; projections from a volume refined twofold, 2 x 2 rays per pixel. Every method "
        "with its default settings. PSNR / SSIM in the window -1000 to 1000 HU (SSIM: 3-D, uniform "
        "7 x 7 x 7), over the whole volume and, after the slash, over the voxels that all views "
        "see; seconds on two processor cores that were also doing other work (they show "
        "orders only). PICCS is left out: it needs a prior volume.",
        "",
    ]
    for (name, size, dose), rows in _grouped(results).items():
        lines += _section(name, size, dose, rows)
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines).rstrip() + "\n")


def _commands(results: dict[str, Any]) -> list[str]:
    """Return one command for each size; together they fill the same results file."""
    runs: dict[str, list[set[str]]] = {}
    for key in results:
        name, size, views, dose, method = key.split("|")
        for values, value in zip(
            runs.setdefault(size, [set(), set(), set(), set()]),
            (name, views, dose, method),
            strict=True,
        ):
            values.add(value)
    return [
        "python Testing/benchmark/reconstruct_table.py"
        f" --size {size} --volumes {','.join(sorted(names))}"
        f" --views {','.join(sorted(views, key=int))} --doses {','.join(sorted(doses))}"
        f" --methods {','.join(sorted(methods))}"
        " --table Docs/reference/reconstruction-table.md"
        for size, (names, views, doses, methods) in runs.items()
    ]


def _grouped(results: dict[str, Any]) -> dict[Any, Any]:
    groups: dict[Any, Any] = {}
    for key, value in results.items():
        name, size, views, dose, method = key.split("|")
        groups.setdefault((name, size, dose), {})[method, int(views)] = value
    return groups


def _section(name: str, size: str, dose: str, rows: dict[Any, Any]) -> list[str]:
    views = sorted({v for _, v in rows})
    methods = list(dict.fromkeys(m for m, _ in rows))
    k, j, i = next(iter(rows.values()))["shape"]
    noise = "noise-free" if dose == "none" else f"I0 = {dose} photons per pixel"
    lines = [f"## {name}, {noise} ({i} x {j} x {k} voxels)", ""]
    for title, cell in (
        ("PSNR in dB", lambda r: f"{r['psnr']:.2f} / {r['psnr_in_view']:.2f}"),
        ("SSIM", lambda r: f"{r['ssim']:.3f} / {r['ssim_in_view']:.3f}"),
        ("Seconds", lambda r: f"{r['seconds']:.0f}"),
    ):
        lines += [f"| {title} | " + " | ".join(f"{v} views" for v in views) + " |"]
        lines += ["|---|" + "---:|" * len(views)]
        for m in methods:
            cells = [cell(rows[m, v]) if (m, v) in rows else "" for v in views]
            lines += [f"| {m} | " + " | ".join(cells) + " |"]
        lines += [""]
    return lines


if __name__ == "__main__":
    sys.exit(main())
