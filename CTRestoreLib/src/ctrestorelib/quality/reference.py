"""Scores against a known truth: RMSE, PSNR, SSIM, VIF (layer: quality; scipy, skimage inside).

The data range is always said by the caller: guessing it from the data makes scores incomparable.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.optional import optional_module
from ctrestorelib.quality.pairs import Values, array_of, check_pair, mask_of
from ctrestorelib.quality.result import Measure
from ctrestorelib.quality.tissue import spread

Inside = NDArray[np.bool_] | None

SSIM_PROTOCOLS = {
    "3d-uniform7": "SSIM on the whole volume, uniform 7x7x7 window, sample covariance, "
    "K1 0.01, K2 0.03, border of 3 voxels left out",
    "2d-gaussian11": "SSIM on axial slices, Gaussian 11x11 window of sigma 1.5, K1 0.01, "
    "K2 0.03, border of 5 pixels left out, mean over slices",
    "2d-gaussian11-3axes": "SSIM on the slices of all three axes, Gaussian 11x11 window of "
    "sigma 1.5, K1 0.01, K2 0.03, border of 5 pixels left out, mean over slices and axes",
}
"""Names and meaning of the SSIM protocols; scores of different protocols cannot be compared."""


def rmse(image: Values, reference: Values, *, mask: Values | None = None) -> Measure:
    """Return the root mean square difference, in the unit of the values.

    Parameters
    ----------
    image, reference
        Volumes on one grid (or arrays of one shape), ``[k, j, i]``.
    mask
        Where to look; values other than 0 are inside.
    """
    error = _mean_square(image, reference, mask)
    unit = getattr(getattr(image, "unit", None), "label", "")
    protocol = f"root mean square over {_where(mask)}"
    return Measure("rmse", "Root mean square error (RMSE)", math.sqrt(error), unit,
                   protocol=protocol, sentence=_SENTENCE["rmse"])  # fmt: skip


def psnr(
    image: Values, reference: Values, *, data_range: float, mask: Values | None = None
) -> Measure:
    """Return 10 log10(data_range^2 / mean square error) in dB; infinite for equal volumes."""
    check_data_range(data_range)
    error = _mean_square(image, reference, mask)
    value = math.inf if error == 0 else 10 * math.log10(data_range**2 / error)
    protocol = f"data range {data_range:g}, mean square error over {_where(mask)}"
    return Measure("psnr", "Peak signal-to-noise ratio (PSNR)", value, "dB",
                   protocol=protocol, sentence=_SENTENCE["psnr"])  # fmt: skip


def ssim(
    image: Values,
    reference: Values,
    *,
    data_range: float,
    mask: Values | None = None,
    protocol: str = "3d-uniform7",
) -> Measure:
    """Return the structural similarity (Wang 2004, doi:10.1109/TIP.2003.819861).

    Parameters
    ----------
    protocol
        One of :data:`SSIM_PROTOCOLS`; named in the result.
    mask
        Averages the local similarities over these voxels only.

    Raises
    ------
    UsageError
        If the protocol is not known or the data range is not positive.
    """
    check_data_range(data_range)
    if protocol not in SSIM_PROTOCOLS:
        message = f"SSIM protocol {protocol!r} is not one of {', '.join(SSIM_PROTOCOLS)}."
        raise UsageError(message)
    check_pair(image, reference)
    a, b = array_of(image), array_of(reference)
    chosen = mask_of(mask, a.shape)
    title = "Structural similarity (SSIM)"
    need = (7, 7, 7) if protocol == "3d-uniform7" else (1, 11, 11)
    if protocol == "2d-gaussian11-3axes":
        need = (11, 11, 11)
    if any(n < m for n, m in zip(a.shape, need, strict=True)):
        why = f"protocol {protocol} needs at least {need} voxels, the volume has {a.shape}."
        return Measure.missing("ssim", title, why)
    value = _ssim_value(a, b, chosen, data_range, protocol)
    text = f"{protocol}: {SSIM_PROTOCOLS[protocol]}; data range {data_range:g}; {_where(mask)}"
    if not math.isfinite(value):
        return Measure.missing("ssim", title, "the mask lies in the border that SSIM leaves out.")
    return Measure("ssim", title, value, protocol=text, sentence=_SENTENCE["ssim"])


def vif(
    image: Values, reference: Values, *, data_range: float, mask: Values | None = None
) -> Measure:
    """Return the pixel-domain visual information fidelity, mean over axial slices.

    Four scales, noise variance 2 on a 0-255 scale (Sheikh and Bovik 2006,
    doi:10.1109/TIP.2005.859378). A relative measure: its value depends on the data range.
    """
    check_data_range(data_range)
    check_pair(image, reference)
    a, b = array_of(image), array_of(reference)
    chosen = mask_of(mask, a.shape)
    title = "Visual information fidelity (VIF)"
    if min(a.shape[1:]) < _VIF_MIN_PIXELS:
        why = f"VIF needs slices of at least {_VIF_MIN_PIXELS} pixels; these have {a.shape[1:]}."
        return Measure.missing("vif", title, why)
    scale = 255.0 / data_range
    filled = [k for k in range(a.shape[0]) if chosen is None or chosen[k].any()]
    planes = [filled[n] for n in spread(len(filled), _VIF_SLICES)]
    scores = [_vif_slice(*_scaled(a[k], b[k], _plane(chosen, k), scale)) for k in planes]
    kept = [s for s in scores if math.isfinite(s)]
    if not kept:
        return Measure.missing("vif", title, "the reference is constant.")
    protocol = (
        f"VIFp, 4 scales, noise variance 2 on 0-255, data range {data_range:g}, "
        f"mean over {len(kept)} of {a.shape[0]} axial slices"
    )
    if chosen is not None:
        protocol += ", image set to the reference outside the mask"
    return Measure("vif", title, float(np.mean(kept)), protocol=protocol, sentence=_SENTENCE["vif"])


_SENTENCE = {
    "rmse": "Typical distance from the reference; smaller is better.",
    "psnr": "Larger is better; 3 dB more means an error about 30 % smaller.",
    "ssim": "1 is identical to the reference; large air regions raise it.",
    "vif": "1 keeps all detail of the reference; compare within one table only.",
}
_VIF_MIN_PIXELS = 41
_VIF_SLICES = 48


def check_data_range(data_range: float) -> None:
    """Raise :class:`UsageError` unless ``data_range`` is a positive number."""
    if not (math.isfinite(data_range) and data_range > 0):
        message = f"data_range must be a positive number; got {data_range:g}."
        raise UsageError(message, hint="It is the width of the window in which scores are given.")


def _where(mask: Values | None) -> str:
    return "all voxels" if mask is None else "the voxels of the mask"


def _mean_square(image: Values, reference: Values, mask: Values | None) -> float:
    check_pair(image, reference)
    a, b = array_of(image), array_of(reference)
    chosen = mask_of(mask, a.shape)
    total, count = 0.0, 0
    # Slice by slice: a float64 difference of the whole volume would need twice its memory.
    for k in range(a.shape[0]):
        difference = a[k].astype(np.float64) - b[k]
        if chosen is not None:
            difference = difference[chosen[k]]
        total += float(np.square(difference).sum())
        count += difference.size
    return total / count


def _ssim_value(
    a: NDArray[Any],
    b: NDArray[Any],
    mask: NDArray[np.bool_] | None,
    data_range: float,
    protocol: str,
) -> float:
    total, count = 0.0, 0
    for part, where in _ssim_maps(a, b, mask, data_range, protocol):
        local = part if where is None else part[where]
        total += float(local.sum(dtype=np.float64))
        count += local.size
    return total / count if count else math.nan


def _ssim_maps(
    a: NDArray[Any],
    b: NDArray[Any],
    mask: NDArray[np.bool_] | None,
    data_range: float,
    protocol: str,
) -> Iterator[tuple[NDArray[Any], Inside]]:
    metrics = optional_module("skimage.metrics", "The structural similarity (SSIM)")
    structural_similarity = metrics.structural_similarity

    if protocol == "3d-uniform7":
        for first in range(3, a.shape[0] - 3, _SLAB):
            last = min(first + _SLAB, a.shape[0] - 3)
            whole = slice(first - 3, last + 3)
            _, local = structural_similarity(_f64(a[whole]), _f64(b[whole]), win_size=7,
                                             data_range=data_range, full=True)  # fmt: skip
            inner = (slice(3, -3), slice(3, -3), slice(3, -3))
            yield local[inner], None if mask is None else mask[whole][inner]
        return
    for axis in (0,) if protocol == "2d-gaussian11" else (0, 1, 2):
        for n in range(a.shape[axis]):
            _, local = structural_similarity(
                _f64(a.take(n, axis)), _f64(b.take(n, axis)), data_range=data_range, full=True,
                gaussian_weights=True, sigma=1.5, use_sample_covariance=False)  # fmt: skip
            inner2 = (slice(5, -5), slice(5, -5))
            yield local[inner2], None if mask is None else np.take(mask, n, axis=axis)[inner2]


_SLAB = 24  # slices at a time: bounds the memory of the SSIM map


def _f64(array: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(array, dtype=np.float64)


def _plane(mask: Any, k: int) -> Inside:
    if mask is None:
        return None
    plane: NDArray[np.bool_] = mask[k]
    return plane


def _scaled(
    a: NDArray[Any], b: NDArray[Any], mask: Inside, scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # The information content is about the reference's own local mean, so the offset is free.
    offset = float(b.mean())
    truth = (b.astype(np.float64) - offset) * scale
    image = (a.astype(np.float64) - offset) * scale
    if mask is not None:
        image = np.where(mask, image, truth)
    return image, truth


def _vif_slice(image: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    told, possible = 0.0, 0.0
    for scale in range(4):
        size = 2 ** (4 - scale) + 1
        if scale:
            image, truth = (_gauss_valid(x, size)[::2, ::2] for x in (image, truth))
        mean_t, mean_i = _gauss_valid(truth, size), _gauss_valid(image, size)
        var_t = np.maximum(_gauss_valid(truth * truth, size) - mean_t**2, 0)
        var_i = np.maximum(_gauss_valid(image * image, size) - mean_i**2, 0)
        cov = _gauss_valid(truth * image, size) - mean_t * mean_i
        more_told, more_possible = _information(var_t, var_i, cov)
        told, possible = told + more_told, possible + more_possible
    return told / possible if possible > 0 else math.nan


def _information(
    var_t: NDArray[np.float64], var_i: NDArray[np.float64], cov: NDArray[np.float64]
) -> tuple[float, float]:
    tiny = 1e-10
    gain = cov / (var_t + tiny)
    left = var_i - gain * cov
    flat_t, flat_i, against = var_t < tiny, var_i < tiny, gain < 0
    gain = np.where(flat_t | flat_i | against, 0.0, gain)
    left = np.where(flat_t | against, var_i, np.where(flat_i, 0.0, left))
    var_t = np.where(flat_t, 0.0, var_t)
    told = np.log10(1 + gain**2 * var_t / (np.maximum(left, tiny) + _VIF_NOISE)).sum()
    return float(told), float(np.log10(1 + var_t / _VIF_NOISE).sum())


_VIF_NOISE = 2.0


def _gauss_valid(image: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    from scipy.ndimage import correlate1d

    x = np.arange(size) - size // 2
    weights = np.exp(-(x**2) / (2 * (size / 5.0) ** 2))
    weights /= weights.sum()
    half = size // 2
    smooth = correlate1d(correlate1d(image, weights, axis=0), weights, axis=1)
    out: NDArray[np.float64] = smooth[half : image.shape[0] - half, half : image.shape[1] - half]
    return out
