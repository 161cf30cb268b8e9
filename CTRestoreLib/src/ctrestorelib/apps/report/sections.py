"""The written parts of the comparison page: verdicts, table, charts, provenance (layer: apps)."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ctrestorelib.apps.pictures import png_uri
from ctrestorelib.apps.report.charts import Curve, legend, line_chart
from ctrestorelib.apps.report.model import PictureSection, ReportEntry, Section, TableSection
from ctrestorelib.quality.measure import MeasureReport
from ctrestorelib.quality.result import Measure, Verdict

_GROUPS = (
    ("Against the reference", ("rmse", "psnr", "ssim", "vif")),
    ("Faithful to the original", ("residual_structure", "hu_")),
    ("Noise", ("noise", "nps_", "slice_correlation", "cnr")),
    ("Sharpness", ("edge_",)),
)


def text(value: object) -> str:
    """Return ``value`` safe inside HTML text and attributes."""
    return html.escape(str(value), quote=True)


def verdict_cards(entries: Sequence[ReportEntry], reports: Sequence[MeasureReport]) -> str:
    """Return one card for each volume that was judged against an original."""
    cards = []
    for entry, report in zip(entries, reports, strict=True):
        if report.residual is None:
            continue
        trouble = [
            m
            for m in report.measures
            if m.verdict in (Verdict.RED, Verdict.AMBER)
            and m.name not in ("slice_correlation", "residual_structure")
        ]
        others = "".join(f"<li>{pill(m.verdict)} {text(m.sentence)}</li>" for m in trouble)
        listing = f"<ul>{others}</ul>" if others else ""
        residual = report["residual_structure"]
        cards.append(
            f"<article class='card {report.verdict.value}'><h3>{text(entry.label)} "
            f"{pill(report.verdict)}</h3><p>{text(residual.sentence)}</p>{listing}"
            "</article>"
        )
    return f"<div class='cards'>{''.join(cards)}</div>" if cards else ""


def pill(verdict: Verdict) -> str:
    """Return a verdict as a coloured word."""
    if verdict is Verdict.NONE:
        return ""
    return f"<span class='pill {verdict.value}'>{text(verdict.word)}</span>"


def measure_table(entries: Sequence[ReportEntry], reports: Sequence[MeasureReport]) -> str:
    """Return the table of all measures: a row for each, a column for each volume."""
    titles: dict[str, Measure] = {}
    for report in reports:
        for measure in report.measures:
            known = titles.get(measure.name)
            if known is None or (known.value is None and measure.value is not None):
                titles[measure.name] = measure
    head = "".join(f"<th scope='col'>{text(e.label)}</th>" for e in entries)
    body = []
    for group, prefixes in _GROUPS:
        names = [n for n in titles if n.startswith(prefixes)]
        if not names:
            continue
        body.append(
            f"<tr class='group'><th colspan='{len(entries) + 1}' scope='colgroup'>{group}</th></tr>"
        )
        body += [_row(titles[name], reports) for name in names]
    return (
        f"<div class='scroll' tabindex='0' role='region' aria-label='Table of measures'><table "
        f"class='measures'><thead><tr><th scope='col'>Measure</th>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _row(measure: Measure, reports: Sequence[MeasureReport]) -> str:
    unit = f" <span class='unit'>{text(measure.unit)}</span>" if measure.unit else ""
    how = f"<p><b>How:</b> {text(measure.protocol)}.</p>" if measure.protocol else ""
    cells = "".join(_cell(report, measure.name) for report in reports)
    return (
        f"<tr><th scope='row'><details><summary>{text(measure.title)}{unit}</summary>"
        f"<p>{text(measure.sentence)}</p>{how}</details></th>{cells}</tr>"
    )


def _cell(report: MeasureReport, name: str) -> str:
    measure = next((m for m in report.measures if m.name == name), None)
    if measure is None:
        return "<td class='none'><span aria-label='not measured'>–</span></td>"
    if measure.value is None:
        return f"<td class='none' title='{text(measure.not_measurable)}'>not measurable</td>"
    shown = number(measure.value)
    if measure.name == "residual_structure":
        shown = "p < 0.001" if measure.value < 0.001 else f"p = {measure.value:.2g}"
    # Slice correlation judges what may be learned from a scan, not a restoration.
    judged = "" if name == "slice_correlation" else pill(measure.verdict)
    between = ""
    if measure.interval is not None:
        low, high = (number(v) for v in measure.interval)
        between = f"<span class='interval' title='95 % confidence interval'>{low} to {high}</span>"
    return f"<td title='{text(measure.sentence)}'>{shown} {judged}{between}</td>"


def number(value: float) -> str:
    """Return a number with three or four digits that matter."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "−"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:.{digits}f}".replace("-", "−")


def charts(entries: Sequence[ReportEntry], reports: Sequence[MeasureReport]) -> str:
    """Return the noise power spectra and the mean edges of all volumes."""
    spectra = [
        Curve(e.label, n, r.nps.frequency_per_mm, r.nps.power)
        for n, (e, r) in enumerate(zip(entries, reports, strict=True))
        if r.nps is not None
    ]
    unit = entries[0].volume.unit.label
    figures = []
    if spectra:
        drawn = line_chart(
            spectra,
            title="Noise power spectrum of each volume: " + _peaks(reports),
            x_label="spatial frequency (line pairs per mm)",
            y_label=f"power ({unit}² mm²)",
        )
        figures.append(
            _figure(
                "Noise power spectrum",
                drawn,
                "A lower curve means less noise; a "
                "curve that moves to the left means coarser, blotchier noise.",
            )
        )
    names = {
        m.name: m.title
        for r in reports
        for m in r.measures
        if m.name.startswith("edge_") and m.value is not None
    }
    for name, title in names.items():
        curves = _edges(entries, reports, name)
        where = title.split(", ", 1)[-1]
        drawn = line_chart(
            curves,
            title=f"Mean edge of {where}",
            y_label=unit,
            x_label="distance across the edge (mm)",
        )
        figures.append(_figure(f"Mean edge: {where}", drawn, "A steeper curve is a sharper edge."))
    if not figures:
        return ""
    labels = legend([(e.label, n) for n, e in enumerate(entries)])
    return (
        f"<section id='curves'><h2>Noise texture and edges</h2>{labels}"
        f"<div class='charts'>{''.join(figures)}</div></section>"
    )


def _peaks(reports: Sequence[MeasureReport]) -> str:
    return ", ".join(f"mean frequency {r.nps.f_av_per_mm:.3f} per mm" for r in reports if r.nps)


def _edges(
    entries: Sequence[ReportEntry], reports: Sequence[MeasureReport], name: str
) -> list[Curve]:
    curves = []
    for n, (entry, report) in enumerate(zip(entries, reports, strict=True)):
        found = next((m for m in report.measures if m.name == name and m.value is not None), None)
        if found is not None:
            x, y = (np.asarray(found.details[k], float) for k in ("position_mm", "values"))
            curves.append(Curve(entry.label, n, x, y))
    return curves


def _figure(title: str, drawn: str, caption: str) -> str:
    return f"<figure><h3>{text(title)}</h3>{drawn}<figcaption>{text(caption)}</figcaption></figure>"


def provenance(entries: Sequence[ReportEntry]) -> str:
    """Return how each volume was made."""
    blocks = "".join(_provenance(e) for e in entries)
    return f"<section id='made'><h2>How each volume was made</h2>{blocks}</section>"


def _provenance(entry: ReportEntry) -> str:
    record = entry.provenance
    if record is None:
        told = "<p>No record of its making was given: an input, or made elsewhere.</p>"
        return f"<details><summary><b>{text(entry.label)}</b></summary>{told}</details>"
    facts: list[tuple[str, Any]] = [
        ("Method", _method(record)),
        ("Strength", record.get("strength")),
        ("Seed", record.get("seed")),
        *_params(record),
    ]
    if record.get("seconds"):
        facts.append(("Computing time", f"{record['seconds']:.1f} s"))
    rows = "".join(f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in facts if v is not None)
    warnings = "".join(f"<li>{text(w.get('text', w))}</li>" for w in record.get("warnings", ()))
    warned = f"<p class='warned'><b>Warnings</b></p><ul>{warnings}</ul>" if warnings else ""
    whole = text(json.dumps(record, indent=2, ensure_ascii=False, default=str))
    count = len(record.get("warnings", ()))
    mark = f" <span class='pill amber'>{count} warning{'s' if count > 1 else ''}</span>"
    return (
        f"<details><summary><b>{text(entry.label)}</b> {text(_method(record))}"
        f"{mark if count else ''}</summary><dl>{rows}</dl>{warned}<details><summary>Complete "
        f"record</summary><pre>{whole}</pre></details></details>"
    )


def _method(record: dict[str, Any]) -> str:
    return f"{record.get('method', '?')} {record.get('method_version', '')}".strip()


def _params(record: dict[str, Any]) -> list[tuple[str, Any]]:
    names = record.get("params", {})
    return [(k.replace("_", " "), v) for k, v in names.items()]


def extra(section: Section) -> str:
    """Return a section that the caller added."""
    if isinstance(section, TableSection):
        head = "".join(f"<th scope='col'>{text(h)}</th>" for h in section.head)
        rows = "".join(
            "<tr>"
            + f"<th scope='row'>{text(row[0])}</th>"
            + "".join(f"<td>{text(c)}</td>" for c in row[1:])
            + "</tr>"
            for row in section.rows
        )
        note = f"<p class='small'>{text(section.note)}</p>" if section.note else ""
        body = (
            f"<div class='scroll' tabindex='0' role='region' aria-label='{text(section.title)}'>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{note}"
        )
    elif isinstance(section, PictureSection):
        note = f"<p>{text(section.note)}</p>" if section.note else ""
        body = f"{note}<div class='gallery'>{''.join(picture(p) for p in section.pictures)}</div>"
    else:
        body = "".join(f"<p>{text(p)}</p>" for p in section.paragraphs)
    return f"<section><h2>{text(section.title)}</h2>{body}</section>"


def picture(shown: Any) -> str:
    """Return one picture with its caption."""
    rows, columns = shown.grey.shape
    aspect = shown.aspect or columns / rows
    caption = f"<figcaption>{text(shown.caption)}</figcaption>" if shown.caption else ""
    return (
        f"<figure><img src='{png_uri(shown.grey)}' alt='{text(shown.alt)}' "
        f"style='aspect-ratio:{aspect:.4f}'>{caption}</figure>"
    )
