"""``ctrestore export-dicom``: a result as a derived DICOM series (layer: apps)."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from ctrestorelib.apps.cli import files, options
from ctrestorelib.apps.cli.console import echo_json, progress, table
from ctrestorelib.core.errors import CTRestoreError, GeometryError, UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.core.provenance import Provenance, array_sha256
from ctrestorelib.core.volume import Volume
from ctrestorelib.io.dicom_export import (
    ExportOptions,
    ExportReport,
    Identity,
    SourceSeries,
    export_multi_frame,
    export_series,
    export_with_segments,
    preview_series,
)
from ctrestorelib.io.dicom_export.writing import require_free
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.methods.registry import method


@click.command("export-dicom")
@click.argument("result", type=options.path_type)
@click.argument("outdir", type=options.path_type)
@click.option("--source", type=options.path_type, help="DICOM series that RESULT was made from.")
@click.option("--series", help="Which series of --source: its number or UID.")
@click.option("--record", type=options.path_type, help="Default: the .json file beside RESULT.")
@click.option("--patient", type=options.path_type, help="JSON file with the patient, see above.")
@click.option("--ask-patient", is_flag=True, help="Ask for the patient instead.")
@click.option("--description", default="", help="Series description; default: the source's.")
@click.option("--series-number", type=int, help="Default: the source's, times 100, plus 1.")
@click.option("--body-part", default="", help="Such as KNEE, if the source does not say.")
@click.option("--laterality", default="", help="L or R, if the source does not say.")
@click.option("--keep-dose", is_flag=True, help="Keep CTDIvol; it may be counted twice.")
@click.option("--scanner-as-manufacturer", is_flag=True, help="Name the scanner, not CTRestore.")
@click.option("--synthetic", is_flag=True, help="RESULT stems from simulated data.")
@click.option(
    "--same-frame/--new-frame", default=None,
    help="Whether a new grid lies in the source's frame of reference.",
)  # fmt: skip
@click.option("--private-block/--no-private-block", default=True, help="Write the whole record.")
@click.option("--segment", multiple=True, help="NAME=FILE: a mask for a DICOM SEG; repeatable.")
@click.option("--algorithm", default="", help="What drew the segments; default: a person.")
@click.option(
    "--multi-frame", type=options.path_type,
    help="Also gather the images into one enhanced file in this new folder.",
)  # fmt: skip
@click.option("--input-unit", type=click.Choice(["hu", "per_mm", "grey"]), help="Unit of RESULT.")
@click.option("--preview", is_flag=True, help="Show the header, patient included; write nothing.")
@click.option("--quiet", is_flag=True, help="No progress.")
@options.json_option
def export_dicom(result: Path, outdir: Path, **given: Any) -> None:
    """Write RESULT as a derived CT series into the new folder OUTDIR.

    Patient, study and frame of reference come from --source; on its grid, so do the positions.
    Without --source a new study of an anonymous patient is made, or of the one in the --patient
    file: {"name": "Family^Given", "patient_id": "1", "birth_date": "19700131", "sex": "F"}. There
    are no options for these, because a shell remembers what is typed.
    """
    for folder in (outdir, given["multi_frame"]):
        if folder is not None and not given["preview"]:
            require_free(folder)
    quiet = given["quiet"] or given["as_json"]
    read = files.open_volume(result, input_unit=given["input_unit"], quiet=quiet)
    record = _record(result, given["record"])
    source = given["source"] and SourceSeries.open(given["source"], given["series"])
    chosen = _options(given, record, has_source=source is not None)
    if given["preview"]:
        _show_preview(read.volume, record, source, chosen, as_json=given["as_json"])
        return
    masks = [_segment(text, read.volume) for text in given["segment"]]
    with progress("Export", quiet=quiet) as show:
        work: dict[str, Any] = {"source": source, "options": chosen, "job": Job(show)}
        if masks:
            report, _segments = export_with_segments(
                read.volume, record, outdir, masks, algorithm=given["algorithm"], **work
            )
        else:
            report = export_series(read.volume, record, outdir, **work)
        if given["multi_frame"]:
            export_multi_frame(report.files, given["multi_frame"])
    _tell(report, outdir, _doubts(read.volume, record), len(masks), as_json=given["as_json"])


def _record(result: Path, named: Path | None) -> Provenance | None:
    path = files.sidecar_of(result) if named is None else named
    return Provenance.read(path) if named is not None or path.exists() else None


def _options(
    given: dict[str, Any], record: Provenance | None, *, has_source: bool
) -> ExportOptions:
    names = {f.name for f in fields(ExportOptions)} & set(given)
    return ExportOptions(
        **{name: given[name] for name in names},
        method_title=_title(record),
        identity=_identity(given, has_source=has_source),
    )


def _title(record: Provenance | None) -> str:
    try:
        return method(record.method).spec.title if record is not None else ""
    except CTRestoreError:  # a method that is not installed here
        return ""


def _identity(given: dict[str, Any], *, has_source: bool) -> Identity:
    if not given["patient"] and not given["ask_patient"]:
        return Identity()
    if has_source:
        message = "The patient comes from --source; --patient and --ask-patient go without it."
        raise UsageError(message)
    if given["patient"]:
        return Identity.read(given["patient"])
    ask = [
        click.prompt(words, default="", show_default=False, err=True)
        for words in ("Name (Family^Given)", "Patient ID", "Birth date (YYYYMMDD)", "Sex (M/F/O)")
    ]
    return Identity(ask[0] or Identity().name, *ask[1:])


def _segment(text: str, volume: Volume) -> tuple[str, NDArray[np.bool_]]:
    name, equals, path = text.partition("=")
    if not (name.strip() and equals and path):
        message = f"--segment takes NAME=FILE, such as Bone=bone.nrrd; got {text!r}."
        raise UsageError(message)
    mask = read_volume(path).volume
    if not mask.geometry.matches(volume.geometry):
        message = "A segment does not lie on the grid of RESULT."
        raise GeometryError(message, hint="Export it with RESULT as reference geometry.")
    return name, mask.values > 0.5


def _show_preview(
    volume: Volume,
    record: Provenance | None,
    source: SourceSeries | None,
    chosen: ExportOptions,
    *,
    as_json: bool,
) -> None:
    rows = preview_series(volume, record, source=source, options=chosen)
    if as_json:
        echo_json([vars(row) for row in rows])
        return
    lines: list[tuple[str, ...]] = [(r.tag, r.keyword, r.origin, r.value) for r in rows]
    click.echo(table(lines, ("TAG", "ATTRIBUTE", "FROM", "VALUE")))


def _doubts(volume: Volume, record: Provenance | None) -> list[str]:
    """Return what speaks against the record belonging to this very volume."""
    if record is None:
        return ["There is no record of how RESULT was made; the headers say so."]
    if record.output_sha256 in ("", array_sha256(volume.values)):
        return []
    return ["RESULT is not bit for bit what the record describes: it was converted or edited."]


def _tell(
    report: ExportReport, outdir: Path, doubts: list[str], segments: int, *, as_json: bool
) -> None:
    notes = [*doubts, *(n.text for n in report.notes)]
    if as_json:
        echo_json(
            {
                "output": str(outdir),
                "images": len(report.files),
                "segments": segments,
                "clipped_voxels": report.clipped,
                "same_grid": report.same_grid,
                "series_uid": report.series_uid,
                "study_uid": report.study_uid,
                "notes": notes,
            }
        )
        return
    for note in notes:
        click.echo(f"Note: {note}", err=True)
    more = f" and {segments} segments" if segments else ""
    click.echo(f"Wrote {len(report.files)} images{more} to {outdir}.")
