"""What of a reconstruction was measured, and what was inferred (layer: recon).

Before the scan, each voxel is known to within a standard deviation ``s`` (the prior). After it, its
variance has shrunk. The share by which it shrank is the diagonal of

    R = (A^T W A + I / s^2)^-1  A^T W A

1 where this patient's readings decide the voxel by themselves, 0 where they say nothing and
whatever is shown there was inferred: by smoothness, by a network, or by chance. The share belongs
to a size of detail: fine voxels are measured less than coarse ones, because the same readings are
spread over more of them.

The diagonal is the mean of ``z * (R z)`` over random vectors ``z`` of +1 and -1. Every ``R z`` is
one data-consistency problem: the nearest volume to nothing that explains the projections of ``z``.

References
----------
Hutchinson 1990, doi:10.1080/03610919008812866; Bekas, Kokiopoulou and Saad 2007 (the diagonal),
doi:10.1016/j.apnum.2007.01.003.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.job import Job, Stage
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.result import Measure, Verdict
from ctrestorelib.recon.arrays import Array
from ctrestorelib.recon.coarse_scan import coarse_shape, coarser, resized
from ctrestorelib.recon.consistency import consistent
from ctrestorelib.recon.coverage import in_view
from ctrestorelib.recon.model_error import cautious_weights
from ctrestorelib.recon.probes import random_signs
from ctrestorelib.recon.session import open_session
from ctrestorelib.recon.solver import Problem
from ctrestorelib.restorer.plan import Plan
from ctrestorelib.restorer.protocol import Inputs

CELLS = 48
"""Voxels along the longest axis of the grid on which the share is computed, at most."""

PROBES = 6
MOST_PROBES = 24
"""A single slice has few neighbours to average with: it gets more probes, up to this many."""

STEPS = 16

SMOOTHING_VOXELS = 1.5
"""Standard deviation of the smoothing: it averages about 150 voxels' worth of random signs."""

MOSTLY_MEASURED, HARDLY_MEASURED = 0.5, 0.2

OBJECT_LEVEL = 0.2
"""Voxels above this share of the 99th percentile of the attenuation belong to the object."""


@dataclass(frozen=True, eq=False)
class MeasuredShare:
    """The map and what to say about it.

    Parameters
    ----------
    percent
        0 (inferred) to 100 (measured) at every voxel of the output grid.
    detail_mm
        Size of detail that it speaks of: the edge of the voxels on which it was computed.
    typical
        Median share over the seen voxels of the object, 0 to 1.
    mostly_measured
        Part of the object's voxels with a share of at least one half.
    unseen
        Part of the object's voxels that no view sees.
    prior_sd_per_mm
        How well a voxel was taken to be known before the scan, in 1/mm.
    probes
        Random vectors used.
    """

    percent: Volume
    detail_mm: float
    typical: float
    mostly_measured: float
    unseen: float
    prior_sd_per_mm: float
    probes: int = PROBES

    @property
    def verdict(self) -> Verdict:
        """Green where most was measured, red where most was inferred."""
        if self.typical < HARDLY_MEASURED:
            return Verdict.RED
        return Verdict.GREEN if self.typical >= MOSTLY_MEASURED else Verdict.AMBER

    @property
    def sentence(self) -> str:
        """What the numbers say."""
        told = (
            f"Of details of {self.detail_mm:.2g} mm about {100 * self.typical:.0f} % was measured; "
            "the rest was inferred"
        )
        ending = {
            Verdict.GREEN: "",
            Verdict.AMBER: ": look at the map before relying on a fine detail",
            Verdict.RED: ": fine details here are guesses, only coarse shapes come from the views",
        }[self.verdict]
        unseen = f" {100 * self.unseen:.0f} % of the object was seen by no view."
        return f"{told}{ending}.{unseen if self.unseen > 0.005 else ''}"

    def to_measure(self) -> Measure:
        """Return the typical share as one line of a table."""
        return Measure(
            "measured_share", "How much was measured, not inferred?", 100 * self.typical, "%",
            verdict=self.verdict, sentence=self.sentence,
            protocol=f"median over object; voxels {self.detail_mm:.3g} mm, {self.probes} probes",
            details={"detail_mm": self.detail_mm, "prior_sd_per_mm": self.prior_sd_per_mm,
                     "mostly_measured": self.mostly_measured, "unseen": self.unseen},
        )  # fmt: skip


def share_map(
    inputs: Inputs,
    values: Volume,
    plan: Plan,
    job: Job,
    *,
    prior_sd_per_mm: float | None = None,
    cells: int = CELLS,
    stage: Stage | None = None,
) -> MeasuredShare:
    """Return which share of a reconstruction was measured, voxel by voxel.

    Parameters
    ----------
    inputs
        Projections, grid and mask of the reconstruction.
    values
        The reconstruction in 1/mm on that grid: it tells where the object is.
    plan, job
        As for :func:`~ctrestorelib.recon.session.open_session`.
    prior_sd_per_mm
        How well a voxel is known without the scan; by default to within a quarter of the object's
        mean attenuation (250 HU for soft tissue).
    cells
        Voxels along the longest axis of the grid used, at most.

    Raises
    ------
    GeometryError, InputError
        As opening a session does.
    Cancelled
        When the job was cancelled.
    """
    _, grid = inputs.require_scan()
    session = open_session(coarser(inputs, coarse_shape(grid.shape, cells)), plan, job)
    shape = session.grid.shape
    coarse = resized(values.values, shape)
    inside = _object(coarse)
    sd = prior_sd_per_mm or 0.25 * float(coarse[inside].mean())
    problem = replace(session.problem, weights=cautious_weights(session))
    probes = _probes(shape)
    found = measured_share(problem, prior_sd_per_mm=sd, probes=probes, stage=stage)
    share = session.operator.to_numpy(found)
    seen = in_view(session.scan.geometry, session.grid, share=1e-9)
    if inputs.mask is not None:
        seen &= resized(inputs.mask.astype(np.float32), shape) > 0
    share = smoothed_within(share, seen)
    typical, most, unseen = _figures(share, seen, inside)
    return MeasuredShare(
        _on_grid(share, inputs), float(np.prod(session.grid.spacing_mm) ** (1 / 3)),
        typical, most, unseen, sd, probes,
    )  # fmt: skip


def measured_share(
    problem: Problem,
    *,
    prior_sd_per_mm: float,
    probes: int = PROBES,
    steps: int = STEPS,
    seed: int = 0,
    stage: Stage | None = None,
) -> Array:
    """Return the diagonal of ``R`` at the problem's own voxels, unsmoothed.

    Each probe costs ``steps + 1`` projections and backprojections. Values scatter about the share
    with a standard deviation of at most ``0.5 / sqrt(probes)`` and may leave 0..1; see
    :func:`smoothed_within`. Voxels that no reading sees get exactly 0. Too few steps make shares a
    little too low, never too high.

    Raises
    ------
    UsageError
        If ``prior_sd_per_mm`` or ``probes`` is not positive.
    Cancelled
        When the job of ``stage`` was cancelled.
    """
    if not prior_sd_per_mm > 0.0 or probes < 1:
        message = f"prior_sd_per_mm and probes must be positive; got {prior_sd_per_mm}, {probes}."
        raise UsageError(message)
    nothing = problem.operator.zeros_domain()
    total = nothing + 0.0
    for n in range(probes) if stage is None else stage.track(range(probes)):
        signs = random_signs(nothing, seed + n)
        if problem.support is not None:
            signs *= problem.support
        seen = replace(problem, data=problem.operator(signs), start=None, nonnegative=False)
        signs *= consistent(seen, nothing, strength=prior_sd_per_mm**-2, steps=steps)
        total += signs
    total *= 1.0 / probes
    return total


def smoothed_within(
    share: NDArray[np.float32], seen: NDArray[np.bool_], width: float = SMOOTHING_VOXELS
) -> NDArray[np.float32]:
    """Return ``share`` averaged over neighbouring seen voxels, 0 to 1; unseen voxels get 0."""
    from scipy.ndimage import gaussian_filter

    weight = gaussian_filter(seen.astype(np.float32), width, mode="constant")
    mean = gaussian_filter(np.where(seen, share, np.float32(0.0)), width, mode="constant")
    out = np.where(seen, mean / np.maximum(weight, 1e-6), 0.0)
    return np.asarray(np.clip(out, 0.0, 1.0), dtype=np.float32)


def _probes(shape: tuple[int, int, int]) -> int:
    """Return how many probes make the smoothed map as even as that of a large volume."""
    reach = 2.0 * np.pi**0.5 * SMOOTHING_VOXELS
    return int(np.clip(PROBES * np.prod([reach / min(n, reach) for n in shape]), 1, MOST_PROBES))


def _object(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    level = OBJECT_LEVEL * float(np.quantile(values, 0.99))
    inside = values > level
    return inside if level > 0 and inside.any() else np.ones(values.shape, dtype=bool)


def _figures(
    share: NDArray[np.float32], seen: NDArray[np.bool_], inside: NDArray[np.bool_]
) -> tuple[float, float, float]:
    both = share[inside & seen]
    if not both.size:
        return 0.0, 0.0, 1.0
    most = float((share[inside] >= MOSTLY_MEASURED).mean())
    return float(np.median(both)), most, float(1.0 - seen[inside].mean())


def _on_grid(share: NDArray[np.float32], inputs: Inputs) -> Volume:
    """Return the share in percent on the output grid, 0 where no view looks or no object can be."""
    scan, grid = inputs.require_scan()
    fine: Any = resized(share, grid.shape)
    fine *= in_view(scan.geometry, grid, share=1e-9)
    if inputs.mask is not None:
        fine *= inputs.mask
    fine *= 100.0
    return Volume(fine, grid, Unit.GREY)
