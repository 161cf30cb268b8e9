"""References, and the same with the noise of a low-dose scan.

Why the reference is an average
-------------------------------
A real scan is noisy itself. If noise is only *added* to it, a perfect denoiser removes the scan's
own noise too and is punished for it: at 25 % dose it could gain no more than 4.8 dB over the
input, whatever it does. So the reference is the mean of 2 x 2 pixels of the scan (of two slices
too where they are 1 mm thin). An average is linear: it prefers no denoiser, as taking the output
of one for the truth would. What noise is left in it is measured and printed as the *floor*: an
ideal denoiser has an error of about that size, and the largest possible gain follows from it.

This reference is the object. It is given *all* the noise of a scan with 25 % or 10 % of the normal
dose, where the normal dose is that of the very scan: its noise per pixel in soft tissue is the one
measured in the original volume, with the kernel (in pixels) and the correlation of neighbouring
slices measured there. Photons thin out behind bone, so noise varies over the body and streaks as in
a scanner (:func:`ctrestorelib.physics.noise.insert_noise`).

Micro-CT has no HU: its grey values are taken for a specimen of 8 HU per grey level with voxels of
0.5 mm, scanned in parallel beams, with 8 grey levels of noise at the normal dose. The procedural
vessels have no noise of their own at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from common.scans import body_of, seed_of
from numpy.typing import NDArray

from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import PADDING_BELOW_HU, Volume, VolumeGeometry
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.physics.kernel_match import match_kernel
from ctrestorelib.physics.noise import ELECTRONIC_SD, insert_noise
from ctrestorelib.physics.parallel2d import Kernel
from ctrestorelib.quality.noise import estimate_noise
from denoise.regions import BY_NAME, DOSES, REGIONS, Region

Floats = NDArray[np.float32]
VERSION = 1
"""Raise it when cases change: cached results of other versions are computed again."""
SLICES = 32
BIN = 2
_GREY_HU, _GREY_SPACING_MM = 8.0, 0.5
_TRIAL_I0 = 1e5


@dataclass(frozen=True)
class Scanner:
    """The noise of one scanner, told in pixels so that it fits any grid.

    Parameters
    ----------
    normal_noise
        Noise level in soft tissue (in the specimen, for grey values) at the normal dose, in HU.
    cutoff_per_pixel, power
        The reconstruction kernel.
    correlation
        Correlation of neighbouring slices.
    """

    normal_noise: float
    cutoff_per_pixel: float
    power: float
    correlation: float

    def kernel(self, pixel_mm: float) -> Kernel:
        """Return the kernel for a pixel size."""
        return Kernel(self.cutoff_per_pixel / pixel_mm, self.power)


@dataclass(frozen=True, eq=False)
class Case:
    """One reference with its low-dose version.

    Parameters
    ----------
    region
        Which scan.
    dose
        Fraction of the normal dose.
    reference, noisy
        Volumes on one grid.
    facts
        Noise levels and settings, for the table.
    """

    region: Region
    dose: float
    reference: Volume
    noisy: Volume
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        """Identifier such as ``chest-25``."""
        return case_name(self.region.name, self.dose)

    @cached_property
    def body(self) -> NDArray[np.bool_]:
        """Where errors count, ``[k, j, i]``."""
        return body_of(self.reference)


def case_name(region: str, dose: float) -> str:
    """Return the identifier of a case."""
    return f"{region}-{round(100 * dose)}"


def case_names(only: str = "") -> list[str]:
    """Return the cases whose scans are here, those that start with one of the names in ``only``."""
    wanted = [w for w in only.split(",") if w]
    names = [case_name(r.name, d) for r in REGIONS if r.is_here for d in DOSES]
    return [n for n in names if not wanted or any(n.startswith(w) for w in wanted)]


def build_case(name: str) -> Case:
    """Return a case; the same name always gives the same numbers."""
    region, dose = _parse(name)
    reference, scanner, own = reference_of(region)
    noisy, i0 = low_dose(reference, scanner, dose, seed=seed_of(name))
    noise = noisy.values - reference.values
    inside = tissue_of(reference)
    facts = {
        "shape": list(reference.shape),
        "spacing_mm": [round(s, 3) for s in reference.geometry.spacing_mm],
        "scan_noise": own, "normal_noise": scanner.normal_noise,
        "reference_noise": 0.0 if not region.file else estimate_noise(reference).sigma,
        "input_noise": float(noise[inside].std()), "i0": i0,
        "correlation": scanner.correlation, "cutoff_per_pixel": scanner.cutoff_per_pixel,
        "kernel_power": scanner.power,
    }  # fmt: skip
    return Case(region, dose, reference, noisy, facts)


def load_case(name: str, folder: Path) -> Case:
    """Return a case from ``folder``, building and keeping it there the first time."""
    path = folder / "cases" / f"{name}-v{VERSION}.npz"
    if not path.exists():
        case = build_case(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, reference=case.reference.values, noisy=case.noisy.values,
                     facts=json.dumps(case.facts))  # fmt: skip
        return case
    region, dose = _parse(name)
    with np.load(path) as kept:
        facts = json.loads(str(kept["facts"]))
        reference, noisy = kept["reference"], kept["noisy"]
    grid = VolumeGeometry.from_spacing(reference.shape, facts["spacing_mm"])
    unit = Unit.GREY if region.name == "microct" else Unit.HU
    return Case(region, dose, Volume(reference, grid, unit), Volume(noisy, grid, unit), facts)


def _parse(name: str) -> tuple[Region, float]:
    region, _, percent = name.rpartition("-")
    return BY_NAME[region], int(percent) / 100.0


def reference_of(region: Region) -> tuple[Volume, Scanner, float]:
    """Return the reference of a region, its scanner, and the scan's own noise level."""
    if not region.file:
        reference = vessels()
        return reference, _scanner(region, None, 0.0), 0.0
    volume = read_volume(region.path).volume
    volume = volume.with_values(without_padding(volume))
    estimate = estimate_noise(volume)
    rho = estimate.slice_correlation[0] if estimate.slice_correlation else 0.0
    scanner = _scanner(region, volume, rho, estimate.sigma)
    bins = 1 if volume.unit is Unit.GREY else BIN
    middle = central(volume.values, SLICES * region.pair)
    averaged = averaged_blocks(middle, (region.pair, bins, bins))
    dx, dy, dz = volume.geometry.spacing_mm
    spacing = (dx * bins, dy * bins, dz * region.pair)
    grid = VolumeGeometry.from_spacing(averaged.shape, [round(s, 3) for s in spacing])
    return Volume(averaged, grid, volume.unit), scanner, estimate.sigma


def _scanner(
    region: Region, volume: Volume | None, rho: float, measured_noise: float = 0.0
) -> Scanner:
    normal = measured_noise if region.normal_noise is None else region.normal_noise
    correlation = region.correlation
    if correlation is None:
        correlation = float(np.clip(rho, 0.1, 0.3))
    if region.kernel is not None:
        return Scanner(normal, *region.kernel, correlation)
    assert volume is not None
    kernel = match_kernel(volume)
    pixel = min(volume.geometry.spacing_mm[:2])
    return Scanner(normal, kernel.cutoff_lp_mm * pixel, kernel.power, correlation)


def low_dose(
    reference: Volume, scanner: Scanner, dose: float, *, seed: int
) -> tuple[Volume, float]:
    """Return ``reference`` with all the noise of a scan at ``dose``, and I0 of the normal dose.

    Adding the noise that separates half a dose from the full one, at twice the photons, adds just
    the quantum noise of one scan; the electronic noise is set so that its part is right as well.
    """
    as_hu = _as_hu(reference)
    kernel = scanner.kernel(min(as_hu.geometry.spacing_mm[:2]))
    scale = _GREY_HU if reference.unit is Unit.GREY else 1.0
    i0 = _calibrated_i0(as_hu, scanner, kernel, scale * scanner.normal_noise)
    rng = np.random.default_rng(seed)
    noisy = _with_full_noise(as_hu, i0 * dose, ELECTRONIC_SD, kernel, scanner.correlation, rng)
    change = (noisy.values - as_hu.values) / np.float32(scale)
    return reference.with_values(reference.values + change), i0


def _calibrated_i0(reference: Volume, scanner: Scanner, kernel: Kernel, sigma_hu: float) -> float:
    few = central_volume(reference, 5)
    rng = np.random.default_rng(0)
    trial = _with_full_noise(few, _TRIAL_I0, 0.0, kernel, 0.0, rng)
    inside = tissue_of(few)
    spread = float((trial.values - few.values)[inside].std())
    return _TRIAL_I0 * (spread / sigma_hu) ** 2


def _with_full_noise(
    volume: Volume, i0: float, electronic_sd: float, kernel: Kernel, rho: float,
    rng: np.random.Generator,
) -> Volume:  # fmt: skip
    return insert_noise(volume, 0.5, rng, i0=i0, electronic_sd=electronic_sd / np.sqrt(3.0),
                        kernel=kernel, slice_correlation=(rho,) if rho > 0 else ())  # fmt: skip


def _as_hu(volume: Volume) -> Volume:
    if volume.unit is not Unit.GREY:
        return volume
    grid = VolumeGeometry.from_spacing(volume.shape, (_GREY_SPACING_MM,) * 3)
    return Volume(_GREY_HU * volume.values - 1000.0, grid, Unit.HU)


def central(values: Floats, count: int) -> Floats:
    """Return the middle ``count`` slices, or all if there are fewer."""
    start = max(0, (len(values) - count) // 2)
    return values[start : start + count]


def central_volume(volume: Volume, count: int) -> Volume:
    """Return the middle slices of a volume with their place."""
    start = max(0, (volume.shape[0] - count) // 2)
    return volume.crop((slice(start, start + count), slice(None), slice(None)))


def without_padding(volume: Volume) -> Floats:
    """Return the values with everything outside the scan circle as air."""
    if volume.unit is not Unit.HU:
        return volume.values
    return np.where(volume.values < PADDING_BELOW_HU, np.float32(-1000), volume.values)


def averaged_blocks(values: Floats, steps: tuple[int, int, int]) -> Floats:
    """Return means of blocks of ``steps`` voxels; what is left over at the end is dropped."""
    kept = [n // s for n, s in zip(values.shape, steps, strict=True)]
    box = tuple(slice(0, n * s) for n, s in zip(kept, steps, strict=True))
    split = [m for n, s in zip(kept, steps, strict=True) for m in (n, s)]
    return np.asarray(values[box].reshape(split).mean(axis=(1, 3, 5)), dtype=np.float32)


def tissue_of(reference: Volume) -> NDArray[np.bool_]:
    """Return flat soft tissue, where noise levels are told; everything for grey values."""
    from scipy.ndimage import uniform_filter

    hu = _as_hu(reference).values
    if reference.unit is Unit.GREY:
        return np.ones(reference.shape, dtype=bool)
    tissue = np.abs(uniform_filter(hu, (1, 5, 5)) - 50.0) < 100.0
    return tissue if tissue.sum() > 500 else hu > -300


def vessels(size: int = 160, slices: int = SLICES) -> Volume:
    """Return a trunk of soft tissue with branching contrast-filled vessels, free of noise.

    Every vessel starts at the rim of an organ with a radius of 2 to 5 pixels, wanders, and thins
    out to half a pixel; its brightness is 300 HU in tissue of 40 HU.
    """
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(20240)
    k, j, i = np.mgrid[:slices, :size, :size].astype(np.float32)
    middle = (size - 1) / 2
    radius = np.hypot((j - middle) / (0.40 * size), (i - middle) / (0.46 * size))
    values = np.where(radius < 1.0, np.float32(-100), np.float32(-1000))
    values[radius < 0.92] = 40.0
    values[np.hypot(j - 0.72 * size, i - middle) < 0.09 * size] = 500.0
    filled = np.zeros(values.shape, dtype=bool)
    for _ in range(22):
        _draw_vessel(filled, (k, j, i), rng)
    values[filled & (radius < 0.85)] = 300.0
    blurred = gaussian_filter(values, (0.4, 0.6, 0.6))
    grid = VolumeGeometry.from_spacing(values.shape, (1.2, 1.2, 1.5))
    return Volume(blurred, grid, Unit.HU)


def _draw_vessel(filled: NDArray[np.bool_], grid: Any, rng: np.random.Generator) -> None:
    k, j, i = grid
    slices, size, _ = filled.shape
    at = np.array([rng.uniform(0, slices), *rng.uniform(0.3 * size, 0.7 * size, 2)])
    way = rng.normal(0, 1, 3) * (0.5, 1, 1)
    radius = rng.uniform(2.0, 5.0)
    while radius > 0.5:
        low = np.maximum(np.floor(at - radius - 1).astype(int), 0)
        high = np.maximum(np.ceil(at + radius + 2).astype(int), 0)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        near = (k[box] - at[0]) ** 2 + (j[box] - at[1]) ** 2 + (i[box] - at[2]) ** 2
        filled[box] |= near < radius**2
        way = way / np.linalg.norm(way) + 0.25 * rng.normal(0, 1, 3)
        at = at + way / np.linalg.norm(way)
        radius *= 0.98
