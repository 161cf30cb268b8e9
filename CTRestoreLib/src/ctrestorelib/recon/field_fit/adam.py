"""Adam, for arrays of NumPy or torch (layer: recon).

Reference: Kingma and Ba 2015, doi:10.48550/arXiv.1412.6980.
"""

from __future__ import annotations

from collections.abc import Sequence

from ctrestorelib.recon.arrays import Array


class Adam:
    """Steps of a size that does not depend on the size of the gradient.

    Parameters
    ----------
    parameters
        Arrays that are changed in place.
    betas
        Memory of the mean and of the squared gradient.
    floor
        Added to the root of the mean square. Parameters whose gradient is far below it move in
        proportion to it, not by the full rate: rounding noise stays small, and of the levels of a
        field the coarse ones, which gather the slope of many voxels, go ahead of the fine ones.
    """

    def __init__(
        self,
        parameters: Sequence[Array],
        betas: tuple[float, float] = (0.9, 0.99),
        floor: float = 1.0,
    ) -> None:
        self.parameters = list(parameters)
        self.betas, self.floor = betas, floor
        self._mean = [p * 0.0 for p in self.parameters]
        self._square = [p * 0.0 for p in self.parameters]
        self._steps = 0

    def step(self, gradients: Sequence[Array], rates: Sequence[float]) -> None:
        """Move every parameter against its gradient by about its rate; gradients are used up."""
        self._steps += 1
        fade, fade_square = self.betas
        scale = 1.0 / (1.0 - fade**self._steps)
        scale_square = 1.0 / (1.0 - fade_square**self._steps)
        for n, rate in enumerate(rates):
            g, mean, square = gradients[n], self._mean[n], self._square[n]
            _fade(mean, g, fade)
            g *= g
            _fade(square, g, fade_square)
            g[:] = square
            g *= scale_square
            g **= 0.5
            g += self.floor
            g **= -1.0
            g *= mean
            g *= rate * scale
            self.parameters[n] -= g


def _fade(memory: Array, new: Array, share: float) -> None:
    """Mix ``new`` into a running mean, in place."""
    memory *= share
    memory += (1.0 - share) * new
