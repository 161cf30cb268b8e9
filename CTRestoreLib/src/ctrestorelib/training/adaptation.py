"""Adapting a denoiser to one scan, kept only if held-out slices get better (layer: training).

The last two levels of the decoder learn from the noisy volume itself: recorrupted examples, and
neighbouring slices with other noise. The pretrained network's answers are an anchor, block means
are held. Slices that took no part decide. They must be better predicted by more than chance, also
from their neighbours, which knows nothing of the noise model: in simulations with a wrong noise
spectrum the recorrupted loss fell while the true error rose. Otherwise the original network is
handed back.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import Volume
from ctrestorelib.networks.residual_unet import ResidualUNet
from ctrestorelib.quality.sigma_map import SigmaMap
from ctrestorelib.training.adaptation_crops import (
    HALF,
    DrawNoise,
    Place,
    VolumeCrops,
    batch_of,
)
from ctrestorelib.training.prefetch import batch_rng
from ctrestorelib.training.settings import TrainingSettings
from ctrestorelib.training.stepper import Batch, Diverged, Stepper

FEWEST_SLICES = 8
_INDEPENDENT = 0.1  # correlation below which the noise of two slices counts as independent
_BLOCK = 16
_SAME_HU, _SAME_LEVEL = 5.0, 0.1  # anatomy may differ by so much, and by twice its uncertainty
_POOL, _JUDGES = 64, 96  # places whose neighbours are looked at, and that judge
_GUARD = 3  # slices between those that teach and those that judge


@dataclass(frozen=True, kw_only=True)
class AdaptationSettings:
    """Settings of :func:`adapt`.

    Parameters
    ----------
    steps, batch, crop
        Optimiser steps, crops in a step, and their side in pixels.
    learning_rate
        Highest learning rate.
    amount
        Share ``a`` of matched noise that is added to the input of a recorrupted example.
    neighbour_weight, anchor_weight, block_weight
        Weights of the losses beside the recorrupted one.
    held_out
        Share of the slices that judge.
    significance
        Chance of keeping an adaptation that did nothing.

    Raises
    ------
    UsageError
        If a value makes no sense.
    """

    steps: int = 300
    batch: int = 4
    crop: int = 128
    learning_rate: float = 1e-3
    amount: float = 0.5
    neighbour_weight: float = 0.5
    anchor_weight: float = 0.1
    block_weight: float = 1.0
    held_out: float = 0.2
    significance: float = 0.05

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.crop // 32) < 1:
            message = "steps and batch must be at least 1 and crop at least 32; "
            message += f"got {self.steps}, {self.batch} and {self.crop}."
            raise UsageError(message)
        if not (0 < self.held_out < 1 and 0 < self.significance < 1 and self.amount > 0):
            message = "held_out and significance must be between 0 and 1, amount above 0; got "
            message += f"{self.held_out}, {self.significance} and {self.amount}."
            raise UsageError(message)


@dataclass(frozen=True)
class AdaptationResult:
    """What came of an adaptation.

    Parameters
    ----------
    network
        The adapted network, or the original one.
    kept
        Whether it is the adapted one.
    why
        One sentence for people.
    held_out_before, held_out_after
        Mean loss on held-out slices, in squared noise units; NaN if it never came to that.
    """

    network: ResidualUNet
    kept: bool
    why: str
    held_out_before: float
    held_out_after: float


def adapt(
    network: ResidualUNet,
    volume: Volume,
    sigma_map: SigmaMap,
    draw_noise: DrawNoise,
    correlation: Sequence[float],
    *,
    settings: AdaptationSettings,
    job: Job,
    share: float = 1.0,
) -> AdaptationResult:
    """Adapt a denoiser to one noisy volume.

    Parameters
    ----------
    network
        Pretrained; not changed.
    volume
        The noisy volume, any unit.
    sigma_map
        Its noise level.
    draw_noise
        ``draw_noise(rng)`` returns noise ``[k, j, i]`` like that of the volume, in its unit: the
        same level everywhere, the same spectrum, the same correlation between slices.
    correlation
        Correlation of the noise of slices 1, 2, ... apart; empty if not known. Where it nowhere
        falls below 0.1, neighbouring slices are not used.
    settings
        See :class:`AdaptationSettings`.
    job
        Progress, cancel and random numbers: the same seed gives the same network.
    share
        Share of the whole job that this is.

    Raises
    ------
    Cancelled
        If the person stopped the job.
    InputError
        If map or noise do not fit the volume, or its slices are smaller than 32 pixels.
    """
    crops = VolumeCrops(volume, sigma_map, settings.crop)
    step = independent_step(correlation)
    teach, judge = split_slices(crops.slices, settings.held_out)
    teachers = crops.places(teach, step or 0)
    judges = crops.places(judge, step + HALF if step else 0)
    judges = _some(judges, _JUDGES, job.rng("adaptation judges"))
    judged = len({place.k for place in judges})
    if len(teachers) < settings.batch or judged < 3:
        why = "The volume has too few slices with material to learn from; nothing was adapted."
        return AdaptationResult(network, kept=False, why=why, held_out_before=np.nan,
                                held_out_after=np.nan)  # fmt: skip
    crops.prepare_noise(draw_noise, job.rng("adaptation noise"))
    task = _Task(network, crops, settings, correlation, job.seed)
    with torch.random.fork_rng(devices=[]):
        return task.run(teachers, judges, job, share)


def split_slices(slices: int, held_out: float) -> tuple[list[int], list[int]]:
    """Return the indices of the slices that teach and of those that judge.

    Judges stand in runs spread over the volume, with a few unused slices on either side, so that
    no slice that teaches sees them; none judge in volumes of fewer than 8 slices.
    """
    if slices < FEWEST_SLICES:
        return list(range(slices)), []
    runs = int(np.clip(slices // 24, 1, 8))
    length = max(3, round(held_out * slices / runs))
    guard = _GUARD if slices >= runs * (length + 2 * _GUARD) + 8 else 0
    middles = (np.arange(runs) + 0.5) * slices / runs
    judge = sorted({int(m - length / 2) + n for m in middles for n in range(length)})
    near = {k + d for k in judge for d in range(-guard, guard + 1)}
    return [k for k in range(slices) if k not in near], judge


class _Task:
    """One adaptation: the losses, and what is compared with what."""

    def __init__(
        self,
        network: ResidualUNet,
        crops: VolumeCrops,
        settings: AdaptationSettings,
        correlation: Sequence[float],
        seed: int,
    ) -> None:
        self.original, self.crops, self.settings, self.seed = network, crops, settings, seed
        self.step = independent_step(correlation)
        self.rho = max(0.0, correlation[self.step - 1]) if self.step else 0.0
        self.device = next(network.parameters()).device

    def run(
        self, teachers: list[Place], judges: list[Place], job: Job, share: float
    ) -> AdaptationResult:
        settings = self.settings
        steps = settings.steps
        pool = _some(teachers, _POOL, np.random.default_rng([self.seed, 2]))
        with job.stage("Look at neighbouring slices", 0.1 * share) as stage:
            # The original answers, and where neighbours agree, are the same in all steps.
            known = [self._anchored([place]) for place in stage.track(pool)]
        adapted = copy.deepcopy(self.original)
        free_last_levels(adapted)
        plan = TrainingSettings(
            steps=steps, learning_rate=settings.learning_rate, warmup_steps=min(20, steps // 5),
            ema_decay=0.98, seed=self.seed,
        )  # fmt: skip
        stepper = Stepper(adapted, self._loss, plan, device=self.device)
        try:
            with job.stage("Learn from this scan", 0.75 * share) as stage:
                for number in stage.track(range(steps)):
                    stepper.step(self._batch(teachers, known, batch_rng(self.seed, 0, number)))
        except Diverged as error:
            return self._back(error.message, np.nan, np.nan)
        adapted = cast("ResidualUNet", stepper.mean.module.eval())
        adapted.requires_grad_(requires_grad=True)
        with job.stage("Judge by held-out slices", 0.15 * share) as stage:
            scores = [self._scores(p, n, adapted) for n, p in enumerate(stage.track(judges))]
        return self._decide(adapted, judges, np.array(scores))

    def _batch(
        self, places: list[Place], known: Sequence[Batch], rng: np.random.Generator
    ) -> Batch:
        """Return recorrupted examples, and others with the original network's answers."""
        size, amount = self.settings.batch, self.settings.amount
        chosen = [places[int(n)] for n in rng.choice(len(places), size, replace=False)]
        again = batch_of([self.crops.recorrupted(place, amount, rng) for place in chosen])
        near = [known[int(n)] for n in rng.choice(len(known), min(size, len(known)), replace=False)]
        joined = {name: torch.cat([part[name] for part in near]) for name in near[0]}
        return {**{f"again_{k}": v for k, v in again.items()}, **joined}

    def _anchored(self, places: list[Place]) -> dict[str, torch.Tensor]:
        """Return neighbour examples, where they may be trusted, and the original's answers."""
        examples = (
            [self.crops.neighbour(place, self.step, self.rho) for place in places]
            if self.step
            else [_without(self.crops.plain(place), "middle", "level") for place in places]
        )
        batch = batch_of(examples)
        mean, log_scale = self._answer(self.original, batch)
        batch |= {"anchor_mean": mean, "anchor_scale": log_scale}
        if self.step:
            batch["same"] = self._same_anatomy(places, self.step)
        return batch

    def _beyond(self, places: list[Place]) -> dict[str, torch.Tensor]:
        """Return examples as at denoising, with a target beyond the slices that are seen.

        A judge must see what the denoiser sees: networks get better at mirrored neighbours, too,
        whatever else they learn.
        """
        step = HALF + (self.step or 0)
        batch = batch_of([self.crops.beyond(place, step) for place in places])
        return {**batch, "same": self._same_anatomy(places, step)}

    def _same_anatomy(self, places: list[Place], step: int) -> torch.Tensor:
        """Return 1 where slice and target agree after a first pass of the denoiser, else 0."""
        offsets = [(place, place.toward * step) for place in places]
        passes = []
        for examples in (
            [self.crops.plain(place) for place in places],
            [self.crops.plain(place, offset) for place, offset in offsets],
        ):
            batch = batch_of(examples)
            mean, log_scale = self._answer(self.original, batch)
            first = batch["middle"] - mean * batch["level"]
            passes.append((first, 2.0**0.5 * log_scale.clamp(-6, 3).exp() * batch["level"]))
        (here, error), (there, other) = passes
        limit = 2.0 * torch.hypot(error, other)
        allowed = _SAME_HU if self.crops.is_hu else _SAME_LEVEL * batch["level"]
        return ((here - there).abs() < limit + allowed).float()

    def _answer(self, network: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            mean, log_scale = network(
                batch["stack"].to(self.device), batch["context"].to(self.device)
            )
        return mean.float().cpu(), log_scale.float().cpu()

    def _loss(
        self, network: torch.nn.Module, batch: Batch
    ) -> tuple[torch.Tensor, dict[str, float]]:
        settings = self.settings
        mean, _ = network(batch["again_stack"], batch["again_context"])
        again, block = self._recorrupted_loss(mean, batch["again_target"])
        mean, log_scale = network(batch["stack"], batch["context"])
        anchor = ((mean - batch["anchor_mean"]) ** 2).mean()
        anchor = anchor + ((log_scale - batch["anchor_scale"]) ** 2).mean()
        total = again.mean() + settings.block_weight * block.mean()
        total = total + settings.anchor_weight * anchor
        if self.step:
            near = self._neighbour_loss(mean, batch, self.rho)
            total = total + settings.neighbour_weight * near.mean()
        return total, {}

    def _recorrupted_loss(
        self, mean: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the losses ``[n]`` of voxels and of block means, in squared noise units."""
        error = self.settings.amount * (mean - target)
        block = functional.avg_pool2d(error, _BLOCK)
        return (error**2).mean((1, 2, 3)), (block**2).mean((1, 2, 3))

    def _neighbour_loss(self, mean: torch.Tensor, batch: Batch, rho: float) -> torch.Tensor:
        """Return the loss ``[n]`` against the neighbour, where the anatomy is the same."""
        same = batch["same"]
        square = ((mean - batch["target"]) ** 2 * same).sum((1, 2, 3))
        square = square / same.sum((1, 2, 3)).clamp(min=1.0)
        return square * (1.0 - rho) / (1.0 + rho)

    def _scores(
        self, place: Place, number: int, adapted: ResidualUNet
    ) -> list[tuple[float, float]]:
        """Return the recorrupted and the neighbour loss of a held-out place, before and after."""
        rng = batch_rng(self.seed, 1, number)
        again = batch_of([self.crops.recorrupted(place, self.settings.amount, rng)])
        near = self._beyond([place]) if self.step else None
        scores = []
        for network in (self.original, adapted):
            losses = self._recorrupted_loss(self._answer(network, again)[0], again["target"])
            first = losses[0] + self.settings.block_weight * losses[1]
            second = (
                self._neighbour_loss(self._answer(network, near)[0], near, 0.0)
                if near is not None
                else torch.zeros(1)
            )
            scores.append((float(first), float(second)))
        return scores

    def _decide(
        self, adapted: ResidualUNet, judges: list[Place], scores: NDArray[np.float64]
    ) -> AdaptationResult:
        """Keep the adapted network if held-out slices are better by more than chance.

        Places of one slice are not independent, so slices are compared. The neighbour loss must
        fall on its own: the recorrupted one also falls when a network learns a wrong noise model.
        """
        weights = np.array([1.0, self.settings.neighbour_weight if self.step else 0.0])
        before, after = (float((scores[:, n] @ weights).mean()) for n in (0, 1))
        gain = _per_slice(judges, (scores[:, 0] - scores[:, 1]) @ weights)
        near = _per_slice(judges, scores[:, 0, 1] - scores[:, 1, 1])
        level = self.settings.significance
        if chance(gain) >= level:
            why = "The loss on held-out slices did not fall by more than chance."
            return self._back(why, before, after)
        if self.step and chance(near) >= level:
            why = "Held-out slices were not predicted better from their neighbours."
            return self._back(why, before, after)
        why = f"The loss on {len(gain)} held-out slices fell by {1 - after / before:.2%}."
        return AdaptationResult(adapted, True, why, before, after)

    def _back(self, why: str, before: float, after: float) -> AdaptationResult:
        why += " The original network is used."
        return AdaptationResult(self.original, False, why, before, after)


def free_last_levels(network: ResidualUNet) -> None:
    """Let only the last two levels of the decoder, and the head, be trained."""
    network.requires_grad_(requires_grad=False)
    for part in (*network.up[:2], *network.merge[:2], network.head):
        part.requires_grad_(requires_grad=True)


def chance(gain: NDArray[np.float64]) -> float:
    """Return how probable so large a mean gain is if there is none (one-sided t-test)."""
    from scipy.stats import ttest_1samp

    if len(gain) < 3 or np.ptp(gain) == 0:
        return 1.0
    return float(ttest_1samp(gain, 0.0, alternative="greater").pvalue)


def independent_step(correlation: Sequence[float]) -> int | None:
    """Return how far apart slices have independent noise, None if that is not known."""
    return next((n + 1 for n, rho in enumerate(correlation) if rho < _INDEPENDENT), None)


def _some(places: list[Place], most: int, rng: np.random.Generator) -> list[Place]:
    """Return at most ``most`` of the places, in their order."""
    if len(places) <= most:
        return places
    picked = rng.choice(len(places), most, replace=False)
    return [places[int(n)] for n in sorted(picked)]


def _per_slice(places: list[Place], values: NDArray[np.float64]) -> NDArray[np.float64]:
    slices = np.array([place.k for place in places])
    return np.array([values[slices == k].mean() for k in np.unique(slices)])


def _without(
    example: dict[str, NDArray[np.float32]], *names: str
) -> dict[str, NDArray[np.float32]]:
    return {name: value for name, value in example.items() if name not in names}
