"""Networks at work on whole slices during training (layer: training)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ctrestorelib.networks.horuseye import Architecture
from ctrestorelib.training.horuseye.scans import Scan
from ctrestorelib.training.horuseye.settings import InputMode
from ctrestorelib.training.horuseye.windows import reference_window, through

Floats = NDArray[np.float32]
_MARGIN = 16  # mirrored pixels, so that the networks' own zero padding stays outside


@dataclass(frozen=True)
class Worker:
    """A trained network with what it expects of its input.

    Parameters
    ----------
    network
        In evaluation mode.
    kind
        Its architecture.
    mode
        What it was trained on.
    """

    network: nn.Module
    kind: Architecture
    mode: InputMode

    def visible(self, values: Floats, scan: Scan) -> Floats:
        """Return the part of ``values`` that the network can see: all, or the window's."""
        if self.mode is InputMode.NOISE_UNITS:
            return values
        low, width = reference_window(is_hu=scan.is_hu)
        return np.clip(values, low, low + width)

    def limits(self, scan: Scan) -> tuple[float, float]:
        """Return the lowest and highest visible value of a scan."""
        ends = np.array([scan.values.min(), scan.values.max()], dtype=np.float32)
        seen = self.visible(ends, scan)
        return float(seen[0]), float(seen[1])

    def __call__(self, images: Floats, unit: Floats, scan: Scan) -> Floats:
        """Return the network's answer ``[j, i]`` to channels ``[c, j, i]`` of a scan's values.

        Parameters
        ----------
        unit
            Noise in the images, ``[j, i]``; counts in noise units mode only.
        """
        if self.mode is InputMode.NOISE_UNITS:
            return self._answer(images / unit) * unit
        low, width = reference_window(is_hu=scan.is_hu)
        return self._answer(through(images, low, width)) * np.float32(width) + np.float32(low)

    def _answer(self, images: Floats) -> Floats:
        rows, cols = images.shape[-2:]
        widths = [_padding(n, self.kind.multiple) for n in (rows, cols)]
        # "symmetric" mirrors again and again where a slice is narrower than its margin.
        padded = np.pad(images, [(0, 0), *widths], mode="symmetric")[None]
        device = next(self.network.parameters()).device
        tensor = torch.from_numpy(np.ascontiguousarray(padded, dtype=np.float32)).to(device)
        with torch.no_grad():
            out = self._tiled(tensor) if self.kind.tile else self.network(tensor)
        answer = out[0, 0].float().cpu().numpy()
        return np.asarray(answer[_MARGIN : _MARGIN + rows, _MARGIN : _MARGIN + cols])

    def _tiled(self, tensor: torch.Tensor) -> torch.Tensor:
        from monai.inferers import sliding_window_inference

        out = sliding_window_inference(
            tensor, (self.kind.tile,) * 2, 1, self.network, overlap=0.25, mode="gaussian",
            sigma_scale=0.25,
        )  # fmt: skip
        if not isinstance(out, torch.Tensor):
            message = f"Expected one tensor from the network; got {type(out).__name__}."
            raise TypeError(message)
        return out


def _padding(size: int, multiple: int) -> tuple[int, int]:
    return _MARGIN, _MARGIN + (-(size + 2 * _MARGIN)) % multiple
