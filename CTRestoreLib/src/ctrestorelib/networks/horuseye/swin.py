"""HorusEye's full-size networks: two-dimensional Swin UNETR (layer: networks; needs monai).

Both have 128.9 million parameters and take 815 GFLOP a slice of 512 x 512: made for a large GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

DEPTHS = (2, 2, 18, 2)
FEATURES = 96


class SwinDenoiser(nn.Module):
    """H_D: Swin UNETR, a small convolutional tail, and the slice itself added to the result.

    Parameters
    ----------
    feature_size, depths
        Size of the Swin UNETR; defaults are the published ones.

    Notes
    -----
    The published network has three input channels and is given the same slice three times.
    """

    def __init__(self, feature_size: int = FEATURES, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        self.swin = _swin_unetr(3, feature_size, depths)
        self.tail = nn.Sequential(
            nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(1, 1, 3, padding=1)
        )

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """Return the denoised slices.

        Parameters
        ----------
        slices
            ``(n, 1, h, w)`` or ``(n, 3, h, w)`` with values in [0, 1], of which the middle channel
            is restored; h and w are multiples of 32.
        """
        three = slices.expand(-1, 3, -1, -1) if slices.shape[1] == 1 else slices
        restored: torch.Tensor = self.tail(self.swin(three)) + three[:, 1:2]
        return restored

    def freeze_encoder(self) -> None:
        """Keep the transformer and the encoder's convolutions fixed, as published for tuning."""
        for name in ("swinViT", "encoder1", "encoder2", "encoder3", "encoder4", "encoder10"):
            getattr(self.swin, name).requires_grad_(False)


class SwinExtractor(nn.Module):
    """H_E: Swin UNETR that predicts a slice from the two beside it."""

    def __init__(self, feature_size: int = FEATURES, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        self.swin = _swin_unetr(2, feature_size, depths)

    def forward(self, neighbours: torch.Tensor) -> torch.Tensor:
        """Return the slices ``(n, 1, h, w)`` between ``neighbours`` ``(n, 2, h, w)``."""
        predicted: torch.Tensor = self.swin(neighbours)
        return predicted


def _swin_unetr(channels: int, feature_size: int, depths: Sequence[int]) -> nn.Module:
    from monai.networks.nets import SwinUNETR

    network: nn.Module = SwinUNETR(
        in_channels=channels,
        out_channels=1,
        depths=tuple(depths),
        feature_size=feature_size,
        spatial_dims=2,
    )
    return network


class _SchedulesOnCpu(TorchFunctionMode):
    """Keeps ``linspace`` off the meta device: monai reads a schedule's numbers while building."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


@contextmanager
def on_meta() -> Generator[None, None, None]:
    """Build networks inside this without memory for their weights."""
    with torch.device("meta"), _SchedulesOnCpu():
        yield
