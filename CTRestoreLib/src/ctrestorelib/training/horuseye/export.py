"""A trained HorusEye denoiser as ONNX, checked when written (layer: training)."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ctrestorelib.core.errors import WeightsError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.optional import optional_module
from ctrestorelib.networks.horuseye import build
from ctrestorelib.training.export import OPSET, TOLERANCE, load_weights
from ctrestorelib.weights.tensors import read_tensors

_TRACED = (1, 1, 64, 96)
_CHECKED = (_TRACED, (2, 1, 32, 160), (3, 1, 224, 32))
_NAMES = ("slices", "restored")


def trained_denoiser(weights: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network of a ``denoiser.safetensors``, and what the file says about itself.

    Raises
    ------
    WeightsError
        If the file is damaged or says nothing about its network.
    """
    about = read_tensors(weights).about
    if "architecture" not in about:
        message = f"{weights.name} does not say which of HorusEye's networks it holds."
        raise WeightsError(message, hint="Give the denoiser.safetensors of a finished training.")
    return load_weights(weights, build(about["architecture"], **about.get("options", {}))), about


def export_denoiser(weights: Path, path: Path, *, tolerance: float = TOLERANCE) -> float:
    """Write a compact denoiser as ONNX: ``slices`` in, ``restored`` out, both ``[n, 1, h, w]``.

    The file carries the architecture and the input mode. The full-size network runs in torch only.

    Returns
    -------
    float
        Largest difference between onnxruntime and torch, relative to the largest value.

    Raises
    ------
    WeightsError
        If onnxruntime refuses the file or gives other numbers; nothing is written then.
    InputError
        If onnx or onnxruntime is not installed.
    """
    runtime = optional_module("onnxruntime", "Checking an exported network")
    network, about = trained_denoiser(weights)
    with atomic_path(path) as temporary:
        _write(network, temporary, about)
        session = runtime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        found = max(_difference(session, network, shape) for shape in _CHECKED)
        if not found <= tolerance:
            message = f"The exported network differs from torch by {found:.2g} of its values; "
            raise WeightsError(message + f"at most {tolerance:.2g} was expected.")
    return found


def _write(network: nn.Module, path: Path, about: dict[str, Any]) -> None:
    onnx = optional_module("onnx", "Exporting a network")
    free = {0: "n", 2: "rows", 3: "columns"}
    with warnings.catch_warnings():
        # The exporter by tracing is deprecated, but needs no further package and does all that
        # this network asks for.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (_example(_TRACED),), path, input_names=[_NAMES[0]], output_names=[_NAMES[1]],
            dynamic_axes=dict.fromkeys(_NAMES, free), opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    model = onnx.load(str(path))
    kept = {name: about.get(name) for name in ("architecture", "mode", "options")}
    onnx.helper.set_model_props(model, {"about": json.dumps(kept, sort_keys=True)})
    onnx.save(model, str(path))


def _difference(session: Any, network: nn.Module, shape: tuple[int, ...]) -> float:
    example = _example(shape)
    with torch.no_grad():
        expected = network(example).numpy()
    got = session.run([_NAMES[1]], {_NAMES[0]: example.numpy()})[0]
    return float(np.abs(expected - got).max() / max(1.0, np.abs(expected).max()))


def _example(shape: tuple[int, ...]) -> torch.Tensor:
    """Return noise on a strong ramp, which reaches the bend of the soft limits."""
    rng = np.random.default_rng(list(shape))
    return torch.from_numpy(rng.normal(size=shape) + np.linspace(0, 60, shape[-1])).float()
