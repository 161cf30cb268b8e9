"""What ``ctrestore train deepsparse`` does with its options (layer: apps)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctrestorelib.training.deepsparse import DeepSparseSettings

STAGES = ("pretrain", "adapt", "views")
SIZES = ("compact", "full")
_OWN = ("views", "cells", "procedural", "poses", "batch", "candidates", "points")
_LOOP = ("steps", "threads", "seed", "precision", "learning_rate")


def settings_of(given: dict[str, Any]) -> DeepSparseSettings:
    """Return the settings that the options stand for; those not given have their defaults."""
    from ctrestorelib.training.deepsparse import TrainingStage, settings_for

    loop = {name: given[name] for name in _LOOP if given.get(name) is not None}
    own = {name: given[name] for name in _OWN if given.get(name) is not None}
    made = settings_for(given["network"], TrainingStage(given["stage"]), **loop)
    return replace(made, processes=max(1, given["threads"]), **own)


def prepare(given: dict[str, Any], files: Sequence[Path], say: Callable[[str], None]) -> None:
    """Make the training material that all processes of a team then find."""
    from ctrestorelib.training.deepsparse.run import make_material

    make_material(files, given["out"], settings_of(given), items=given["items"],
                  start=given["start"], report=say)  # fmt: skip


def run(given: dict[str, Any], files: Sequence[Path], say: Callable[[str], None]) -> Path:
    """Train, and return the weights."""
    from ctrestorelib.training.deepsparse import train_deepsparse
    from ctrestorelib.training.deepsparse.weights import NAME

    train_deepsparse(
        files, given["out"], settings_of(given), items=given["items"], start=given["start"],
        report=say,
    )  # fmt: skip
    weights: Path = given["out"] / NAME
    return weights
