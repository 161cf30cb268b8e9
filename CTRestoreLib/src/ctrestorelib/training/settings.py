"""What a training is asked to do, and what it hands back (layer: training)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from torch import nn

from ctrestorelib.core.errors import UsageError

_HOW_NOT_WHAT = {
    "checkpoint_seconds", "log_every", "validate_every", "threads", "prefetch", "workers"
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of one training; everything that decides the result, and how it is carried out.

    Parameters
    ----------
    steps
        Optimiser steps in all.
    learning_rate
        Highest rate, reached after the warm-up; it then falls to 0 along half a cosine.
    warmup_steps
        Steps of linear warm-up.
    clip_norm
        Largest L2 norm of the gradient of all weights together.
    weight_decay
        Share of each weight that is taken off per step and unit of learning rate (AdamW).
    ema_decay
        Decay of the running mean of the weights; smaller in the first steps, see
        :func:`ctrestorelib.training.stepper.ema_decay`.
    seed
        Root of every random number.
    checkpoint_seconds
        Time between two checkpoints.
    log_every, validate_every
        Steps between two lines of the curves, and between two validations.
    precision
        ``"bfloat16"`` (autocast; weights stay float32) or ``"float32"``.
    threads
        Threads of torch on the CPU; 0 leaves torch's own choice.
    prefetch
        Batches made ahead; 0 makes each when it is needed.
    workers
        Background threads that make them.

    Raises
    ------
    UsageError
        If a value makes no sense.
    """

    steps: int
    learning_rate: float = 3e-4
    warmup_steps: int = 100
    clip_norm: float = 1.0
    weight_decay: float = 0.0
    ema_decay: float = 0.999
    seed: int = 0
    checkpoint_seconds: float = 120.0
    log_every: int = 50
    validate_every: int = 1000
    precision: Literal["bfloat16", "float32"] = "float32"
    threads: int = 0
    prefetch: int = 2
    workers: int = 1

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("warmup_steps", 0), ("log_every", 1), ("prefetch", 0),
                            ("validate_every", 1), ("threads", 0), ("workers", 1)):  # fmt: skip
            if getattr(self, name) < least:
                message = f"{name} must be at least {least}; got {getattr(self, name)}."
                raise UsageError(message)
        for name in ("learning_rate", "clip_norm"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                message = f"{name} must be a number above 0; got {value}."
                raise UsageError(message)
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            message = f"weight_decay must be a number of at least 0; got {self.weight_decay}."
            raise UsageError(message)
        if not 0 <= self.ema_decay < 1:
            message = f"ema_decay must be in [0, 1); got {self.ema_decay}."
            raise UsageError(message)
        if self.precision not in ("bfloat16", "float32"):
            message = f"precision must be 'bfloat16' or 'float32'; got {self.precision!r}."
            raise UsageError(message)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self)

    def changed(self, record: dict[str, Any]) -> list[str]:
        """Return the settings that decide the result and differ from those of ``record``.

        A record from before a setting existed has its default.
        """
        deciding = [field for field in fields(self) if field.name not in _HOW_NOT_WHAT]
        return [f.name for f in deciding if record.get(f.name, f.default) != getattr(self, f.name)]


@dataclass(frozen=True)
class TrainingRun:
    """A finished training.

    Parameters
    ----------
    folder
        Where checkpoint, curves and weights lie.
    network
        The network with the mean (EMA) weights, on the CPU and in evaluation mode.
    weights
        ``final.safetensors``: those weights. Written by the first process only.
    steps
        Optimiser steps done.
    seconds
        Time spent in training, over all starts.
    last
        The last line of the curves.
    """

    folder: Path
    network: nn.Module
    weights: Path
    steps: int
    seconds: float
    last: dict[str, float]
