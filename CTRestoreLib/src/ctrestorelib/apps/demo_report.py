"""The demo's report page: pictures, tables and plain words in one file (layer: apps)."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ctrestorelib import __version__
from ctrestorelib.apps.demo_results import DemoEntry, DemoPart, DemoResult
from ctrestorelib.apps.pictures import Grey, Stack, png_uri
from ctrestorelib.apps.report import ReportEntry, write_compare_report
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.measure import MeasureReport
from ctrestorelib.quality.result import Measure

SOFT = Grey(-160.0, 240.0)
BONE = Grey(-400.0, 1400.0)
ERROR = Grey(-300.0, 300.0)


@dataclass(frozen=True)
class Column:
    """One column of the table: which measure, how to print it, which way is better."""

    name: str
    head: str
    text: Callable[[float], str]
    better: int
    hint: str


_COLUMNS = (
    Column("rmse", "Error inside the body (RMSE, HU)", "{:.0f}".format, -1,
           "Typical difference to the truth, air around the body left out. Smaller is better."),
    Column("psnr", "PSNR (dB)", "{:.1f}".format, 1,
           "Error of the whole volume on a logarithmic scale, window -1000 to 1000 HU. Larger is "
           "better; 1 dB more is 11 % less error."),
    Column("ssim", "SSIM", "{:.3f}".format, 1,
           "How alike small neighbourhoods are, 1 is equal. Air counts too and lifts it."),
    Column("noise", "Noise and streaks left (HU)", "{:.1f}".format, 0,
           "Standard deviation in flat places, the same for all rows. Less is calmer, not always "
           "better: a blurred volume has no noise either."),
    Column("chi_squared", "Misfit to the views", "{:.2f}".format, 0,
           "1: the volume explains the X-ray views as well as their noise allows. More: it misses "
           "something. Less: it follows the noise."),
)  # fmt: skip


def write_demo_report(result: DemoResult) -> None:
    """Write the page of a demo to ``result.report``, and one page to compare volumes per part."""
    for part in result.parts:
        _write_compare(part, result.report.parent)
    body = "\n".join(_body(result))
    page = _PAGE.format(title=_text(f"CTRestore demo: {result.title}"), style=_STYLE, body=body)
    with atomic_path(result.report) as temporary:
        temporary.write_text(page, encoding="utf-8")


def compare_page(part: DemoPart) -> str:
    """Return the file name of a part's page with linked slices."""
    return f"{part.name}_compare.html"


def _write_compare(part: DemoPart, folder: Path) -> None:
    """Write the page with linked slices, wipe and profiles; it repeats the numbers of this one."""
    entries = []
    for entry in part.entries:
        sidecar = folder / entry.file.replace(".nii", ".json")
        record = Provenance.read(sidecar).to_json() if sidecar.exists() else None
        measures = MeasureReport(tuple(entry.measures.values()))
        entries.append(ReportEntry(entry.title, entry.volume, record, "", measures))
    write_compare_report(entries, folder / compare_page(part), title=part.title)


def _body(result: DemoResult) -> Iterable[str]:
    yield f"<h1>CTRestore demo: {_text(result.title)}</h1>"
    yield (
        "<p class='lead'>Every method ran with its default settings on the same data, in one run. "
        f"It took {_duration(result.seconds)}.</p>"
    )
    yield "<p class='use'>Research use only: not for primary diagnosis.</p>"
    if result.notes:
        yield _list("What was assumed", result.notes)
    for part in result.parts:
        yield from _part(part)
    yield _how_to_read()
    yield _files(result)
    yield f"<footer>CTRestore {__version__}, Apache-2.0</footer>"


def _part(part: DemoPart) -> Iterable[str]:
    yield f"<section><h2>{_text(part.title)}</h2><p>{_text(part.intro)}</p>"
    yield _table(part)
    if part.left_out:
        yield _list("Not run", [f"{title}: {why}" for title, why in part.left_out])
    link = f"<a href='{compare_page(part)}'>Compare these volumes slice by slice</a>"
    yield f"<p>{link} (linked slices, wipe, difference, profiles).</p>"
    yield _gallery(part)
    yield _scan_details(part)
    yield "</section>"


# -- table ----------------------------------------------------------------------------------------
def _table(part: DemoPart) -> str:
    entries = [e for e in part.entries if e.name != "truth"]
    enough = min(2, len(entries))
    shown = [c for c in _COLUMNS if sum(c.name in e.measures for e in entries) >= enough]
    judged = any("residual_structure" in e.measures for e in entries)
    heads = ["Method", *(c.head for c in shown)]
    heads += ["Removed noise"] if judged else []
    head = "".join(f"<th scope='col'>{_text(h)}</th>" for h in [*heads, "Time"])
    best = {c.name: _best(entries, c) for c in shown}
    rows = "".join(_row(e, shown, best, judged=judged) for e in entries)
    bold = "<p class='small'>Bold: best of the column.</p>" if any(best.values()) else ""
    hints = "".join(f"<li><b>{_text(c.head)}</b>: {_text(c.hint)}</li>" for c in shown)
    if judged:
        hints += (
            "<li><b>Removed noise</b>: a statistical test whether what was taken away contains "
            "anatomy. Good: no outlines found. Look closer or not safe: use less strength. "
            "Texture as fine and faint as noise, such as that of cancellous bone, can be lost "
            "unnoticed: compare the enlarged detail.</li>"
        )
    hints += "<li><b>Time</b>: with starting the program, on this machine as busy as it was.</li>"
    return (
        f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"</div>{bold}<details><summary>What the columns mean</summary><ul>{hints}</ul></details>"
    )


def _row(entry: DemoEntry, shown: Sequence[Column], best: dict[str, str], *, judged: bool) -> str:
    mark = " *" if _has_help(entry) else ""
    cells = [f"<th scope='row'>{_text(entry.title)}{mark}</th>"]
    for column in shown:
        text = _number(entry.measures.get(column.name), column)
        strong = text and best[column.name] == entry.name
        cells.append(f"<td>{f'<b>{text}</b>' if strong else text or '–'}</td>")
    if judged:
        cells.append(_verdict(entry.measures.get("residual_structure")))
    seconds = "–" if entry.seconds is None else f"{entry.seconds:.1f} s"
    return f"<tr>{''.join(cells)}<td>{seconds}</td></tr>"


def _best(entries: Sequence[DemoEntry], column: Column) -> str:
    """Return the name of the best entry; none where less is not better, or with outside help."""
    if column.better == 0:
        return ""
    values = {
        e.name: column.better * float(e.measures[column.name])
        for e in entries
        if column.name in e.measures and not _has_help(e)
    }
    return max(values, key=lambda name: values[name]) if values else ""


def _has_help(entry: DemoEntry) -> bool:
    return any(note.startswith("Uses the low-dose volume") for note in entry.notes)


def _number(measure: Measure | None, column: Column) -> str:
    if measure is None or measure.value is None or not math.isfinite(measure.value):
        return ""
    return column.text(measure.value)


def _verdict(measure: Measure | None) -> str:
    if measure is None:
        return "<td>–</td>"
    word = measure.verdict.word or "not tested"
    return (
        f"<td><span class='verdict {measure.verdict.value}' title='{_text(measure.sentence)}'>"
        f"{_text(word)}</span></td>"
    )


# -- pictures -------------------------------------------------------------------------------------
def _gallery(part: DemoPart) -> str:
    base = part.entries[0]
    views = _views(part, base.volume)
    figures = "".join(_figure(entry, base, views) for entry in part.entries)
    names = "".join(f"<span>{_text(view.name)}</span>" for view in views)
    return (
        f"<div class='gallery' style='--n:{len(views)}'><div class='names'>{names}</div>"
        f"{figures}</div>"
    )


@dataclass(frozen=True, eq=False)
class _View:
    """One picture of every entry: a plane, where it is cut, what is shown in it."""

    name: str
    plane: str
    index: int
    grey: Grey
    crop: tuple[slice, slice] = (slice(None), slice(None))
    against: Stack | None = None
    zoom: float = 1.0


def _views(part: DemoPart, base: Volume) -> list[_View]:
    stack = Stack.of(base)
    axial, coronal = (stack.telling(plane, base.unit) for plane in ("axial", "coronal"))
    soft, bone, error = SOFT, BONE, ERROR
    if base.unit is not Unit.HU:
        low, high = (float(v) for v in np.percentile(base.values, (0.5, 99.5)))
        soft = bone = Grey(low, max(high, low + 1e-6))
        error = Grey(-(high - low) / 4, (high - low) / 4 + 1e-6)
    known = part.entries[0].name == "truth"
    if not known:  # removed noise is far smaller than errors: six standard deviations are grey
        reach = max(6 * float(part.entries[0].measures["noise"]), 1e-6)
        error = Grey(-reach, reach) if math.isfinite(reach) else error
    crop = _detail(stack.plane("coronal", coronal))
    what = "Difference to the truth" if known else "What was removed"
    what += f", ±{error.high:.3g} {base.unit.label}"
    return [
        _View("Axial slice, soft tissue", "axial", axial, soft),
        _View("Coronal slice, bone", "coronal", coronal, bone),
        _View("Detail, enlarged", "coronal", coronal, bone, crop, zoom=3.0),
        _View(what, "axial", axial, error, against=stack),
    ]


def _detail(picture: NDArray[np.float32]) -> tuple[slice, slice]:
    """Return the third of the picture with the most structure."""
    rows, cols = picture.shape
    height, width = max(4, rows // 3), max(4, cols // 3)
    best, place = -1.0, (0, 0)
    for r in range(0, rows - height + 1, max(1, height // 4)):
        for c in range(0, cols - width + 1, max(1, width // 4)):
            score = float(np.abs(np.diff(picture[r : r + height, c : c + width], axis=1)).sum())
            if score > best:
                best, place = score, (r, c)
    r, c = place
    return slice(r, r + height), slice(c, c + width)


def _figure(entry: DemoEntry, base: DemoEntry, views: Sequence[_View]) -> str:
    stack = Stack.of(entry.volume)
    cells = "".join(_cell(stack, entry, base, view) for view in views)
    notes = "".join(f"<li>{_text(note)}</li>" for note in entry.notes)
    told = f"<details><summary>Notes ({len(entry.notes)})</summary><ul>{notes}</ul></details>"
    return (
        f"<figure><figcaption><b>{_text(entry.title)}</b> "
        f"<span class='small'>{_text(entry.sentence())}</span>{told if notes else ''}</figcaption>"
        f"<div class='row'>{cells}</div></figure>"
    )


def _cell(stack: Stack, entry: DemoEntry, base: DemoEntry, view: _View) -> str:
    picture = stack.plane(view.plane, view.index)
    if view.against is not None:
        if entry is base:
            return "<div class='none'></div>"
        reference = view.against.plane(view.plane, view.index)
        picture = picture - reference if base.name == "truth" else reference - picture
    height_mm, width_mm = stack.size_mm(view.plane)
    rows, cols = picture.shape
    picture = picture[view.crop]
    ratio = (width_mm / cols * picture.shape[1]) / (height_mm / rows * picture.shape[0])
    source = png_uri(view.grey.apply(picture))
    sharp = " class='zoomed'" if view.zoom > 1 else ""
    label = _text(f"{entry.title}: {view.name}")
    return f"<img src='{source}' alt='{label}'{sharp} style='aspect-ratio:{ratio:.4f}'>"


# -- words ----------------------------------------------------------------------------------------
def _scan_details(part: DemoPart) -> str:
    if not part.scan:
        return ""
    shown = {k: v for k, v in part.scan.items() if v not in (None, 0.0, False)}
    rows = "".join(f"<tr><td>{_text(k)}</td><td>{_text(v)}</td></tr>" for k, v in shown.items())
    title = "Settings of the virtual scanner"
    return f"<details><summary>{title}</summary><table>{rows}</table></details>"


def _how_to_read() -> str:
    return (
        "<section><h2>How to read this page</h2><ul>"
        "<li>Slices are shown the radiological way: the patient's right is at the left.</li>"
        "<li>In HU, soft tissue is shown from -160 to 240 and bone from -400 to 1400. In "
        "difference pictures grey means no difference, black and white the ends of the range above "
        "them.</li>"
        "<li>A difference picture should look like noise. Outlines of bones in it mean that edges "
        "were blurred or moved.</li>"
        "<li>One object and one noise level do not rank methods for every patient: try "
        "<code>ctrestore demo --input</code> with a scan of your own.</li>"
        "</ul></section>"
    )


def _files(result: DemoResult) -> str:
    names = [e.file for part in result.parts for e in part.entries if e.file]
    items = "".join(f"<li><a href='{_text(n)}'>{_text(n)}</a></li>" for n in names)
    return (
        "<section><h2>Files</h2><p>All volumes lie beside this page as NIfTI files, each result "
        "with a .json file that says how it was made (<code>ctrestore replay</code> makes it "
        "again); the numbers are in <a href='summary.json'>summary.json</a>.</p>"
        f"<details><summary>{len(names)} volumes</summary><ul>{items}</ul></details></section>"
    )


def _list(title: str, items: Sequence[str]) -> str:
    rows = "".join(f"<li>{_text(item)}</li>" for item in items)
    return f"<p><b>{_text(title)}</b></p><ul>{rows}</ul>"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} minutes"


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""

_STYLE = """
:root { --ink: #22272e; --soft: #5c6670; --line: #d7dbdf; --paper: #fcfbf9; --link: #0b5c70; }
body { margin: 0 auto; max-width: 1180px; padding: 1.5rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1, h2 { font-family: Georgia, serif; } h1 { margin: 0 0 .3rem; }
h2 { margin: 2.4rem 0 .4rem; border-top: 1px solid var(--line); padding-top: 1.2rem; }
a { color: var(--link); } .lead { font-size: 1.1rem; margin: .2rem 0; }
.use { background: #fde9c4; color: #6b4700; padding: .3rem .8rem; display: inline-block; }
.small, footer { color: var(--soft); font-size: .87rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .8rem 0 .2rem; }
td { white-space: nowrap; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; max-width: 8.5rem; }
th:first-child { text-align: left; font-weight: 500; max-width: 22rem; }
td b { color: #0a6b3d; }
.verdict { padding: .1rem .6rem; border-radius: .7rem; font-weight: 600; font-size: .9rem; }
.green { background: #d5efdf; color: #0f5132; } .amber { background: #fde9c4; color: #6b4700; }
.red { background: #fbd9d6; color: #8c1d13; }
details { margin: .3rem 0; } summary { cursor: pointer; color: var(--soft); }
.gallery { margin-top: 1.2rem; }
.names, .row { display: grid; grid-template-columns: repeat(var(--n), 1fr); gap: .5rem; }
.names { position: sticky; top: 0; background: var(--paper); padding: .4rem 0; z-index: 1;
  color: var(--soft); font-size: .87rem; text-align: center; border-bottom: 1px solid var(--line); }
figure { margin: 1rem 0 1.4rem; } figcaption { margin-bottom: .3rem; }
.row { align-items: start; } img { width: 100%; background: #000; display: block; }
img.zoomed { image-rendering: pixelated; }
footer { margin-top: 2rem; border-top: 1px solid var(--line); padding-top: .6rem; }
@media (max-width: 640px) { .row { grid-template-columns: repeat(2, 1fr); }
  .names { display: none; } }
"""
