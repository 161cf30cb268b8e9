"""Weights of DeepSparse with what is needed to use them or to go on from them (layer: training)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ctrestorelib.core.errors import WeightsError
from ctrestorelib.networks.dice import DiceNetwork, DiceSettings
from ctrestorelib.training.deepsparse.settings import DeepSparseSettings, TrainingStage
from ctrestorelib.training.export import load_weights, save_weights
from ctrestorelib.weights.tensors import read_tensors

NAME = "deepsparse.safetensors"
ARCHITECTURE = "dice"


def save_trained(
    network: DiceNetwork, path: Path, settings: DeepSparseSettings, **notes: Any
) -> None:
    """Write weights that say themselves what they are.

    The header tells architecture, sizes, whether there are denoise layers, stage, number of views
    (of ``pretrain``: the range), highest attenuation and cells, and ``notes``.
    """
    pretrained = settings.stage is TrainingStage.PRETRAIN
    save_weights(
        network,
        path,
        architecture=ARCHITECTURE,
        options=network.settings.to_json(),
        denoise=network.denoises,
        stage=settings.stage.value,
        views=[settings.fewest, settings.dense] if pretrained else [settings.views],
        top=settings.top,
        cells=settings.cells,
        **notes,
    )


def network_for(settings: DeepSparseSettings, start: Path | None) -> DiceNetwork:
    """Return the network of a stage, with the weights of an earlier stage if given.

    Raises
    ------
    WeightsError
        If the weights are no DiCE, or missing for the stage ``views``, which trains the last parts
        of a network only.
    """
    denoise = settings.stage is TrainingStage.VIEWS
    if start is None:
        if denoise:
            message = "The stage 'views' goes on from the weights of the stage 'adapt'."
            raise WeightsError(message, hint=f"Give them with --start FOLDER/{NAME}.")
        return DiceNetwork(settings.network)
    about = read_tensors(start).about
    if about.get("architecture") != ARCHITECTURE:
        message = f"{start.name} does not hold weights of DeepSparse."
        raise WeightsError(message, hint=f"Give the {NAME} of an earlier stage.")
    sizes = DiceSettings.from_json(about["options"])
    begun = load_weights(start, DiceNetwork(sizes, denoise=bool(about["denoise"])))
    network = DiceNetwork(sizes, denoise=denoise)
    network.load_state_dict({k: v for k, v in begun.state_dict().items()
                             if denoise or not k.startswith("cleaners")}, strict=False)  # fmt: skip
    return network
