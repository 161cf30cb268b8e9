"""Measure how far the uncertainty of the few-view default can be trusted, on fresh scans.

    python Scripts/training/calibrate_cts.py --data ../shared/data --keep out/cts-trust
    python Scripts/training/calibrate_cts.py --keep out/cts-trust --write

The first command makes scans that no training drew and reconstructs each with the released
networks: subjects of the training's kinds, with fresh seeds (volumes of the training list in fresh
poses among them; validation volumes stay out), and objects unlike any of them (foam, gratings,
heaps of ellipsoids, inverted bodies). Half are reconstructed on a grid twice as fine as that of the
networks, as large volumes are. ``--write`` stores, for both, the factor by which expected errors
are multiplied so that 90 % intervals hold the truth in 90 % of the voxels, mean over the scans of
known kinds, as ``cts-prior.calibration.json`` beside the weights. A stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from outside_objects import KINDS, outside_object

from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.job import Job
from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.geometry.resampling import block_mean
from ctrestorelib.inference.staged import (
    COARSE,
    StagedReconstruction,
    StagedResult,
    StagedSettings,
    plain_because,
)
from ctrestorelib.physics.virtual_scan import virtual_scan
from ctrestorelib.recon.coverage import in_view
from ctrestorelib.recon.learned_prior import TorchCorrector, load_volume_unet
from ctrestorelib.restorer.plan import Plan, PlannedStage
from ctrestorelib.restorer.protocol import Inputs
from ctrestorelib.training.clean_volumes import training_files
from ctrestorelib.training.scans.acquisition import draw_protocol
from ctrestorelib.training.scans.subjects import SCAN, make_subject, subject_tasks
from ctrestorelib.training.stored_items import run_tasks
from ctrestorelib.weights.store import FOLDER, released, sha256_of, weights_file

SPLIT = Path(__file__).with_name("split.json")
SEED = 20_000  # training seeds its subjects with small numbers
WEIGHTS = "cts-prior"
SAMPLES = 4000
NORMAL_90 = 1.6449
BODY_HU = -500.0
FINER = 2
COVERED = 0.9
STAGES = 5
SAME, TWICE = "same", "finer"
"""Whether the volume has the voxels of the networks' grid, or half of theirs."""


def main() -> None:
    """Make what is missing, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", type=Path, required=True, help="folder of the scans' figures")
    parser.add_argument("--data", type=Path, help="folder of volumes; procedural only without it")
    parser.add_argument("--scans", type=int, default=96, help="of known kinds")
    parser.add_argument("--outside", type=int, default=16, help="of objects unlike those")
    parser.add_argument("--cells", type=int, default=64)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="store the calibration")
    given = parser.parse_args()
    given.keep.mkdir(parents=True, exist_ok=True)
    files = training_files(given.data, SPLIT) if given.data else []
    names = [f"known-{n:03d}" for n in range(given.scans)]
    names += [f"{KINDS[n % len(KINDS)]}-{n:03d}" for n in range(given.outside)]
    todo = [name for name in names if not (given.keep / f"{name}.npz").exists()]
    path = weights_file(WEIGHTS, "safetensors")
    work = partial(measure, files=files, cells=given.cells, weights=path, keep=given.keep)
    run_tasks(work, todo, given.processes, print)
    kept = [read(given.keep / f"{n}.npz") for n in names if (given.keep / f"{n}.npz").exists()]
    print(table(kept))
    found = calibrated([k for k in kept if k["name"].startswith("known")])
    print(json.dumps(found, indent=2))
    if given.write:
        write(found)


def measure(name: str, files: list[Path], cells: int, weights: Path, keep: Path) -> None:
    """Reconstruct one scan and keep its figures."""
    fine = subject(name, files, FINER * cells)
    truth = block_mean(fine, FINER)
    rng = np.random.default_rng([SEED, 1, *name.encode()])
    protocol = draw_protocol(rng, truth.geometry.spacing_mm[0] * cells, 2 * cells)
    scan = virtual_scan(fine, replace(protocol, refine=1), Job(seed=int(rng.integers(2**31))))
    figures = {
        "name": name, "grid": grid_of(name), "views": scan.views, "arc_deg": protocol.arc_deg,
        "i0": protocol.i0, "report": {"learned": plain_because(scan.geometry)},
    }  # fmt: skip
    drawn = np.zeros((2, 0), np.float32)
    if not plain_because(scan.geometry):
        coarse = COARSE if grid_of(name) == SAME else cells // 2
        inputs = Inputs(projections=scan, grid=truth.geometry)
        found = reconstructed(inputs, weights, StagedSettings(coarse=coarse))
        where = (truth.values > BODY_HU) & in_view(scan.geometry, truth.geometry, share=0.9)
        where = where if where.any() else truth.values > BODY_HU
        figures["report"] = found.report
        drawn = samples(found, truth.to_unit(Unit.PER_MM).values, where, rng)
    _keep(keep / f"{name}.npz", figures, drawn)


def grid_of(name: str) -> str:
    """Return which of both grids a scan of that name takes."""
    return SAME if int(name.rpartition("-")[2]) // 2 % 2 else TWICE


def reconstructed(inputs: Inputs, weights: Path, settings: StagedSettings) -> StagedResult:
    """Return what the method gives, its expected errors as the networks tell them."""
    stages = tuple(PlannedStage(str(n), 1.0 / STAGES) for n in range(STAGES))
    networks = {"prior": TorchCorrector(load_volume_unet(weights))}
    plan = Plan("auto", "cpu", 1, 0, 1.0, stages)
    return StagedReconstruction(networks, settings).run(inputs, plan, Job(), stages)


def subject(name: str, files: list[Path], cells: int) -> Volume:
    """Return the object of a scan's name on so many cells along each edge, HU."""
    kind, _, number = name.rpartition("-")
    if kind != "known":
        return outside_object(kind, np.random.default_rng([SEED, int(number)]), cells)
    task = subject_tasks([], int(number) + 1, SEED)[-1]
    if files and int(number) % 2:
        task = replace(task, kind=SCAN, path=files[int(number) // 2 % len(files)])
    return make_subject(task, cells)


def samples(found: StagedResult, truth: Any, where: Any, rng: Any) -> Any:
    """Return errors and expected SD at random voxels, 1/mm; none where nothing is expected."""
    if found.error_sd is None:
        return np.zeros((2, 0), np.float32)
    values = found.session.operator.to_numpy(found.values)
    at = np.flatnonzero(where)
    at = rng.choice(at, min(SAMPLES, at.size), replace=False)
    return np.stack([(values - truth).ravel()[at], found.error_sd.ravel()[at]])


def _keep(path: Path, figures: dict[str, Any], drawn: Any) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, figures=json.dumps(figures, default=float), drawn=drawn)


def read(path: Path) -> dict[str, Any]:
    """Return the figures and samples of a scan."""
    with np.load(path) as kept:
        return {**json.loads(str(kept["figures"])), "drawn": kept["drawn"]}


def table(kept: list[dict[str, Any]]) -> str:
    """Return every scan in a line: errors made and expected, and the factor it would need."""
    lines = [f"{'scan':>16} grid  views   arc   RMSE expected (HU) own factor  correction"]
    for k in kept:
        start = f"{k['name']:>16} {k['grid']:5} {k['views']:5d} {k['arc_deg']:5.0f}"
        learned = k["report"]["learned"]
        if not k["drawn"].size:
            lines.append(f"{start} {'':31} {learned}")
            continue
        made, expected = np.sqrt(np.mean(k["drawn"] ** 2, axis=1)) / MU_WATER_PER_MM * 1000.0
        lines.append(f"{start} {made:6.0f} {expected:8.0f} {own_factor(k):15.2f}  {learned}")
    return "\n".join(lines)


def own_factor(k: dict[str, Any]) -> float:
    """Return the factor that a scan's expected errors would need by themselves."""
    return float(np.quantile(_ratios(k), COVERED))


def _ratios(k: dict[str, Any]) -> Any:
    return np.abs(k["drawn"][0]) / np.maximum(k["drawn"][1], 1e-9) / NORMAL_90


def calibrated(kept: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the factors of expected errors by grid, and how evenly they cover the scans."""
    told = [k for k in kept if k["drawn"].size]
    kinds = {kind: [k for k in told if k["grid"] == kind] for kind in (SAME, TWICE)}
    factors = {kind: factor_of(those) for kind, those in kinds.items() if those}
    covered = [float(np.mean(_ratios(k) <= factors[k["grid"]])) for k in told]
    return {
        "factors": {kind: round(factor, 3) for kind, factor in factors.items()},
        "scans": {kind: len(those) for kind, those in kinds.items()},
        "without_expected_errors": len(kept) - len(told),
        "covered": {
            f"{q:g} %": round(float(np.percentile(covered, q)), 3)
            for q in (5, 25, 50, 75, 95)
            if covered
        },
    }


def factor_of(kept: list[dict[str, Any]]) -> float:
    """Return the factor at which intervals hold 90 % of the voxels, mean over the scans."""
    ratios = [_ratios(k) for k in kept]
    low, high = 0.01, 100.0
    for _ in range(40):
        factor = (low * high) ** 0.5
        share = float(np.mean([np.mean(r <= factor) for r in ratios]))
        low, high = (factor, high) if share < COVERED else (low, factor)
    return high


def write(found: dict[str, Any]) -> None:
    """Store the calibration beside the released weights."""
    record = {
        **found,
        "protocol": "fresh scans of procedural bodies and of training-list volumes in fresh poses, "
        "random acquisitions, results as people get them; voxels of the body that 90 % of the "
        "views see; same: voxels as of the networks' grid, finer: half as large",
        "weights_sha256": sha256_of(weights_file(WEIGHTS, "safetensors")),
    }
    path = released()[WEIGHTS].folder / f"{WEIGHTS}.calibration.json"
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
    print(f"Written to {path.relative_to(FOLDER)}.")


if __name__ == "__main__":
    main()
