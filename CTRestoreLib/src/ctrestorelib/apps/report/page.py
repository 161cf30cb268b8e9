"""Assemble the comparison page (layer: apps)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib import __version__
from ctrestorelib.apps.pictures import PLANES, Grey, Stack, display_axes
from ctrestorelib.apps.report import sections as parts
from ctrestorelib.apps.report.embed import BUDGET_BYTES, Embedded, Scale, choose_slices, chunks
from ctrestorelib.apps.report.model import (
    Picture,
    PictureSection,
    ReportEntry,
    Section,
    check_entries,
    original_of,
)
from ctrestorelib.apps.report.sections import text
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.job import Job
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.measure import MeasureReport, measure
from ctrestorelib.quality.window import FIELD_WINDOW, Window

_MOST_BOXES = 60
_BONE_HU = 300.0


def write_compare_report(
    entries: Sequence[ReportEntry],
    out: Path,
    *,
    title: str = "Comparison of CT volumes",
    reference: Volume | None = None,
    mask: NDArray[np.bool_] | None = None,
    window: Window | None = None,
    sections: Sequence[Section] = (),
    job: Job | None = None,
    budget_bytes: int = BUDGET_BYTES,
) -> list[MeasureReport]:
    """Write one HTML file in which the volumes can be looked at side by side.

    The file needs no network and no other file: linked slices, wipe, blink, difference, line
    profiles, noise spectra, the table of measures and the provenance are all inside.

    Parameters
    ----------
    entries
        The volumes, the original first. All on one grid, in one unit.
    out
        The file to write; an existing one is replaced when the new one is complete.
    reference
        The truth, if known: adds scores against it.
    mask
        Where to measure.
    window
        Value range of the scores; HU volumes take [-1000, 1000].
    sections
        Text, tables and pictures to add above the measures.
    job
        Shows progress and allows to cancel.
    budget_bytes
        Compressed voxel data at most; what does not fit is left out evenly, and the page says so.

    Returns
    -------
    The measures of each entry.

    Raises
    ------
    UsageError, GeometryError, UnitError
        If the volumes cannot be compared: labels, grids or units differ.
    ResourceError
        If the file cannot be written.
    """
    check_entries(entries, reference)
    job = job or Job()
    reports = _measure_all(entries, reference, mask, window, job)
    with job.stage("Write the page", 0.2):
        body = _page(entries, reports, title, sections, budget_bytes)
        with atomic_path(out) as temporary:
            temporary.write_text(body, encoding="utf-8")
    return reports


def _measure_all(
    entries: Sequence[ReportEntry],
    reference: Volume | None,
    mask: NDArray[np.bool_] | None,
    window: Window | None,
    job: Job,
) -> list[MeasureReport]:
    if window is None and entries[0].volume.unit != Unit.HU:
        shown = reference or entries[0].volume
        low, high = float(shown.values.min()), float(shown.values.max())
        window = Window(low, high if high > low else low + 1.0)
    reports = []
    for entry in entries:
        with job.stage(f"Measure {entry.label}", 0.8 / len(entries)):
            if entry.measures is not None:
                reports.append(entry.measures)
                continue
            source = original_of(entry, entries)
            original = None if source is None else source.volume
            reports.append(
                measure(
                    entry.volume, reference, mask, original=original, window=window or FIELD_WINDOW
                )
            )
    return reports


def _page(
    entries: Sequence[ReportEntry],
    reports: Sequence[MeasureReport],
    title: str,
    extra: Sequence[Section],
    budget: int,
) -> str:
    stacks = [Stack.of(e.volume) for e in entries]
    arrays = [s.values for s in stacks]
    scale = Scale.of(arrays, entries[0].volume.unit)
    embedded = choose_slices(arrays, scale, budget)
    manifest = _manifest(entries, reports, stacks[0], scale, embedded)
    data = []
    for n, values in enumerate(arrays):
        for name, packed in chunks(values, scale, embedded).items():
            data.append(f"<script type='text/plain' id='data-{n}-{name}'>{packed}</script>")
    notes = sorted({note for r in reports for note in r.notes})
    filled = {
        "TITLE": text(title),
        "STYLE": _asset("page.css"),
        "SCRIPT": "\n".join(_asset(n) for n in ("data.js", "viewer.js", "profile.js", "main.js")),
        "SUMMARY": parts.verdict_cards(entries, reports),
        "EMBEDDED": text(_embedded_sentence(embedded, arrays[0].shape, len(entries))),
        "EXTRA": "".join(parts.extra(s) for s in extra),
        "TABLE": parts.measure_table(entries, reports),
        "NOTES": "".join(f"<li>{text(n)}</li>" for n in notes),
        "CHARTS": parts.charts(entries, reports),
        "MADE": parts.provenance(entries),
        "STILLS": _stills(entries, stacks),
        "UNIT": text(_unit_sentence(entries[0].volume.unit)),
        "VERSION": text(__version__),
        "MANIFEST": json.dumps(manifest, ensure_ascii=False).replace("</", "<\\/"),
        "DATA": "\n".join(data),
    }
    page = _asset("page.html")
    # The data come last: no later replacement has to search through them.
    for name, value in filled.items():
        page = page.replace("{{" + name + "}}", value)
    return page


def _manifest(
    entries: Sequence[ReportEntry],
    reports: Sequence[MeasureReport],
    stack: Stack,
    scale: Scale,
    embedded: Embedded,
) -> dict[str, Any]:
    unit = entries[0].volume.unit
    order, flips = display_axes(entries[0].volume)
    values = np.concatenate(
        [s.values[:: max(1, s.shape[0] // 16)].ravel()[::7] for s in (e.volume for e in entries)]
    )
    low, high = (float(v) for v in np.percentile(values, (0.5, 99.5)))
    return {
        "unit": unit.label,
        "hu": unit == Unit.HU,
        "letters": unit != Unit.GREY,
        "shape": list(stack.values.shape),
        "spacing": list(stack.spacing_mm),
        "order": list(order),
        "flips": [bool(f) for f in flips],
        "ijk_to_lps": entries[0].volume.geometry.ijk_to_lps.tolist(),
        "full": embedded.full,
        "slices": embedded.slices,
        "start": _start(stack, unit),
        "low": scale.low,
        "step": scale.step,
        "range": [low, max(high, low + 10 * scale.step)],
        "noise": _noise(reports),
        "volumes": [
            {"label": e.label, "boxes": _boxes(r, e.volume, order, flips)}
            for e, r in zip(entries, reports, strict=True)
        ],
    }


def _start(stack: Stack, unit: Unit) -> list[int]:
    """Return the place to open with: the middle of the bones, or of the volume without any."""
    middle = [n // 2 for n in stack.values.shape]
    if unit != Unit.HU:
        return middle
    axial = stack.telling("axial", unit)
    rows, columns = np.nonzero(stack.plane("axial", axial) > _BONE_HU)
    if len(rows) < 20:
        return middle
    return [axial, int(np.median(rows)), int(np.median(columns))]


def _noise(reports: Sequence[MeasureReport]) -> float:
    levels = [float(m) for r in reports for m in r.measures if m.name == "noise" and m.value]
    return max(levels, default=0.0)


def _boxes(
    report: MeasureReport, volume: Volume, order: Sequence[int], flips: Sequence[bool]
) -> list[list[float]]:
    """Return suspicious blocks as display ranges [a0, a1, b0, b1, c0, c1, standard errors]."""
    residual = report.residual
    if residual is None or residual.verdict.value not in ("amber", "red"):
        return []
    boxes = []
    for (k, j, i), off in residual.worst_blocks(_MOST_BOXES):
        if off < 4:
            continue
        low = [m - s // 2 for m, s in zip((k, j, i), residual.block_kji, strict=True)]
        ranges = []
        for axis, flip in zip(order, flips, strict=True):
            first, last = low[axis], min(low[axis] + residual.block_kji[axis], volume.shape[axis])
            n = volume.shape[axis]
            ranges += [n - last, n - first] if flip else [first, last]
        boxes.append([*ranges, round(off, 1)])
    return boxes


def _stills(entries: Sequence[ReportEntry], stacks: Sequence[Stack]) -> str:
    """Return plain pictures, for printing and for browsers that cannot run the viewer."""
    unit = entries[0].volume.unit
    grey = Grey(-160.0, 240.0)
    if unit != Unit.HU:
        low, high = (float(v) for v in np.percentile(entries[0].volume.values, (0.5, 99.5)))
        grey = Grey(low, max(high, low + 1e-6))
    what = "soft tissue window, -160 to 240 HU" if unit == Unit.HU else "full range of values"
    galleries = []
    for plane, index in zip(("axial", "coronal"), _start(stacks[0], unit)[:2], strict=True):
        height, width = stacks[0].size_mm(plane)
        shown = [
            Picture(
                grey.apply(stack.plane(plane, index)),
                f"{plane.capitalize()} slice {index + 1} of {entry.label}",
                entry.label,
                width / height,
            )
            for entry, stack in zip(entries, stacks, strict=True)
        ]
        note = f"The same slice of all volumes, {what}."
        title = f"{plane.capitalize()} slice {index + 1}"
        galleries.append(parts.extra(PictureSection(title, shown, note)))
    return "".join(galleries)


def _embedded_sentence(embedded: Embedded, shape: tuple[int, ...], volumes: int) -> str:
    if embedded.full:
        return (
            f"All {shape[0]} axial, {shape[1]} coronal and {shape[2]} sagittal slices of "
            f"{volumes} volumes are in this file."
        )
    held = ", ".join(
        f"{len(embedded.slices[p])} of {n} {p}" for p, n in zip(PLANES, shape, strict=True)
    )
    return (
        f"To keep this file small it holds evenly spread slices at full resolution: {held}. "
        "The measures do not depend on this choice."
    )


def _unit_sentence(unit: Unit) -> str:
    return {
        Unit.HU: "Values are Hounsfield units (HU): water 0, air −1000.",
        Unit.PER_MM: "Values are linear attenuation in 1/mm: water about 0.02.",
        Unit.GREY: "Values are grey values without a physical scale; sides of the body (left, "
        "right) are not known.",
    }[unit]


def _asset(name: str) -> str:
    folder = resources.files("ctrestorelib.apps.report") / "assets"
    return (folder / name).read_text(encoding="utf-8")
