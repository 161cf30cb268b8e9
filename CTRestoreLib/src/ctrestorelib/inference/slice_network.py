"""Networks that take one slice and give it back denoised (layer: inference).

As for all learned methods, onnxruntime or torch computes; numpy arrays go in and out. A weights
file says itself which network it is and what that expects, so that released networks and a
person's own training are used alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import UsageError, WeightsError
from ctrestorelib.inference.runtimes import RuntimeChoice
from ctrestorelib.inference.sliding_window import in_windows
from ctrestorelib.networks.horuseye import Architecture, architecture
from ctrestorelib.weights.store import weights_file
from ctrestorelib.weights.tensors import read_tensors

Floats = NDArray[np.float32]
Answer = Callable[[Floats], Floats]

MARGIN = 16
"""Mirrored pixels around a slice: networks pad with zeros, which must stay away from the image."""
LARGEST = 1184
"""Side of the largest piece worked on at once by networks without a window of their own."""
ONNX_INPUT, ONNX_OUTPUT = "slices", "restored"
_HINT = "Train HorusEye with 'ctrestore train horuseye', or take the released weights."


@dataclass(frozen=True)
class SliceNetwork:
    """A loaded network.

    Parameters
    ----------
    kind
        Its architecture.
    noise_units
        Whether it was trained on noise units; on windows scaled to [0, 1] otherwise.
    file
        Name of the weights file.
    answer
        Takes and gives ``[1, 1, j, i]``.
    """

    kind: Architecture
    noise_units: bool
    file: str
    answer: Answer

    def restore(self, slice_: Floats) -> Floats:
        """Return a slice ``[j, i]`` denoised, in the scale that it came in."""
        return in_windows(slice_, self.kind.tile or LARGEST, self._piece)

    def _piece(self, piece: Floats) -> Floats:
        rows, cols = piece.shape
        widths = [(MARGIN, MARGIN + (-(n + 2 * MARGIN)) % self.kind.multiple) for n in piece.shape]
        # "symmetric" mirrors again and again where a slice is narrower than its margin.
        padded = np.pad(piece, widths, mode="symmetric")[None, None]
        out = self.answer(np.ascontiguousarray(padded, dtype=np.float32))
        return out[0, 0, MARGIN : MARGIN + rows, MARGIN : MARGIN + cols]


def load_slice_network(weights: str, choice: RuntimeChoice, threads: int) -> SliceNetwork:
    """Load a denoiser of single slices.

    Parameters
    ----------
    weights
        Name of released weights, or path of an ``.onnx`` or ``.safetensors`` file.
    choice
        What computes.
    threads
        Processor cores to use.

    Raises
    ------
    WeightsError
        If there are no such weights, or they are altered or no denoiser of slices.
    UsageError
        If the file does not fit the installed packages.
    """
    wanted = "onnx" if choice.backend == "onnxruntime" else "safetensors"
    path = _path(weights, wanted)
    if path.suffix != f".{wanted}":
        message = f"{path.name} cannot be run by {choice.backend}, which needs an .{wanted} file."
        hint = "Install torch for .safetensors and onnxruntime for .onnx, or convert the weights."
        raise UsageError(message, hint=hint)
    return _from_onnx(path, threads) if wanted == "onnx" else _from_tensors(path, choice, threads)


def needs_torch(weights: str) -> bool:
    """Whether ``weights`` is a file that only torch can run."""
    return weights.endswith(".safetensors")


def _path(weights: str, wanted: str) -> Path:
    if Path(weights).suffix not in (".onnx", ".safetensors"):
        return weights_file(weights, wanted)
    path = Path(weights)
    if not path.is_file():
        message = f"There is no weights file {path.name}."
        raise WeightsError(message, hint=_HINT)
    return path


def _from_onnx(path: Path, threads: int) -> SliceNetwork:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    # Threads that wait by spinning take a core from the work between two slices.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        about = json.loads(session.get_modelmeta().custom_metadata_map.get("about", "{}"))
    except Exception as error:  # onnxruntime raises classes of its own, without a common base
        message = f"{path.name} cannot be read as an ONNX network ({error})."
        raise WeightsError(message, hint=_HINT) from error

    def answer(slices: Floats) -> Floats:
        out: Floats = session.run([ONNX_OUTPUT], {ONNX_INPUT: slices})[0]
        return out

    return _network(about, path, answer)


def _from_tensors(path: Path, choice: RuntimeChoice, threads: int) -> SliceNetwork:
    import torch

    from ctrestorelib.networks.horuseye import build

    tensors = read_tensors(path)
    _kind(tensors.about, path)
    try:
        network = build(tensors.about["architecture"], **tensors.about.get("options", {}))
        network.load_state_dict({n: torch.from_numpy(a) for n, a in tensors.arrays.items()})
    except (RuntimeError, TypeError) as error:
        message = f"The weights of {path.name} do not fit their network ({error})."
        raise WeightsError(message, hint=_HINT) from error
    device = torch.device(choice.device)
    network = network.eval().to(device)

    def answer(slices: Floats) -> Floats:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        half = choice.precision == "bfloat16"
        try:
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
                out: Floats = network(torch.from_numpy(slices).to(device)).float().cpu().numpy()
        finally:
            torch.set_num_threads(before)
        return out

    return _network(tensors.about, path, answer)


def _network(about: Mapping[str, Any], path: Path, answer: Answer) -> SliceNetwork:
    return SliceNetwork(_kind(about, path), about.get("mode") == "noise-units", path.name, answer)


def _kind(about: Mapping[str, Any], path: Path) -> Architecture:
    try:
        kind = architecture(str(about.get("architecture")))
    except UsageError as error:
        message = f"{path.name} does not say which of HorusEye's networks it holds."
        raise WeightsError(message, hint=_HINT) from error
    if kind.role != "denoiser":
        message = f"{path.name} holds HorusEye's extractor, which needs two neighbours; "
        raise WeightsError(message + "expected its denoiser.", hint=_HINT)
    return kind
