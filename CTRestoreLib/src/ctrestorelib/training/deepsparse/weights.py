"""Weights of DeepSparse with what is needed to use them or to go on from them (layer: training)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from ctrestorelib.core.errors import WeightsError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.networks.dice import DiceNetwork, DiceSettings
from ctrestorelib.training.deepsparse.settings import DeepSparseSettings, TrainingStage
from ctrestorelib.training.export import load_weights, save_weights
from ctrestorelib.weights.store import check_size
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


def save_released(weights: Path, path: Path) -> float:
    """Write trained weights at half the size, as a package can carry them.

    Convolutions are stored as float16; codes, running statistics and everything small stay float32.

    Parameters
    ----------
    weights
        ``deepsparse.safetensors`` of a finished stage.
    path
        Target; written as a whole or not at all.

    Returns
    -------
    float
        Largest change of a weight relative to the largest of its tensor.

    Raises
    ------
    WeightsError
        If the file cannot be read, is not of DeepSparse, or the result is too large to release.
    """
    file = read_tensors(weights)
    if file.about.get("architecture") != ARCHITECTURE:
        message = f"{weights.name} does not hold weights of DeepSparse."
        raise WeightsError(message, hint=f"Give the {NAME} of a finished stage.")
    tensors, worst = {}, 0.0
    for name, values in file.arrays.items():
        tensors[name] = torch.from_numpy(values)
        if values.dtype == np.float32 and values.ndim >= 3:
            half = values.astype(np.float16)
            change = np.abs(half.astype(np.float32) - values).max() / max(
                np.abs(values).max(), 1e-9
            )
            worst = max(worst, float(change))
            tensors[name] = torch.from_numpy(half)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"about": json.dumps(file.about, sort_keys=True)})
        check_size(temporary)
    return worst


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
