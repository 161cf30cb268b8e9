"""Networks of the default reconstructor as ONNX, checked when written (layer: training)."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

from ctrestorelib.core.errors import WeightsError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.optional import optional_module
from ctrestorelib.networks.volume_unet import LEAST_EDGE, VolumeUNet

OPSET = 17
TOLERANCE = 1e-4
"""Largest difference from torch that is let through, in units of water."""
_INPUTS, _OUTPUTS = ("channels", "condition"), ("mean", "log_scale")


def export_volume_onnx(network: VolumeUNet, path: Path, *, tolerance: float = TOLERANCE) -> float:
    """Write the network as ONNX, for volumes of any size that is a multiple of its cells.

    Inputs ``channels`` and ``condition``, outputs ``mean`` and ``log_scale``, as
    :meth:`VolumeUNet.forward` has them.

    Returns
    -------
    float
        The largest difference from torch, over shapes that were not traced.

    Raises
    ------
    WeightsError
        If onnxruntime gives other numbers than torch.
    InputError
        If onnxruntime is not installed.
    """
    runtime = optional_module("onnxruntime", "Checking an exported network")
    network = network.eval().cpu().float()
    step = max(network.multiple, LEAST_EDGE)
    free = {0: "n", 2: "k", 3: "j", 4: "i"}
    axes = {"channels": free, "mean": free, "log_scale": free, "condition": {0: "n"}}
    with atomic_path(path) as temporary:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter by tracing is deprecated, but enough
            torch.onnx.export(
                network, _example(network, (1, step, 2 * step, 3 * step)), temporary,
                input_names=_INPUTS, output_names=_OUTPUTS, dynamic_axes=axes,
                opset_version=OPSET, dynamo=False,
            )  # fmt: skip
        session = runtime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        found = 0.0
        for shape in ((1, 2 * step, step, step), (2, step, step, 2 * step)):
            example = _example(network, shape)
            feed = {n: t.numpy() for n, t in zip(_INPUTS, example, strict=True)}
            with torch.no_grad():
                wanted = network(*example)
            got = session.run(list(_OUTPUTS), feed)
            pairs = zip(wanted, got, strict=True)
            found = max(found, *(float(np.abs(w.numpy() - g).max()) for w, g in pairs))
        if not found <= tolerance:
            message = f"The exported network differs from torch by {found:.2g}; at most "
            raise WeightsError(message + f"{tolerance:.2g} was expected.", hint="Nothing written.")
    return found


def _example(
    network: VolumeUNet, shape: tuple[int, int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(shape)
    count, *size = shape
    channels = rng.normal(size=(count, network.in_channels, *size))
    condition = rng.normal(size=(count, network.condition))
    return torch.from_numpy(channels).float(), torch.from_numpy(condition).float()
