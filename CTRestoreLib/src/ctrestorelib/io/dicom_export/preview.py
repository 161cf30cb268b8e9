"""Show the header that an export would write, before it writes (layer: io)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ctrestorelib.core.provenance import Provenance
from ctrestorelib.core.volume import Volume
from ctrestorelib.io.dicom.quiet import quiet, read_errors
from ctrestorelib.io.dicom_export.header import series_header, slice_header
from ctrestorelib.io.dicom_export.options import (
    DEFAULT_OPTIONS,
    DEFAULT_STAMP,
    Dataset,
    ExportOptions,
    Stamp,
)
from ctrestorelib.io.dicom_export.pixels import as_exported, encoding_for
from ctrestorelib.io.dicom_export.plan import ExportPlan, plan_export
from ctrestorelib.io.dicom_export.source import SourceLike

_SHOWN = 120


@dataclass(frozen=True)
class HeaderRow:
    """One attribute of the middle slice, for a table.

    Parameters
    ----------
    tag
        ``(gggg,eeee)``.
    keyword
        As in the DICOM dictionary; the description for private elements.
    value
        As text, shortened. It may name the patient: show it, do not log it.
    origin
        ``copied`` from the source, ``changed``, or ``new``.
    """

    tag: str
    keyword: str
    value: str
    origin: str


def preview_series(
    volume: Volume,
    provenance: Provenance | None,
    *,
    source: SourceLike = None,
    options: ExportOptions = DEFAULT_OPTIONS,
    stamp: Stamp = DEFAULT_STAMP,
) -> tuple[HeaderRow, ...]:
    """Return the header of the middle slice as :func:`export_series` would write it.

    UIDs and times are made anew by the export itself.

    Raises
    ------
    InputError, GeometryError
        For the reasons for which the export would refuse.
    """
    with quiet():
        plan = plan_export(volume, provenance, source=source, options=options, stamp=stamp)
        values, _notes = as_exported(volume, plan)
        encoding, _notes = encoding_for(values, plan)
        k = volume.shape[0] // 2
        header = slice_header(plan, series_header(plan, encoding), k, stamp.new_uid())
        before = _before(plan, k)
        return tuple(_row(element, before) for element in header)


def _before(plan: ExportPlan, k: int) -> Dataset | None:
    if plan.matches is not None:
        return plan.matches[k].header
    return plan.source.first if plan.source is not None else None


def _row(element: Any, before: Dataset | None) -> HeaderRow:
    tag = f"({element.tag.group:04X},{element.tag.element:04X})"
    return HeaderRow(tag, element.keyword or element.name, _text(element), _origin(element, before))


def _origin(element: Any, before: Dataset | None) -> str:
    try:
        if before is None or element.tag not in before:
            return "new"
        return "copied" if before[element.tag].value == element.value else "changed"
    except read_errors():
        return "changed"


def _text(element: Any) -> str:
    if element.VR == "SQ":
        count = len(element.value)
        inside = "; ".join(_text(e) for e in element.value[0] if e.VR != "SQ") if count else ""
        shown = f"{count} item{'s' * (count != 1)}: {inside}"
    elif element.is_empty:
        shown = ""
    else:
        many = element.VM > 1
        shown = "\\".join(str(v) for v in element.value) if many else str(element.value)
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."
