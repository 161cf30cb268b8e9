"""HorusEye's published losses (layer: training)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional

from ctrestorelib.networks.horuseye.early import gradient_magnitude

SHARP_2026 = 0.5
SHARP_2024 = 0.1
UNITS_TO_WINDOW = 20.0 / 1600.0
"""Scale of one noise unit against the published window: 20 HU of noise in 1600 HU."""

Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Loss = Callable[[nn.Module, Mapping[str, torch.Tensor]], tuple[torch.Tensor, dict[str, float]]]


def loss_for(version: str, role: str, *, noise_units: bool) -> Loss:
    """Return the loss of a network for :func:`ctrestorelib.training.loop.train`.

    Batches hold ``input`` ``(n, 1 or 2, h, w)`` and ``target`` ``(n, 1, h, w)``.

    Parameters
    ----------
    version
        ``"2026"``: (L1 + RMSE) / 2 + 0.5 (L1 of gradient and of Sobel magnitude) / 2.
        ``"2024"``: L1 + 10 MSE for the extractor; L1 + 5 MSE + 0.1 times the mean L1 of gradient,
        Sobel, Laplace and high-pass responses for the denoiser.
    role
        ``"extractor"`` or ``"denoiser"``.
    noise_units
        Whether values are noise units: they are scaled to the size they would have in the
        published window, since a mean square is not indifferent to scale.
    """
    distance: Distance = _of_2026 if version == "2026" else _of_2024[role]
    scale = UNITS_TO_WINDOW if noise_units else 1.0

    def loss(
        network: nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, float]]:
        out, target = network(batch["input"]).float(), batch["target"]
        value = distance(scale * out, scale * target) / scale
        return value, {"l1": float((out - target).detach().abs().mean())}

    return loss


def _of_2026(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    plain = functional.l1_loss(out, target) + torch.sqrt(functional.mse_loss(out, target) + 1e-12)
    sharp = sum(_apart(f, out, target) for f in (gradient_magnitude, sobel_magnitude))
    return 0.5 * plain + SHARP_2026 * 0.5 * sharp


def _extractor_of_2024(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return functional.l1_loss(out, target) + 10.0 * functional.mse_loss(out, target)


def _denoiser_of_2024(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    plain = functional.l1_loss(out, target) + 5.0 * functional.mse_loss(out, target)
    views = (gradient_magnitude, sobel_magnitude, laplacian, fine_detail)
    return plain + SHARP_2024 / len(views) * sum(_apart(f, out, target) for f in views)


_of_2024: dict[str, Distance] = {"extractor": _extractor_of_2024, "denoiser": _denoiser_of_2024}


def _apart(
    view: Callable[[torch.Tensor], torch.Tensor], out: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    return functional.l1_loss(view(out), view(target))


def sobel_magnitude(slices: torch.Tensor) -> torch.Tensor:
    """Return sqrt(sx^2 + sy^2 + 1e-6) of the Sobel responses of ``(n, 1, h, w)``."""
    across = _filtered(slices, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    down = _filtered(slices, [[-1, -2, -1], [0, 0, 0], [1, 2, 1]])
    return torch.sqrt(across**2 + down**2 + 1e-6)


def laplacian(slices: torch.Tensor) -> torch.Tensor:
    """Return the response to the mask 0 1 0 / 1 -4 1 / 0 1 0."""
    return _filtered(slices, [[0, 1, 0], [1, -4, 1], [0, 1, 0]])


def fine_detail(slices: torch.Tensor) -> torch.Tensor:
    """Return the response to the 3 x 3 high-pass mask (centre 8, others -1)."""
    return _filtered(slices, [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]])


def _filtered(slices: torch.Tensor, mask: list[list[int]]) -> torch.Tensor:
    kernel = torch.tensor(mask, dtype=slices.dtype, device=slices.device)[None, None]
    return functional.conv2d(functional.pad(slices, (1, 1, 1, 1), mode="replicate"), kernel)
