"""What the demo found: volumes with their numbers, and how they become a summary (layer: apps)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.apps.demo_cases import body_mask
from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.nps import noise_power_spectrum
from ctrestorelib.quality.reference import psnr, rmse, ssim
from ctrestorelib.quality.residual import residual_structure
from ctrestorelib.quality.result import Measure
from ctrestorelib.quality.rois import Rois, find_rois
from ctrestorelib.quality.window import FIELD_WINDOW

_FLAT_HU = 90.0
_SOFT_HU = 200.0
_FEWEST_FLAT = 100


@dataclass(frozen=True, eq=False)
class DemoEntry:
    """One volume of the demo with its numbers.

    Parameters
    ----------
    name
        Short name: the method's id, or ``truth``, ``original``.
    title
        As a person reads it.
    seconds
        Duration of the job, with starting its process.
    measures
        By name: ``rmse``, ``psnr``, ``ssim``, ``noise``, ``residual_structure``, ``chi_squared``.
    file
        Name of the volume's file in the output folder.
    notes
        The method's warnings, and what sets it apart from the others.
    """

    name: str
    title: str
    volume: Volume
    seconds: float | None = None
    measures: dict[str, Measure] = field(default_factory=dict)
    file: str = ""
    notes: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Return the most telling numbers in one line."""
        found = self.measures
        parts = []
        if "rmse" in found:
            parts.append(f"error {float(found['rmse']):.0f} HU inside the body")
            parts.append(f"PSNR {float(found['psnr']):.1f} dB")
        if "noise" in found and found["noise"].value is not None:
            parts.append(f"noise {float(found['noise']):.1f} {found['noise'].unit}")
        structure = found.get("residual_structure")
        if structure is not None and structure.verdict.word:
            parts.append(f"removed noise: {structure.verdict.word}")
        if self.seconds is not None:
            parts.append(f"{self.seconds:.0f} s")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the voxels as plain values."""
        return {
            "name": self.name,
            "title": self.title,
            "file": self.file,
            "seconds": self.seconds,
            "measures": {name: _short(m) for name, m in self.measures.items()},
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class DemoPart:
    """One of the demo's two comparisons.

    Parameters
    ----------
    name
        ``low_dose`` or ``sparse``.
    title, intro
        Heading and explanation in plain words.
    entries
        All volumes on one grid; the truth (if known) and the untreated volume first.
    left_out
        Methods that did not run: title and reason.
    scan
        The virtual scan's settings.
    """

    name: str
    title: str
    intro: str
    entries: tuple[DemoEntry, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    scan: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the voxels as plain values."""
        return {
            "name": self.name,
            "title": self.title,
            "scan": self.scan,
            "left_out": [{"method": title, "why": why} for title, why in self.left_out],
            "entries": [entry.to_json() for entry in self.entries],
        }


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What the demo made: the report page, the summary file, and everything in it."""

    report: Path
    summary: Path
    title: str
    parts: tuple[DemoPart, ...]
    notes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, eq=False)
class Ruler:
    """Measures all volumes of one comparison alike: same truth, same places.

    Parameters
    ----------
    truth
        What was scanned, in HU; None if nobody knows.
    original
        The volume before denoising; None for reconstructions.
    """

    truth: Volume | None
    original: Volume | None = None

    @cached_property
    def body(self) -> NDArray[np.bool_] | None:
        """Where the truth is not the air around the object."""
        return None if self.truth is None else body_mask(self.truth)

    @cached_property
    def flat(self) -> NDArray[np.bool_] | None:
        """Where the truth is soft and hardly changes within two voxels: few edges blur into it."""
        from scipy.ndimage import maximum_filter, minimum_filter

        if self.truth is None or self.body is None:
            return None
        values = self.truth.values
        change = maximum_filter(values, 5) - minimum_filter(values, 5)
        soft = (np.abs(values) < _SOFT_HU) & (change < _FLAT_HU)
        return np.asarray(self.body & soft, dtype=bool)

    @cached_property
    def rois(self) -> Rois | None:
        """Flat places of the original."""
        return None if self.original is None else find_rois(self.original)

    def measure(self, volume: Volume) -> dict[str, Measure]:
        """Return noise; with a truth RMSE, PSNR, SSIM; with an original the residual test."""
        out = {"noise": self._noise(volume)}
        if self.truth is not None:
            shown, wanted = (FIELD_WINDOW.apply(v.values) for v in (volume, self.truth))
            out["rmse"] = rmse(volume, self.truth, mask=self.body)
            out["psnr"] = psnr(shown, wanted, data_range=1.0)
            out["ssim"] = ssim(shown, wanted, data_range=1.0)
        if self.original is not None and self.original is not volume:
            out["residual_structure"] = residual_structure(self.original, volume).to_measure()
        return out

    def _noise(self, volume: Volume) -> Measure:
        title, flat = "Noise and streaks in flat tissue", self.flat
        if self.truth is not None and flat is not None:
            count = int(flat.sum())
            if count < _FEWEST_FLAT:
                why = f"only {count} voxels lie in flat tissue; {_FEWEST_FLAT} are needed."
                return Measure.missing("noise", title, why)
            sigma = float((volume.values - self.truth.values)[flat].std(dtype=np.float64))
            where = f"difference to the truth in {count} voxels of flat tissue"
            return Measure("noise", title, sigma, volume.unit.label, protocol=where)
        found = None if self.rois is None else noise_power_spectrum(volume, rois=self.rois)
        if found is None:
            why = "no flat places were found." if self.rois is None else self.rois.why_none
            return Measure.missing("noise", title, why)
        low, high = (float(v) ** 0.5 for v in found.variance_interval)
        where = f"{found.rois} squares of {found.size_px} pixels in {found.tissue}"
        return Measure("noise", title, found.sigma, found.unit, (low, high), protocol=where)


def fit_to_views(report: dict[str, Any]) -> dict[str, Measure]:
    """Return how well a reconstruction explains its own views, if the method says so."""
    found = _find(report, "chi_squared_per_reading")
    if found is None:
        return {}
    sentence = "1: explains the views as well as the noise allows; more: misses something."
    title = "Misfit to the views (chi-squared per reading)"
    return {"chi_squared": Measure("chi_squared", title, float(found), sentence=sentence)}


def _find(record: Any, key: str) -> Any:
    if not isinstance(record, dict):
        return None
    if key in record:
        return record[key]
    return next((v for part in record.values() if (v := _find(part, key)) is not None), None)


def _short(measure: Measure) -> dict[str, Any]:
    record = measure.to_json()
    return {k: record[k] for k in ("value", "unit", "verdict", "sentence", "not_measurable")}
