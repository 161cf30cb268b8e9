"""Checkpoints from which a training goes on as if it had never stopped (layer: training).

Tensors lie in a safetensors file (no pickle: nothing in it can run code), together with a header
that holds everything else. The JSON file beside it is the same header for people to read; only the
safetensors file is read back, so the two can never disagree.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.training.settings import TrainingSettings
from ctrestorelib.training.stepper import Stepper

NAME = "checkpoint.safetensors"


@dataclass
class Progress:
    """What a checkpoint holds besides tensors."""

    step: int = 0
    seconds: float = 0.0
    processes: int = 1
    window: dict[str, float] = field(default_factory=dict)
    """Sums of the figures since the last line of the curves."""
    window_steps: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(folder: Path, stepper: Stepper, progress: Progress) -> None:
    """Write ``checkpoint.safetensors`` and ``checkpoint.json``, each as a whole or not at all."""
    header = asdict(progress)
    with atomic_path(folder / NAME) as temporary:
        save_file(_tensors(stepper), temporary, metadata={"progress": json.dumps(header)})
    with atomic_path(folder / "checkpoint.json") as temporary:
        temporary.write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")


def load_checkpoint(folder: Path, stepper: Stepper, settings: TrainingSettings) -> Progress | None:
    """Bring the stepper to the state of the folder's checkpoint; None if there is no checkpoint.

    Raises
    ------
    InputError
        If the file is damaged, or belongs to another network or to other settings.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
        tensors = load_file(path)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        message = f"{path} is not a checkpoint that can be read ({error})."
        raise InputError(message, hint="Delete it to start anew, or use another folder.") from error
    changed = settings.changed(progress.settings)
    if changed:
        was = ", ".join(
            f"{n} {progress.settings.get(n)} -> {getattr(settings, n)}" for n in changed
        )
        message = f"{folder} holds a training with other settings ({was})."
        raise InputError(message, hint="Use the same settings to go on, or another folder.")
    _restore(path, stepper, tensors)
    stepper.done = progress.step
    stepper.mean.n_averaged.fill_(progress.step)
    return progress


def _tensors(stepper: Stepper) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in _slots(stepper).items()}


def _slots(stepper: Stepper) -> dict[str, torch.Tensor]:
    """Every tensor of the training's state, by name in the file."""
    slots = {f"network.{k}": v for k, v in stepper.network.state_dict().items()}
    slots |= {f"ema.{k}": v for k, v in stepper.mean.module.state_dict().items()}
    for index, parameter in enumerate(stepper.trained):
        state = stepper.adam.state[parameter]
        if not state:  # Adam makes its state in the first step
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        slots |= {f"adam.{index}.{k}": v for k, v in state.items()}
    return slots


def _restore(path: Path, stepper: Stepper, tensors: dict[str, torch.Tensor]) -> None:
    slots = _slots(stepper)
    fits = slots.keys() == tensors.keys() and all(
        tensors[name].shape == slot.shape for name, slot in slots.items()
    )
    if not fits:
        message = f"{path} belongs to another network."
        raise InputError(message, hint="Train the network it was made for, or use another folder.")
    with torch.no_grad():
        for name, slot in slots.items():
            slot.copy_(tensors[name])  # in place: keeps device and memory layout
