"""What a HorusEye training is asked to do (layer: training; standard library only)."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ctrestorelib.core.errors import UsageError
from ctrestorelib.networks.horuseye import PAIRS, architecture


@enum.unique
class InputMode(str, enum.Enum):
    """What the networks see."""

    NOISE_UNITS = "noise-units"
    """Values divided by the local noise level: our way, the same in every display window."""
    WINDOWS = "windows"
    """Values clipped to a random window and scaled to [0, 1]: the published way."""


_HOW_NOT_WHAT = {"threads", "checkpoint_seconds", "log_every"}


@dataclass(frozen=True, kw_only=True)
class HorusEyeSettings:
    """Settings of :func:`~ctrestorelib.training.horuseye.rounds.train_horuseye`.

    Parameters
    ----------
    pair
        ``"compact"``, ``"full"`` (Swin, 128.9 M parameters each) or ``"2024"``.
    mode
        See :class:`InputMode`. The published networks need windows.
    rounds
        Co-refinement rounds T.
    extractor_steps, denoiser_steps
        Optimiser steps of H_E and H_D in each round.
    batch, crop
        Crops a step, and their side in pixels.
    learning_rate
        Highest rate; the published networks take 1e-4.
    loss
        ``"2026"`` or ``"2024"``, see :mod:`~ctrestorelib.training.horuseye.losses`.
    highpass
        ``"exponential"``, ``"exponential-2024"``, ``"butterworth"``, ``"kernel-3"`` or
        ``"kernel-5"``, see :mod:`~ctrestorelib.training.horuseye.highpass`.
    cutoff_mm
        Period above which a residual counts as anatomy; None for the published 30 bins of the
        Fourier transform.
    bank_patches, patch
        Largest number of patches in the noise bank, and their side in pixels.
    max_gradient_correlation, max_spectrum_error
        A residual patch enters the bank only below both: the correlation of its size with the
        predicted slice's gradient, and the relative error of its noise power spectrum in any of
        four bands.
    min_gain
        A refined slice replaces its clean entry above this: in windows mode, the published 0.005
        of the window; in noise units, a share of the mean noise added (the published 8 HU of 40).
    noise_ratio
        Range of the noise added to clean slices, in units of the scan's own noise (noise units
        mode). At least twice what the clean slice still has is added.
    refine_ratio, refine_draws
        Noise added to raw slices before they are denoised for the clean set, in units of the
        scan's own, and how many results are averaged.
    white_share
        Share of the denoiser's examples with white noise instead of the bank's (noise units mode):
        micro-CT, and kernels sharper than those of the scans.
    seed
        Root of every random number.
    precision, threads, checkpoint_seconds, log_every
        As in :class:`~ctrestorelib.training.settings.TrainingSettings`.
    options
        Sizes of both networks other than the usual ones, such as ``{"width": 8}``.

    Raises
    ------
    UsageError
        If a value makes no sense, or a published network is asked for in noise units.
    """

    pair: str = "compact"
    mode: InputMode = InputMode.NOISE_UNITS
    rounds: int = 2
    extractor_steps: int = 5000
    denoiser_steps: int = 5000
    batch: int = 8
    crop: int = 96
    learning_rate: float = 5e-4
    loss: Literal["2026", "2024"] = "2026"
    highpass: str = "exponential"
    cutoff_mm: float | None = 12.0
    bank_patches: int = 16000
    patch: int = 32
    max_gradient_correlation: float = 0.05
    max_spectrum_error: float = 0.25
    min_gain: float | None = None
    noise_ratio: tuple[float, float] = (0.5, 5.0)
    refine_ratio: float = 2.0
    refine_draws: int = 2
    white_share: float = 0.1
    seed: int = 0
    precision: Literal["bfloat16", "float32"] = "float32"
    threads: int = 0
    checkpoint_seconds: float = 120.0
    log_every: int = 100
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", InputMode(self.mode))
        if self.pair not in PAIRS:
            message = f"There is no HorusEye pair {self.pair!r}."
            raise UsageError(message, hint=f"Choose one of {', '.join(PAIRS)}.")
        for name in ("rounds", "extractor_steps", "denoiser_steps", "batch", "bank_patches",
                     "refine_draws"):  # fmt: skip
            if getattr(self, name) < 1:
                message = f"{name} must be at least 1; got {getattr(self, name)}."
                raise UsageError(message)
        multiple = max(architecture(name).multiple for name in self.networks)
        if self.crop < 2 * multiple or self.crop % multiple:
            message = f"crop must be a multiple of {multiple} and at least twice it; "
            raise UsageError(message + f"got {self.crop}.")
        compact = all(architecture(name).noise_units for name in self.networks)
        if self.mode is InputMode.NOISE_UNITS and not compact:
            message = f"The pair {self.pair!r} was published for windows, not for noise units."
            raise UsageError(message, hint="Choose the mode 'windows' or the pair 'compact'.")

    @property
    def networks(self) -> tuple[str, str]:
        """Names of extractor and denoiser."""
        return PAIRS[self.pair]

    @property
    def needed_gain(self) -> float:
        """:attr:`min_gain`, or the published one of the mode."""
        if self.min_gain is not None:
            return self.min_gain
        return 0.005 if self.mode is InputMode.WINDOWS else 0.2

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self) | {"mode": self.mode.value, "options": dict(self.options)}

    def digest(self) -> str:
        """Return a checksum of everything that decides the result."""
        kept = {k: v for k, v in self.to_json().items() if k not in _HOW_NOT_WHAT}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
