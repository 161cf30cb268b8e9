"""The stages of the default reconstructor and the networks they train (layer: training)."""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from pathlib import Path

from ctrestorelib.core.errors import InputError
from ctrestorelib.networks.volume_unet import VolumeUNet

FINAL = "final.safetensors"


@enum.unique
class TrainingStage(str, enum.Enum):
    """Which correction is trained; each sees what the ones before it left."""

    PRIOR = "prior"
    CORRECT = "correct"
    REFINE = "refine"

    @property
    def before(self) -> tuple[TrainingStage, ...]:
        """The stages whose networks must be there."""
        stages = tuple(TrainingStage)
        return stages[: stages.index(self)]


@dataclass(frozen=True)
class NetworkSize:
    """Width and depth of a stage's network; see :class:`VolumeUNet`."""

    width: int = 24
    levels: int = 3

    def build(self) -> VolumeUNet:
        """Return an untrained network."""
        return VolumeUNet(width=self.width, levels=self.levels)


DEFAULT_SIZES = {
    TrainingStage.PRIOR: NetworkSize(24, 3),
    TrainingStage.CORRECT: NetworkSize(16, 3),
    TrainingStage.REFINE: NetworkSize(16, 3),
}
FULL_SIZES = {
    TrainingStage.PRIOR: NetworkSize(32, 4),
    TrainingStage.CORRECT: NetworkSize(32, 3),
    TrainingStage.REFINE: NetworkSize(32, 3),
}
"""What one processor core trains in hours, and what a graphics card does."""


def weights_before(folder: Path, stage: TrainingStage) -> dict[str, Path]:
    """Return the final weights of all earlier stages in a training folder, by stage.

    Raises
    ------
    InputError
        If a stage has not been trained to its end.
    """
    found = {earlier.value: folder / earlier.value / FINAL for earlier in stage.before}
    for name, path in found.items():
        if not path.exists():
            message = f"The stage {stage.value!r} needs the stage {name!r} trained to its end."
            raise InputError(message, hint=f"First run the same command with --stage {name}.")
    return found


def weights_identity(weights: dict[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of weights by stage."""
    return {n: hashlib.sha256(path.read_bytes()).hexdigest() for n, path in weights.items()}
