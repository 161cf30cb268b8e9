"""What noise a scan has: level, texture, what repeats from slice to slice (layer: quality).

Everything is measured in the volume itself; nothing is known of scanner or kernel. The result
drives noise generation, per-scan adaptation and what the user is told.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.correlation import SliceCorrelation, slice_correlation
from ctrestorelib.quality.noise import NoiseEstimate, TissueNoise, estimate_noise
from ctrestorelib.quality.noise_spectrum import NoiseSpectrum, measure_spectrum
from ctrestorelib.quality.result import plain
from ctrestorelib.quality.rois import find_rois
from ctrestorelib.quality.sigma_map import SigmaMap, sigma_map

LAGS = 6
"""Slices apart up to which the correlation is measured."""

INDEPENDENT = 0.1
"""Slices whose noise is correlated less than this count as independent."""

SHARED = 0.6
"""Above this correlation of neighbouring slices a correction for it amplifies its own errors."""

THICK_MM = 2.5
"""Slices further apart than this show other anatomy."""

_FAR_MM = 6.0  # further apart, no region of the body is the same
_ENOUGH, _SOME = 50, 24
_STRUCTURE = 1.6  # regions this much louder than the map hold more than noise
_SHARPNESS = ((0.2, "very smooth"), (0.3, "smooth"), (0.42, "standard"), (0.6, "sharp"))


@enum.unique
class SelfTraining(str, enum.Enum):
    """Which training without clean images a scan permits.

    ``INTERSLICE`` takes the next independent slice as target as it is, ``CORRECTED`` corrects for
    the noise that slices share, ``RECORRUPTION`` only adds matched noise to the scan's own slices,
    ``NONE`` knows too little of the noise for any.
    """

    INTERSLICE = "interslice"
    CORRECTED = "corrected interslice"
    RECORRUPTION = "recorruption"
    NONE = "none"


@dataclass(frozen=True)
class ScanNoise:
    """Everything :func:`describe_noise` found out.

    Parameters
    ----------
    estimate
        Level in the whole scan and by tissue.
    sigma
        Level from place to place; None after reading from JSON, which holds no maps.
    sigma_range
        5th, 50th and 95th percentile of the map's cells.
    correlation
        Correlation of the noise of slices 1 to 6 apart; None where it cannot be measured.
    spectrum
        Texture of the noise; None where no homogeneous region was found.
    spacing_mm
        Voxel size (x, y, z).
    unit
        Unit of the levels.
    remarks
        What could not be measured as it should, and why; sentences.
    """

    estimate: NoiseEstimate
    sigma: SigmaMap | None
    sigma_range: tuple[float, float, float]
    correlation: SliceCorrelation | None
    spectrum: NoiseSpectrum | None
    spacing_mm: tuple[float, float, float]
    unit: Unit
    remarks: tuple[str, ...] = field(default_factory=tuple)

    @property
    def rho(self) -> tuple[float, ...]:
        """Correlation of the noise 1, 2, ... slices apart; empty where unknown."""
        return self.correlation.rho if self.correlation else ()

    @property
    def independent_step(self) -> int | None:
        """Smallest distance, in slices, at which noise is independent; None if none up to 6 is."""
        return next((k for k, rho in enumerate(self.rho, 1) if rho < INDEPENDENT), None)

    @property
    def sharpness(self) -> str:
        """The kernel in words, told from the mean frequency of the noise."""
        if self.spectrum is None:
            return "unknown"
        f_av = self.spectrum.f_av_per_mm
        if self.unit == Unit.GREY:  # the voxel size may be made up: judge by the pixel grid
            f_av *= 2 * max(self.spacing_mm[:2]) * 0.65
        return next((word for limit, word in _SHARPNESS if f_av < limit), "very sharp")

    @property
    def training(self) -> SelfTraining:
        """Which training without clean images this scan permits."""
        if self.spectrum is None or self.spectrum.level > _STRUCTURE or self.estimate.sigma == 0:
            return SelfTraining.NONE
        thick = self.spacing_mm[2] > THICK_MM and self.unit != Unit.GREY
        if not self.rho or thick:
            return SelfTraining.RECORRUPTION
        if self.rho[0] < INDEPENDENT:
            return SelfTraining.INTERSLICE
        return SelfTraining.CORRECTED if self.rho[0] <= SHARED else SelfTraining.RECORRUPTION

    @property
    def trust(self) -> str:
        """``"good"``, ``"fair"`` or ``"poor"``: by the number of regions measured."""
        regions = self.spectrum.regions if self.spectrum else 0
        return "good" if regions >= _ENOUGH else "fair" if regions >= _SOME else "poor"

    def advice(self) -> tuple[str, ...]:
        """Return what the figures mean for the person who wants to denoise, as sentences."""
        return (_ADVICE[self.training], *_slice_advice(self), *self.remarks)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the map as plain values; :meth:`from_json` reads it back."""
        return {
            "estimate": self.estimate.to_json(),
            "sigma_range": plain(self.sigma_range),
            "sigma_method": self.sigma.method if self.sigma else "",
            "correlation": self.correlation.to_json() if self.correlation else None,
            "spectrum": self.spectrum.to_json() if self.spectrum else None,
            "spacing_mm": plain(self.spacing_mm),
            "unit": self.unit.value,
            "sharpness": self.sharpness,
            "independent_step": self.independent_step,
            "training": self.training.value,
            "trust": self.trust,
            "remarks": list(self.remarks),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ScanNoise:
        """Rebuild a description without its map.

        Raises
        ------
        InputError
            If values are missing.
        """
        try:
            correlation, spectrum = record["correlation"], record["spectrum"]
            low, middle, high = (float(x) for x in record["sigma_range"])
            dx, dy, dz = (float(x) for x in record["spacing_mm"])
            return cls(
                estimate=_estimate_from_json(record["estimate"]),
                sigma=None,
                sigma_range=(low, middle, high),
                correlation=_correlation_from_json(correlation) if correlation else None,
                spectrum=NoiseSpectrum.from_json(spectrum) if spectrum else None,
                spacing_mm=(dx, dy, dz),
                unit=Unit(record["unit"]),
                remarks=tuple(record["remarks"]),
            )
        except KeyError as error:
            message = f"This is no description of noise: {error.args[0]} is missing."
            raise InputError(message, hint="Write it again with 'ctrestore noise'.") from None


def describe_noise(volume: Volume, mask: NDArray[np.bool_] | None = None) -> ScanNoise:
    """Measure what noise a volume has.

    Parameters
    ----------
    volume
        Any unit. HU volumes are measured in soft tissue where there is enough of it; grey values,
        which have no tissues, in whatever is homogeneous.
    mask
        Array ``[k, j, i]``: only voxels inside count.

    Raises
    ------
    GeometryError
        If the mask has another shape.
    InputError
        If values are NaN or infinite.
    """
    volume.require_finite()
    estimate = estimate_noise(volume, mask)
    sigma = sigma_map(volume, mask)
    rois = find_rois(volume, mask=mask)
    correlation = slice_correlation(volume, lags=LAGS, rois=rois)
    rho = correlation.rho if correlation else ()
    step, remarks = _step(volume, rho)
    spectrum = None
    if len(rois) and sigma.typical > 0:
        spectrum = measure_spectrum(volume, rois, sigma, rho, step) if step else None
        if spectrum is None or spectrum.regions < min(_SOME, len(rois) // 2):
            remarks = remarks or (_SINGLE.format("too few regions go on in the next slices"),)
            spectrum = measure_spectrum(volume, rois, sigma, rho, 0)
    if spectrum is None:
        why = rois.why_none or "there is no noise in them."
        remarks = (f"The texture of the noise could not be measured: {why}",)
    elif spectrum.level > _STRUCTURE:
        remarks = (*remarks, f"The most homogeneous regions vary {spectrum.level:.1f} times as "
                   "much as the noise: they hold fine structure, and the texture measured is not "
                   "that of the noise.")  # fmt: skip
    low, middle, high = (float(x) for x in np.percentile(sigma.levels, (5, 50, 95)))
    return ScanNoise(estimate, sigma, (low, middle, high), correlation, spectrum,
                     volume.geometry.spacing_mm, volume.unit, remarks)  # fmt: skip


_SINGLE = "The texture was measured in single slices, fine anatomy included: {}."

_ADVICE = {
    SelfTraining.INTERSLICE: "Neighbouring slices carry independent noise: methods that learn "
    "from neighbouring slices are safe on this scan.",
    SelfTraining.CORRECTED: "Neighbouring slices share part of their noise: methods that learn "
    "from neighbouring slices must correct for it.",
    SelfTraining.RECORRUPTION: "Neighbouring slices teach nothing safe here; only methods that "
    "add matched noise to the scan (recorruption) can adapt to it.",
    SelfTraining.NONE: "Too little is known of this noise to adapt a method to the scan; use a "
    "pretrained or a classical method.",
}


def _slice_advice(noise: ScanNoise) -> tuple[str, ...]:
    found = []
    dz = noise.spacing_mm[2]
    if noise.unit != Unit.GREY and dz > THICK_MM:
        found.append(f"Slices are {dz:.3g} mm apart and show different anatomy; "
                     "thinner reconstructions can be denoised better.")  # fmt: skip
    if noise.rho and noise.rho[0] > SHARED:
        found.append("Slices overlap or were resampled: they hold less than their number says.")
    if noise.sharpness == "very smooth":
        found.append("The noise is very smooth: a soft kernel, iterative reconstruction or earlier "
                     "denoising. There is little left to gain, and noise may look like "
                     "structure.")  # fmt: skip
    if noise.trust == "poor" and noise.spectrum is not None:
        found.append(f"Only {noise.spectrum.regions} homogeneous regions were found; take texture "
                     "and correlation as a rough guide.")  # fmt: skip
    return tuple(found)


def _step(volume: Volume, rho: tuple[float, ...]) -> tuple[int, tuple[str, ...]]:
    """Return how many slices apart two are subtracted to lose anatomy; 0 and why if it fails."""
    if volume.shape[0] < 2 or not rho:
        return 0, (_SINGLE.format("there are too few slices to subtract"),)
    step = next((k for k, r in enumerate(rho, 1) if r < INDEPENDENT), len(rho))
    far = step * volume.geometry.spacing_mm[2]
    if volume.unit != Unit.GREY and far > _FAR_MM:
        return 0, (_SINGLE.format(f"slices with independent noise lie {far:.3g} mm apart"),)
    if rho[step - 1] > SHARED:
        return 0, (_SINGLE.format("all slices share most of their noise"),)
    return step, ()


def _estimate_from_json(record: Mapping[str, Any]) -> NoiseEstimate:
    tissues = {
        name: TissueNoise(**(t | {"interval": tuple(t["interval"])}))
        for name, t in record["tissues"].items()
    }
    sequences = ("interval", "slice_correlation", "pixel_correlation")
    values = dict(record) | {n: tuple(record[n]) for n in sequences}
    return NoiseEstimate(**(values | {"tissues": tissues, "unit": Unit(record["unit"])}))


def _correlation_from_json(record: Mapping[str, Any]) -> SliceCorrelation:
    intervals = tuple((float(low), float(high)) for low, high in record["intervals"])
    return SliceCorrelation(tuple(record["rho"]), intervals, record["regions"])
