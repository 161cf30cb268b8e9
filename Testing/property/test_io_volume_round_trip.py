"""Any values on any grid come back from any format that can hold them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.volumes import read_volume, write_volume

angle = st.floats(-3.1, 3.1)
length = st.floats(0.01, 20)
place = st.floats(-500, 500)


def rotation(axis, angle_rad):
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    out = np.eye(3)
    out[i, i] = out[j, j] = np.cos(angle_rad)
    out[i, j], out[j, i] = -np.sin(angle_rad), np.sin(angle_rad)
    return out


@st.composite
def volumes(draw):
    matrix = np.eye(4)
    turn = rotation(0, draw(angle)) @ rotation(1, draw(angle)) @ rotation(2, draw(angle))
    spacing = [draw(length) for _ in range(3)]
    spacing[draw(st.integers(0, 2))] *= draw(st.sampled_from([-1, 1]))
    matrix[:3, :3] = turn[:, draw(st.permutations([0, 1, 2]))] * spacing
    matrix[:3, 3] = [draw(place) for _ in range(3)]
    shape = draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=4))
    values = draw(hnp.arrays(np.float32, shape, elements=st.floats(-3e4, 3e4, width=32)))
    return Volume(values, VolumeGeometry(shape, matrix), draw(st.sampled_from(list(Unit))))


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(volumes(), st.sampled_from([".nii", ".nii.gz", ".nrrd", ".mha", ".npz"]))
def test_round_trip(volume, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"v{suffix}"
        write_volume(volume, path)
        read = read_volume(path).volume
    np.testing.assert_array_equal(read.values, volume.values)
    # NIfTI states positions in 32-bit floating point.
    tolerance = 1e-3 if suffix.startswith(".nii") else 1e-9
    assert read.geometry.matches(volume.geometry, tolerance_mm=tolerance)
    assert read.unit is volume.unit


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(volumes(), st.sampled_from([".nii", ".nrrd", ".mha", ".tif"]))
def test_int16_is_within_half_a_step(volume, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"v{suffix}"
        report = write_volume(volume, path, dtype="int16")
        read = read_volume(path).volume
    assert report.clipped == 0
    assert np.abs(read.values - volume.values).max() <= 0.5
