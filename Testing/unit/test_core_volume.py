"""Volumes and their grids: valid or not constructed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ctrestorelib.core.errors import GeometryError, InputError, UnitError
from ctrestorelib.core.units import Unit, hu_from_mu, mu_from_hu
from ctrestorelib.core.volume import Volume, VolumeGeometry, padding_mask

GRID = VolumeGeometry.from_spacing((3, 4, 5), (0.5, 0.7, 2.0))


def affine(angles, spacing, origin, flip):
    x, y, z = angles
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = rx @ ry @ rz @ np.diag(spacing) @ np.diag([1, 1, flip])
    matrix[:3, 3] = origin
    return matrix


affines = st.builds(
    affine,
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.tuples(*[st.floats(0.05, 5)] * 3),
    st.tuples(*[st.floats(-500, 500)] * 3),
    st.sampled_from([1, -1]),
)


@given(affines, arrays(np.float64, (4, 3), elements=st.floats(-100, 100)))
def test_world_and_back_is_the_identity(matrix, ijk):
    geometry = VolumeGeometry((3, 4, 5), matrix)
    np.testing.assert_allclose(geometry.to_ijk(geometry.to_world(ijk)), ijk, atol=1e-6)


@given(affines)
def test_json_keeps_a_geometry_bit_for_bit(matrix):
    geometry = VolumeGeometry((3, 4, 5), matrix)
    assert VolumeGeometry.from_json(geometry.to_json()) == geometry


def test_a_crop_stays_where_it_was():
    volume = Volume(np.arange(60).reshape(3, 4, 5), GRID, Unit.HU)
    part = volume.crop((slice(1, 3), slice(2, 4), slice(1, 5)))
    assert part.values[0, 0, 0] == volume.values[1, 2, 1]
    np.testing.assert_allclose(part.geometry.to_world([0, 0, 0]), GRID.to_world([1, 2, 1]))


def test_a_centred_grid_has_its_middle_at_the_origin():
    np.testing.assert_allclose(GRID.centre_lps_mm, 0, atol=1e-12)
    assert GRID.spacing_mm == (0.5, 0.7, 2.0)
    assert GRID.voxel_volume_mm3 == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.zeros((4, 4)), "last row"),
        (np.diag([1.0, 1, 0, 1]), "independent"),
        (np.full((4, 4), np.nan), "finite"),
        (np.eye(3), "4x4"),
    ],
)
def test_an_impossible_grid_is_refused(matrix, words):
    with pytest.raises(GeometryError, match=words):
        VolumeGeometry((2, 2, 2), matrix)


def test_geometries_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="read-only"):
        GRID.ijk_to_lps[0, 0] = 3
    with pytest.raises(AttributeError):
        GRID.shape = (1, 1, 1)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "float64", "bool"])
def test_every_real_type_becomes_float32(dtype):
    volume = Volume(np.ones((3, 4, 5), dtype=dtype), GRID, Unit.GREY)
    assert volume.values.dtype == np.float32
    assert volume.values.flags.c_contiguous


@pytest.mark.parametrize(
    "values", [np.zeros((3, 4, 5, 3)), np.zeros((4, 5)), np.zeros((3, 4, 5), dtype=complex)]
)
def test_colour_time_and_complex_arrays_are_refused(values):
    with pytest.raises(InputError, match="three-dimensional"):
        Volume(values, GRID, Unit.GREY)


def test_values_and_grid_must_agree():
    with pytest.raises(GeometryError, match="shape"):
        Volume(np.zeros((3, 4, 6)), GRID, Unit.HU)


def test_not_a_number_is_counted_and_located():
    values = np.zeros((3, 4, 5), dtype=np.float32)
    values[1, 2, 3] = np.nan
    values[2, 2, 3] = np.inf
    with pytest.raises(InputError, match=r"2 voxels.*\(1, 2, 3\)"):
        Volume(values, GRID, Unit.HU).require_finite()


def test_opposite_infinities_do_not_hide_each_other():
    values = np.zeros((3, 4, 5), dtype=np.float32)
    values[0, 0, :2] = np.inf, -np.inf
    with pytest.raises(InputError, match="2 voxels"):
        Volume(values, GRID, Unit.HU).require_finite()


@given(st.floats(-1000, 3000))
def test_hu_and_attenuation_round_trip(hu):
    array = np.array([hu], dtype=np.float32)
    np.testing.assert_allclose(hu_from_mu(mu_from_hu(array)), array, atol=0.01)


def test_water_and_air_have_their_attenuation():
    np.testing.assert_allclose(mu_from_hu([0.0, -1000.0], 0.02), [0.02, 0.0], atol=1e-9)


def test_attenuation_per_centimetre_is_caught():
    with pytest.raises(UnitError, match="per mm"):
        mu_from_hu([0.0], 0.002)


def test_grey_values_are_never_turned_into_hu():
    with pytest.raises(UnitError, match="grey"):
        Volume(np.zeros((3, 4, 5)), GRID, Unit.GREY).to_unit(Unit.HU)


def test_scanner_padding_is_recognised_in_hu_only():
    values = np.zeros((3, 4, 5))
    values[0] = -3024
    assert padding_mask(Volume(values, GRID, Unit.HU)).sum() == 20
    assert not padding_mask(Volume(values, GRID, Unit.GREY)).any()


def test_strong_noise_in_air_is_not_padding():
    values = np.random.default_rng(0).normal(-1000, 80, (3, 4, 5))
    assert not padding_mask(Volume(values, GRID, Unit.HU)).any()
