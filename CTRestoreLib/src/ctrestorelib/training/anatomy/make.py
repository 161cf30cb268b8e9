"""Endless noise-free anatomy for training, one random scene per call (layer: training)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from ctrestorelib.core.errors import UsageError
from ctrestorelib.training.anatomy.canvas import Canvas
from ctrestorelib.training.anatomy.fields import Array
from ctrestorelib.training.anatomy.head import draw_head
from ctrestorelib.training.anatomy.limbs import draw_joint, draw_limb, draw_pelvis
from ctrestorelib.training.anatomy.materials import (
    draw_fibres,
    draw_foam,
    draw_grains,
    draw_shells,
    draw_spongy,
)
from ctrestorelib.training.anatomy.metal import add_metal
from ctrestorelib.training.anatomy.phantoms import draw_bars, draw_inserts, draw_low_contrast
from ctrestorelib.training.anatomy.tissues import add_calcifications, add_lesions, add_vessels
from ctrestorelib.training.anatomy.torso import draw_abdomen, draw_chest

LOWEST, HIGHEST = -1024.0, 4000.0
"""The HU range of every volume."""

_SCENES: dict[str, tuple[Callable[[Canvas], None], float, bool]] = {
    "chest": (draw_chest, 3, True),
    "abdomen": (draw_abdomen, 3, True),
    "limb": (draw_limb, 2, True),
    "joint": (draw_joint, 2, True),
    "pelvis": (draw_pelvis, 2, True),
    "head": (draw_head, 2, True),
    "low_contrast": (draw_low_contrast, 1, False),
    "bars": (draw_bars, 0.7, False),
    "inserts": (draw_inserts, 0.7, False),
    "foam": (draw_foam, 0.7, False),
    "shells": (draw_shells, 0.7, False),
    "grains": (draw_grains, 0.7, False),
    "spongy": (draw_spongy, 1.2, False),
    "fibres": (draw_fibres, 0.7, False),
}
"""How each kind is drawn, how often (a weight), and whether it is a body."""

KINDS = tuple(_SCENES)
"""The kinds of scene."""


def make_anatomy(
    rng: np.random.Generator,
    shape: Sequence[int],
    spacing_mm: Sequence[float],
    *,
    kind: str | None = None,
) -> Array:
    """Return a random noise-free CT volume.

    Parameters
    ----------
    rng
        Decides everything: the same state gives the same volume.
    shape
        (k, j, i): at least 1 slice of 32 x 32 pixels.
    spacing_mm
        (dx, dy, dz). Bodies are drawn in true size where pixels are 0.2 to 1.5 mm wide; elsewhere
        they are scaled to that, as small animals or large casts.
    kind
        One of :data:`KINDS`; random where None.

    Returns
    -------
    numpy.ndarray
        float32 HU ``[k, j, i]`` from -1024 to 4000.

    Raises
    ------
    UsageError
        If shape, spacing or kind is not valid.
    """
    size = _checked_shape(shape)
    spacing = _checked_spacing(spacing_mm)
    name = _checked_kind(rng, kind)
    draw, _, body = _SCENES[name]
    canvas = Canvas(rng, size, _scene_spacing(rng, spacing))
    if body:
        _add_table(canvas)
    draw(canvas)
    if body:
        _add_extras(canvas)
    return _finished(canvas)


def _checked_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    sizes = tuple(int(n) for n in shape)
    if len(sizes) != 3 or sizes[0] < 1 or min(sizes[1:]) < 32:
        message = f"shape must be (k, j, i) with k >= 1 and j, i >= 32; got {tuple(shape)}."
        raise UsageError(message, hint="Make larger patches and cut them.")
    return sizes[0], sizes[1], sizes[2]


def _checked_spacing(spacing: Sequence[float]) -> tuple[float, float, float]:
    steps = tuple(float(d) for d in spacing)
    if len(steps) != 3 or not all(np.isfinite(d) and d > 0 for d in steps):
        message = f"spacing_mm must be three positive lengths (dx, dy, dz); got {tuple(spacing)}."
        raise UsageError(message)
    return steps[0], steps[1], steps[2]


def _checked_kind(rng: np.random.Generator, kind: str | None) -> str:
    if kind is None:
        weights = np.array([weight for _, weight, _ in _SCENES.values()], float)
        return KINDS[int(rng.choice(len(KINDS), p=weights / weights.sum()))]
    if kind not in _SCENES:
        message = f"kind must be one of {', '.join(KINDS)}; got {kind!r}."
        raise UsageError(message)
    return kind


def _scene_spacing(
    rng: np.random.Generator, spacing: tuple[float, float, float]
) -> tuple[float, float, float]:
    if 0.2 <= spacing[0] <= 1.5:
        return spacing
    scale = float(rng.uniform(0.3, 1.0)) / spacing[0]
    return spacing[0] * scale, spacing[1] * scale, spacing[2] * scale


def _add_table(canvas: Canvas) -> None:
    """Draw now and then a couch and a cushion, of which a body hides what it covers."""
    rng = canvas.rng
    if rng.random() < 0.5:
        return
    low = float(rng.uniform(0, 0.5)) * canvas.extent[1]
    wide = 2 * canvas.extent[0]
    couch = canvas.blob((0.0, low + 200.0, 0.0), (wide, 200.0, 1e4), angle=0.0)
    canvas.paint(couch, float(rng.uniform(-950, -850)), inset=-float(rng.uniform(2, 12)))
    canvas.paint(couch, float(rng.uniform(-600, 50)))
    canvas.paint(couch, float(rng.uniform(-980, -900)), inset=float(rng.uniform(1, 3)))


def _add_extras(canvas: Canvas) -> None:
    rng = canvas.rng
    body: Array = np.clip((canvas.hu + 400) / 200, 0, 1).astype(np.float32)
    if rng.random() < 0.35:
        add_vessels(canvas, int(rng.integers(1, 5)), body)
    if rng.random() < 0.3:
        add_lesions(canvas, int(rng.integers(3, 20)), body)
    if rng.random() < 0.2:
        add_calcifications(canvas, int(rng.integers(2, 25)))
    if rng.random() < 0.1:
        add_metal(canvas)


def _finished(canvas: Canvas) -> Array:
    """Return the drawing as a scanner would see it: a little blurred, turned any way."""
    rng = canvas.rng
    hu = canvas.hu
    blur = float(rng.uniform(-0.3, 0.8))
    if blur > 0.25:
        hu = ndimage.gaussian_filter(hu, (0, blur, blur), mode="nearest", truncate=3)
    if rng.random() < 0.3:
        hu = ndimage.gaussian_filter1d(hu, float(rng.uniform(0.3, 0.8)), axis=0, mode="nearest")
    for axis in range(3):
        if rng.random() < 0.5:
            hu = np.flip(hu, axis)
    if rng.random() < 0.5 and hu.shape[1] == hu.shape[2] and canvas.spacing[0] == canvas.spacing[1]:
        hu = hu.transpose(0, 2, 1)
    return np.clip(hu, LOWEST, HIGHEST).astype(np.float32, order="C")
