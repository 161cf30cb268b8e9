"""HorusEye: a denoiser trained on noise that was found in real scans (layer: methods)."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.core.params import Param
from ctrestorelib.core.units import Unit, mu_from_hu
from ctrestorelib.core.volume import Volume
from ctrestorelib.inference.noise_levels import require_measured, unchanged
from ctrestorelib.inference.runtimes import PACKAGES, RuntimeChoice, choose_runtime
from ctrestorelib.inference.slabs import PRESETS, Factor, Sigma, fill_padding
from ctrestorelib.inference.slice_network import SliceNetwork, load_slice_network, needs_torch
from ctrestorelib.quality.noise import estimate_noise
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
from ctrestorelib.weights.store import released

Floats = NDArray[np.float32]
COMPACT = "horuseye-compact"


@enum.unique
class Mode(str, enum.Enum):
    """What the network sees."""

    NOISE_UNITS = "noise-units"
    WINDOW = "window"


@dataclass(frozen=True, kw_only=True)
class HorusEyeParams:
    """Parameters of HorusEye."""

    mode: Annotated[
        Mode,
        Param(
            "Values seen",
            "Noise units use the whole range, and no display window plays a part. Window clips "
            "to one window first, as in the publication; voxels outside it keep their values.",
        ),
    ] = Mode.NOISE_UNITS
    window_low: Annotated[
        float,
        Param(
            "Window from",
            "Lowest value seen in window mode; HU (grey values for volumes without HU).",
            "HU",
        ),
    ] = -1000.0
    window_high: Annotated[
        float,
        Param(
            "Window to",
            "Highest value seen in window mode. Published for lung -1000 to 600, for the "
            "mediastinum -200 to 300, for the abdomen -160 to 240; narrow windows denoise worse.",
            "HU",
        ),
    ] = 600.0
    factor: Factor = 1.0
    sigma: Sigma = None
    weights: Annotated[
        str,
        Param(
            "Network",
            "Name of released weights, or the .onnx or .safetensors file of your own training.",
            advanced=True,
        ),
    ] = COMPACT


_COMPACT_COST, _FULL_COST = (0.20, 380), (240.0, 9000)
"""Seconds of one core for a million pixels, and bytes for a pixel, of both sizes of network."""
_FULL_FILE_BYTES = 200e6
_SLOWER = {"onnxruntime": 1.0, "torch": 3.0}
_ON_CARD = 0.02
_LIBRARY_BYTES = {"onnxruntime": 60 * MIB, "torch": 330 * MIB}
_START_S = 2.0
_MEASURE_SHARE = 0.1
_MEASURING_BYTES = 30  # per pixel of the slices that are measured together
_STAGES = (PlannedStage("Measure the noise", _MEASURE_SHARE),
           PlannedStage("Remove the noise", 1 - _MEASURE_SHARE))  # fmt: skip


class HorusEye:
    """Cleans each slice by itself, with a network that learned on noise taken from real scans."""

    spec: ClassVar[RestorerSpec] = RestorerSpec(
        id="horuseye",
        title="Grain removal learned from real noise (HorusEye)",
        summary="A network that learned on noise which a second network had found in real scans, "
        "by what does not go on from slice to slice. Works slice by slice. Research use only.",
        kind=Kind.DENOISER,
        needs=Needs(required=(Role.VOLUME,), optional=(Role.MASK,), any_package=PACKAGES),
        references=(
            Reference("Chu Y et al. HorusEye. Nature Computational Science 6(4):372-387, 2026.",
                      "10.1038/s43588-026-00973-3"),
            Reference("Chen H et al. Low-dose CT with a residual encoder-decoder convolutional "
                      "neural network. IEEE Trans Med Imaging 36(12), 2017.",
                      "10.1109/TMI.2017.2715284"),
        ),
        maturity=Maturity.RESEARCH,
        weights=(COMPACT,),
        presets=PRESETS,
    )  # fmt: skip
    Params: ClassVar[type] = HorusEyeParams

    def plan(self, shapes: InputShapes, params: HorusEyeParams, budget: Budget) -> Plan:
        """Return how a run of this size goes, with the best runtime that is installed."""
        choice = _choice(params, budget.device)
        slices, rows, cols = shapes.volume or (0, 0, 0)
        seconds, bytes_per_pixel = _FULL_COST if _is_full(params.weights) else _COMPACT_COST
        # One slice at a time, and of a large one at most a window.
        seen = min((rows + 32) * (cols + 32), 1216**2)
        needed = BASE_BYTES + _LIBRARY_BYTES[choice.backend] + seen * bytes_per_pixel
        needed += (8 + shapes.has_mask) * shapes.voxels + _MEASURING_BYTES * 24 * rows * cols
        require_fit(needed, budget, "Close other programs, or choose a smaller region.")
        speed = _SLOWER[choice.backend] / max(1, budget.threads)
        speed = speed if choice.device == "cpu" else _ON_CARD
        duration = _START_S + slices * rows * cols * 1e-6 * (seconds * speed + 0.05)
        return Plan(choice.backend, choice.device, budget.threads, needed, duration, _STAGES,
                    choice.precision, 0 if choice.device == "cpu" else needed,
                    block_slices=1)  # fmt: skip

    def restore(self, inputs: Inputs, params: HorusEyeParams, plan: Plan, job: Job) -> Estimate:
        """Denoise the volume; scanner padding and voxels outside the mask keep their values.

        Raises
        ------
        WeightsError
            If the weights are missing or altered.
        UsageError
            If the window is empty, or the network does not fit the mode.
        """
        volume = inputs.require_volume()
        volume.require_finite()
        view = _View.of(params, volume.unit)
        with job.stage(_STAGES[0].title, _STAGES[0].share) as stage:
            noise = estimate_noise(volume)
            stage.done(0.5)
            sigma = _levels(volume, params)
            stage.done(1.0)
        report: dict[str, Any] = {"sigma": sigma.typical, "noise": noise.to_json()}
        if sigma.typical == 0 or params.sigma == 0:
            return unchanged(volume, report, job)
        with job.stage(_STAGES[1].title, _STAGES[1].share) as stage:
            choice = RuntimeChoice(plan.backend, plan.precision, plan.device)
            network = load_slice_network(params.weights, choice, plan.threads)
            view.check(network)
            work = _Work(inputs, network, view, sigma)
            for k in stage.track(range(volume.shape[0])):
                work.do(k)
        report |= {"weights": network.file, "runtime": f"{plan.backend} {plan.precision}",
                   "outside_window": work.outside / volume.values.size}  # fmt: skip
        report |= _checksum(params.weights, network.file)
        _tell(view, work.outside / volume.values.size, job)
        return Estimate(volume.with_values(work.values), report=report)


@dataclass(frozen=True)
class _View:
    """The values that the network may see: all, or a window from ``low`` to ``high``."""

    low: float
    high: float
    text: str

    @classmethod
    def of(cls, params: HorusEyeParams, unit: Unit) -> _View:
        if params.mode is Mode.NOISE_UNITS:
            return cls(-np.inf, np.inf, "")
        low, high = params.window_low, params.window_high
        if not low < high:
            message = f"The window must have a lower and a higher edge; got {low:g} to {high:g}."
            raise UsageError(message, hint="Give window_low below window_high.")
        text = f"{low:g} to {high:g}" + ("" if unit is Unit.GREY else " HU")
        if unit is Unit.PER_MM:
            low, high = (float(mu_from_hu(x)) for x in (low, high))
        return cls(low, high, text)

    @property
    def is_window(self) -> bool:
        return bool(np.isfinite(self.low))

    def check(self, network: SliceNetwork) -> None:
        """Refuse a network made for windows where there is none."""
        if not network.noise_units and not self.is_window:
            message = f"{network.file} was trained on windows; the mode is noise units."
            raise UsageError(message, hint="Choose the mode 'window' and its edges.")

    def run(self, network: SliceNetwork) -> Callable[[Floats, Floats], Floats]:
        """Return ``(slice, noise level) -> denoised slice`` in the volume's unit."""

        def in_units(values: Floats, level: Floats) -> Floats:
            return network.restore(values / level) * level

        def in_window(values: Floats, _level: Floats) -> Floats:
            low, width = np.float32(self.low), np.float32(self.high - self.low)
            return network.restore((values - low) / width) * width + low

        return in_units if network.noise_units else in_window


class _Work:
    """Denoises slice by slice into ``values``."""

    def __init__(self, inputs: Inputs, network: SliceNetwork, view: _View, sigma: SigmaMap) -> None:
        self.volume, self.mask = inputs.require_volume(), inputs.mask
        self.view, self.sigma = view, sigma
        self.run = view.run(network)
        self.values = np.empty_like(self.volume.values)
        self.outside = 0

    def do(self, k: int) -> None:
        """Denoise slice ``k``."""
        original, target = self.volume.values[k], self.values[k]
        target[:] = original
        wanted = None if self.mask is None else self.mask[k]
        if wanted is not None and not wanted.any():
            return
        seen = original[None].copy()
        padding = fill_padding(seen, self.volume.unit)
        clipped = np.clip(seen[0], self.view.low, self.view.high)
        restored = self.run(clipped, self.sigma.slice(k))
        keep = (original < self.view.low) | (original > self.view.high)
        self.outside += int(np.count_nonzero(keep))
        if padding is not None:
            keep |= padding[0]
        if wanted is not None:
            keep |= ~wanted
        np.copyto(target, restored, where=~keep)


def _choice(params: HorusEyeParams, device: str) -> RuntimeChoice:
    if needs_torch(params.weights):
        return RuntimeChoice("torch", "float32", device)
    if params.weights.endswith(".onnx"):
        return RuntimeChoice("onnxruntime", "float32")
    return choose_runtime(device=device)


def _is_full(weights: str) -> bool:
    """Whether a file is so large that it can only be the full-size network."""
    path = Path(weights)
    return bool(path.suffix) and path.is_file() and path.stat().st_size > _FULL_FILE_BYTES


def _levels(volume: Volume, params: HorusEyeParams) -> SigmaMap:
    found = sigma_map(volume)
    require_measured(found.typical)
    wanted = found.typical if params.sigma is None else params.sigma
    if found.typical == 0 or wanted == 0:
        return found
    return found.scaled(params.factor * wanted / found.typical)


def _checksum(weights: str, file: str) -> dict[str, Any]:
    """Return the SHA-256 of released weights for the record; a person's own have none on record."""
    if Path(weights).suffix:
        return {}
    return {"weights_sha256": {file: released()[weights].sha256[file]}}


def _tell(view: _View, outside: float, job: Job) -> None:
    if view.is_window:
        job.warn(
            "window-mode",
            f"Only values from {view.text} were denoised; {100 * outside:.2g} % of the voxels lie "
            "outside and were kept, so that noise changes at the window's edges.",
        )


RESTORER = HorusEye()
"""HorusEye."""
