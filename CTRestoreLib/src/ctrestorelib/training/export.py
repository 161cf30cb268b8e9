"""Weights as safetensors and networks as ONNX, each checked when written (layer: training)."""

from __future__ import annotations

import json
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from ctrestorelib.core.errors import WeightsError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.optional import optional_module
from ctrestorelib.networks.residual_unet import ResidualUNet

OPSET = 17
"""ONNX operator set: old enough for every onnxruntime since 1.13."""
TOLERANCE = 1e-4
"""Largest difference between onnxruntime and torch, in noise units, that is let through."""
_TRACED = (1, 48, 64)
_CHECKED = (_TRACED, (2, 32, 80), (3, 112, 16))
_INPUTS, _OUTPUTS = ("stack", "context"), ("mean", "log_scale")


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


def export_onnx(network: ResidualUNet, path: Path, *, tolerance: float = TOLERANCE) -> float:
    """Write the network as ONNX and check that onnxruntime computes the same with it.

    Inputs are called ``stack`` and ``context``, outputs ``mean`` and ``log_scale``, with the shapes
    of :meth:`ResidualUNet.forward`; the number of stacks, rows and columns is free.

    Parameters
    ----------
    network
        Exported in evaluation mode as float32 of the CPU; itself not changed.
    path
        Target; written as a whole, and only if the check passes.
    tolerance
        Largest difference from torch, in noise units, over three shapes of which two were not
        traced.

    Returns
    -------
    float
        The largest difference found.

    Raises
    ------
    WeightsError
        If onnxruntime refuses the file or gives other numbers.
    InputError
        If onnxruntime is not installed.
    """
    runtime = optional_module("onnxruntime", "Checking an exported network")
    network = _copy(network)
    with atomic_path(path) as temporary:
        _write_onnx(network, temporary)
        try:
            found = max(_difference(runtime, network, temporary, shape) for shape in _CHECKED)
        except Exception as error:  # onnxruntime raises classes of its own, without a common base
            message = f"onnxruntime cannot run the exported network: {error}"
            raise WeightsError(message, hint="Nothing was written.") from error
        if not found <= tolerance:
            message = (
                f"The exported network differs from torch by {found:.2g} noise units; "
                f"at most {tolerance:.2g} were expected."
            )
            raise WeightsError(message, hint="Nothing was written.")
    return found


def _copy(network: ResidualUNet) -> ResidualUNet:
    """Return the network on the CPU, in evaluation mode and as float32."""
    copy = ResidualUNet(network.width, network.slices)
    copy.load_state_dict({name: value.cpu() for name, value in network.state_dict().items()})
    copy.eval()
    return copy


def _write_onnx(network: ResidualUNet, path: Path) -> None:
    free = {0: "n", 2: "rows", 3: "columns"}
    with warnings.catch_warnings(), _asinh_known():
        # The exporter by tracing is deprecated, but needs no further package and does all that
        # this network asks for.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            _example(network, _TRACED),
            path,
            input_names=_INPUTS,
            output_names=_OUTPUTS,
            dynamic_axes=dict.fromkeys((*_INPUTS, *_OUTPUTS), free),
            opset_version=OPSET,
            dynamo=False,
        )


@contextmanager
def _asinh_known() -> Generator[None, None, None]:
    """Tell the exporter how to write asinh: sign(x) log(|x| + sqrt(x^2 + 1)).

    ONNX has an operator Asinh, but onnxruntime computes it number by number: it would take a
    quarter of the time of the small network. The parts of the formula are vectorised.
    """
    torch.onnx.register_custom_op_symbolic("aten::asinh", _asinh, OPSET)
    try:
        yield
    finally:
        torch.onnx.unregister_custom_op_symbolic("aten::asinh", OPSET)


def _asinh(graph: Any, x: Any) -> Any:
    size = graph.op("Abs", x)
    one = graph.op("Constant", value_t=torch.tensor(1.0))
    root = graph.op("Sqrt", graph.op("Add", graph.op("Mul", x, x), one))
    return graph.op("Mul", graph.op("Sign", x), graph.op("Log", graph.op("Add", size, root)))


def _difference(
    runtime: Any, network: ResidualUNet, path: Path, shape: tuple[int, int, int]
) -> float:
    example = _example(network, shape)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    values = {name: part.numpy() for name, part in zip(_INPUTS, example, strict=True)}
    got = session.run(list(_OUTPUTS), values)
    with torch.no_grad():
        expected = network(*example)
    pairs = zip(expected, got, strict=True)
    return max(float(np.abs(want.numpy() - have).max()) for want, have in pairs)


def _example(
    network: ResidualUNet, shape: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs that reach the bend of the contrast limiter: noise on a strong ramp."""
    count, rows, columns = shape
    rng = np.random.default_rng([count, rows, columns])
    stack = rng.normal(size=(count, network.slices, rows, columns)) + np.linspace(0, 60, columns)
    context = rng.uniform(-1, 3, (count, 2, rows, columns))
    return torch.from_numpy(stack).float(), torch.from_numpy(context).float()


def _network_of(path: Path, about: dict[str, Any]) -> ResidualUNet:
    if about.get("network") != ResidualUNet.__name__ or not {"width", "slices"} <= about.keys():
        message = f"Expected weights of a {ResidualUNet.__name__} in {path.name}, got {about}."
        raise WeightsError(message, hint="Build the network yourself and pass it on.")
    return ResidualUNet(int(about["width"]), int(about["slices"]))
