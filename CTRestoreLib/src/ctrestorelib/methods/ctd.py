"""The default learned denoiser: a 2.5-D residual network in noise units (layer: methods)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from ctrestorelib.core.errors import InputError, ResourceError
from ctrestorelib.core.job import Job, Stage
from ctrestorelib.core.params import Param
from ctrestorelib.core.volume import Volume
from ctrestorelib.inference.input_checks import doubts
from ctrestorelib.inference.noise_levels import require_measured, unchanged
from ctrestorelib.inference.residual_volume import Guards, ResidualDenoiser, Restored
from ctrestorelib.inference.runtimes import (
    PACKAGES,
    Runtime,
    RuntimeChoice,
    TorchRuntime,
    choose_runtime,
    load_network,
    load_runtime,
    torch_threads,
)
from ctrestorelib.inference.slabs import PRESETS, Factor, Sigma
from ctrestorelib.physics.backend import available
from ctrestorelib.quality.coverage import coverage
from ctrestorelib.quality.noise import estimate_noise
from ctrestorelib.quality.scan_noise import ScanNoise, SelfTraining, describe_noise
from ctrestorelib.quality.sigma_map import SigmaMap, sigma_map
from ctrestorelib.restorer.plan import (
    BASE_BYTES,
    MIB,
    Budget,
    InputShapes,
    Plan,
    PlannedStage,
    require_fit,
)
from ctrestorelib.restorer.protocol import Estimate, Inputs
from ctrestorelib.restorer.spec import Kind, Maturity, Needs, Reference, RestorerSpec, Role
from ctrestorelib.weights.store import released, weights_file


@enum.unique
class Variant(str, enum.Enum):
    """Which network."""

    STANDARD = "standard"
    FAST = "fast"

    @property
    def weights(self) -> str:
        """Name of the released weights."""
        return f"ctd-{self.value}"


@enum.unique
class Precision(str, enum.Enum):
    """How exactly to compute."""

    ACCURATE = "accurate"
    FAST = "fast"


@dataclass(frozen=True, kw_only=True)
class CtdParams:
    """Parameters of the learned denoiser."""

    variant: Annotated[
        Variant,
        Param("Network", "The standard network, or a smaller one that takes a third of the time."),
    ] = Variant.STANDARD
    factor: Factor = 1.0
    sigma: Sigma = None
    bone_strength: Annotated[
        float,
        Param(
            "Strength in bone",
            "Share of the noise that is removed in bone: lower keeps more of its fine texture.",
            "",
            (0, 1),
        ),
    ] = 0.8
    coherence: Annotated[
        bool,
        Param(
            "Give back what continues",
            "Puts removed values back where they go on in the neighbouring slices, as anatomy "
            "does and noise does not.",
        ),
    ] = True
    adapt: Annotated[
        bool,
        Param(
            "Adapt to this scan",
            "Trains the last layers on the scan itself for some minutes, and keeps that only if "
            "slices set aside get better. Needs PyTorch.",
            advanced=True,
        ),
    ] = False
    uncertainty: Annotated[
        bool,
        Param(
            "Uncertainty map",
            "Adds a volume with the expected error of every voxel, checked on this scan.",
        ),
    ] = False
    veto_mm: Annotated[
        float,
        Param(
            "Keep local means",
            "Width of the neighbourhood whose mean value stays as it was; 0 lets means drift.",
            "mm",
            (0, 30),
            advanced=True,
        ),
    ] = 6.0
    precision: Annotated[
        Precision,
        Param(
            "Precision",
            "Accurate gives the same values with any number of cores. Fast may round to bfloat16 "
            "where processor and PyTorch can: quicker, with rounding errors of about a hundredth "
            "of the noise.",
            advanced=True,
        ),
    ] = Precision.ACCURATE


@dataclass(frozen=True)
class _Cost:
    """Time of one core for a million pixels in float32, in seconds, and memory of the network."""

    seconds: float
    bytes_per_pixel: int


_COST = {Variant.STANDARD: _Cost(0.60, 700), Variant.FAST: _Cost(0.20, 380)}
_LEARNING_BYTES = {Variant.STANDARD: 1600, Variant.FAST: 1000}  # per pixel that it learns from
_GUARDS = _Cost(0.12, 90)
_SLOWER = {("onnxruntime", "float32"): 1.0, ("torch", "float32"): 3.0, ("torch", "bfloat16"): 0.6}
_LIBRARY_BYTES = {"onnxruntime": 60 * MIB, "torch": 330 * MIB}
_ON_CARD = 0.02
_START_S = 2.0
_MEASURE_SHARE, _CHECK_SHARE, _DESCRIBE_SHARE, _ADAPT_SHARE = 0.08, 0.07, 0.04, 0.6
_ADAPT_S = {Variant.STANDARD: 100.0, Variant.FAST: 40.0}  # 300 steps and the judging, one core
_ADAPT_BYTES = 14  # per voxel: matched noise, its level and their quotient, while it is drawn
_ADAPT_SLICES = 160  # slices of noise that are kept, in half precision
_ADAPT_PIXELS = 2 * 4 * 128**2  # of the crops that one step learns from
_MEASURING_BYTES = 30  # per pixel of the slices that are measured together
_PAD = 34
_WIDEST = 10.0


class LearnedDenoiser:
    """Removes what a small network, trained on simulated scans of many kinds, takes for noise."""

    spec: ClassVar[RestorerSpec] = RestorerSpec(
        id="ctd",
        title="Grain removal learned from many scans (2.5-D network)",
        summary="A small neural network that learned on many scans what noise looks like. It "
        "looks at five neighbouring slices, keeps HU, and removes the most noise at the same "
        "sharpness. Research use only.",
        kind=Kind.DENOISER,
        needs=Needs(required=(Role.VOLUME,), optional=(Role.MASK,), any_package=PACKAGES),
        references=(
            Reference("Ronneberger O, Fischer P, Brox T. U-Net: convolutional networks for "
                      "biomedical image segmentation. MICCAI 2015.",
                      "10.1007/978-3-319-24574-4_28"),
            Reference("Zhang K et al. Beyond a Gaussian denoiser: residual learning of deep CNN "
                      "for image denoising. IEEE Trans Image Process 26(7), 2017.",
                      "10.1109/TIP.2017.2662206"),
            Reference("Angelopoulos AN et al. Image-to-image regression with distribution-free "
                      "uncertainty quantification. ICML 2022.", "10.48550/arXiv.2202.05265"),
        ),
        maturity=Maturity.RESEARCH,
        weights=tuple(v.weights for v in Variant),
        presets=PRESETS,
    )  # fmt: skip
    Params: ClassVar[type] = CtdParams

    def plan(self, shapes: InputShapes, params: CtdParams, budget: Budget) -> Plan:
        """Return how a run of this size goes, with the best runtime that is installed."""
        choice = _choice(params, budget.device)
        slices, rows, cols = shapes.volume or (0, 0, 0)
        pixels = (rows + _PAD) * (cols + _PAD)
        cost = _COST[params.variant]
        needed = BASE_BYTES + _LIBRARY_BYTES[choice.backend] + _memory(shapes, params)
        needed += pixels * (cost.bytes_per_pixel + _GUARDS.bytes_per_pixel)
        require_fit(needed, budget, "Close other programs, or choose a smaller region.")
        speed = _SLOWER[choice.backend, choice.precision]
        if choice.device != "cpu":
            speed = _ON_CARD * budget.threads
        network = cost.seconds * speed / max(1, budget.threads)
        seconds = (
            _START_S
            + params.adapt * _ADAPT_S[params.variant] / max(1, budget.threads)
            + slices * pixels * 1e-6 * (network + _GUARDS.seconds)
        )
        return Plan(choice.backend, choice.device, budget.threads, needed, seconds,
                    _stages(params), choice.precision,
                    0 if choice.device == "cpu" else needed, block_slices=1)  # fmt: skip

    def restore(self, inputs: Inputs, params: CtdParams, plan: Plan, job: Job) -> Estimate:
        """Denoise the volume; scanner padding and voxels outside the mask keep their values."""
        volume = inputs.require_volume()
        volume.require_finite()
        stages = iter(plan.stages)
        with _open(job, next(stages)) as stage:
            noise = estimate_noise(volume)
            stage.done(0.5)
            sigma = _levels(volume, params)
        report: dict[str, Any] = {
            "sigma": sigma.typical,
            "sigma_method": sigma.method,
            "noise": noise.to_json(),
        }
        if sigma.typical == 0:
            return unchanged(volume, report, job)
        for code, text in doubts(volume, noise, sigma):
            job.warn(code, text)
        runtime = None
        if params.adapt:
            with _open(job, next(stages)):
                texture = describe_noise(volume)
            share = next(stages).share
            reached = job.fraction + share
            runtime, report["adaptation"] = _adapted(
                volume, texture, params, plan, job=job, share=share
            )
            job.advance(reached, force=True)
        with _open(job, next(stages)) as stage:
            runtime = runtime or _released(params, plan)
            restored = _denoise(inputs, params, runtime, sigma, stage)
        _tell(restored, job)
        report |= _numbers(restored, params, plan)
        made = volume.with_values(restored.values)
        if restored.uncertainty is None:
            return Estimate(made, report=report)
        with _open(job, next(stages)) as stage:
            errors = volume.with_values(restored.uncertainty)
            checked, report["coverage"] = _checked(volume, made, errors, job)
            stage.done(1.0)
        return Estimate(made, checked, report)


def _choice(params: CtdParams, device: str) -> RuntimeChoice:
    """Return what computes; a scan is adapted to, and then denoised, with PyTorch in any case."""
    if not params.adapt:
        return choose_runtime(fast=params.precision is Precision.FAST, device=device)
    if not available("torch"):
        message = "Adapting to a scan needs the Python package torch, which is not installed."
        raise ResourceError(message, hint="Install PyTorch, or switch the adaptation off.")
    return RuntimeChoice("torch", "float32", device)


def _open(job: Job, planned: PlannedStage) -> Any:
    return job.stage(planned.title, planned.share)


def _stages(params: CtdParams) -> tuple[PlannedStage, ...]:
    check = _CHECK_SHARE if params.uncertainty else 0.0
    adapt = _ADAPT_SHARE if params.adapt else 0.0
    describe = _DESCRIBE_SHARE if params.adapt else 0.0
    stages = [
        PlannedStage("Measure the noise", _MEASURE_SHARE),
        PlannedStage("Measure its texture", describe),
        PlannedStage("Adapt to this scan", adapt),
        PlannedStage("Remove the noise", 1.0 - _MEASURE_SHARE - describe - adapt - check),
        PlannedStage("Check the uncertainty", check),
    ]
    return tuple(s for s in stages if s.share > 0)


def _memory(shapes: InputShapes, params: CtdParams) -> int:
    """Bytes of the volumes held at the same time, and of measuring the noise."""
    _slices, rows, cols = shapes.volume or (0, 0, 0)
    volumes = 4 * (2 + 2 * params.uncertainty) + shapes.has_mask
    needed = volumes * shapes.voxels + _MEASURING_BYTES * 24 * rows * cols
    if params.adapt:
        needed += _ADAPT_BYTES * shapes.voxels + 2 * _ADAPT_SLICES * rows * cols
        needed += _ADAPT_PIXELS * _LEARNING_BYTES[params.variant]
    return needed


def _levels(volume: Volume, params: CtdParams) -> SigmaMap:
    sigma = sigma_map(volume)
    require_measured(sigma.typical)
    if sigma.typical == 0:
        return sigma
    wanted = sigma.typical if params.sigma is None else params.sigma
    if wanted == 0:
        message = "A noise level of 0 leaves nothing to remove."
        raise InputError(message, hint="Leave sigma empty to measure it, or lower the strength.")
    return sigma.scaled(params.factor * wanted / sigma.typical)


def _adapted(
    volume: Volume, texture: ScanNoise, params: CtdParams, plan: Plan, *, job: Job, share: float
) -> tuple[Runtime | None, dict[str, Any]]:
    """Return the network adapted to this scan, None where the released one is as good."""
    from ctrestorelib.physics.matched_noise import MatchedNoise
    from ctrestorelib.training.adaptation import AdaptationSettings, adapt

    if texture.training is SelfTraining.NONE or texture.sigma is None:
        why = "Too little is known of this scan's noise to adapt to it. The original network is "
        return None, _told(job, kept=False, why=why + "used.")
    network = load_network(weights_file(params.variant.weights, "safetensors")).to(plan.device)
    draw = MatchedNoise(texture, volume.geometry).draw
    with torch_threads(plan.threads):
        found = adapt(network, volume, texture.sigma, draw, texture.rho,
                      settings=AdaptationSettings(), job=job, share=share)  # fmt: skip
    facts = _told(job, kept=found.kept, why=found.why)
    if np.isfinite(found.held_out_before):
        facts |= {"before": found.held_out_before, "after": found.held_out_after}
    if not found.kept:
        return None, facts
    return TorchRuntime(found.network, "float32", plan.device, plan.threads), facts


def _told(job: Job, *, kept: bool, why: str) -> dict[str, Any]:
    """Tell what came of the adaptation; return it for the record of the result."""
    rule = "An adaptation is kept only if it measurably helps on slices set aside."
    result = "This one was kept:" if kept else "This one was not:"
    job.warn("adapted" if kept else "not-adapted", f"{rule} {result} {why[0].lower()}{why[1:]}")
    return {"rule": rule, "kept": kept, "why": why}


def _released(params: CtdParams, plan: Plan) -> Runtime:
    choice = RuntimeChoice(plan.backend, plan.precision, plan.device)
    return load_runtime(params.variant.weights, choice, plan.threads)


def _denoise(
    inputs: Inputs, params: CtdParams, runtime: Runtime, sigma: SigmaMap, stage: Stage
) -> Restored:
    guards = Guards(
        veto_mm=params.veto_mm, bone_strength=params.bone_strength, coherence=params.coherence
    )
    calibration = released()[params.variant.weights].calibration().get("factors", {})
    return ResidualDenoiser(runtime, guards, calibration).restore(
        inputs.require_volume(),
        sigma,
        mask=inputs.mask,
        uncertainty=params.uncertainty,
        track=stage.track,
    )


def _tell(restored: Restored, job: Job) -> None:
    if restored.untouched > 0:
        job.warn(
            "left-alone",
            f"{100 * restored.untouched:.2g} % of the volume, at metal or where the noise is more "
            "than five times the usual, was left as it was.",
        )


def _numbers(restored: Restored, params: CtdParams, plan: Plan) -> dict[str, Any]:
    network = released()[params.variant.weights]
    kind = "onnx" if plan.backend == "onnxruntime" else "safetensors"
    file = str(network.files[kind]["file"])
    return {
        "weights_sha256": {file: network.sha256[file]},
        "runtime": f"{plan.backend} {plan.precision} on {plan.device}",
        "left_alone": restored.untouched,
        "given_back": restored.given_back,
    }


def _checked(
    volume: Volume, made: Volume, errors: Volume, job: Job
) -> tuple[Volume, dict[str, Any]]:
    """Return the uncertainty, widened where this scan shows that it is too small, and why."""
    found = coverage(volume, made, errors)
    if found.out_of_domain:
        job.warn("out-of-domain", found.sentence)
    if found.inflation is not None and 1.0 < found.inflation <= _WIDEST:
        np.multiply(errors.values, np.float32(found.inflation), out=errors.values)
    return errors, found.to_json()


RESTORER = LearnedDenoiser()
