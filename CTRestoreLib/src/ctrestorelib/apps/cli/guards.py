"""``ctrestore denoise --report``: the guard rails of a result as a file (layer: apps)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ctrestorelib.apps.cli.files import sidecar_of
from ctrestorelib.apps.cli.options import check_output
from ctrestorelib.apps.report.model import ReportEntry, TableSection
from ctrestorelib.apps.report.page import write_compare_report
from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.job import Job
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.core.volume import Volume
from ctrestorelib.jobs.guarding import guard_report, method_of
from ctrestorelib.jobs.runner import JobResult
from ctrestorelib.quality.lights import lights, overall, summary
from ctrestorelib.quality.measure import MeasureReport
from ctrestorelib.restorer.plan import Budget

SUFFIXES = (".json", ".html")


def check_report(path: Path | None, output: Path, *, overwrite: bool) -> None:
    """Refuse a report file that cannot be written, before anything runs.

    Raises
    ------
    UsageError
        If its name ends neither in ``.json`` nor in ``.html``, if it is the record beside the
        result, or if it exists and may not be overwritten.
    """
    if path is None:
        return
    if path.suffix not in SUFFIXES:
        message = f"--report takes a .json or an .html file; got {path.name}."
        raise UsageError(message)
    record = sidecar_of(output)
    if path.resolve() == record.resolve():
        message = f"{path.name} will hold the record of how {output.name} was made."
        raise UsageError(message, hint=f"Name the report {path.stem}-report.json, for example.")
    check_output(path, [], overwrite=overwrite)


def write_report(
    original: Volume, result: JobResult, path: Path, budget: Budget | None, job: Job
) -> str:
    """Measure the guard rails of a result, write them, and return them in one sentence."""
    record = result.provenance.to_json()
    report = guard_report(original, result.volume, uncertainty=result.uncertainty,
                          method=method_of(record), budget=budget, job=job)  # fmt: skip
    if path.suffix == ".json":
        with atomic_path(path) as temporary:
            text = json.dumps(as_json(report), indent=2, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")
    else:
        _write_page(original, result.volume, result.provenance, report, path)
    return summary(lights(report.measures))


def as_json(report: MeasureReport) -> dict[str, Any]:
    """Return lights and measures as plain values."""
    shown = lights(report.measures)
    return {
        "verdict": overall(shown).value,
        "summary": summary(shown),
        "lights": [light.to_json() for light in shown],
        **{k: v for k, v in report.to_json().items() if k != "verdict"},
    }


def _write_page(
    original: Volume, restored: Volume, record: Provenance, report: MeasureReport, path: Path
) -> None:
    rows = [(light.title, light.word, light.sentence) for light in lights(report.measures)]
    section = TableSection("Guard rails", ("What", "Verdict", "Why"), rows, " ".join(report.notes))
    entries = [
        ReportEntry("original", original, None, "", MeasureReport(())),
        ReportEntry("denoised", restored, record.to_json(), "original", report),
    ]
    write_compare_report(entries, path, title="Denoised volume", sections=[section])
