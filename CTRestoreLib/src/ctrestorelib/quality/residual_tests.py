"""The single tests behind the residual-structure verdict (layer: quality)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.quality.blocks import BlockField
from ctrestorelib.quality.result import plain

_FLIPS = 999
_MIN_EDGE_BLOCKS = 12
_HARMLESS = 0.15
"""Effects below this share of the noise level (3 HU at 20 HU of noise) are not seen by anyone."""
_HARMLESS_BLOCK = 0.25
"""The same for the mean of a whole block; edges that a block cuts in two move it a little."""
_BINS = np.arange(-4.5, 5.0, 1.0)

_WORDS = {
    "edge_size": "more is removed at edges than elsewhere",
    "edge_profile": "edges were shifted or softened",
    "slice_coherence": "the removed pattern continues from slice to slice where there is anatomy",
    "power": "something was added at some frequencies",
    "block_means": "the mean of whole blocks moved",
}
_TITLES = {
    "edge_size": "size of the residual follows edges",
    "edge_profile": "mean residual across edges",
    "slice_coherence": "extra slice-to-slice coherence",
    "power": "power of the residual against the noise",
    "block_means": "means of blocks",
}


@dataclass(frozen=True)
class Finding:
    """One test of the residual.

    Parameters
    ----------
    name
        ``edge_size``, ``edge_profile``, ``slice_coherence``, ``power`` or ``block_means``.
    effect
        How large the effect is, and ``tolerance`` above which it matters.
    p, p_adjusted
        Probability of such an effect by chance, alone and among all tests made.
    done
        Whether the test could be made; ``why_not`` says why it could not.
    """

    name: str
    effect: float = 0.0
    tolerance: float = 0.0
    p: float = 1.0
    p_adjusted: float = 1.0
    done: bool = True
    why_not: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def missing(cls, name: str, why: str) -> Finding:
        """Return the statement that a test could not be made."""
        return cls(name, done=False, why_not=why)

    def with_adjusted(self, p: float) -> Finding:
        """Return the finding with its adjusted p-value."""
        return replace(self, p_adjusted=p)

    @property
    def failed(self) -> bool:
        """Whether chance does not explain the effect, and the effect is large enough to matter."""
        return self.done and self.p_adjusted <= 0.05 and self.effect > self.tolerance

    @property
    def plain_words(self) -> str:
        """What a failure means."""
        return _WORDS[self.name]

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain values."""
        record = {**self.__dict__, "failed": self.failed, "title": _TITLES[self.name]}
        result: dict[str, Any] = plain(record)
        return result


Blockwise = tuple[Finding, NDArray[np.float64]]


def edge_size(blocks: BlockField, rng: np.random.Generator) -> Blockwise:
    """Test a: |r| against gradient within each block (a block has one noise level)."""
    # Steepness saturates, so that one metal edge does not speak for the whole volume; below 4
    # times the noise gradient it counts as flat.
    steep = np.clip((blocks.steepness - 4.0) / 12.0, 0.0, 1.0)
    size = np.minimum(np.abs(blocks.unit_residual), 6.0)
    weight = blocks.valid
    products = _centred(steep, weight) * _centred(size, weight)
    cov = products.sum(axis=(1, 2, 3), dtype=np.float64)
    spread_g = np.square(_centred(steep, weight)).sum(axis=(1, 2, 3), dtype=np.float64)
    edgy = spread_g > 0.02 * weight.sum(axis=(1, 2, 3))
    zero = np.zeros(len(blocks))
    if edgy.sum() < _MIN_EDGE_BLOCKS:
        return Finding.missing("edge_size", "too few blocks contain an edge."), zero
    total = float(cov[edgy].sum())
    null = _flips(cov[edgy][:, None], rng)[:, 0]
    p = (1 + float((null >= total).sum())) / (1 + _FLIPS)
    # Slope: how many noise levels more are removed at a full edge than in the flat.
    slope = total / float(spread_g[edgy].sum())
    z = np.where(edgy, cov / _noise_of_cov(spread_g), 0.0)
    details = {"blocks": int(edgy.sum()), "unit": "noise levels more at a strong edge"}
    return Finding("edge_size", slope, _HARMLESS, p, details=details), np.maximum(z, 0)


def edge_profile(blocks: BlockField, rng: np.random.Generator) -> Blockwise:
    """Test b: mean residual in bins of signed distance to edges."""
    index = np.digitize(np.nan_to_num(blocks.side, nan=99.0), _BINS) - 1
    near = (index >= 0) & (index < len(_BINS) - 1) & blocks.valid
    flat = np.where(near, index, len(_BINS) - 1).reshape(len(blocks), -1)
    capped = np.clip(blocks.unit_residual, -6, 6).reshape(len(blocks), -1)
    rows = np.arange(len(blocks))[:, None] * len(_BINS)
    cells = (flat + rows).ravel()
    size = len(blocks) * len(_BINS)
    shape = (len(blocks), len(_BINS))
    sums = np.bincount(cells, capped.ravel(), size).reshape(shape)[:, :-1]
    counts = np.bincount(cells, minlength=size).reshape(shape)[:, :-1]
    edgy = counts.sum(axis=1) >= 30
    zero = np.zeros(len(blocks))
    if edgy.sum() < _MIN_EDGE_BLOCKS:
        return Finding.missing("edge_profile", "too few blocks contain an edge."), zero
    scale = np.sqrt(np.square(sums[edgy]).sum(axis=0))
    scale[scale == 0] = np.inf
    seen = float(np.abs(sums[edgy].sum(axis=0) / scale).max())
    null = np.abs(_flips(sums[edgy] / scale, rng)).max(axis=1)
    p = (1 + float((null >= seen).sum())) / (1 + _FLIPS)
    mean = sums[edgy].sum(axis=0) / np.maximum(counts[edgy].sum(axis=0), 1)
    # A block is off if its residual follows the profile of all.
    shape_of_all = mean / max(float(np.linalg.norm(mean)), 1e-12)
    follow = sums @ shape_of_all / np.sqrt(np.maximum(counts @ shape_of_all**2, 1))
    z = np.where(edgy, np.abs(follow) / _robust(follow[edgy]), 0.0) if p <= 0.05 else zero
    details = {"distance_px": (_BINS[:-1] + 0.5).tolist(), "mean_in_noise_levels": mean.tolist(),
               "blocks": int(edgy.sum())}  # fmt: skip
    return Finding("edge_profile", float(np.abs(mean).max()), _HARMLESS, p, details=details), z


def coherence_excess(blocks: BlockField, rng: np.random.Generator) -> Blockwise:
    """Test c: correlation of neighbouring slices, structured minus homogeneous blocks.

    Blocks are ranked by the variance of each slice of the original: this does not look at whether
    slices agree, so ranking alone creates no excess.
    """
    zero = np.zeros(len(blocks))
    if blocks.valid.shape[1] < 2:
        return Finding.missing("slice_coherence", "there is only one slice."), zero
    if len(blocks) < 2 * _MIN_EDGE_BLOCKS:
        return Finding.missing("slice_coherence", "there are too few blocks."), zero
    capped = np.clip(blocks.unit_residual, -6, 6)
    centred = _centred_slices(capped, blocks.valid)
    a, b = centred[:, :-1], centred[:, 1:]
    sums = np.stack([(a * b).sum((1, 2, 3)), (a * a).sum((1, 2, 3)), (b * b).sum((1, 2, 3))],
                    axis=1).astype(np.float64)  # fmt: skip
    texture = blocks.original.var(axis=(2, 3)).mean(axis=1)
    order = np.argsort(texture)
    third = len(blocks) // 3
    plainer, busier = sums[order[:third]], sums[order[-third:]]
    excess = _rho(busier) - _rho(plainer)
    samples = np.array([_rho(_draw(busier, rng)) - _rho(_draw(plainer, rng)) for _ in range(300)])
    se = max(float(samples.std()), 1e-9)
    p = _upper_tail(excess / se)
    each = sums[:, 0] / np.sqrt(np.maximum(sums[:, 1] * sums[:, 2], 1e-12))
    middle = float(np.median(each[order[:third]]))
    z = np.maximum((each - middle) / _robust(each[order[:third]] - middle), 0)
    details = {"structured": _rho(busier), "homogeneous": _rho(plainer)}
    return Finding("slice_coherence", excess, 0.05, p, details=details), z


def power_excess(
    before: NDArray[np.float64], residual: NDArray[np.float64], rng: np.random.Generator
) -> Finding:
    """Test d: NPS of the residual at most 1.1 times that of the original, at every frequency.

    Parameters
    ----------
    before, residual
        Spectra of the same regions, ``(n, size, size)``.
    """
    size = before.shape[-1]
    f = np.fft.fftfreq(size)
    ring = np.minimum((np.hypot(f[:, None], f) * 16).astype(np.int64), 8).ravel()
    count = np.bincount(ring, minlength=9)[:9]
    rings = [np.stack([np.bincount(ring, p.ravel(), 9) for p in spectra]) / count
             for spectra in (before, residual)]  # fmt: skip
    total = rings[0].sum(axis=0)
    heard = total > 1e-3 * total.max()
    ratio = rings[1].sum(axis=0)[heard] / total[heard]
    picks = rng.integers(0, len(before), (300, len(before)))
    drawn = np.stack([rings[1][p].sum(axis=0)[heard] / rings[0][p].sum(axis=0)[heard]
                      for p in picks])  # fmt: skip
    se = np.maximum(drawn.std(axis=0), 1e-6)
    p = min(1.0, int(heard.sum()) * _upper_tail(float(((ratio - 1.1) / se).max())))
    details = {"ratio": ratio.tolist(), "regions": len(before)}
    return Finding("power", float(ratio.max()) - 1.0, 0.1, p, details=details)


def block_means(blocks: BlockField) -> Blockwise:
    """Return how far the mean of each block is off, in standard errors.

    The reference limit is 3 standard errors; it is raised with the number of blocks so that noise
    alone passes it in one volume of a hundred.
    """
    count = blocks.valid.sum(axis=(1, 2, 3))
    means = blocks.unit_residual.sum(axis=(1, 2, 3), dtype=np.float64) / count
    # In units of the block's own root mean square: the median level says too little of a block in
    # which one half was left alone (bone, for instance) and the other was denoised.
    power = np.square(blocks.unit_residual).sum(axis=(1, 2, 3), dtype=np.float64) / count
    means = means / np.sqrt(np.maximum(power, 1e-12))
    z = np.abs(means) / _robust(means)
    limit = max(3.0, _normal_quantile(1 - 0.005 / len(blocks)))
    counted = np.where(np.abs(means) > _HARMLESS_BLOCK, z, 0.0)
    worst = int(np.argmax(counted if counted.any() else z))
    p = min(1.0, 2 * len(blocks) * _upper_tail(float(z[worst])))
    effect = float(np.abs(means[worst]))
    details = {"standard_errors": float(z[worst]), "limit": limit}
    judged = p if z[worst] > limit else 1.0
    return Finding("block_means", effect, _HARMLESS_BLOCK, p, judged, details=details), z


def _centred(values: NDArray[Any], weight: NDArray[np.bool_]) -> NDArray[Any]:
    mean = (values * weight).sum((1, 2, 3), keepdims=True) / weight.sum((1, 2, 3), keepdims=True)
    out: NDArray[Any] = (values - mean) * weight
    return out


def _centred_slices(values: NDArray[Any], weight: NDArray[np.bool_]) -> NDArray[Any]:
    count = np.maximum(weight.sum((2, 3), keepdims=True), 1)
    out: NDArray[Any] = (values - (values * weight).sum((2, 3), keepdims=True) / count) * weight
    return out


def _flips(per_block: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return sums over blocks with random signs, shape ``(_FLIPS, columns)``."""
    signs = rng.integers(0, 2, (_FLIPS, len(per_block)), dtype=np.int8) * 2.0 - 1.0
    out: NDArray[np.float64] = signs @ per_block
    return out


def _draw(rows: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    return rows[rng.integers(0, len(rows), len(rows))]


def _rho(sums: NDArray[np.float64]) -> float:
    ab, aa, bb = sums.sum(axis=0)
    return float(ab / np.sqrt(max(aa * bb, 1e-12)))


def _noise_of_cov(spread_g: NDArray[np.float64]) -> NDArray[np.float64]:
    # |r| of Gaussian noise has standard deviation 0.6; neighbours share noise, hence the 2.
    return np.asarray(0.6 * 2.0 * np.sqrt(np.maximum(spread_g, 1e-12)))


def _robust(values: NDArray[np.float64]) -> float:
    """Return the standard deviation about 0 of the well-behaved majority."""
    return max(float(np.median(np.abs(values))) / 0.6745, 1e-9)


def _upper_tail(z: float) -> float:
    from scipy.special import ndtr

    return float(ndtr(-z))


def _normal_quantile(p: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(p))
