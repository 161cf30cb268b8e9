"""Whether small faint structures survive a restoration: inserted marks (layer: quality; scipy).

Marks of known contrast (balls, edges, spiculated lesions) are added to the *noisy* volume at many
flat places of soft tissue at once, far enough apart not to disturb each other. The volume is
restored with and without them; what arrives of a mark is the mean difference inside it over its
mean contrast. Half of the marks are brighter than the tissue, half are darker. Nothing has to be
known of the true anatomy, since it is the same in both runs.

The restoration runs on a cut-out with many flat places, so that it takes seconds; a method that
measures the noise by itself measures that of the cut-out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.pairs import check_pair
from ctrestorelib.quality.result import Measure, Verdict, plain
from ctrestorelib.quality.tissue import hu_like, spread

Restore = Callable[[Volume], Volume]
"""A restoration with everything chosen: volume to volume, deterministic."""

SHAPES = ("ball", "edge", "spiculated")
SIZES_MM = (3.0, 5.0)
CONTRASTS_HU = (10.0, 20.0, 50.0, 100.0)
TARGETS = {(3.0, 50.0): 0.93, (3.0, 20.0): 0.85}
"""Share of a mark that must arrive, by size in mm and contrast in HU."""

_NEAR_MISS = 0.10  # amber: this little below a target
_PITCHES_MM, _PITCH_Z_MM, _ROOM_MM = (16.0, 11.0), 12.0, 5.0  # the closer one for small limbs
_CUT_KJI, _FEWEST, _FEW, _MOST = (32, 224, 224), 6, 12, 144
_ENOUGH_PER_KIND, _ROUNDS, _ROUNDS_OF_FEW = 6, (2, 4), 8
_LOW_HU, _HIGH_HU, _STEEP_HU_PER_MM = -20.0, 100.0, 3.0
_STEEP_NOISES = 3.3  # times the median slope of noise: more than its steepest spot within 5 mm
_PSF_MM = 0.4


@dataclass(frozen=True)
class MarkKind:
    """One kind of mark: shape, diameter (edge: bar width) in mm, contrast in HU."""

    shape: str
    size_mm: float
    contrast_hu: float


@dataclass(frozen=True)
class Recovered:
    """How much of the marks of one size and contrast arrived.

    Parameters
    ----------
    size_mm, contrast_hu
        Which marks.
    share, interval
        Mean share that arrived, and its 95 % interval: the t interval of the mean, since a small
        limb has few places and resampling a few of them gives too narrow an interval.
    by_shape
        The share by shape.
    marks
        Number of marks.
    """

    size_mm: float
    contrast_hu: float
    share: float
    interval: tuple[float, float]
    by_shape: dict[str, float]
    marks: int

    @property
    def target(self) -> float | None:
        """Share that must arrive; None where the number is only shown."""
        return TARGETS.get((self.size_mm, self.contrast_hu))

    @property
    def verdict(self) -> Verdict:
        """Green at the target, amber just below it or in doubt, red clearly below it."""
        if self.target is None:
            return Verdict.NONE
        if self.share >= self.target:
            return Verdict.GREEN
        doubtful = self.interval[1] >= self.target or self.share >= self.target - _NEAR_MISS
        return Verdict.AMBER if doubtful else Verdict.RED


@dataclass(frozen=True)
class MarkRecovery:
    """How much of all marks arrived: one entry per size and contrast.

    Parameters
    ----------
    recovered
        In the order of size, then contrast; empty where it could not be measured.
    places
        Number of flat places used.
    cut_kji
        First voxel and end of the cut-out along each axis.
    why_not
        Why it could not be measured; empty if it was.
    """

    recovered: tuple[Recovered, ...] = ()
    places: int = 0
    cut_kji: tuple[tuple[int, int], ...] = ()
    why_not: str = ""

    def at(self, size_mm: float, contrast_hu: float) -> Recovered:
        """Return the entry of one size and contrast."""
        for entry in self.recovered:
            if (entry.size_mm, entry.contrast_hu) == (size_mm, contrast_hu):
                return entry
        raise KeyError((size_mm, contrast_hu))

    def to_measures(self) -> list[Measure]:
        """Return one line of a table per entry; those without a target carry no verdict."""
        if not self.recovered:
            return [Measure.missing("marks", "Inserted marks kept", self.why_not)]
        return [self._measure(entry) for entry in self.recovered]

    def _measure(self, entry: Recovered) -> Measure:
        size, contrast = f"{entry.size_mm:g} mm", f"{entry.contrast_hu:g} HU"
        told = f"{100 * entry.share:.0f} % of marks of {size} and {contrast} arrive"
        if entry.target is not None:
            told += f" (wanted: {100 * entry.target:.0f} %)"
        if entry.verdict is Verdict.RED:
            told += "; such findings can vanish: use less strength"
        where = (f"{entry.marks} marks (balls, edges, spiculated) at {self.places} flat places of "
                 "one cut-out, restored with and without them")  # fmt: skip
        name = f"marks_{entry.size_mm:g}mm_{entry.contrast_hu:g}hu".replace(".", "p")
        return Measure(name, f"Inserted marks kept, {size}, {contrast}", entry.share, "",
                       entry.interval, entry.verdict, f"{told}.", where,
                       details=plain(entry.__dict__))  # fmt: skip


def recovery(
    volume: Volume,
    restore: Restore,
    *,
    sizes_mm: Sequence[float] = SIZES_MM,
    contrasts_hu: Sequence[float] = CONTRASTS_HU,
    mask: NDArray[np.bool_] | None = None,
    rounds: int | None = None,
) -> MarkRecovery:
    """Insert marks, restore with and without them, and tell how much of them arrives.

    Parameters
    ----------
    volume
        The noisy original, in HU.
    restore
        The restoration; called once more than there are rounds, on a cut-out
        of at most 32 x 224 x 224 voxels.
    sizes_mm, contrasts_hu
        Which marks.
    mask
        Boolean ``[k, j, i]``: marks only here.
    rounds
        How often the kinds of marks change places: more rounds, narrower intervals. None takes
        two to four, the more the fewer places there are, and eight below twelve places: up to
        eight rounds bring no size and contrast to the same place again.

    Raises
    ------
    GeometryError
        If ``restore`` returns another grid.
    """
    if not hu_like(volume):
        return MarkRecovery(why_not="marks are defined in HU, and the volume is not in HU.")
    cut, places = find_places(volume, mask)
    if len(places) < _FEWEST:
        found = f"only {len(places)} flat places of soft tissue were found; {_FEWEST} are needed."
        return MarkRecovery(why_not=found)
    part = volume.crop(cut)
    kinds = [MarkKind(*k) for k in product(SHAPES, sizes_mm, contrasts_hu)]
    plain_result = _restored(part, restore)
    if rounds is None:
        most = _ROUNDS[1] if len(places) >= _FEW else _ROUNDS_OF_FEW
        rounds = int(np.clip(_ENOUGH_PER_KIND * len(kinds) // len(places), _ROUNDS[0], most))
    shares: list[tuple[MarkKind, float]] = []
    for turn in range(rounds):
        # A stride prime to the number of kinds brings every kind to other places, and a small
        # limb every shape to each size and contrast.
        chosen = [kinds[(n + turn * 19) % len(kinds)] for n in range(len(places))]
        marks, inside = draw_marks(part, places, chosen)
        change = _restored(part.with_values(part.values + marks), restore) - plain_result
        shares += [(k, _share(marks[b], change[b])) for k, b in zip(chosen, inside, strict=True)]
    recovered = [_recovered(shares, s, c) for s, c in product(sizes_mm, contrasts_hu)]
    corners = tuple((int(s.start), int(s.stop)) for s in cut)
    return MarkRecovery(tuple(recovered), len(places), corners)


def find_places(
    volume: Volume, mask: NDArray[np.bool_] | None = None
) -> tuple[tuple[slice, slice, slice], NDArray[np.int64]]:
    """Return the cut-out with the most flat places, and the places in it, shape ``(n, 3)``.

    A place is flat if soft tissue, averaged over the slices of a mark and smoothed, is nowhere
    steep within 5 mm: steeper than 3 HU/mm and than what the noise of this slice does by itself.
    """
    for pitch_mm in _PITCHES_MM:
        every = _all_places(volume, mask, pitch_mm)
        if len(every) >= _FEW:
            break
    if not len(every):
        return (slice(0, 0),) * 3, every
    size = np.minimum(_CUT_KJI, volume.shape)
    corners = np.clip(every - size // 2, 0, np.subtract(volume.shape, size))
    margin = _margin(volume)
    inside = [((every >= c + margin) & (every < c + size - margin)).all(axis=1) for c in corners]
    best = int(np.argmax([n.sum() for n in inside]))
    corner = corners[best]
    places = every[inside[best]] - corner
    k, j, i = (slice(int(c), int(c + n)) for c, n in zip(corner, size, strict=True))
    return (k, j, i), places[spread(len(places), _MOST)]


def draw_marks(
    part: Volume, places: NDArray[np.int64], kinds: Sequence[MarkKind]
) -> tuple[NDArray[np.float32], list[tuple[slice, slice, slice]]]:
    """Return the marks as an additive array ``[k, j, i]`` in HU, and the box of each.

    Edges are smooth over a voxel and blurred in the slice by 0.4 mm, as a scanner would.
    """
    marks = np.zeros(part.shape, np.float32)
    spacing = np.array(part.geometry.spacing_mm[::-1])
    boxes = []
    for n, (place, kind) in enumerate(zip(places, kinds, strict=True)):
        half = np.ceil((0.5 * kind.size_mm + 2.5) / spacing).astype(np.int64)
        low = np.maximum(place - half, 0)
        high = np.minimum(place + half + 1, part.shape)
        dk, dj, di = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        axes = [(np.arange(a, b) - p) * d
                for a, b, p, d in zip(low, high, place, spacing, strict=True)]  # fmt: skip
        sign = 1.0 if (n // len(SHAPES)) % 2 == 0 else -1.0
        marks[dk, dj, di] = sign * kind.contrast_hu * _shape(kind, axes, spacing)
        boxes.append((dk, dj, di))
    return marks, boxes


def _shape(kind: MarkKind, axes: Sequence[Any], spacing: NDArray[np.float64]) -> NDArray[Any]:
    """Return a mark of contrast 1 from the distance to its surface (negative inside), in mm."""
    from scipy.ndimage import gaussian_filter

    z, y, x = axes[0][:, None, None], axes[1][:, None], axes[2]
    radius, thick = 0.5 * kind.size_mm, spacing[0]
    # Through thick slices a ball would be mostly partial volume: it becomes a disc.
    deep = np.maximum(np.abs(z) - max(0.0, 0.5 * (thick - kind.size_mm)), 0.0)
    if thick > radius:
        deep = np.where(np.abs(z) < 0.5 * max(thick, kind.size_mm), 0.0, np.inf)
    distance = np.sqrt(deep**2 + y**2 + x**2) - radius
    if kind.shape == "edge":  # a bar: two straight edges
        length = np.maximum(np.abs(y) - 1.5 * radius, deep - radius)
        distance = np.maximum(np.abs(x) - radius, length)
    elif kind.shape == "spiculated":  # a core of two thirds with six spikes of 0.8 mm
        distance = np.sqrt(deep**2 + y**2 + x**2) - 0.67 * radius
        for angle in np.arange(3) * np.pi / 3:
            along = np.abs(np.cos(angle) * x + np.sin(angle) * y)
            across = np.sqrt((np.cos(angle) * y - np.sin(angle) * x) ** 2 + deep**2)
            spike = np.maximum(across - 0.4, along - 1.4 * radius)
            distance = np.minimum(distance, spike)
    pixel = float(spacing[1:].max())
    soft = np.clip(0.5 - distance / pixel, 0.0, 1.0)
    blur = _PSF_MM / spacing
    return np.asarray(gaussian_filter(soft, (0.0, blur[1], blur[2]), mode="constant"))


def _share(mark: NDArray[np.float32], change: NDArray[np.float64]) -> float:
    """Return how much of a mark arrived, where it has more than half of its contrast."""
    core = np.abs(mark) > 0.5 * np.abs(mark).max()
    return float(change[core].sum() / mark[core].sum())


def _restored(part: Volume, restore: Restore) -> NDArray[np.float64]:
    restored = restore(part)
    check_pair(restored, part, what="the volume with marks")
    return restored.values.astype(np.float64)


def _recovered(
    shares: list[tuple[MarkKind, float]], size_mm: float, contrast_hu: float
) -> Recovered:
    own = [(k.shape, s) for k, s in shares
           if (k.size_mm, k.contrast_hu) == (size_mm, contrast_hu)]  # fmt: skip
    values = np.array([s for _, s in own])
    by_shape = {shape: float(np.mean([s for name, s in own if name == shape]))
                for shape in sorted({name for name, _ in own})}  # fmt: skip
    return Recovered(size_mm, contrast_hu, float(values.mean()), _interval(values), by_shape,
                     len(values))  # fmt: skip


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    from scipy.special import stdtrit

    if len(values) < 2:
        return -np.inf, np.inf
    half = float(stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


def _margin(volume: Volume) -> NDArray[np.int64]:
    """Return how far (k, j, i) from the border of the cut-out marks must lie."""
    margin = np.ceil(_ROOM_MM / np.array(volume.geometry.spacing_mm[::-1])).astype(np.int64)
    return np.asarray(np.minimum(margin, [2, 24, 24]))


def _all_places(
    volume: Volume, mask: NDArray[np.bool_] | None, pitch_mm: float
) -> NDArray[np.int64]:
    from scipy.ndimage import gaussian_filter, minimum_filter

    dx, dy, dz = volume.geometry.spacing_mm
    half = max(0, int(2.5 / dz))
    step = max(2 * half + 3, int(np.ceil(_PITCH_Z_MM / dz)))
    pitch = [int(np.ceil(pitch_mm / d)) for d in (dy, dx)]
    room = [2 * int(np.ceil(_ROOM_MM / d)) + 1 for d in (dy, dx)]
    found = []
    for k in range(half + 1, volume.shape[0] - half - 1, step):
        layers = slice(k - half, k + half + 1)
        mean = volume.values[layers].mean(axis=0, dtype=np.float64)
        smooth = gaussian_filter(mean, (1.5 / dy, 1.5 / dx), mode="nearest")
        calm = (smooth > _LOW_HU) & (smooth < _HIGH_HU)
        noise = _slope(_noise_of_mean(volume, k, half), min(dx, dy))
        allowed = np.hypot(_STEEP_HU_PER_MM, _STEEP_NOISES * _median(noise[calm]))
        calm &= _slope(mean, min(dx, dy)) < allowed
        if mask is not None:
            calm &= mask[layers].all(axis=0)
        flat = minimum_filter(calm, size=room, mode="constant", cval=0)
        found += [(k, j, i) for j, i in _packed(flat, pitch)]
    return np.array(found, np.int64).reshape(-1, 3)


def _slope(image: NDArray[np.float64], pixel_mm: float) -> NDArray[np.float64]:
    """Return how steep an image is at 2 mm, in HU/mm."""
    from scipy.ndimage import gaussian_gradient_magnitude

    slope = gaussian_gradient_magnitude(image, 2.0 / pixel_mm, mode="nearest")
    return np.asarray(slope / pixel_mm)


def _noise_of_mean(volume: Volume, k: int, half: int) -> NDArray[np.float64]:
    """Return noise as strong as that of the mean of slices k - half to k + half.

    Even minus odd slices: anatomy cancels. Where slices share noise it comes out too weak, and
    fewer places are found.
    """
    layers = volume.values[k - half - 1 : k + half + 1]
    difference = layers[::2].mean(axis=0, dtype=np.float64) - layers[1::2].mean(axis=0)
    return np.asarray(difference * np.sqrt(len(layers) / (len(layers) - 1)) / 2.0)


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values)) if values.size else 0.0


def _packed(flat: NDArray[np.bool_], pitch: Sequence[int]) -> list[tuple[int, int]]:
    """Return flat pixels that are at least a pitch apart along one axis, in reading order."""
    free = flat.copy()
    out = []
    while free.any():
        j, i = (int(n) for n in np.unravel_index(int(free.argmax()), free.shape))
        out.append((j, i))
        free[max(0, j - pitch[0] + 1) : j + pitch[0], max(0, i - pitch[1] + 1) : i + pitch[1]] = 0
    return out
