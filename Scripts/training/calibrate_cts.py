"""Measure how far the few-view default's own figures can be trusted, on fresh scans.

    python Scripts/training/calibrate_cts.py out/cts --data ../shared/data --keep out/cts-trust
    python Scripts/training/calibrate_cts.py out/cts --keep out/cts-trust --write

The first command makes scans that no training drew and reconstructs each with total variation and
with 25, 50, 75 and 100 % of the learned correction: subjects of the training's kinds, with fresh
seeds (volumes of the training list in fresh poses among them; validation volumes stay out), and
objects unlike any of them (foam, gratings, heaps of ellipsoids, inverted bodies). Printed are, by
what views set aside say of the correction, its true gain at each share: from this the limits in
``inference.staged`` are chosen. ``--write`` stores the factor by which expected errors are
multiplied so that 90 % intervals hold the truth in 90 % of the voxels, mean over the scans of known
kinds, as ``cts-prior.calibration.json`` beside the released weights. A stopped run goes on.
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
from ctrestorelib.core.job import Job, Stage
from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.geometry.resampling import block_mean
from ctrestorelib.inference.staged import LAPLACE_SD, CoarseResult, StagedReconstruction
from ctrestorelib.physics.virtual_scan import virtual_scan
from ctrestorelib.recon.chosen_tv import tv_within_reach
from ctrestorelib.recon.coverage import in_view
from ctrestorelib.recon.learned_prior import TorchCorrector, load_volume_unet, towards_data
from ctrestorelib.restorer.plan import Plan, PlannedStage
from ctrestorelib.restorer.protocol import Inputs
from ctrestorelib.training.clean_volumes import training_files
from ctrestorelib.training.scans.acquisition import draw_protocol
from ctrestorelib.training.scans.subjects import SCAN, make_subject, subject_tasks
from ctrestorelib.training.sparse_view.stages import FINAL
from ctrestorelib.training.stored_items import run_tasks
from ctrestorelib.weights.store import FOLDER, released, sha256_of, weights_file

SPLIT = Path(__file__).with_name("split.json")
SEED = 20_000  # training seeds its subjects with small numbers
SHARES = (0.25, 0.5, 0.75, 1.0)
SAMPLES = 4000
NORMAL_90 = 1.6449
BODY_HU = -500.0
FINER = 2
COVERED = 0.9


def main() -> None:
    """Make what is missing, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of the training (--out of train cts)")
    parser.add_argument("--keep", type=Path, required=True, help="folder of the scans' figures")
    parser.add_argument("--data", type=Path, help="folder of volumes; procedural only without it")
    parser.add_argument("--scans", type=int, default=80, help="of known kinds")
    parser.add_argument("--outside", type=int, default=32, help="of objects unlike those")
    parser.add_argument("--cells", type=int, default=64)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="store the calibration")
    given = parser.parse_args()
    given.keep.mkdir(parents=True, exist_ok=True)
    files = training_files(given.data, SPLIT) if given.data else []
    names = [f"known-{n:03d}" for n in range(given.scans)]
    names += [f"{KINDS[n % len(KINDS)]}-{n:03d}" for n in range(given.outside)]
    todo = [name for name in names if not (given.keep / f"{name}.npz").exists()]
    work = partial(measure, files=files, cells=given.cells, folder=given.folder, keep=given.keep)
    run_tasks(work, todo, given.processes, print)
    kept = [read(given.keep / f"{n}.npz") for n in names if (given.keep / f"{n}.npz").exists()]
    print(table(kept))
    found = calibrated([k for k in kept if k["name"].startswith("known")])
    print(json.dumps(found, indent=2))
    if given.write:
        write(found)


def measure(name: str, files: list[Path], cells: int, folder: Path, keep: Path) -> None:
    """Reconstruct one scan and keep its figures."""
    fine = subject(name, files, FINER * cells)
    truth = block_mean(fine, FINER)
    rng = np.random.default_rng([SEED, 1, *name.encode()])
    protocol = draw_protocol(rng, truth.geometry.spacing_mm[0] * cells, 2 * cells)
    scan = virtual_scan(fine, replace(protocol, refine=1), Job(seed=int(rng.integers(2**31))))
    inputs = Inputs(projections=scan, grid=truth.geometry)
    networks = {n: TorchCorrector(load_volume_unet(folder / n / FINAL))
                for n in ("prior", "correct") if (folder / n / FINAL).is_file()}  # fmt: skip
    plan = Plan("auto", "cpu", 1, 0, 1.0, (PlannedStage("all", 1.0),))
    stage = Stage(Job(), "all", 0.0, 1.0)
    staged = StagedReconstruction(networks)
    choice = staged.choose(inputs, plan, stage)
    base, target = tv_within_reach(inputs, plan, Job(), stage, choice.target)
    found = staged.correct_coarse(base, stage)
    assert found is not None
    verdict = staged.verdict(inputs, plan, base, stage, choice=choice)
    values = truth.to_unit(Unit.PER_MM).values
    where = (truth.values > BODY_HU) & in_view(scan.geometry, truth.geometry, share=0.9)
    figures = {
        "name": name, "views": scan.views, "arc_deg": protocol.arc_deg, "i0": protocol.i0,
        "share": None if verdict is None else verdict.share,
        "tv_target": target, "expected_hu": found.expected_error() * 1000.0,
        **errors(found, values, where if where.any() else truth.values > BODY_HU),
    }  # fmt: skip
    _keep(keep / f"{name}.npz", figures, samples(found, values, where, rng))


def subject(name: str, files: list[Path], cells: int) -> Volume:
    """Return the object of a scan's name on so many cells along each edge, HU."""
    kind, _, number = name.rpartition("-")
    if kind != "known":
        return outside_object(kind, np.random.default_rng([SEED, int(number)]), cells)
    task = subject_tasks([], int(number) + 1, SEED)[-1]
    if files and int(number) % 2:
        task = replace(task, kind=SCAN, path=files[int(number) // 2 % len(files)])
    return make_subject(task, cells)


def errors(found: CoarseResult, truth: Any, where: Any) -> dict[str, Any]:
    """Return the RMSE in HU of total variation and of each share of the correction."""
    session = found.base.session
    plain, moved = found.base.values, found.better.values - found.base.values

    def rmse(values: Any) -> float:
        off = (session.operator.to_numpy(values) - truth)[where] / MU_WATER_PER_MM * 1000.0
        return float(np.sqrt(np.mean(off**2, dtype=np.float64)))

    tries = {str(s): rmse(towards_data(found.level, plain + s * moved)) for s in SHARES}
    return {"rmse_tv_hu": rmse(plain), "rmse_hu": tries}


def samples(found: CoarseResult, truth: Any, where: Any, rng: Any) -> Any:
    """Return errors of the full correction and the expected SD at random voxels, 1/mm."""
    values = found.base.session.operator.to_numpy(found.better.values)
    at = np.flatnonzero(where)
    at = rng.choice(at, min(SAMPLES, at.size), replace=False)
    return np.stack([(values - truth).ravel()[at], found.better.scale.ravel()[at] * LAPLACE_SD])


def _keep(path: Path, figures: dict[str, Any], drawn: Any) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, figures=json.dumps(figures), drawn=drawn)


def read(path: Path) -> dict[str, Any]:
    """Return the figures and samples of a scan."""
    with np.load(path) as kept:
        return {**json.loads(str(kept["figures"])), "drawn": kept["drawn"]}


def table(kept: list[dict[str, Any]]) -> str:
    """Return every scan in a line, in the order of what views set aside confirm."""
    lines = [f"{'scan':>16} views   arc confirmed expected   TV   gain in dB at " + " ".join(
        f"{s:5.0%}" for s in SHARES)]  # fmt: skip
    for k in sorted(kept, key=lambda k: -1.0 if k["share"] is None else k["share"]):
        gains = [20 * np.log10(k["rmse_tv_hu"] / k["rmse_hu"][str(s)]) for s in SHARES]
        share = "     none" if k["share"] is None else f"{k['share']:9.2f}"
        lines.append(
            f"{k['name']:>16} {k['views']:5d} {k['arc_deg']:5.0f} {share} {k['expected_hu']:8.0f} "
            f"{k['rmse_tv_hu']:5.0f} HU          " + " ".join(f"{g:5.2f}" for g in gains)
        )
    return "\n".join(lines)


def calibrated(kept: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the factor of expected errors, and how evenly it covers the scans."""
    ratios = [np.abs(k["drawn"][0]) / np.maximum(k["drawn"][1], 1e-9) / NORMAL_90
              for k in kept if k["drawn"].size]  # fmt: skip
    low, high = 0.01, 100.0
    for _ in range(60):
        factor = (low * high) ** 0.5
        share = float(np.mean([np.mean(r <= factor) for r in ratios]))
        low, high = (factor, high) if share < COVERED else (low, factor)
    covered = [float(np.mean(r <= high)) for r in ratios]
    return {
        "factors": {"all": round(high, 4)},
        "scans": len(ratios),
        "covered": {
            f"{q:g} %": round(float(np.percentile(covered, q)), 3) for q in (5, 25, 50, 95)
        },
    }


def write(found: dict[str, Any]) -> None:
    """Store the calibration beside the released weights."""
    name = "cts-prior"
    record = {
        **found,
        "protocol": "fresh scans of procedural bodies and of training-list volumes in fresh poses, "
        "random acquisitions, full correction; voxels of the body that 90 % of the views see",
        "weights_sha256": sha256_of(weights_file(name, "safetensors")),
    }
    path = released()[name].folder / f"{name}.calibration.json"
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n")
    print(f"Written to {path.relative_to(FOLDER)}.")


if __name__ == "__main__":
    main()
