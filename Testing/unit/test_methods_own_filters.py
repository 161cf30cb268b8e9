"""The denoisers' own NumPy filters: against scikit-image, and against their definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ctrestorelib.methods.nlm import automatic_bandwidth, nonlocal_means
from ctrestorelib.methods.tv_denoise import chambolle

restoration = pytest.importorskip("skimage.restoration")


def noisy_disc(seed: int, size: tuple[int, int] = (90, 110)) -> np.ndarray:
    """Return a disc of 20 noise units in noise of 1."""
    j, i = np.mgrid[: size[0], : size[1]]
    disc = np.where(np.hypot(j - size[0] / 2, i - size[1] / 2) < 30, 20.0, 0.0)
    return (disc + np.random.default_rng(seed).normal(0, 1, size)).astype(np.float32)


@pytest.mark.parametrize("weight", [0.3, 0.5, 2.0])
@pytest.mark.parametrize("iterations", [1, 10, 60])
def test_total_variation_agrees_with_scikit_image(weight, iterations):
    plane = noisy_disc(0)
    theirs = restoration.denoise_tv_chambolle(
        plane, weight=weight, eps=0.0, max_num_iter=iterations
    )
    np.testing.assert_allclose(chambolle(plane, weight, iterations), theirs, atol=1e-3)


def test_total_variation_falls_while_the_mean_stays():
    plane = noisy_disc(1)

    def variation(image):
        down = np.diff(image, axis=0, append=image[-1:])
        right = np.diff(image, axis=1, append=image[:, -1:])
        return np.hypot(down, right).sum()

    def energy(image):
        return variation(image) + ((image - plane) ** 2).sum() / (2 * 0.5)

    steps = [chambolle(plane, 0.5, n).astype(np.float64) for n in (1, 5, 20, 100, 400)]
    np.testing.assert_array_equal(steps[0], plane)
    assert all(energy(a) > energy(b) for a, b in itertools.pairwise(steps))
    assert steps[-1].mean() == pytest.approx(plane.mean(dtype=np.float64), abs=1e-4)


@pytest.mark.parametrize(("patch", "reach"), [(3, 4), (5, 6), (7, 3)])
@pytest.mark.parametrize("side", [0.0, 0.8])
def test_nonlocal_means_agrees_with_scikit_image(patch, reach, side):
    """Theirs approximates the exponential and drops weights below exp(-5): edges differ a bit."""
    planes = [noisy_disc(2)]
    if side:
        planes += [np.float32(side) * noisy_disc(n) for n in (3, 4)]
    share = float(np.mean([1.0] + [side**2] * (len(planes) - 1)))
    bandwidth = automatic_bandwidth(1.0, patch, side)
    ours = nonlocal_means(planes, share * len(planes), patch, reach, bandwidth)
    theirs = restoration.denoise_nl_means(
        np.stack(planes, axis=-1).astype(np.float64),
        patch_size=patch,
        patch_distance=reach,
        h=bandwidth * (patch - 1) / patch * np.sqrt(share),
        sigma=np.sqrt(share),
        channel_axis=-1,
    ).reshape(*planes[0].shape, -1)[..., 0]
    difference = ours - theirs
    assert difference.std() < 0.01
    assert np.abs(difference).max() < 0.15


def test_nonlocal_means_is_what_its_formula_says():
    rng = np.random.default_rng(5)
    plane = rng.normal(0, 1, (12, 11)).astype(np.float32)
    patch, reach, bandwidth = 5, 2, 0.9
    border = 4
    padded = np.pad(plane, border, mode="reflect").astype(np.float64)
    expected = np.empty(plane.shape)
    for j, i in np.ndindex(plane.shape):

        def around(y, x):
            return padded[y + border - 1 : y + border + 3, x + border - 1 : x + border + 3]

        weights, values = [], []
        for y in range(j - reach, j + reach + 1):
            for x in range(i - reach, i + reach + 1):
                distance = ((around(j, i) - around(y, x)) ** 2).mean()
                weights.append(np.exp(-max(0.0, distance - 2) / bandwidth**2))
                values.append(padded[y + border, x + border])
        expected[j, i] = np.average(values, weights=weights)
    ours = nonlocal_means([plane], 1.0, patch, reach, bandwidth)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 40), (3, 3), (40, 2)])
def test_tiny_slices_are_filtered_too(shape):
    plane = np.random.default_rng(6).normal(0, 1, shape).astype(np.float32)
    for restored in (nonlocal_means([plane], 1.0, 5, 6, 0.9), chambolle(plane, 0.5, 20)):
        assert restored.shape == shape
        assert np.isfinite(restored).all()
        assert restored.std() <= plane.std() + 1e-6


@pytest.mark.parametrize("value", [0.0, -1000.0, 3071.0])
def test_a_flat_slice_stays_as_it_is(value):
    flat = np.full((20, 24), value, dtype=np.float32)
    np.testing.assert_array_equal(chambolle(flat, 0.5, 30), flat)
    np.testing.assert_allclose(nonlocal_means([flat], 1.0, 5, 6, 0.9), flat, rtol=1e-6)


def test_the_input_is_not_written_to():
    plane = noisy_disc(7)
    before = plane.copy()
    plane.setflags(write=False)
    nonlocal_means([plane], 1.0, 5, 6, 0.9)
    chambolle(plane, 0.5, 10)
    np.testing.assert_array_equal(plane, before)
