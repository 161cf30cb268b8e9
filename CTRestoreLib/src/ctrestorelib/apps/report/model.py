"""What goes into a comparison page (layer: apps)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, UnitError, UsageError
from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.measure import MeasureReport
from ctrestorelib.quality.pairs import grid_difference


@dataclass(frozen=True, eq=False)
class ReportEntry:
    """One volume of the comparison.

    Parameters
    ----------
    label
        Its name on the page; every label is used once.
    volume
        The values; all entries lie on one grid and have one unit.
    provenance
        The record of how it was made (the JSON sidecar), if there is one.
    original
        Label of the entry it was restored from. ``None`` takes the first entry; an empty text says
        that there is none (reconstructions compared with each other).
    measures
        What was measured already; measured here if absent.
    """

    label: str
    volume: Volume
    provenance: dict[str, Any] | None = None
    original: str | None = None
    measures: MeasureReport | None = None


@dataclass(frozen=True)
class TextSection:
    """Paragraphs under a heading."""

    title: str
    paragraphs: Sequence[str]


@dataclass(frozen=True)
class TableSection:
    """A table under a heading; cells are text."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture for a gallery.

    Parameters
    ----------
    grey
        Grey levels 0 to 255, ``[row, col]`` uint8.
    alt
        What it shows, for people who do not see it.
    caption
        Line below the picture.
    aspect
        Width divided by height in mm; the pixels' own if absent.
    """

    grey: NDArray[np.uint8]
    alt: str
    caption: str = ""
    aspect: float | None = None


@dataclass(frozen=True, eq=False)
class PictureSection:
    """Pictures under a heading."""

    title: str
    pictures: Sequence[Picture]
    note: str = ""


Section = TextSection | TableSection | PictureSection


def check_entries(entries: Sequence[ReportEntry], reference: Volume | None) -> None:
    """Raise unless the entries can be compared voxel by voxel.

    Raises
    ------
    UsageError
        If there is no entry, a label is used twice, or an ``original`` names no entry.
    GeometryError
        If the grids differ; the message says between whom and in what.
    UnitError
        If the units differ.
    """
    if not entries:
        message = "A comparison needs at least one volume; got none."
        raise UsageError(message)
    labels = [e.label for e in entries]
    if len(set(labels)) < len(labels):
        message = f"Every volume needs its own label; got {', '.join(labels)}."
        raise UsageError(message)
    for entry in entries:
        if entry.original and entry.original not in labels:
            message = f"{entry.label} names {entry.original!r} as its original, which is not shown."
            raise UsageError(message, hint=f"Use one of: {', '.join(labels)}.")
    first = entries[0]
    others = [(e.label, e.volume) for e in entries[1:]]
    if reference is not None:
        others.append(("the reference", reference))
    for label, volume in others:
        if not volume.geometry.matches(first.volume.geometry, tolerance_mm=1e-2):
            gap = grid_difference(first.volume, volume)
            message = f"{first.label} and {label} lie on different grids: {gap}."
            hint = "Resample one of them onto the grid of the other first, for instance in Slicer."
            raise GeometryError(message, hint=hint)
        if volume.unit != first.volume.unit:
            message = (
                f"{first.label} is in {first.volume.unit.label}, {label} in {volume.unit.label}."
            )
            raise UnitError(message, hint="Convert one of them first, or say its unit.")


def original_of(entry: ReportEntry, entries: Sequence[ReportEntry]) -> ReportEntry | None:
    """Return the entry that ``entry`` was restored from, if any."""
    if entry.original == "" or entry is entries[0]:
        return None
    if entry.original is None:
        return entries[0]
    return next(e for e in entries if e.label == entry.original)
