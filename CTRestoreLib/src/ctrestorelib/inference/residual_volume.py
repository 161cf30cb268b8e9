"""Denoising a volume with a residual network, slice by slice (layer: inference).

The network says what of a slice is noise; guards decide how much of that is taken away: the
coherence gate, the strength in bone, metal and starved places, and last the low-frequency veto.
Two or three slices are worked on at a time, so that memory is that of input and result.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.inference.coherence import excess, kept_share
from ctrestorelib.inference.low_frequency import veto_pixels, without_low_frequencies
from ctrestorelib.inference.network_input import (
    TILE,
    NetworkInput,
    NetworkSlice,
    predict,
)
from ctrestorelib.inference.protection import bone_share, untouchable
from ctrestorelib.inference.runtimes import Runtime
from ctrestorelib.quality.sigma_map import SigmaMap

Floats = NDArray[np.float32]

CLASSES_HU = {"air": -950.0, "lung": -300.0, "fat": -20.0, "soft": 150.0, "bone": np.inf}
"""Classes whose uncertainty is calibrated apart, with their upper limits in HU."""
_LOG_SCALE = (-6.0, 3.0)


@dataclass(frozen=True, kw_only=True)
class Guards:
    """How much of what the network calls noise is taken away.

    Parameters
    ----------
    veto_mm
        Width of the local mean that stays as it was; 0 for no veto.
    bone_strength
        Share of the noise removed in bone.
    coherence
        Whether what goes on from slice to slice is given back.
    """

    veto_mm: float = 6.0
    bone_strength: float = 1.0
    coherence: bool = True


@dataclass(frozen=True)
class Restored:
    """A denoised volume.

    Parameters
    ----------
    values
        ``[k, j, i]`` in the volume's unit.
    uncertainty
        Standard deviation of the error at every voxel, or None.
    untouched
        Share of the voxels that kept their values at metal or where the noise is extreme.
    given_back
        Share of the removed noise (its power) that the coherence gate gave back.
    """

    values: Floats
    uncertainty: Floats | None
    untouched: float
    given_back: float


@dataclass
class _Seen:
    """A slice with the network's answer; ``excess_above`` compares it with the next one."""

    slice: NetworkSlice
    mean: Floats
    log_scale: Floats
    excess_above: Floats | None = field(default=None)


class ResidualDenoiser:
    """Takes a network's noise from a volume.

    Parameters
    ----------
    runtime
        The network.
    guards
        What to hold back.
    calibration
        By class of :data:`CLASSES_HU`: what the network's own uncertainty is multiplied with.
    tile
        Largest number of rows or columns worked on at once.
    """

    def __init__(
        self,
        runtime: Runtime,
        guards: Guards,
        calibration: Mapping[str, float] | None = None,
        tile: int = TILE,
    ) -> None:
        self._runtime, self._guards, self._tile = runtime, guards, tile
        self._factors = np.array(
            [(calibration or {}).get(name, 1.0) for name in CLASSES_HU], dtype=np.float32
        )

    def restore(
        self,
        volume: Volume,
        sigma: SigmaMap,
        *,
        mask: NDArray[np.bool_] | None = None,
        uncertainty: bool = False,
        track: Callable[[range], Iterable[int]] = iter,
    ) -> Restored:
        """Denoise ``volume``; padding and voxels outside ``mask`` keep their values bit for bit.

        Parameters
        ----------
        volume
            Any unit; all values finite.
        sigma
            Noise level to remove, of this volume, positive everywhere.
        mask
            Array ``[k, j, i]``, true where to work.
        uncertainty
            Whether to fill :attr:`Restored.uncertainty`.
        track
            Called with the range of slices; yields them and may report or stop.
        """
        work = _Work(self, volume, sigma)
        values = np.empty_like(volume.values)
        errors = np.zeros_like(volume.values) if uncertainty else None
        for k in track(range(volume.shape[0])):
            original = volume.values[k]
            if mask is not None and not mask[k].any():
                values[k] = original
                continue
            removed, error = work.slice(k)
            np.subtract(original, removed, out=values[k])
            if mask is not None:
                values[k][~mask[k]] = original[~mask[k]]
            if errors is not None:
                errors[k] = error
        return Restored(values, errors, work.untouched / volume.geometry.voxels, work.given_back)


class _Work:
    """One run over a volume: remembers the last few slices."""

    def __init__(self, denoiser: ResidualDenoiser, volume: Volume, sigma: SigmaMap) -> None:
        self._d, self._volume = denoiser, volume
        self._input = NetworkInput(volume, sigma)
        self._typical = sigma.typical
        self._scale = np.float32(1.0)
        if volume.unit is Unit.PER_MM:
            self._scale = np.float32(MU_WATER_PER_MM / 1000.0)
            self._typical = sigma.typical / float(self._scale)
        self._pixel_mm = max(volume.geometry.spacing_mm[:2])
        self._ready: OrderedDict[int, _Seen] = OrderedDict()
        self.untouched = 0
        self._power = np.zeros(2)

    @property
    def given_back(self) -> float:
        """Share of the removed power that the coherence gate gave back."""
        before, after = self._power
        return float(1.0 - after / before) if before > 0 else 0.0

    def slice(self, k: int) -> tuple[Floats, Floats]:
        """Return removed noise and its standard error ``[j, i]`` in the volume's unit."""
        guards, seen = self._d._guards, self._seen(k)
        part = seen.slice
        share = self._coherent(k)
        if guards.bone_strength < 1.0 and self._input.is_hu:
            bone = bone_share(part.values - seen.mean * part.level, self._pixel_mm)
            held = np.float32(1.0) - np.float32(1.0 - guards.bone_strength) * bone
            share = held if share is None else share * held
        removed = seen.mean * part.level
        if share is not None:
            removed *= share
        measured = None if part.padding is None else ~part.padding
        width = veto_pixels(guards.veto_mm, self._pixel_mm)
        removed = without_low_frequencies(removed, width, measured)
        self._leave(part, removed)
        removed *= self._scale
        return removed, self._error(seen, removed, share)

    def _seen(self, k: int) -> _Seen:
        if k not in self._ready:
            part = self._input.slice(k)
            mean, log_scale = predict(part.stack, part.context, self._d._runtime, self._d._tile)
            self._ready[k] = _Seen(part, mean, log_scale)
            while len(self._ready) > 4:
                self._ready.popitem(last=False)
        return self._ready[k]

    def _coherent(self, k: int) -> Floats | None:
        """Return which share of the removal stands, or None for all of it."""
        if not self._d._guards.coherence:
            return None
        pairs = [n for n in (k - 1, k) if 0 <= n < self._volume.shape[0] - 1]
        share = kept_share([self._excess(n) for n in pairs])
        if share is not None:
            before = self._seen(k).mean ** 2
            self._power += (float(before.sum()), float((before * share).sum()))
        return share

    def _excess(self, k: int) -> Floats:
        here, above = self._seen(k), self._seen(k + 1)
        if here.excess_above is None:
            padding = here.slice.padding
            measured = None if padding is None else ~padding
            here.excess_above = excess(here.mean, above.mean, measured)
        return here.excess_above

    def _leave(self, part: NetworkSlice, removed: Floats) -> None:
        """Set the removal to 0 where the original must stay."""
        if part.padding is not None:
            removed[part.padding] = 0.0
        values = part.values if self._input.is_hu else None
        kept = untouchable(values, part.level, self._typical, self._pixel_mm)
        if kept is not None:
            removed[kept] = 0.0
            self.untouched += int(np.count_nonzero(kept))

    def _error(self, seen: _Seen, removed: Floats, share: Floats | None) -> Floats:
        """Return the error's standard deviation: the network's, and the noise's where it stays."""
        part = seen.slice
        scale = np.exp(np.clip(seen.log_scale, *_LOG_SCALE)) * np.float32(np.sqrt(2.0))
        if self._input.is_hu:
            limits = np.array(list(CLASSES_HU.values())[:-1], dtype=np.float32)
            restored = part.values - removed / self._scale
            scale *= self._d._factors[np.searchsorted(limits, restored, side="right")]
        if share is not None:
            scale += (np.float32(1.0) - share) * np.maximum(np.float32(1.0) - scale, 0.0)
        out: Floats = scale * part.level * self._scale
        if part.padding is not None:
            out[part.padding] = 0.0
        return out
