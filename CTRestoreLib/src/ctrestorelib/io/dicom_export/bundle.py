"""Write a series and the segments drawn on it into one folder, both or neither (layer: io)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ctrestorelib.core.job import Job
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.core.volume import Volume
from ctrestorelib.io.dicom_export.options import (
    DEFAULT_OPTIONS,
    DEFAULT_STAMP,
    ExportOptions,
    Stamp,
)
from ctrestorelib.io.dicom_export.segmentation import Mask, SegmentationReport, export_segmentation
from ctrestorelib.io.dicom_export.source import SourceLike
from ctrestorelib.io.dicom_export.writing import ExportReport, export_series, new_folder


def export_with_segments(
    volume: Volume,
    provenance: Provenance | None,
    folder: Path,
    masks: Sequence[tuple[str, Mask]],
    *,
    algorithm: str = "",
    source: SourceLike = None,
    options: ExportOptions = DEFAULT_OPTIONS,
    stamp: Stamp = DEFAULT_STAMP,
    job: Job | None = None,
) -> tuple[ExportReport, SegmentationReport]:
    """Write a derived series with a DICOM SEG of ``masks`` beside its images.

    The arguments are those of :func:`~ctrestorelib.io.dicom_export.export_series` and
    :func:`~ctrestorelib.io.dicom_export.export_segmentation`; so are the errors, after any of which
    the folder does not exist.
    """
    with new_folder(folder) as temporary:
        series = export_series(
            volume, provenance, temporary, source=source, options=options, stamp=stamp, job=job
        )
        segments = export_segmentation(
            masks, volume.geometry, series.files, temporary, algorithm=algorithm, stamp=stamp
        )
    files = tuple(folder / path.name for path in series.files)
    return replace(series, files=files), replace(segments, file=folder / segments.file.name)
