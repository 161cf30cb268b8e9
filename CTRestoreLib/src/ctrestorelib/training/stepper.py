"""One optimiser step: loss, gradient, clipping, Adam, mean of the weights (layer: training)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ctrestorelib.core.errors import CTRestoreError
from ctrestorelib.training.settings import TrainingSettings

Batch = Mapping[str, torch.Tensor]
Loss = Callable[[nn.Module, Batch], tuple[torch.Tensor, dict[str, float]]]
"""``loss(network, batch)`` returns the value to minimise and its parts, to be logged."""


class Diverged(CTRestoreError):  # noqa: N818 - what happened, in one word
    """The loss or its gradient is no longer a finite number."""


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """Return the rate of step ``step`` (0, 1, ...): linear warm-up, then half a cosine to 0."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    length = max(1, settings.steps - settings.warmup_steps)
    done = min(1.0, (step - settings.warmup_steps) / length)
    return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def ema_decay(step: int, settings: TrainingSettings) -> float:
    """Return the decay of the mean after ``step`` steps: short memory while weights still run."""
    return min(settings.ema_decay, (1.0 + step) / (10.0 + step))


class Stepper:
    """Network, optimiser and mean weights of one training; knows one step, not the loop.

    Parameters
    ----------
    network
        Trained in place. Parameters without ``requires_grad`` stay as they are.
    loss
        Called with ``call`` (or the network) and a batch.
    settings
        Learning rate, clipping, EMA, seed, precision.
    device
        Where the batches go; the network must be there already.
    call
        What the loss calls instead of the network: its distributed wrapper.
    rank
        Number of this process; it draws its own random numbers.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        settings: TrainingSettings,
        *,
        device: torch.device | None = None,
        call: nn.Module | None = None,
        rank: int = 0,
    ) -> None:
        self.network, self.loss, self.settings = network, loss, settings
        self.device = device or torch.device("cpu")
        self.rank, self.done = rank, 0
        self._call = call if call is not None else network
        self.trained = [p for p in network.parameters() if p.requires_grad]
        self.adam = torch.optim.AdamW(
            self.trained, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.mean = AveragedModel(network, avg_fn=self._average)

    def step(self, batch: Batch, agree: Callable[[bool], bool] = bool) -> dict[str, float]:
        """Do one step and return the loss, its parts, the gradient norm and the learning rate.

        Parameters
        ----------
        batch
            Tensors by name; they are moved to the device.
        agree
            Tells whether any process says True; a single process agrees with itself.

        Raises
        ------
        Diverged
            If the loss or the gradient is not finite; the weights are then still those before.
        """
        torch.manual_seed(self._seed())  # so that dropout, too, depends on seed, rank and step only
        batch = {name: tensor.to(self.device) for name, tensor in batch.items()}
        self.network.train()
        self.adam.zero_grad(set_to_none=True)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"
        ):
            value, parts = self.loss(self._call, batch)
        value.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.trained, self.settings.clip_norm)
        figures = {"loss": float(value.detach()), **parts, "gradient": float(norm)}
        if agree(not all(math.isfinite(figures[name]) for name in ("loss", "gradient"))):
            raise _diverged(self.done + 1, figures)
        rate = learning_rate(self.done, self.settings)
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        self.mean.update_parameters(self.network)
        self.done += 1
        return {**figures, "learning_rate": rate}

    def release(self) -> None:
        """Let go of the distributed wrapper; no step can follow in a team."""
        self._call = self.network

    def _seed(self) -> int:
        return hash((self.settings.seed, self.rank, self.done)) % 2**63  # integers: a fixed hash

    def _average(
        self, mean: torch.Tensor, new: torch.Tensor, count: torch.Tensor | int
    ) -> torch.Tensor:
        return torch.lerp(mean, new, 1.0 - ema_decay(int(count), self.settings))


def _diverged(step: int, figures: dict[str, float]) -> Diverged:
    shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
    message = f"The training broke down in step {step}: expected finite numbers, got {shown}."
    hint = "Lower the learning rate or clip_norm, or check the data; the last checkpoint is kept."
    return Diverged(message, hint=hint)
