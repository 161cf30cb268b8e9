"""Scans as they are, with no reference: how much noise goes at equal sharpness.

Every method is turned down until the edges are sharp enough (skin against air 97 % of the MTF50,
fat against muscle 90 %); what noise it removes *then* is its figure, so nobody wins by blurring.
Drift of mean HU, the residual verdict and the kept trabecular texture are told at that strength.
The released denoisers are also told at full strength, as shipped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from common.scans import DATA

from ctrestorelib.core.volume import Volume
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.quality.drift import hu_drift
from ctrestorelib.quality.noise import estimate_noise
from ctrestorelib.quality.residual import residual_structure
from ctrestorelib.quality.sharpness import FAT_MUSCLE, SKIN_AIR, edge_sharpness, find_edges
from ctrestorelib.restorer.blend import blend
from denoise.cases import central_volume, without_padding
from denoise.classical import restore
from denoise.methods import BOUND, CLASSICAL, INPUT, LEARNED, Effort, Method, peer_restored
from denoise.scores import gain_db

SLICES = 32
BARS = {SKIN_AIR.name: 0.97, FAT_MUSCLE.name: 0.90}
DRIFT_HU = {"bone": 5.0}
SOFT_DRIFT_HU, TRABECULAR = 2.0, 0.8
SOFT = ("soft tissue", "fat", "soft_tissue", "muscle")
SCANS = {
    "skull phantom, sharp (YA)": "headphantom_philips_YA_1mm.nii.gz",
    "skull phantom, smooth (UB)": "headphantom_philips_UB_1mm.nii.gz",
    "chest (LIDC 0314)": "chest_lidc0314_1mm.nii.gz",
    "chest CTA": "chest_cta_ts_1p5mm.nii.gz",
    "knee (STS 047)": "knee_sts047_petct.nii.gz",
    "hip (STS 015)": "hip_sts015_petct.nii.gz",
    "pelvis (STS 007)": "hip_pelvis_sts007_petct.nii.gz",
}
_STEPS = 16


def scan_names() -> list[str]:
    """Return the scans that are here."""
    return [name for name, file in SCANS.items() if (DATA / file).exists()]


def read_scan(name: str) -> Volume:
    """Return the middle of a scan, everything outside the scan circle as air."""
    volume = read_volume(DATA / SCANS[name]).volume
    return central_volume(volume.with_values(without_padding(volume)), SLICES)


def takes_part(chosen: Method) -> bool:
    """Return whether a method can do without a reference."""
    return chosen.group not in (INPUT, BOUND)


def measured(chosen: Method, scan: Volume, effort: Effort) -> dict[str, Any]:
    """Return the figures of one method on one scan, at equal sharpness and at full strength."""
    start = time.process_time()
    if chosen.group == LEARNED:
        values = restore(chosen.registered, scan, dict(chosen.params))
    elif chosen.group == CLASSICAL:
        values = restore(chosen.registered, scan, {})
    else:
        values = peer_restored(chosen.name, scan, effort)
    seconds = time.process_time() - start
    restored = scan.with_values(values)
    edges = Edges(scan, restored)
    strength = largest_strength(lambda s: keeps_edges(edges.kept(blend(scan, restored, s))))
    record = {"seconds": seconds, "strength": strength,
              "equal": figures(scan, blend(scan, restored, strength), edges)}  # fmt: skip
    if chosen.group == LEARNED:
        record["full"] = figures(scan, restored, edges)
    return record


def largest_strength(good: Callable[[float], bool]) -> float:
    """Return the largest strength on a grid of sixteenths that is good; 0 if none is.

    Sharpness falls with strength, so a bisection finds it.
    """
    low, high = 0, _STEPS + 1
    if good(1.0):
        return 1.0
    high = _STEPS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if good(middle / _STEPS) else (low, middle)
    return low / _STEPS


@dataclass
class Edges:
    """The boundaries of a scan, found once, in the mean of input and full-strength result."""

    scan: Volume
    restored: Volume

    def __post_init__(self) -> None:
        guide = self.scan.with_values((self.scan.values + self.restored.values) / 2)
        self._points = {kind: find_edges(guide, kind) for kind in (SKIN_AIR, FAT_MUSCLE)}
        self._before = {k: edge_sharpness(self.scan, k, p) for k, p in self._points.items()}

    def kept(self, result: Volume) -> dict[str, float]:
        """Return the share of the MTF50 that is kept, by boundary; those that can be measured."""
        out = {}
        for kind, before in self._before.items():
            after = edge_sharpness(result, kind, self._points[kind]) if before else None
            if before is not None and after is not None:
                out[kind.name] = before.sigma_mm / after.sigma_mm
        return out


def keeps_edges(kept: dict[str, float]) -> bool:
    """Return whether every measured boundary is sharp enough."""
    return all(kept[name] >= bar for name, bar in BARS.items() if name in kept)


def figures(scan: Volume, result: Volume, edges: Edges) -> dict[str, Any]:
    """Return noise reduction, edges, drift, residual verdict and trabecular texture."""
    from ctrestorelib.quality.trabecular import trabecular_texture

    noise = tissue_noise(scan, scan), tissue_noise(result, scan)
    drift = {d.tissue: round(d.drift_hu, 3) for d in hu_drift(scan, result)}
    return {
        "noise_before": noise[0], "noise_after": noise[1],
        "reduction_db": gain_db(noise[0], noise[1]) if min(noise) > 0 else 0.0,
        "edges": edges.kept(result), "drift_hu": drift,
        "residual": residual_structure(scan, result).verdict.value,
        "trabecular": trabecular_texture(scan, result).kept,
    }  # fmt: skip


def tissue_noise(volume: Volume, guide: Volume) -> float:
    """Return the noise level of a volume in the flat tissue of ``guide``.

    The same windows are used before and after: a smoother volume would offer others.
    """
    from scipy.ndimage import uniform_filter

    inside = np.abs(uniform_filter(guide.values, (1, 9, 9)) - 20.0) < 150.0
    spread = _local_deviation(guide.values)
    sigma = estimate_noise(guide).sigma
    flat = inside & (spread < 1.3 * sigma)
    if flat.sum() < 500:
        flat = spread < 1.3 * sigma
    return float(np.sqrt((_local_deviation(volume.values)[flat] ** 2).mean()))


def _local_deviation(values: Any) -> Any:
    from scipy.ndimage import uniform_filter

    mean = uniform_filter(values.astype(np.float64), (1, 9, 9))
    power = uniform_filter(values.astype(np.float64) ** 2, (1, 9, 9))
    return np.sqrt(np.maximum(power - mean**2, 0.0))


def verdicts(figure: dict[str, Any], *, is_phantom: bool) -> dict[str, bool | None]:
    """Return which bars of the default denoiser hold; None where one cannot be measured."""
    kept, drift = figure["edges"], figure["drift_hu"]
    soft = [abs(v) for name, v in drift.items() if name in SOFT]
    trabecular = figure["trabecular"]
    return {
        "skin-air MTF50 >= 97 %": _at_least(kept.get(SKIN_AIR.name), BARS[SKIN_AIR.name]),
        "fat-muscle MTF50 >= 90 %": _at_least(kept.get(FAT_MUSCLE.name), BARS[FAT_MUSCLE.name]),
        "soft-tissue drift < 2 HU": max(soft) < SOFT_DRIFT_HU if soft else None,
        "bone drift < 5 HU": abs(drift["bone"]) < DRIFT_HU["bone"] if "bone" in drift else None,
        "residual green": figure["residual"] == "green",
        "trabecular variance >= 80 %": _at_least(trabecular, TRABECULAR) if is_phantom else None,
    }


def _at_least(value: float | None, limit: float) -> bool | None:
    return None if value is None else value >= limit
