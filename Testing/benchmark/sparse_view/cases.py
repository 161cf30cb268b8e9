"""Cases: an object, a number of views, and how it is scanned.

Published protocol: the cube of 409.6 mm at SOD 800 and SDD 1200 mm with a detector of 614.4 mm,
views spread over 180 degrees; the knee also in its own published geometry (204.8 mm, SOD 1000,
SDD 2000). Cube and detector have as many cells and pixels along an edge.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from common.scans import body_of, seed_of
from numpy.typing import NDArray

from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.job import Job
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.physics.virtual_scan import ScanProtocol, virtual_scan
from ctrestorelib.recon.arc import scan_arc
from ctrestorelib.recon.coverage import in_view
from ctrestorelib.training.scans.acquisition import anchor_protocol, knee_protocol
from sparse_view.objects import (
    VERSION,
    load_object,
    measured_scan,
    reference_of,
    some_views,
)
from sparse_view.subjects import BY_NAME, SUBJECTS, WINDOW_HU, Subject

VIEWS = (6, 8, 10, 24, 60)
CLEAN, USUAL, HIGH = "clean", "1e5", "1e6"
DOSES: dict[str, float | None] = {CLEAN: None, USUAL: 1e5, HIGH: 1e6}
REAL = "real"
CHANGES: dict[str, tuple[float, float]] = {
    "sod98": (0.98, 1.0), "sod102": (1.02, 1.0), "sdd98": (1.0, 0.98), "sdd102": (1.0, 1.02),
}  # fmt: skip
"""Noise-free scans whose SOD and SDD are multiplied by these; the geometry is known."""
OFFSET, SHORT = "offset", "short"
"""A full turn with the detector shifted by 30 % of its width; an arc of 210 degrees. At 1e5."""
_CHANGED = ("knee-own", "chest")
_IN_VIEW_SHARE = 0.9
_WHOLE_ARC_RAD = 0.95 * np.pi


@dataclass(frozen=True, eq=False)
class Case:
    """One scan with what it should look like.

    Parameters
    ----------
    name
        Identifier such as ``knee-10-1e5``: subject, views, variant.
    subject, views, variant
        Its parts.
    scan
        Line integrals with their geometry.
    reference
        In HU, on the grid of the reconstruction.
    """

    name: str
    subject: Subject
    views: int
    variant: str
    scan: ProjectionSet
    reference: Volume

    @cached_property
    def seen(self) -> NDArray[np.bool_]:
        """Voxels that at least 90 % of the views see, ``[k, j, i]``."""
        return in_view(self.scan.geometry, self.reference.geometry, share=_IN_VIEW_SHARE)

    @cached_property
    def body(self) -> NDArray[np.bool_]:
        """Where errors in HU count."""
        inside = body_of(self.reference)
        return inside if inside.any() else np.ones(self.reference.shape, dtype=bool)

    @cached_property
    def window(self) -> tuple[float, float]:
        """Lowest and highest HU of the scores: published, or the object's own if measured."""
        if not self.subject.is_measured:
            return WINDOW_HU
        top = float(np.quantile(self.reference.values, 0.999))
        return WINDOW_HU[0], max(100.0 * np.ceil(top / 100.0), 0.0)


def parts_of(name: str) -> tuple[Subject, int, str]:
    """Return subject, views and variant of a case's name."""
    subject, views, variant = name.rsplit("-", 2)
    return BY_NAME[subject], int(views), variant


def all_names() -> list[str]:
    """Return every case: published protocol, outside objects, changed scans."""
    inside = [s for s in SUBJECTS if not s.is_outside]
    names = [f"{s.name}-{v}-{d}" for s in inside for d in (CLEAN, USUAL) for v in VIEWS]
    for subject in (s for s in SUBJECTS if s.is_outside):
        variant = REAL if subject.is_measured else USUAL
        names += [f"{subject.name}-{views}-{variant}" for views in (10, 24)]
    for name in _CHANGED:
        names += [f"{name}-10-{change}" for change in (*CHANGES, HIGH)]
        names += [f"{name}-24-{change}" for change in (OFFSET, SHORT)]
    return names


def case_names(only: str = "") -> list[str]:
    """Return the cases whose files are here, those that begin with one of ``only``.

    A word that names a subject stands for all its cases: ``knee`` does not mean ``knee-own``.
    """
    words = [w.strip() for w in only.split(",") if w.strip()]
    here = [n for n in all_names() if parts_of(n)[0].is_here]
    return [n for n in here if not words or any(_is_meant(n, w) for w in words)]


def _is_meant(name: str, word: str) -> bool:
    if word in BY_NAME:
        return parts_of(name)[0].name == word
    return name == word or name.startswith(word + "-") or name.endswith("-" + word)


def protocol_of(name: str, cells: int) -> ScanProtocol:
    """Return how a simulated case is scanned."""
    subject, views, variant = parts_of(name)
    make = knee_protocol if subject.is_knee_scan else anchor_protocol
    i0 = DOSES.get(variant, 1e5 if variant in (OFFSET, SHORT) else None)
    protocol = replace(make(subject.cube_mm, views, cells, i0=i0), refine=1)
    if variant in CHANGES:
        sod, sdd = CHANGES[variant]
        return replace(protocol, sod_mm=protocol.sod_mm * sod, sdd_mm=protocol.sdd_mm * sdd)
    if variant == OFFSET:
        width = cells * (protocol.pixel_mm or 0.0)
        return replace(protocol, arc_deg=360.0, offset_mm=0.3 * width)
    return replace(protocol, arc_deg=210.0) if variant == SHORT else protocol


def build_case(name: str, cells: int, folder: Path) -> Case:
    """Return a case; the same name and size always give the same numbers."""
    subject, views, variant = parts_of(name)
    if subject.is_measured:
        scan, grid = measured_scan(subject, cells)
        full = _from_all_views(scan, grid)
        return Case(name, subject, views, variant, some_views(scan, views), full)
    fine = load_object(subject.name, cells, folder)
    scan = virtual_scan(fine, protocol_of(name, cells), Job(seed=seed_of(name)))
    return Case(name, subject, views, variant, scan, reference_of(fine))


def _from_all_views(scan: ProjectionSet, grid: VolumeGeometry) -> Volume:
    """Return the reconstruction of all views, the reference of a measured scan.

    FDK, or TV where the arc is too short for it: every method then fills in what no view shows, and
    TV is at least the rival that the default has to reach.
    """
    from sparse_view.running import run_method

    arc = scan_arc(scan.geometry)
    complete = arc.closed or arc.arc_rad > _WHOLE_ARC_RAD
    return run_method("fdk" if complete else "tv", scan, grid, {}).volume.to_unit(Unit.HU)


def load_case(name: str, cells: int, folder: Path) -> Case:
    """Return a case from ``folder``, building and keeping it there the first time."""
    path = folder / "cases" / f"{name}-{cells}-v{VERSION}.npz"
    if not path.exists():
        case = build_case(name, cells, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, values=case.scan.values, reference=case.reference.values,
                     facts=json.dumps(_facts(case)))  # fmt: skip
        return case
    with np.load(path) as kept:
        return _restored(name, json.loads(str(kept["facts"])), kept["values"], kept["reference"])


def _facts(case: Case) -> dict[str, Any]:
    return {"geometry": case.scan.geometry.to_json(), "i0": case.scan.i0,
            "electronic_sd": case.scan.electronic_sd,
            "grid": case.reference.geometry.to_json()}  # fmt: skip


def _restored(name: str, facts: Mapping[str, Any], values: Any, reference: Any) -> Case:
    geometry = ConeBeamGeometry.from_json(facts["geometry"])
    scan = ProjectionSet(values, geometry, ProjectionKind.LINE_INTEGRAL, facts["i0"],
                         facts["electronic_sd"])  # fmt: skip
    grid = VolumeGeometry.from_json(facts["grid"])
    return Case(name, *parts_of(name), scan, Volume(reference, grid, Unit.HU))
