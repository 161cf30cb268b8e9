"""Torch gradients through linear operators that know their transpose (layer: physics)."""

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253 - this module is imported only when torch computes


class _Apply(torch.autograd.Function):  # type: ignore[misc]
    """``A(x)``; the gradient with respect to x is ``A.T`` of the incoming gradient."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, operator: Any) -> torch.Tensor:
        ctx.operator = operator
        return operator(values.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        # Applied as a function again, so that gradients of gradients exist too.
        return _Apply.apply(gradients[0], ctx.operator.T), None


def apply(operator: Any, values: torch.Tensor) -> torch.Tensor:
    """Return ``operator(values)`` as a differentiable function of ``values``."""
    result: torch.Tensor = _Apply.apply(values, operator)
    return result
