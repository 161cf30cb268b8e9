"""``ctrestore train cts``: the few-view default, stage by stage (layer: apps)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctrestorelib.core.errors import UsageError

if TYPE_CHECKING:
    from ctrestorelib.training.sparse_view.train import SparseViewSettings

STAGES = ("prior", "correct", "refine")
SIZES = ("small", "full")


def run(given: dict[str, Any], say: Any) -> Path:
    """Train the stage that the options name; return its weights."""
    from ctrestorelib.training.sparse_view.train import train_stage

    done = train_stage(
        given["data"], given["out"], settings_of(given), split=given["split"],
        start=given["start"], report=say,
    )  # fmt: skip
    return done.weights


def prepare(given: dict[str, Any], say: Any) -> None:
    """Make the material that all processes of a team then find."""
    from ctrestorelib.training.clean_volumes import training_files
    from ctrestorelib.training.sparse_view.stages import weights_before
    from ctrestorelib.training.sparse_view.train import make_material

    settings = settings_of(given)
    weights = weights_before(given["out"], settings.stage)
    files = training_files(given["data"], given["split"])
    make_material(files, given["out"], settings, weights, say)


def settings_of(given: dict[str, Any]) -> SparseViewSettings:
    """Return the settings that the options stand for.

    Raises
    ------
    UsageError
        If sizes do not fit each other.
    """
    from ctrestorelib.training.sparse_view.stages import (
        DEFAULT_SIZES,
        FULL_SIZES,
        TrainingStage,
    )
    from ctrestorelib.training.sparse_view.train import SparseViewSettings

    stage = TrainingStage(given["stage"])
    cells, patch = given["cells"], given["patch"]
    sizes = FULL_SIZES if given["network"] == "full" else DEFAULT_SIZES
    step = sizes[stage].build().multiple
    # With two cells on the coarsest level some processors compute wrong bfloat16 gradients.
    if patch % step or patch < 3 * step or any(n % 2 for n in cells):
        message = f"--patch must be a multiple of {step} and at least {3 * step}, --cells even; "
        raise UsageError(message + f"got {patch} and {', '.join(map(str, cells))}.")
    base = SparseViewSettings()
    loop = replace(base.loop, threads=given["threads"], seed=given["seed"])
    if given["steps"] is not None:
        loop = replace(loop, steps=given["steps"])
    return SparseViewSettings(
        stage=stage,
        network=sizes[stage],
        scans=given["scans"],
        cells=cells,
        pixels=given["pixels"],
        processes=given["processes"],
        patches=replace(base.patches, size=given["batch"], patch=patch),
        loop=loop,
    )
