#!/usr/bin/env python3
"""Draw Docs/pictures/few-views.png: what few views give of drawn bodies, the bad cases included.

    .venv/bin/python Scripts/few_views_gallery.py

Bodies are drawn (no patient's), with seeds that no training draws; scans are simulated as in the
benchmark, from voxels half as large. A row holds the object, what methods make of it from the same
views, the error of the default, and the error that it expects. Captions tell RMSE in HU.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import Volume
from ctrestorelib.geometry.resampling import block_mean
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import JobResult, run_job
from ctrestorelib.physics.virtual_scan import ScanProtocol, virtual_scan
from ctrestorelib.restorer.protocol import Inputs
from ctrestorelib.training.scans.acquisition import anchor_protocol
from ctrestorelib.training.scans.subjects import SubjectTask, make_subject

OUT = Path(__file__).resolve().parents[1] / "Docs" / "pictures" / "few-views.png"
SEED = 40_000  # training seeds its subjects with small numbers
CELLS, PANEL, CAPTION = 64, 240, 18
I0 = 1e5
METHODS = ("os-sart", "tv", "tv-views")
METAL_HU = 4000.0
WINDOW, ERRORS, EXPECTED = (-600.0, 900.0), (-500.0, 500.0), (0.0, 500.0)

Panel = tuple[str, np.ndarray, tuple[float, float]]


@dataclass(frozen=True)
class Row:
    """A kind of body and how it is scanned; with an implant or without."""

    kind: str
    views: int
    arc_deg: float = 180.0
    metal: bool = False

    @property
    def title(self) -> str:
        """Return what the reader sees of it."""
        metal = " with metal" if self.metal else ""
        return f"{self.kind}{metal}, {self.views} views over {self.arc_deg:g} degrees"


ROWS = (
    Row("knee", 10),
    Row("knee", 10, metal=True),
    Row("pelvis", 6),
    Row("chest", 10),
    Row("head", 24),
    Row("limb", 10, arc_deg=60.0),
)


def body(row: Row) -> Volume:
    """Return the first body of the row's kind that has metal, or has none, at twice the cells."""
    for number in range(100):
        volume = make_subject(SubjectTask(number, row.kind, None, SEED), 2 * CELLS)
        if (float(volume.values.max()) >= METAL_HU) == row.metal:
            return volume
    message = f"No {row.kind} in a hundred is as wanted."
    raise LookupError(message)


def protocol(row: Row, edge_mm: float) -> ScanProtocol:
    """Return the scan of the published benchmarks, over the row's arc."""
    usual = anchor_protocol(edge_mm, row.views, CELLS, i0=I0)
    return ScanProtocol(**{**vars(usual), "arc_deg": row.arc_deg, "refine": 1})


def panels(row: Row) -> list[Panel]:
    """Return captions, middle slices and windows of a row."""
    fine = body(row)
    truth = block_mean(fine, 2)
    scan = virtual_scan(fine, protocol(row, fine.geometry.spacing_mm[0] * 2 * CELLS), Job(seed=1))
    inputs = Inputs(projections=scan, grid=truth.geometry)
    made = {m: run_job(JobRequest(m, inputs)) for m in METHODS}
    made["cts"] = run_job(JobRequest("cts", inputs, params={"uncertainty": True}))
    at = CELLS // 2
    drawn: list[Panel] = [(row.title, truth.values[at], WINDOW)]
    for name, result in made.items():
        off = rmse(result.volume, truth)
        drawn.append((f"{name}: {off:.0f} HU", result.volume.values[at], WINDOW))
    error = made["cts"].volume.values[at] - truth.values[at]
    drawn.append((f"error of cts, {ERRORS[0]:g} to {ERRORS[1]:g} HU", error, ERRORS))
    return [*drawn, expected(made["cts"], at)]


def expected(result: JobResult, at: int) -> Panel:
    """Return the panel of the expected error, black where the method tells none."""
    if result.uncertainty is None:
        return "no expected error (fell back)", np.zeros((CELLS, CELLS)), EXPECTED
    caption = f"error it expects, 0 to {EXPECTED[1]:g} HU"
    return caption, result.uncertainty.values[at], EXPECTED


def rmse(volume: Volume, truth: Volume) -> float:
    """Return the error within the body, in HU."""
    inside = truth.values > -500.0
    return float(np.sqrt(np.mean((volume.values - truth.values)[inside] ** 2)))


def main() -> None:
    """Write the picture."""
    columns = len(METHODS) + 4
    picture = Image.new("L", (columns * PANEL, len(ROWS) * (PANEL + CAPTION)), 255)
    for n, row in enumerate(ROWS):
        for m, (caption, values, (low, high)) in enumerate(panels(row)):
            grey = np.clip((values - low) / (high - low) * 255, 0, 255).astype(np.uint8)
            panel = Image.fromarray(grey).resize((PANEL - 2, PANEL - 2), Image.Resampling.BICUBIC)
            place = (m * PANEL, n * (PANEL + CAPTION))
            picture.paste(panel, (place[0], place[1] + CAPTION))
            ImageDraw.Draw(picture).text((place[0] + 2, place[1] + 3), caption, fill=0)
        print(row.title, flush=True)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    picture.save(OUT, optimize=True)
    print(f"wrote Docs/pictures/{OUT.name}")


if __name__ == "__main__":
    main()
