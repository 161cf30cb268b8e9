"""Weights as safetensors and networks as ONNX, each checked when written (layer: training)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from ctrestorelib.core.errors import WeightsError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.networks.residual_unet import ResidualUNet


def save_weights(network: nn.Module, path: Path, **notes: object) -> None:
    """Write the network's weights as float32 safetensors.

    Parameters
    ----------
    network
        Its class name and, if it has them, its ``width`` and ``slices`` are noted in the file.
    path
        Target; written as a whole or not at all.
    notes
        More to note in the file's header; plain values.
    """
    about: dict[str, object] = {"network": type(network).__name__}
    about |= {k: getattr(network, k) for k in ("width", "slices") if hasattr(network, k)}
    header = json.dumps({**about, **notes}, sort_keys=True)
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    with atomic_path(path) as temporary:
        # One entry only: several would come in a random order, and the same weights in other bytes.
        save_file(tensors, temporary, metadata={"about": header})


def load_weights(path: Path, network: nn.Module | None = None) -> nn.Module:
    """Return the network with the weights of a file, in evaluation mode.

    Parameters
    ----------
    path
        Written by :func:`save_weights`.
    network
        Receives the weights; without it a :class:`ResidualUNet` is built from the file's header.

    Raises
    ------
    WeightsError
        If the file is missing or damaged, or the weights do not fit the network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        message = f"{path.name} cannot be read as safetensors weights ({error})."
        raise WeightsError(message, hint="Check the path, or write the weights again.") from error
    network = network if network is not None else _network_of(path, about)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        message = f"The weights of {path.name} do not fit {type(network).__name__}: {error}"
        raise WeightsError(message, hint="Use the weights made for this network.") from error
    return network.eval()


def _network_of(path: Path, about: dict[str, Any]) -> ResidualUNet:
    if about.get("network") != ResidualUNet.__name__ or not {"width", "slices"} <= about.keys():
        message = f"Expected weights of a {ResidualUNet.__name__} in {path.name}, got {about}."
        raise WeightsError(message, hint="Build the network yourself and pass it on.")
    return ResidualUNet(int(about["width"]), int(about["slices"]))
