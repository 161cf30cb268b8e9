"""Procedural anatomy: the same again from the same state, always plausible, never twice alike."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import UsageError
from ctrestorelib.training.anatomy import KINDS, make_anatomy
from ctrestorelib.training.anatomy.canvas import Canvas
from ctrestorelib.training.anatomy.fields import band_field, smooth_field
from ctrestorelib.training.anatomy.make import HIGHEST, LOWEST

SHAPE = (6, 96, 96)
SPACING = (0.8, 0.8, 1.0)


def _make(kind: str | None = None, seed: int = 0, shape=SHAPE, spacing=SPACING):
    return make_anatomy(np.random.default_rng(seed), shape, spacing, kind=kind)


@pytest.fixture(scope="module", params=KINDS)
def a_scene(request):
    return request.param, _make(request.param, seed=3)


def test_a_scene_is_finite_hu_of_the_shape_asked(a_scene):
    _, volume = a_scene
    assert volume.dtype == np.float32
    assert volume.shape == SHAPE
    assert volume.flags.c_contiguous
    assert np.isfinite(volume).all()
    assert volume.min() >= LOWEST
    assert volume.max() <= HIGHEST
    assert volume.std() > 1


def test_the_same_state_gives_the_same_scene_and_the_next_another(a_scene):
    kind, volume = a_scene
    rng = np.random.default_rng(3)
    assert np.array_equal(make_anatomy(rng, SHAPE, SPACING, kind=kind), volume)
    assert not np.array_equal(make_anatomy(rng, SHAPE, SPACING, kind=kind), volume)


def test_slices_change_along_k_but_only_a_little(a_scene):
    kind, _ = a_scene
    close = _make(kind, seed=5, spacing=(0.8, 0.8, 0.4))
    step = np.sqrt(np.mean(np.diff(close, axis=0) ** 2, axis=(1, 2)))
    shuffled = np.sqrt(np.mean((close[:-1] - close[1:, ::-1, ::-1]) ** 2))
    assert (step > 0).all()
    assert step.mean() < 0.6 * shuffled


def test_every_kind_comes_up_by_chance(monkeypatch):
    from ctrestorelib.training.anatomy import make

    seen = set()

    def note(name):
        return lambda canvas: seen.add(name)

    scenes = {name: (note(name), weight, False) for name, (_, weight, _) in make._SCENES.items()}
    monkeypatch.setattr(make, "_SCENES", scenes)
    rng = np.random.default_rng(0)
    for _ in range(300):
        make_anatomy(rng, (1, 32, 32), SPACING)
    assert seen == set(KINDS)


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 40, 77), (20, 33, 64)])
def test_any_shape_works(shape):
    rng = np.random.default_rng(1)
    for _ in range(6):
        assert make_anatomy(rng, shape, (0.7, 0.7, 3.0)).shape == shape


@pytest.mark.parametrize("spacing", [(0.01, 0.01, 0.01), (0.7, 0.5, 5.0), (3.0, 3.0, 3.0)])
def test_any_spacing_works(spacing):
    rng = np.random.default_rng(2)
    for kind in ("chest", "head", "spongy", "inserts"):
        volume = make_anatomy(rng, (4, 64, 64), spacing, kind=kind)
        assert np.isfinite(volume).all()
        assert volume.std() > 1


def test_objects_have_true_size_in_mm():
    for spacing in ((0.5, 0.5, 1.0), (1.0, 1.0, 2.0)):
        canvas = Canvas(np.random.default_rng(0), (31, 101, 101), spacing)
        canvas.hu[:] = 0
        canvas.paint(canvas.blob((0.0, 0.0, 0.0), (12.0, 8.0, 10.0)), 1.0)
        volume = canvas.hu.sum() * np.prod(spacing)
        assert volume == pytest.approx(4 / 3 * np.pi * 12 * 8 * 10, rel=0.02)


def test_a_tilted_object_moves_along_k():
    canvas = Canvas(np.random.default_rng(0), (5, 81, 81), (1.0, 1.0, 2.0))
    share = canvas.mask(canvas.blob((0.0, 0.0, 0.0), (9.0, 9.0, 1e4), tilt=(0.5, 0.0)))
    middles = (share * canvas.x).sum((1, 2)) / share.sum((1, 2))
    assert middles == pytest.approx(0.5 * canvas.z, abs=0.05)


def test_edges_are_partly_covered_voxels():
    canvas = Canvas(np.random.default_rng(0), (1, 64, 64), SPACING)
    share = canvas.mask(canvas.blob((0.3, 0.2, 0.0), (15.0, 15.0, 1e4)))
    partly = ((share > 0.05) & (share < 0.95)).sum() * 0.8**2
    ring = 2 * np.pi * 15 * 0.9 * canvas.softness * 0.8
    assert partly == pytest.approx(ring, rel=0.2)


def test_a_smooth_field_has_unit_variance_everywhere():
    rng = np.random.default_rng(0)
    fields = np.stack([smooth_field(rng, (3, 20, 20), (2.0, 7.0, 7.0)) for _ in range(800)])
    assert np.abs(fields.mean(0)).max() < 0.2
    assert fields.std(0) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("frequency", [0.3, 0.5])
def test_a_band_field_lies_in_its_band(frequency):
    field = band_field(
        np.random.default_rng(0), (48, 64, 64), (0.5, 0.5, 0.5), frequency, octaves=0.3
    )
    power = np.abs(np.fft.rfftn(field)) ** 2
    fz, fy = (np.fft.fftfreq(n, 0.5) for n in (48, 64))
    f = np.sqrt(fz[:, None, None] ** 2 + fy[:, None] ** 2 + np.fft.rfftfreq(64, 0.5) ** 2)
    inside = (f > frequency / 2) & (f < frequency * 2)
    assert field.std() == pytest.approx(1.0, abs=1e-3)
    assert power[inside].sum() > 0.8 * power.sum()


def test_a_stretched_field_is_smoother_along_its_axis():
    field = band_field(
        np.random.default_rng(0), (4, 96, 96), (0.5, 0.5, 0.5), 0.4, axis=(1, 0, 0), stretch=3.0
    )
    assert np.diff(field, axis=2).std() < 0.6 * np.diff(field, axis=1).std()


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": (96, 96)},
        {"shape": (0, 96, 96)},
        {"shape": (4, 16, 96)},
        {"spacing": (0.8, 0.8)},
        {"spacing": (0.8, 0.0, 1.0)},
        {"spacing": (0.8, 0.8, float("nan"))},
        {"kind": "unicorn"},
    ],
)
def test_wrong_arguments_are_told(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        _make(**wrong)
