"""Strength, mask and padding: what reaches the result."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import GeometryError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.restorer.blend import blend

GRID = VolumeGeometry.from_spacing((2, 3, 4), (1, 1, 1))
RNG = np.random.default_rng(0)
ORIGINAL = Volume(RNG.normal(0, 100, GRID.shape), GRID, Unit.HU)
RESTORED = Volume(RNG.normal(0, 100, GRID.shape), GRID, Unit.HU)


def test_the_ends_of_the_slider_are_exact():
    np.testing.assert_array_equal(blend(ORIGINAL, RESTORED, 0.0).values, ORIGINAL.values)
    np.testing.assert_array_equal(blend(ORIGINAL, RESTORED, 1.0).values, RESTORED.values)


def test_in_between_is_linear():
    quarter = blend(ORIGINAL, RESTORED, 0.25).values
    np.testing.assert_allclose(quarter, 0.75 * ORIGINAL.values + 0.25 * RESTORED.values, rtol=1e-5)


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_outside_the_mask_the_original_stays(strength):
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[1, 1:, :2] = True
    mixed = blend(ORIGINAL, RESTORED, strength, mask).values
    np.testing.assert_array_equal(mixed[~mask], ORIGINAL.values[~mask])
    assert (mixed[mask] != ORIGINAL.values[mask]).all()


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_padding_stays_in_hu_volumes_only(strength):
    values = ORIGINAL.values.copy()
    values[0, 0, 0] = -3024
    padded = blend(ORIGINAL.with_values(values), RESTORED, strength).values
    assert padded[0, 0, 0] == -3024
    grey = Volume(values, GRID, Unit.GREY)
    assert blend(grey, RESTORED, strength).values[0, 0, 0] != -3024


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_has_limits(strength):
    with pytest.raises(UsageError, match="between 0"):
        blend(ORIGINAL, RESTORED, strength)


def test_another_grid_is_refused():
    other = Volume(np.zeros((2, 3, 5)), VolumeGeometry.from_spacing((2, 3, 5), (1, 1, 1)), Unit.HU)
    with pytest.raises(GeometryError):
        blend(ORIGINAL, other, 0.5)
