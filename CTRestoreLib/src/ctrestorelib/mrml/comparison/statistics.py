"""Numbers of regions and of whole volumes, as table columns (layer: mrml).

Everything here works on arrays alone and touches no node, so that it may run in a child process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.contrast import cnr
from ctrestorelib.quality.nps import NoisePowerSpectrum, noise_power_spectrum
from ctrestorelib.quality.result import Measure
from ctrestorelib.quality.rois import find_rois

Texts = dict[str, list[str]]
"""A table of texts: cells below each title."""


@dataclass(frozen=True)
class Named:
    """A volume with the name that tables and legends show."""

    name: str
    volume: Volume


@dataclass(frozen=True)
class NamedMask:
    """A region on the voxels of one volume: array ``[k, j, i]``, true inside."""

    name: str
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class RegionNumbers:
    """First-order statistics of one region; values in ``unit``.

    Parameters
    ----------
    mean, sd, minimum, maximum
        Of the finite values; ``sd`` divides by n - 1 and is NaN for a single voxel.
    voxels
        How many finite values there are.
    volume_ml
        What these voxels fill, in millilitres.
    unit
        Unit of the values.
    """

    mean: float
    sd: float
    minimum: float
    maximum: float
    voxels: int
    volume_ml: float
    unit: str


def region_numbers(volume: Volume, region: NamedMask) -> RegionNumbers:
    """Return the statistics of a region.

    Raises
    ------
    GeometryError
        If the mask has another shape than the volume.
    InputError
        If the region has no voxel with a number.
    """
    _check_shape(volume, region)
    values = volume.values[region.mask]
    values = values[np.isfinite(values)].astype(np.float64)
    if not values.size:
        message = f"The region {region.name} holds no voxel with a value."
        raise InputError(message, hint="Draw it inside the volume.")
    return RegionNumbers(
        mean=float(values.mean()),
        sd=float(values.std(ddof=1)) if values.size > 1 else float("nan"),
        minimum=float(values.min()),
        maximum=float(values.max()),
        voxels=int(values.size),
        volume_ml=values.size * volume.geometry.voxel_volume_mm3 / 1000.0,
        unit=volume.unit.label,
    )


def region_columns(volumes: Sequence[Named], regions: Sequence[Sequence[NamedMask]]) -> Texts:
    """Return one row for each region and volume.

    Parameters
    ----------
    volumes
        What is compared.
    regions
        For each volume its regions, in the same order: volumes may lie on different grids.
    """
    out: Texts = {t: [] for t in ("Region", "Volume", "Unit", "Mean", "SD", "Minimum", "Maximum",
                                  "Voxels", "Volume [ml]")}  # fmt: skip
    for place in range(len(regions[0]) if regions else 0):
        for named, own in zip(volumes, regions, strict=True):
            found = region_numbers(named.volume, own[place])
            row = (own[place].name, named.name, found.unit, _told(found.mean), _told(found.sd),
                   _told(found.minimum), _told(found.maximum), str(found.voxels),
                   _told(found.volume_ml))  # fmt: skip
            for cells, cell in zip(out.values(), row, strict=True):
                cells.append(cell)
    return out


def contrast_columns(
    volumes: Sequence[Named], pairs: Sequence[tuple[NamedMask, NamedMask]]
) -> Texts:
    """Return the contrast-to-noise ratio of two regions in each volume, one row each.

    Parameters
    ----------
    pairs
        For each volume its two regions.
    """
    rows = []
    for named, (first, second) in zip(volumes, pairs, strict=True):
        for region in (first, second):
            _check_shape(named.volume, region)
        found = cnr(named.volume, first.mask, second.mask, names=(first.name, second.name))
        rows.append((named.name, found))
    return {
        "Volume": [name for name, _ in rows],
        "CNR": [_value(found) for _, found in rows],
        "95 % interval": [_interval(found) for _, found in rows],
        "How": [found.protocol or found.sentence for _, found in rows],
    }


def noise_spectra(
    volumes: Sequence[Named], masks: Sequence[NDArray[np.bool_] | None]
) -> list[NoisePowerSpectrum | str]:
    """Return the noise power spectrum of each volume, or a sentence why there is none.

    Volumes on the first one's grid are measured in the very squares that were found in it: only
    then do the curves differ by the noise alone.
    """
    first = volumes[0].volume
    shared = find_rois(first, mask=masks[0])
    out: list[NoisePowerSpectrum | str] = []
    for named, mask in zip(volumes, masks, strict=True):
        same = named.volume.geometry.matches(first.geometry)
        rois = shared if same else find_rois(named.volume, mask=mask)
        spectrum = noise_power_spectrum(named.volume, rois=rois)
        out.append(spectrum or f"{named.name}: no noise spectrum, because {rois.why_none}")
    return out


def spectrum_columns(
    volumes: Sequence[Named], spectra: Sequence[NoisePowerSpectrum | str]
) -> dict[str, list[float]]:
    """Return frequency and power of each spectrum, two columns each, the shorter ones with NaN."""
    found = [(v.name, s) for v, s in zip(volumes, spectra, strict=True) if not isinstance(s, str)]
    longest = max((len(s.power) for _, s in found), default=0)
    out: dict[str, list[float]] = {}
    for name, spectrum in found:
        across, up = spectrum_titles(name, spectrum)
        gap = [float("nan")] * (longest - len(spectrum.power))
        out[across] = [*spectrum.frequency_per_mm.tolist(), *gap]
        out[up] = [*spectrum.power.tolist(), *gap]
    return out


def spectrum_titles(name: str, spectrum: NoisePowerSpectrum) -> tuple[str, str]:
    """Return the titles of the two columns of a spectrum."""
    return f"{name}: frequency [1/mm]", f"{name}: power [({spectrum.unit})^2 mm^2]"


def quality_columns(rows: Sequence[Measure]) -> Texts:
    """Return what was measured without a reference, one row for each measure, verdict in words."""
    return {
        "Measure": [m.title for m in rows],
        "Value": [_value(m) for m in rows],
        "Unit": [m.unit if m.value is not None else "" for m in rows],
        "95 % interval": [_interval(m) for m in rows],
        "Verdict": [m.verdict.word for m in rows],
        "What it says": [m.sentence for m in rows],
    }


def _check_shape(volume: Volume, region: NamedMask) -> None:
    if region.mask.shape != volume.shape:
        message = (
            f"The region {region.name} has shape {region.mask.shape}, the volume {volume.shape}."
        )
        raise GeometryError(message, hint="Make the region on the voxels of this very volume.")


def _told(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else ""


def _value(found: Measure) -> str:
    return "" if found.value is None else f"{found.value:.4g}"


def _interval(found: Measure) -> str:
    if found.interval is None:
        return ""
    low, high = found.interval
    return f"{low:.4g} to {high:.4g}"
