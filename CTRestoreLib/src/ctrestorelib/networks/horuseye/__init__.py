"""The networks of HorusEye, by name (layer: networks; torch only inside functions).

HorusEye has two: the *extractor* H_E predicts a slice from its two neighbours, so that what it
misses is mostly noise; the *denoiser* H_D cleans a slice by itself. Three pairs exist: the
published Swin transformers (2025-26), the published convolutional pair (2024), and a compact pair
of our own that a laptop trains and runs.

References
----------
.. [1] Chu Y et al. HorusEye. Nature Computational Science 6(4):372-387, 2026.
   doi:10.1038/s43588-026-00973-3
.. [2] Hatamizadeh A et al. Swin UNETR. BrainLes 2021. doi:10.1007/978-3-031-08999-2_22
.. [3] Chen H et al. Low-dose CT with a residual encoder-decoder convolutional neural network.
   IEEE Trans Med Imaging 36(12), 2017. doi:10.1109/TMI.2017.2715284
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ctrestorelib.core.errors import UsageError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Architecture:
    """One of HorusEye's networks.

    Parameters
    ----------
    role
        ``"extractor"`` (two neighbours in, ``[n, 2, h, w]``) or ``"denoiser"`` (``[n, 1, h, w]``).
        Both return ``[n, 1, h, w]``.
    module, cls, options
        Where the class is, and what it is built with.
    multiple
        Rows and columns of the input must be multiples of this.
    tile
        Side of the sliding window in pixels; 0 if a slice goes in whole.
    noise_units
        Whether it expects values divided by the noise level; otherwise a window of [0, 1].
    """

    role: str
    module: str
    cls: str
    options: Mapping[str, Any]
    multiple: int
    tile: int = 0
    noise_units: bool = False


ARCHITECTURES: dict[str, Architecture] = {
    "horuseye-swin-extractor": Architecture("extractor", "swin", "SwinExtractor", {}, 32, 512),
    "horuseye-swin-denoiser": Architecture("denoiser", "swin", "SwinDenoiser", {}, 32, 512),
    "horuseye-2024-extractor": Architecture("extractor", "early", "ResidualExtractor", {}, 1),
    "horuseye-2024-denoiser": Architecture("denoiser", "early", "RedDenoiser", {"width": 64}, 1),
    "horuseye-2024-denoiser-32": Architecture("denoiser", "early", "RedDenoiser", {"width": 32}, 1),
    "horuseye-compact-extractor": Architecture(
        "extractor", "compact", "CompactExtractor", {}, 16, noise_units=True
    ),
    "horuseye-compact-denoiser": Architecture(
        "denoiser", "compact", "CompactDenoiser", {}, 16, noise_units=True
    ),
}
"""Every network of HorusEye by name."""

PAIRS: dict[str, tuple[str, str]] = {
    "full": ("horuseye-swin-extractor", "horuseye-swin-denoiser"),
    "2024": ("horuseye-2024-extractor", "horuseye-2024-denoiser"),
    "compact": ("horuseye-compact-extractor", "horuseye-compact-denoiser"),
}
"""Extractor and denoiser of each version."""


def architecture(name: str) -> Architecture:
    """Return the network called ``name``; :class:`UsageError` with the known names if none is."""
    if name not in ARCHITECTURES:
        message = f"HorusEye has no network {name!r}."
        raise UsageError(message, hint=f"Known: {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name]


def build(name: str, **options: Any) -> nn.Module:
    """Return the network called ``name``, freshly initialised; ``options`` change its sizes.

    Raises
    ------
    UsageError
        If there is no such network.
    """
    known = architecture(name)
    module = importlib.import_module(f"{__name__}.{known.module}")
    network: nn.Module = getattr(module, known.cls)(**{**known.options, **options})
    return network


def parameter_count(name: str, **options: Any) -> int:
    """Return how many parameters a network has, without the memory for them (meta device)."""
    from ctrestorelib.networks.horuseye.swin import on_meta

    with on_meta():
        return sum(p.numel() for p in build(name, **options).parameters())
