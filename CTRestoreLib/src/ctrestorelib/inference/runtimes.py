"""Running a residual network on whatever is installed (layer: inference).

onnxruntime is a small package and the fastest way on a CPU; PyTorch is for graphics cards, for
processors with bfloat16 arithmetic, and for people who have it anyway. All take and give numpy
arrays, so that nothing above knows which it was.

The choice depends on the installed packages and the processor only, never on a stopwatch: the same
machine must give the same result again.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import ResourceError, WeightsError
from ctrestorelib.core.system import cpu_flags
from ctrestorelib.physics.backend import available
from ctrestorelib.weights.store import weights_file
from ctrestorelib.weights.tensors import read_tensors

Floats = NDArray[np.float32]
PACKAGES = ("onnxruntime", "torch")
"""Either is enough; the first is what to install where there is none."""

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


class Runtime(Protocol):
    """A loaded network."""

    name: str

    def run(self, stack: Floats, context: Floats) -> tuple[Floats, Floats]:
        """Return mean and log scale ``[n, 1, j, i]``.

        ``stack`` is ``[n, 5, j, i]`` and ``context`` ``[n, 2, j, i]``, as
        :meth:`~ctrestorelib.networks.residual_unet.ResidualUNet.forward` wants them.
        """
        ...


@dataclass(frozen=True)
class RuntimeChoice:
    """Which package computes how: ``onnxruntime`` or ``torch``, ``float32`` or ``bfloat16``."""

    backend: str
    precision: str
    device: str = "cpu"


def choose_runtime(*, fast: bool = False, device: str = "cpu") -> RuntimeChoice:
    """Return the best way to run a network here.

    Parameters
    ----------
    fast
        Whether bfloat16 may be used; taken only where the processor has it and torch is installed.
    device
        ``"cpu"`` or a torch device.

    Raises
    ------
    ResourceError
        If neither package is installed, or the device needs torch.
    """
    if device != "cpu":
        if not available("torch"):
            message = f"The device {device!r} needs the Python package torch."
            raise ResourceError(message, hint="Install torch, or compute on the processor.")
        return RuntimeChoice("torch", "bfloat16" if fast else "float32", device)
    if fast and available("torch") and has_bfloat16():
        return RuntimeChoice("torch", "bfloat16")
    for package in PACKAGES:
        if available(package):
            return RuntimeChoice(package, "float32")
    message = "Learned methods need the Python package onnxruntime or torch."
    raise ResourceError(message, hint="Install onnxruntime (15 MB); torch works as well.")


def load_runtime(name: str, choice: RuntimeChoice, threads: int) -> Runtime:
    """Load the released network ``name``; its file is checked first.

    Raises
    ------
    WeightsError
        If the weights are missing or altered.
    """
    if choice.backend == "onnxruntime":
        return OnnxRuntime(weights_file(name, "onnx"), threads)
    network = load_network(weights_file(name, "safetensors"))
    return TorchRuntime(network, choice.precision, choice.device, threads)


@cache
def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself; without that it is slower than float32."""
    return bool(_BFLOAT16_FLAGS & cpu_flags())


class OnnxRuntime:
    """A network in onnxruntime on the CPU."""

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.use_deterministic_compute = True
        # Threads that wait by spinning take a core from the work between two slices.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.name = "onnxruntime"
        self._session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )

    def run(self, stack: Floats, context: Floats) -> tuple[Floats, Floats]:
        """See :class:`Runtime`."""
        mean, log_scale = self._session.run(
            ["mean", "log_scale"], {"stack": stack, "context": context}
        )
        return mean, log_scale


class TorchRuntime:
    """A network in PyTorch, on the CPU or a graphics card."""

    def __init__(self, network: Any, precision: str, device: str, threads: int) -> None:
        import torch

        self.name = "torch"
        self._device, self._threads = torch.device(device), threads
        self._half = precision == "bfloat16"
        self._network = network.eval().to(self._device, memory_format=torch.channels_last)

    def run(self, stack: Floats, context: Floats) -> tuple[Floats, Floats]:
        """See :class:`Runtime`."""
        import torch

        with torch.inference_mode(), torch_threads(self._threads), _exact_convolutions():
            inputs = [torch.from_numpy(a).to(self._device) for a in (stack, context)]
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
                mean, log_scale = self._network(*inputs)
            return mean.float().cpu().numpy(), log_scale.float().cpu().numpy()


def load_network(path: Path) -> Any:
    """Return the :class:`~ctrestorelib.networks.residual_unet.ResidualUNet` of a checked file.

    Raises
    ------
    WeightsError
        If the file is damaged or holds another network.
    """
    import torch

    from ctrestorelib.networks.residual_unet import ResidualUNet

    tensors = read_tensors(path)
    try:
        network = ResidualUNet(int(tensors.about["width"]), int(tensors.about["slices"]))
        network.load_state_dict({n: torch.from_numpy(a) for n, a in tensors.arrays.items()})
    except (KeyError, ValueError, RuntimeError) as error:
        message = f"{path.name} does not hold weights of a residual network ({error})."
        raise WeightsError(message, hint="Install CTRestore again.") from error
    return network.eval()


@contextmanager
def torch_threads(count: int) -> Generator[None, None, None]:
    """Let torch use ``count`` threads, and as many as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _exact_convolutions() -> Generator[None, None, None]:
    """Make a graphics card sum in the same order each time, without shortened mantissas."""
    import torch

    if not torch.cuda.is_available():
        yield
        return
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield
