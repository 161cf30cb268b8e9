"""The figures of one reconstruction.

PSNR and SSIM as published: the whole cube, clipped to the window, SSIM in 3-D with a uniform window
of 7 voxels. The same over the voxels that 90 % of the views see. VIF in the pixel domain, mean of
axial slices. RMSE in HU inside the body, without a window. Chi-squared per reading with the noise
of the scan as all our reconstructors count it. A slice alone has its SSIM in 2-D. Measured scans
have no known truth, but views that no method was given: how far these are from the reprojection.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.physics.operators import XrayOperator
from ctrestorelib.quality.reference import psnr, rmse, ssim, vif
from ctrestorelib.quality.segment_overlap import GridMask, segment_overlap
from ctrestorelib.recon.noise_level import data_noise
from ctrestorelib.recon.residual import residual_report
from ctrestorelib.recon.session import PATH_FLOOR
from sparse_view.cases import Case
from sparse_view.objects import measured_scan, other_views

NORMAL_90 = 1.6449
"""Half width of a 90 % interval in standard deviations."""
_FEWEST_SLICES = 7


def scores(case: Case, volume: Volume, uncertainty: Volume | None = None) -> dict[str, Any]:
    """Return all figures of ``volume`` (HU, on the reference's grid)."""
    low, high = case.window
    found, truth = (np.clip(v.values, low, high) for v in (volume, case.reference))
    width = high - low
    kind = "3d-uniform7" if min(case.reference.shape) >= _FEWEST_SLICES else "2d-gaussian11"
    record = {
        "psnr": psnr(found, truth, data_range=width).value,
        "psnr_in_view": psnr(found, truth, data_range=width, mask=case.seen).value,
        "ssim": ssim(found, truth, data_range=width, protocol=kind).value,
        "ssim_in_view": ssim(found, truth, data_range=width, protocol=kind, mask=case.seen).value,
        "vif": vif(found, truth, data_range=width).value,
        "rmse": rmse(volume, case.reference, mask=case.body).value,
        "chi_squared": chi_squared(case, volume),
    }
    if case.subject.is_measured:
        record["unseen_percent"] = unseen_percent(case, volume)
    if case.subject.bone_hu is not None:
        record["bone"] = bone_scores(case, volume, case.subject.bone_hu)
    if uncertainty is not None:
        record["covered"] = covered(case, volume.values, uncertainty.values)
    return record


def chi_squared(case: Case, volume: Volume) -> float:
    """Return the weighted squared residual per reading; 1 is as large as the noise."""
    operator = XrayOperator(case.scan.geometry, case.reference.geometry, threads=1)
    values = volume.to_unit(Unit.PER_MM).values
    paths = operator.to_numpy(operator(operator.zeros_domain() + 1.0))
    used = paths >= PATH_FLOOR * float(paths.max())
    weights = np.where(used, data_noise(case.scan).weights, np.float32(0.0))
    residual = operator.to_numpy(operator(operator.asarray(values))) - case.scan.values
    report = residual_report(residual, case.scan.values, weights)
    return float(report["chi_squared_per_reading"])


def unseen_percent(case: Case, volume: Volume) -> float:
    """Return the residual at the views left out of a measured scan, in percent of the readings."""
    everything, _ = measured_scan(case.subject, max(case.reference.shape))
    scan = other_views(everything, case.views)
    operator = XrayOperator(scan.geometry, case.reference.geometry, threads=1)
    values = operator.asarray(volume.to_unit(Unit.PER_MM).values)
    residual = operator.to_numpy(operator(values)) - scan.values
    return float(100.0 * np.linalg.norm(residual) / np.linalg.norm(scan.values))


def bone_scores(case: Case, volume: Volume, threshold_hu: float) -> dict[str, float | None]:
    """Return Dice, mean surface distance and HD95 (mm) of the bone at a threshold.

    The bone of the reference is compared with that of the reconstruction, without any clean-up.
    """
    grid = case.reference.geometry
    wanted = GridMask(case.reference.values > threshold_hu, grid)
    found = segment_overlap(wanted, GridMask(volume.values > threshold_hu, grid))
    return {"dice": found.dice.value, "assd_mm": found.surface_distance.value,
            "hd95_mm": found.hd95.value}  # fmt: skip


def covered(case: Case, values: NDArray[np.float32], sd: NDArray[np.float32]) -> float:
    """Return the share of voxels in body and view whose 90 % interval holds the reference."""
    where = case.body & case.seen
    where = where if where.any() else case.body
    inside = np.abs(values - case.reference.values) <= NORMAL_90 * sd
    return float(inside[where].mean())
