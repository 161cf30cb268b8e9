#!/usr/bin/env python3
"""Draw the pictures of Docs that need real scans (CTRESTORE_DATA, default ../shared/data).

    .venv/bin/python Scripts/docs_pictures.py                  those that Docs show
    .venv/bin/python Scripts/docs_pictures.py knee chest       patients: for your eyes, not for git

Each picture is a row of reconstructions (or denoised slices) with the method under it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.field_of_view import default_grid
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.io.projections import read_projections
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import run_job
from ctrestorelib.restorer.protocol import Inputs

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("CTRESTORE_DATA", ROOT.parent / "shared" / "data"))
OUT = ROOT / "Docs" / "pictures"
PANEL = 360
CAPTION = 22

Slice = np.ndarray


def reconstructed(
    scan: ProjectionSet, grid: VolumeGeometry, method: str, **params: object
) -> Slice:
    """Return the middle slice of a reconstruction in 1/mm."""
    inputs = Inputs(projections=scan, grid=grid)
    request = JobRequest(method, inputs, params=params, output_unit=Unit.PER_MM)
    values = run_job(request).volume.values
    return values[len(values) // 2]


def sheet(name: str, panels: dict[str, Slice], window: tuple[float, float] | None = None) -> None:
    """Write one row of captioned panels with one common grey window."""
    first = next(iter(panels.values()))
    low, high = window or tuple(np.percentile(first, (0.5, 99.7)))
    picture = Image.new("L", (PANEL * len(panels), PANEL + CAPTION), 255)
    for n, (caption, values) in enumerate(panels.items()):
        grey = np.clip((values - low) / (high - low) * 255, 0, 255).astype(np.uint8)
        panel = Image.fromarray(grey)
        panel.thumbnail((PANEL, PANEL), Image.Resampling.LANCZOS)
        scale = PANEL / max(panel.size)
        panel = panel.resize(tuple(round(s * scale) for s in panel.size), Image.Resampling.BICUBIC)
        picture.paste(panel, (n * PANEL, 0))
        ImageDraw.Draw(picture).text((n * PANEL + 6, PANEL + 5), caption, fill=0)
    OUT.mkdir(parents=True, exist_ok=True)
    picture.save(OUT / f"{name}.png", optimize=True)
    print(f"wrote Docs/pictures/{name}.png")


def tooth() -> None:
    """A tooth, parallel beam, two detector rows: all views and every tenth."""
    scan = read_projections(DATA / "proj_tooth_parallel.h5").projections
    grid = default_grid(scan.geometry)
    few = scan[::10]
    sheet(
        "tooth",
        {
            "FDK, 181 views": reconstructed(scan, grid, "fdk"),
            f"FDK, {few.views} views": reconstructed(few, grid, "fdk"),
            f"OS-SART, {few.views} views": reconstructed(few, grid, "os-sart"),
            f"TV, {few.views} views": reconstructed(few, grid, "tv"),
        },
    )


def dendrites() -> None:
    """Dendrites in an alloy, parallel beam, one row of 1260 pixels: rings of a real detector."""
    scan = read_projections(DATA / "proj_dendrites_parallel.mat").projections
    grid = default_grid(scan.geometry, 2.0 * scan.geometry.pixel_mm[1])
    few = scan[::6]
    sheet(
        "dendrites",
        {
            "FDK, 360 views": reconstructed(scan, grid, "fdk"),
            f"FDK, {few.views} views": reconstructed(few, grid, "fdk"),
            f"TV, {few.views} views": reconstructed(few, grid, "tv"),
        },
    )


def htc() -> None:
    """Acrylic discs of the Helsinki Tomography Challenge 2022: 61 views over 30 degrees only."""
    panels = {}
    for disc in ("solid", "ta", "tc", "td"):
        scan = read_projections(DATA / f"proj_htc2022_{disc}_fanbeam_30deg.mat").projections
        grid = default_grid(scan.geometry, 0.4)
        panels[f"{disc}: TV, 61 views in 30 degrees"] = reconstructed(scan, grid, "tv")
    sheet("htc2022", panels, (0.0, 0.06))


def denoised(name: str, window: tuple[float, float], slices: slice) -> None:
    """A real scan before and after every denoiser at its defaults."""
    from ctrestorelib.methods.registry import methods_of
    from ctrestorelib.restorer.spec import Kind

    volume = read_volume(DATA / f"{name}.nii.gz").volume
    volume = volume.crop((slices, slice(None), slice(None)))
    middle = volume.shape[0] // 2
    panels = {"original": volume.values[middle]}
    for method, restorer in methods_of(Kind.DENOISER).items():
        result = run_job(JobRequest(method, Inputs(volume=volume))).volume
        panels[restorer.spec.id] = result.values[middle]
    sheet(f"denoised_{name.split('_', maxsplit=1)[0]}", panels, window)


PICTURES: dict[str, Callable[[], None]] = {
    "tooth": tooth,
    "dendrites": dendrites,
    "htc": htc,
    "knee": lambda: denoised("knee_sts010_petct", (-160, 240), slice(None)),
    "chest": lambda: denoised("chest_lidc0314_1mm", (-160, 240), slice(40, 80)),
}

if __name__ == "__main__":
    for wanted in sys.argv[1:] or ("tooth", "dendrites", "htc"):
        PICTURES[wanted]()
