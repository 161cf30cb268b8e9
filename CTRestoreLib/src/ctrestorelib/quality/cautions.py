"""What to know about a volume before denoising it (layer: quality).

Every caution is one sentence on what was seen and what to do. A dozen slices are looked at, in
about a second: three runs of four, spread over the volume.

References
----------
.. [1] Noise of iterative reconstruction is coarser: Solomon J, Samei E. Phys Med Biol 59, 2014.
   doi:10.1088/0031-9155/59/22/6637
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.flatness import sampled_slices
from ctrestorelib.quality.noise import NoiseEstimate, estimate_noise
from ctrestorelib.quality.nps import noise_power_spectrum
from ctrestorelib.quality.tissue import hu_like
from ctrestorelib.quality.trabecular import has_trabecular_bone

THICK_MM = 3.0
OVERLAP, NO_NEIGHBOURS = 0.3, 0.6
LOW_NOISE_HU, HIGH_NOISE_HU = 4.0, 80.0
METAL_HU = 2900.0
"""A little below 3071, at which 12-bit scanners clip."""

COARSE_PER_MM = 0.15
"""Mean noise frequency below which noise is coarser than filtered backprojection makes it."""

_METAL_MM3 = 20.0
_NAMED = re.compile(
    r"ASIR|SAFIRE|ADMIRE|IDOSE|AIDR|VEO|IMR|IRIS|\bFIRST\b|QIR|DLIR|TRUEFIDELITY|AICE|PRECISE"
    r"|DEEP ?LEARN|ITERATIVE|\bPIQE\b|^I\d\d"
)


@dataclass(frozen=True)
class Caution:
    """Something to know before denoising.

    Parameters
    ----------
    code
        Stable name in kebab-case.
    text
        What was seen, what it means and what to do; without patient data.
    """

    code: str
    text: str


def cautions(volume: Volume, facts: Mapping[str, str] | None = None) -> tuple[Caution, ...]:
    """Return what a person should know before denoising ``volume``.

    Parameters
    ----------
    volume
        The volume to denoise; sampled, never changed.
    facts
        DICOM keywords with their values as text (``ConvolutionKernel``, ``ReconstructionAlgorithm``
        and the like), where they are known.
    """
    part = sampled(volume)
    found = [_thick(volume), _named(facts or {}), _metal(part), _bone(part)]
    noise = estimate_noise(part)
    found += [_overlap(noise), _level(part, noise), _coarse(part, noise)]
    told = [c for c in found if c is not None]
    first = {c.code: c for c in reversed(told)}  # the tag and the texture may say the same
    return tuple(c for c in told if first[c.code] is c)


def sampled(volume: Volume) -> Volume:
    """Return three runs of four slices as one volume: all that :func:`cautions` looks at."""
    if volume.shape[0] <= 12:
        return volume
    planes = [k for run in sampled_slices(volume.shape[0], 3, 4) for k in run]
    geometry = volume.geometry.crop((slice(0, len(planes)), slice(None), slice(None)))
    values = np.nan_to_num(volume.values[planes], nan=-1000.0)
    return Volume(values, geometry, volume.unit)


def _thick(volume: Volume) -> Caution | None:
    thick = volume.geometry.spacing_mm[2]
    if volume.shape[0] < 2 or thick < THICK_MM:
        return None
    text = (f"Slices are {thick:.2g} mm apart: small structures differ from slice to slice, and "
            "neighbours help little. Denoise the thin reconstruction if there is one.")  # fmt: skip
    return Caution("thick-slices", text)


def _named(facts: Mapping[str, str]) -> Caution | None:
    said = " ".join(str(v) for v in facts.values()).upper()
    kernel = str(facts.get("ConvolutionKernel", "")).upper()
    if not (_NAMED.search(said) or _NAMED.search(kernel)):
        return None
    return Caution("iterative-reconstruction", "The header names an iterative or deep-learning "
                   "reconstruction, which has removed noise already: denoising it again can make "
                   "it look like plastic. Use a low strength.")  # fmt: skip


def _metal(part: Volume) -> Caution | None:
    if not hu_like(part):
        return None
    size_mm3 = float((part.values > METAL_HU).sum()) * float(np.prod(part.geometry.spacing_mm))
    if size_mm3 < _METAL_MM3:
        return None
    return Caution("metal", "There is metal in view: streaks are not noise and will mostly stay; "
                   "do not judge tissue beside the metal.")  # fmt: skip


def _bone(part: Volume) -> Caution | None:
    if not has_trabecular_bone(part):
        return None
    return Caution("trabecular-bone", "There is cancellous bone in view: its fine texture looks "
                   "like noise and can be smoothed away. Check the bone texture afterwards, or use "
                   "less strength.")  # fmt: skip


def _overlap(noise: NoiseEstimate) -> Caution | None:
    rho = noise.slice_correlation[0] if noise.slice_correlation else 0.0
    if rho < OVERLAP:
        return None
    told = (f"Neighbouring slices share noise (correlation {rho:.2f}; overlapping or thick "
            "slices): ")  # fmt: skip
    if rho < NO_NEIGHBOURS:
        return Caution("overlapping-slices", told + "some of it can pass for anatomy. Look at the "
                       "removed noise closely.")  # fmt: skip
    return Caution("overlapping-slices", told + "neighbours teach nothing new, so less noise is "
                   "removed than elsewhere.")  # fmt: skip


def _level(part: Volume, noise: NoiseEstimate) -> Caution | None:
    if not hu_like(part) or noise.method == "none":
        return None
    if noise.sigma < LOW_NOISE_HU:
        return Caution("low-noise", f"The noise is very low ({noise.sigma:.2g} HU): there is "
                       "little to gain, and texture to lose. Use a low strength.")  # fmt: skip
    if noise.sigma > HIGH_NOISE_HU:
        return Caution("high-noise", f"The noise is very high ({noise.sigma:.0f} HU): faint "
                       "structures below it cannot be brought back by any denoiser. Do not take "
                       "their absence for a finding.")  # fmt: skip
    return None


def _coarse(part: Volume, noise: NoiseEstimate) -> Caution | None:
    if not hu_like(part) or noise.method not in ("soft_tissue", "fat"):
        return None
    spectrum = noise_power_spectrum(part)
    if spectrum is None or spectrum.tissue not in ("soft tissue", "fat"):
        return None
    if spectrum.f_av_interval[1] >= COARSE_PER_MM:
        return None
    return Caution("iterative-reconstruction", "The noise is unusually coarse (mean frequency "
                   f"{spectrum.f_av_per_mm:.2f}/mm): the volume was probably reconstructed "
                   "iteratively, smoothed or resampled before. Denoising it again can make it look "
                   "like plastic; use a low strength.")  # fmt: skip
