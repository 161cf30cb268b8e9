"""What a DeepSparse training is asked to do (layer: training)."""

from __future__ import annotations

import enum
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ctrestorelib.core.errors import UsageError
from ctrestorelib.networks.dice import COMPACT, FULL, DiceSettings
from ctrestorelib.training.settings import TrainingSettings


@enum.unique
class TrainingStage(str, enum.Enum):
    """The three stages, in their order."""

    PRETRAIN = "pretrain"
    """Any number of views, on as many subjects as there are."""
    ADAPT = "adapt"
    """One number of views, on subjects of the kind that is wanted (published: step 1)."""
    VIEWS = "views"
    """The volume too has these views only, and is cleaned (published: step 2)."""


@dataclass(frozen=True, kw_only=True)
class NoiseSettings:
    """Noise that is drawn anew for each example, ``i0`` evenly in its logarithm.

    Parameters
    ----------
    i0
        Fewest and most photons per pixel.
    electronic_sd
        Least and largest electronic noise in counts.
    free_share
        Share of examples without noise.
    """

    i0: tuple[float, float] = (1e4, 1e6)
    electronic_sd: tuple[float, float] = (0.0, 20.0)
    free_share: float = 0.1


@dataclass(frozen=True, kw_only=True)
class DeepSparseSettings:
    """Settings of one stage.

    Parameters
    ----------
    stage
        Which.
    network
        Sizes of the network; weights to start from decide instead of it.
    views
        Views of the stages ``adapt`` and ``views``, and of the check on held-out subjects.
    fewest, dense
        ``pretrain`` draws between them; the volume is made of ``dense`` views.
    cells
        Voxels of the truth along each edge.
    candidates
        Stored views of each subject; views are drawn from them.
    procedural
        Procedural subjects beside the volumes.
    poses
        Subjects that are made of each volume.
    points
        Points of an example.
    batch
        Examples of a step.
    top
        Highest attenuation that is learned, in units of water: 3 is 2000 HU. Metal above it would
        outweigh all tissue.
    quantisation, denoising
        Weights of these losses; the other is the mean square error over half the square of the
        window from -1000 to 1000 HU.
    noise
        Of the projections.
    item_seed, processes
        Seed of the subjects, and processes that make them.
    loop
        Steps, learning rate and the rest. The published rate is constant; here it is reached after
        a warm-up and falls to 0.

    Raises
    ------
    UsageError
        If numbers of views do not fit each other.
    """

    stage: TrainingStage
    network: DiceSettings = COMPACT
    views: int = 10
    fewest: int = 6
    dense: int = 24
    cells: int = 128
    candidates: int = 72
    procedural: int = 200
    poses: int = 8
    points: int = 10000
    batch: int = 1
    top: float = 3.0
    quantisation: float = 0.1
    denoising: float = 1.0
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    item_seed: int = 11
    processes: int = 1
    loop: TrainingSettings

    def __post_init__(self) -> None:
        object.__setattr__(self, "stage", TrainingStage(self.stage))
        if not 1 <= self.fewest <= self.dense <= self.candidates:
            message = (
                "Expected 1 <= fewest <= dense <= candidates views; got "
                f"{self.fewest}, {self.dense}, {self.candidates}."
            )
            raise UsageError(message)
        if not 1 <= self.views <= self.dense:
            message = f"A network can be adapted to 1 to {self.dense} views; got {self.views}."
            raise UsageError(message)

    def identity(self) -> dict[str, Any]:
        """Return what decides the result, besides the loop's settings, as plain values."""
        record: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {name: v for name, v in record.items() if name not in ("loop", "processes")}


_LOOP = TrainingSettings(
    steps=20000, learning_rate=1e-4, warmup_steps=200, clip_norm=1.0, weight_decay=1e-3,
    precision="bfloat16", validate_every=500, checkpoint_seconds=120,
)  # fmt: skip


def settings_for(network: str, stage: TrainingStage, **loop: Any) -> DeepSparseSettings:
    """Return the settings of a stage of the ``full`` or the ``compact`` network.

    Parameters
    ----------
    network
        ``full``: the published sizes, 200 stored views, two examples a step; for a GPU.
        ``compact``: for a processor; a smaller network bears a higher learning rate.
    stage
        Which.
    loop
        Changes of :class:`TrainingSettings`.
    """
    if network == "full":
        return DeepSparseSettings(
            stage=stage, network=FULL, cells=256, candidates=200, procedural=1000, batch=2,
            loop=replace(_LOOP, **{"steps": 150_000, **loop}),
        )  # fmt: skip
    return DeepSparseSettings(stage=stage, loop=replace(_LOOP, **{"learning_rate": 5e-4, **loop}))
