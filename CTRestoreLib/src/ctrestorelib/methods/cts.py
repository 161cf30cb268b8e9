"""Reconstruction from few views: total variation and a learned correction (layer: methods).

Only the first network is needed; the later ones refine its result.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from ctrestorelib.core.errors import WeightsError
from ctrestorelib.core.job import Job
from ctrestorelib.core.params import Param
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.recon.footprint import Footprint, plan_iterations
from ctrestorelib.restorer.plan import MIB, Budget, InputShapes, Plan, require_fit
from ctrestorelib.restorer.protocol import Estimate, Inputs
from ctrestorelib.restorer.spec import Kind, Maturity, Needs, Reference, RestorerSpec, Role
from ctrestorelib.weights.store import FOLDER, absent_weights, released, weights_file

if TYPE_CHECKING:
    from ctrestorelib.geometry.scan import ConeBeamGeometry
    from ctrestorelib.inference.staged import StagedResult
    from ctrestorelib.recon.learned_prior import TorchCorrector

FINAL = "final.safetensors"
NETWORKS = ("prior", "correct", "refine")
COARSE = 128
_FOOTPRINT = Footprint(volumes=29.0, projections=16.0, volume_passes=40.0, needs_torch=True)
_NETWORK_BYTES = 900 * MIB  # torch's convolutions on the largest block: measured
_NETWORK_SECONDS = 0.8e-6  # per voxel, one core: measured


@dataclass(frozen=True, kw_only=True)
class CtsParams:
    """How far to trust what was learned."""

    prior: Annotated[
        float,
        Param(
            "Trust in what was learned",
            "Largest share of the learned correction. 0 gives the result of total variation; the "
            "views set aside may lower the share, never raise it.",
            bounds=(0.0, 1.0),
        ),
    ] = 1.0
    check: Annotated[
        bool,
        Param(
            "Check on views set aside",
            "Keeps only as much of the learned correction as foretells some views that it did not "
            "see. Takes about twice the time.",
        ),
    ] = True
    uncertainty: Annotated[
        bool,
        Param(
            "Uncertainty map",
            "Adds a volume with the expected error of every voxel, one standard deviation. On "
            "fresh scans 1.64 times as much held the truth in 90 % of the voxels on the mean, in "
            "single scans in 75 to 97 %.",
        ),
    ] = False
    weights: Annotated[
        str,
        Param(
            "Networks",
            "Folder of your own training (ctrestore train cts); empty takes the released networks.",
            advanced=True,
        ),
    ] = ""


class Cts:
    """Total variation, learned corrections and the measurements in turn."""

    Params: ClassVar[type] = CtsParams
    spec: ClassVar[RestorerSpec] = RestorerSpec(
        id="cts",
        title="Few views, learned (TV with network)",
        summary=(
            "Starts from total variation, adds what a network learned of many scans, and returns "
            "to the measurements after each step. Views set aside decide how much is kept; an "
            "object unlike any it learned from gets plain total variation. Research use only."
        ),
        kind=Kind.RECONSTRUCTOR,
        needs=Needs(
            required=(Role.PROJECTIONS,), optional=(Role.MASK,), packages=("torch",), min_views=2
        ),
        references=(
            Reference(
                "H. K. Aggarwal, M. P. Mani, M. Jacob, MoDL: model-based deep learning "
                "architecture for inverse problems, IEEE Trans. Med. Imaging 38 (2019) 394.",
                "10.1109/TMI.2018.2865356",
            ),
            Reference(
                "J. Adler, O. Oktem, Learned primal-dual reconstruction, IEEE Trans. Med. Imaging "
                "37 (2018) 1322.",
                "10.1109/TMI.2018.2799231",
            ),
            Reference(
                "E. Perez et al., FiLM: visual reasoning with a general conditioning layer, AAAI "
                "2018.",
                "10.1609/aaai.v32i1.11671",
            ),
        ),
        maturity=Maturity.RESEARCH,
        weights=(f"cts-{NETWORKS[0]}",),
    )

    def plan(self, shapes: InputShapes, params: CtsParams, budget: Budget) -> Plan:
        """Return memory, time and stages; see the restorer protocol."""
        scan, grid = shapes.require_scan()
        stages = _stages(scan, grid.shape, params)
        plan = plan_iterations(shapes, budget, _FOOTPRINT, stages)
        host = plan.peak_host_bytes + _NETWORK_BYTES
        require_fit(host, budget, "Choose a smaller grid, or close other programs.")
        slow = 1.0 if budget.device == "cpu" else 0.05
        network = 1.5 * shapes.voxels * _NETWORK_SECONDS * slow / max(1, budget.threads)
        return Plan(
            plan.backend, plan.device, plan.threads, host, plan.seconds + network, plan.stages,
            peak_device_bytes=0 if budget.device == "cpu" else plan.peak_device_bytes
            + _NETWORK_BYTES,
        )  # fmt: skip

    def restore(self, inputs: Inputs, params: CtsParams, plan: Plan, job: Job) -> Estimate:
        """Reconstruct; see the restorer protocol."""
        from ctrestorelib.inference.staged import StagedReconstruction, StagedSettings
        from ctrestorelib.recon.arrays import array_threads

        job.check()
        networks, sums = _networks(params, plan)
        settings = StagedSettings(
            strength=params.prior,
            check=params.check,
            coarse=COARSE,
            calibration=_calibration(params, inputs),
        )
        with array_threads(plan.threads):
            found = StagedReconstruction(networks, settings).run(inputs, plan, job, plan.stages)
        report = {**found.report, "weights_sha256": sums}
        return _estimate(found, report, wanted=params.uncertainty)


def _stages(
    scan: ConeBeamGeometry, shape: tuple[int, int, int], params: CtsParams
) -> tuple[tuple[str, int], ...]:
    """Return titles and work of the stages, in iterations on the full grid."""
    from ctrestorelib.inference.staged import coarse_grid_shape, plain_because
    from ctrestorelib.recon.chosen_tv import plain_stages
    from ctrestorelib.recon.tv_pyramid import FINE_STEPS

    if plain_because(scan):
        return plain_stages(scan.views)
    coarse = coarse_grid_shape(shape, COARSE)
    times = max(shape) / max(coarse)
    small = 1.0 / times**3
    first = max(1, round(1.5 * FINE_STEPS * small))
    learned = max(1, round(40 * small))
    return (
        ("First estimate (total variation)", first),
        ("Correct with what was learned", learned),
        ("Check on views set aside", (first + learned) * params.check),
        ("Estimate on the full grid", FINE_STEPS if times > 1 else 0),
        ("Back to the measurements", 40),
    )


def _networks(params: CtsParams, plan: Plan) -> tuple[dict[str, TorchCorrector], dict[str, str]]:
    """Return the networks that are there and the SHA-256 of their files, by stage."""
    from ctrestorelib.recon.learned_prior import TorchCorrector, load_volume_unet

    files = _files(params)
    networks = {
        name: TorchCorrector(load_volume_unet(path), plan.device, plan.threads)
        for name, path in files.items()
    }
    sums = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    return networks, sums


def _files(params: CtsParams) -> dict[str, Path]:
    if not params.weights:
        there = [n for n in NETWORKS if not absent_weights([f"cts-{n}"])]
        return {n: weights_file(f"cts-{n}", "safetensors", FOLDER) for n in there}
    folder = Path(params.weights)
    found = {n: folder / n / FINAL for n in NETWORKS if (folder / n / FINAL).is_file()}
    if NETWORKS[0] not in found:
        message = f"The folder {folder.name!r} holds no trained network of the first stage."
        raise WeightsError(message, hint="Train it: ctrestore train cts --stage prior.")
    return found


def _calibration(params: CtsParams, inputs: Inputs) -> float:
    """Return the factor of the expected errors that was measured on fresh scans; 1 if none was.

    Where the voxels are smaller than those of the networks' grid, errors are larger than these
    can know.
    """
    from ctrestorelib.inference.staged import coarse_grid_shape

    name = f"cts-{NETWORKS[0]}"
    if params.weights or absent_weights([name]):
        return 1.0
    _, grid = inputs.require_scan()
    kind = "same" if coarse_grid_shape(grid.shape, COARSE) == grid.shape else "finer"
    factors = released()[name].calibration().get("factors", {})
    factor = factors.get(kind, 1.0) if isinstance(factors, dict) else None
    if not isinstance(factor, int | float) or not 0.0 < factor < 100.0:
        message = f"The calibration of {name} holds no plausible factor: {factor!r}."
        raise WeightsError(message, hint="Install CTRestore again.")
    return float(factor)


def _estimate(found: StagedResult, report: dict[str, Any], *, wanted: bool) -> Estimate:
    from ctrestorelib.recon.solver import Solution, StopReason

    solution = Solution(found.values, 0, StopReason.ITERATIONS, (), None)
    made = found.session.estimate(solution, report)
    if not wanted or found.error_sd is None:
        return made
    errors = Volume(found.error_sd, found.session.grid, Unit.PER_MM)
    return Estimate(made.volume, errors, made.report)


RESTORER = Cts()
