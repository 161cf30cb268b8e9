"""Everything that can be measured on a volume, in one report (layer: quality)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import Volume, padding_mask
from ctrestorelib.quality.contrast import cnr_measure
from ctrestorelib.quality.correlation import slice_correlation_measure
from ctrestorelib.quality.drift import drift_measures
from ctrestorelib.quality.noise import estimate_noise
from ctrestorelib.quality.nps import NoisePowerSpectrum, noise_power_spectrum, nps_measures
from ctrestorelib.quality.pairs import Values, check_pair, mask_of
from ctrestorelib.quality.reference import psnr, rmse, ssim, vif
from ctrestorelib.quality.residual import ResidualStructure, residual_structure
from ctrestorelib.quality.result import Measure, Verdict, worst
from ctrestorelib.quality.rois import Rois, find_rois
from ctrestorelib.quality.sharpness import sharpness_measures
from ctrestorelib.quality.trabecular import trabecular_texture
from ctrestorelib.quality.window import FIELD_WINDOW, Window


@dataclass(frozen=True, eq=False)
class MeasureReport:
    """What was measured on one volume.

    Parameters
    ----------
    measures
        In the order in which a table shows them.
    notes
        Assumptions made on the way, in sentences.
    nps
        Noise power spectrum of the volume, where there is one.
    residual
        Residual-structure test against the original, where one was given.
    """

    measures: tuple[Measure, ...]
    notes: tuple[str, ...] = ()
    nps: NoisePowerSpectrum | None = None
    residual: ResidualStructure | None = field(default=None)

    @property
    def verdict(self) -> Verdict:
        """The most serious verdict of all measures that compare with the original."""
        return worst([m.verdict for m in self.measures if m.name != "slice_correlation"])

    def __getitem__(self, name: str) -> Measure:
        """Return the measure called ``name``."""
        for measure in self.measures:
            if measure.name == name:
                return measure
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "verdict": self.verdict.value,
            "measures": [m.to_json() for m in self.measures],
            "notes": list(self.notes),
            "nps": None if self.nps is None else self.nps.to_json(),
        }


def measure(
    image: Volume,
    reference: Volume | None = None,
    mask: Values | None = None,
    *,
    original: Volume | None = None,
    window: Window | None = None,
    data_range: float | None = None,
    mu_water_per_mm: float = MU_WATER_PER_MM,
) -> MeasureReport:
    """Measure the quality of ``image``.

    Parameters
    ----------
    image
        The volume to judge.
    reference
        The truth, if it is known (simulations): adds RMSE, PSNR, SSIM and VIF.
    mask
        Where to look; values other than 0 are inside. Scanner padding is always left out.
    original
        The volume from which ``image`` was restored: adds drift and the residual-structure test,
        and judges noise texture and edges.
    window, data_range
        In what range the scores are given: one of both is needed with a reference. HU volumes take
        [-1000, 1000] unless told otherwise, and a note says so.
    mu_water_per_mm
        Attenuation of water, used to read a volume in 1/mm in HU.

    Raises
    ------
    UsageError
        If a reference in grey values comes without window and data range, or with both.
    GeometryError, UnitError
        If the volumes differ in grid or unit.
    """
    image.require_finite("The volume to measure")
    notes: list[str] = []
    for other, what in ((reference, "the reference"), (original, "the original")):
        if other is not None:
            check_pair(image, other, what=what)
            other.require_finite(what.capitalize())
    inside = _inside(image, mask, notes)
    if image.unit == Unit.PER_MM and (window is None and data_range is None):
        notes.append(f"Values in 1/mm were read as HU with mu_water = {mu_water_per_mm:g}/mm.")
        image = image.to_unit(Unit.HU, mu_water_per_mm)
        reference = reference and reference.to_unit(Unit.HU, mu_water_per_mm)
        original = original and original.to_unit(Unit.HU, mu_water_per_mm)
    found: list[Measure] = []
    if reference is not None:
        found += _scores(image, reference, inside, _Range(window, data_range, image.unit, notes))
    rois = find_rois(image if original is None else original, mask=inside)
    found += _without_reference(image, original, inside, rois)
    residual = None
    if original is not None:
        found += drift_measures(original, image, mask=inside)
        residual = residual_structure(original, image, mask=inside)
        found.append(residual.to_measure())
        found.append(trabecular_texture(original, image, mask=inside).to_measure())
    nps = noise_power_spectrum(image, rois=rois)
    return MeasureReport(tuple(found), tuple(notes), nps, residual)


def _inside(image: Volume, mask: Values | None, notes: list[str]) -> NDArray[np.bool_] | None:
    chosen = mask_of(mask, image.shape)
    padding = padding_mask(image)
    if not padding.any():
        return chosen
    notes.append(f"{int(padding.sum())} voxels of scanner padding were left out.")
    return ~padding if chosen is None else chosen & ~padding


class _Range:
    """The value range of the scores, said or by the field's convention for HU."""

    def __init__(
        self, window: Window | None, data_range: float | None, unit: Unit, notes: list[str]
    ) -> None:
        if window is not None and data_range is not None:
            message = "Give either a window or a data range for the scores, not both."
            raise UsageError(message)
        if window is None and data_range is None:
            if unit != Unit.HU:
                message = f"Scores of a volume in {unit.label} need a window or a data range."
                raise UsageError(message, hint="For 8-bit data take the window 0 to 255.")
            window = FIELD_WINDOW
            notes.append("Scores are given in the window [-1000, 1000] HU of the field.")
        self.window = window
        self.data_range = 1.0 if window is not None else float(data_range or 0.0)

    def apply(self, volume: Volume) -> NDArray[np.float32]:
        """Return the values in which the scores are computed."""
        return volume.values if self.window is None else self.window.apply(volume.values)


def _scores(
    image: Volume, reference: Volume, inside: NDArray[np.bool_] | None, scale: _Range
) -> Iterator[Measure]:
    from dataclasses import replace

    yield rmse(image, reference, mask=inside)
    a, b = scale.apply(image), scale.apply(reference)
    for score in (psnr, ssim, vif):
        result = score(a, b, data_range=scale.data_range, mask=inside)
        if scale.window is not None and result.protocol:
            result = replace(result, protocol=f"{scale.window}; {result.protocol}")
        yield result


def _without_reference(
    image: Volume, original: Volume | None, inside: NDArray[np.bool_] | None, rois: Rois
) -> Iterator[Measure]:
    yield from _tissue_noise(image, inside)
    yield from nps_measures(image, rois=rois, original=original)
    yield slice_correlation_measure(image, rois=rois)
    yield from sharpness_measures(image, original=original, mask=inside)
    yield cnr_measure(image, guide=image if original is None else original, mask=inside)


def _tissue_noise(image: Volume, inside: NDArray[np.bool_] | None) -> Iterator[Measure]:
    estimate = estimate_noise(image, inside)
    found_by = {"differences": "second differences, corrected for correlation"}.get(
        estimate.method, f"mode of the local deviation in {estimate.method.replace('_', ' ')}"
    )
    if estimate.method == "none":
        yield Measure.missing("noise", "Noise level", "no region varies at all.")
    else:
        yield Measure("noise", "Noise level", estimate.sigma, image.unit.label, estimate.interval,
                      sentence="Standard deviation of the noise of the volume.",
                      protocol=found_by)  # fmt: skip
    for name, noise in estimate.tissues.items():
        words = {"lung": "lung or foam"}.get(name, name.replace("_", " "))
        told = f"Standard deviation of the noise in {words}."
        if name in ("lung", "bone"):
            told = f"Local standard deviation in {words}; its own fine structure counts too."
        yield Measure(f"noise_{name}", f"Noise, {words}", noise.sigma, image.unit.label,
                      noise.interval, sentence=told,
                      protocol=f"mode of the local deviation of {noise.windows} flat windows",
                      details={"mean": noise.mean})  # fmt: skip
