"""The ramp filter of filtered backprojection, with windows and row extension (layer: recon).

The filter is the discrete transform of the band-limited ramp's *spatial* kernel, not ``|w|``
sampled in frequency: the latter shifts the mean of the image (Kak and Slaney, Principles of
Computerized Tomographic Imaging, 1988, section 3.3, doi:10.1137/1.9780898719277).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import UsageError
from ctrestorelib.physics.sharing import share


@enum.unique
class Window(str, enum.Enum):
    """Apodisation of the ramp, from sharp and noisy to smooth."""

    RAM_LAK = "ram-lak"
    SHEPP_LOGAN = "shepp-logan"
    COSINE = "cosine"
    HAMMING = "hamming"
    HANN = "hann"


_PROFILES: dict[Window, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    Window.RAM_LAK: np.ones_like,
    Window.SHEPP_LOGAN: lambda x: np.sinc(x / 2.0),
    Window.COSINE: lambda x: np.cos(np.pi * x / 2.0),
    Window.HAMMING: lambda x: 0.54 + 0.46 * np.cos(np.pi * x),
    Window.HANN: lambda x: 0.5 + 0.5 * np.cos(np.pi * x),
}


def ramp_kernel(length: int) -> NDArray[np.float64]:
    """Return the band-limited ramp for samples of unit spacing, wrapped around a circle.

    ``h(0) = 1/4``, ``h(n) = -1 / (pi n)^2`` for odd n and 0 for even n; ``h[-n] == h[n]``.

    Parameters
    ----------
    length
        Number of samples of the circle (at least 2).
    """
    n = np.arange(length)
    distance = np.minimum(n, length - n)
    odd = distance % 2 == 1
    kernel = np.zeros(length)
    kernel[0] = 0.25
    kernel[odd] = -1.0 / (np.pi * distance[odd]) ** 2
    return kernel


def window_profile(
    relative_frequency: NDArray[np.float64], window: Window, cutoff: float
) -> NDArray[np.float64]:
    """Return the window's gain at frequencies given as fractions of Nyquist (0 to 1).

    Above ``cutoff`` (also a fraction of Nyquist) the gain is zero.

    Raises
    ------
    UsageError
        If ``cutoff`` is not in (0, 1].
    """
    if not 0.0 < cutoff <= 1.0:
        message = f"The filter's cutoff is a fraction of Nyquist in (0, 1]; got {cutoff:g}."
        raise UsageError(message)
    x = np.abs(relative_frequency) / cutoff
    return np.where(x <= 1.0 + 1e-12, _PROFILES[Window(window)](x), 0.0)


def filter_response(
    length: int, window: Window = Window.RAM_LAK, cutoff: float = 1.0
) -> NDArray[np.float32]:
    """Return the windowed ramp in frequency: shape ``(length // 2 + 1,)``, for ``rfft``."""
    ramp = np.fft.rfft(ramp_kernel(length)).real
    frequency = np.arange(length // 2 + 1) / (length / 2.0)
    return (ramp * window_profile(frequency, window, cutoff)).astype(np.float32)


def fast_length(minimum: int) -> int:
    """Return the smallest even number >= ``minimum`` whose only prime factors are 2, 3 and 5."""
    candidate = minimum + minimum % 2
    while _rest(candidate) != 1:
        candidate += 2
    return candidate


def _rest(number: int) -> int:
    for prime in (2, 3, 5):
        while number % prime == 0:
            number //= prime
    return number


@dataclass(frozen=True)
class RowFilter:
    """Filters detector rows; made once for a scan, applied to block after block.

    Parameters
    ----------
    columns
        Columns of the detector.
    window, cutoff
        Apodisation, and where it ends as a fraction of Nyquist.
    extension
        Columns by which rows may be continued beyond their first and their last column (where
        the object overfills them); 0 for none.
    threads
        Processor cores to use.
    """

    columns: int
    window: Window = Window.RAM_LAK
    cutoff: float = 1.0
    extension: tuple[int, int] = (0, 0)
    threads: int = 1

    @cached_property
    def length(self) -> int:
        """Length of the padded rows: no wrapped value reaches a column of the detector."""
        return fast_length(2 * (self.columns + max(self.extension)))

    @cached_property
    def response(self) -> NDArray[np.float32]:
        """Gain for each frequency of the padded rows."""
        return filter_response(self.length, self.window, self.cutoff)

    def __call__(self, rows: NDArray[np.float32]) -> None:
        """Replace ``rows`` (``[view, row, col]`` or ``[row, col]``) by the filtered rows."""
        views = rows if rows.ndim == 3 else rows[None]

        def work(first: int, last: int) -> None:
            for view in views[first:last]:
                self.apply(view)

        share(work, len(views), self.threads)

    def apply(
        self,
        view: NDArray[np.float32],
        left: NDArray[np.float32] | None = None,
        right: NDArray[np.float32] | None = None,
    ) -> None:
        """Filter one view ``[row, col]`` in place, on the calling thread alone.

        The tails ``[row, extension]`` continue the rows outwards; None stands for zeros. One view
        at a time keeps the work in the processor's cache; call it from several threads at once.
        """
        first = None if left is None else left[:, ::-1]
        parts = [part for part in (first, view, right) if part is not None]
        padded = np.concatenate(parts, axis=1) if len(parts) > 1 else view
        start = 0 if left is None else left.shape[1]
        view[:] = self._convolved(padded)[:, start : start + self.columns]

    def _convolved(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        # SciPy transforms as fast as torch, which takes seconds to be loaded.
        import scipy.fft

        spectrum = scipy.fft.rfft(rows, n=self.length)
        spectrum *= self.response
        return np.asarray(scipy.fft.irfft(spectrum, n=self.length, overwrite_x=True))
