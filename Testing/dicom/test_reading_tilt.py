"""Tilted gantries: the straightened volume shows what the sheared one shows, at the same places."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

sys.path.insert(0, str(Path(__file__).parent))
import fuzz_seeds as make

from ctrestorelib.io.dicom_series import read_series


def resampled(sheared, upright) -> np.ndarray:
    """Values of the sheared volume at the places of the upright one, by cubic splines."""
    k, j, i = np.mgrid[tuple(slice(n) for n in upright.shape)]
    world = upright.geometry.to_world(np.stack([i, j, k], axis=-1))
    ijk = sheared.geometry.to_ijk(world)
    return map_coordinates(
        sheared.values.astype(np.float64), ijk[..., ::-1].transpose(3, 0, 1, 2), order=3, cval=-5000
    )


@pytest.mark.parametrize("tilt", [0.3, -0.4, 1.1])
def test_straightened_slices_agree_with_splines_through_the_sheared_grid(tmp_path, tilt):
    y, x = np.mgrid[:48, :40]
    for n in range(7):
        blob = 900 * np.exp(-((y - 22 + 1.5 * n) ** 2 + (x - 19) ** 2) / 40) + 40
        ds = make.classic(n, blob.round().astype(np.uint16), tilt=tilt)
        (tmp_path / f"{n}.dcm").write_bytes(make.packed(ds))
    sheared = read_series(tmp_path)
    upright = read_series(tmp_path, resample_tilt=True)
    assert {n.code for n in sheared.notes} == {"gantry-tilt"}
    assert {n.code for n in upright.notes} == {"tilt-resampled"}
    assert upright.volume.geometry.is_orthogonal
    # Slices stay in their planes, and no pixel is lost.
    np.testing.assert_allclose(upright.volume.geometry.spacing_mm, (0.8, 0.7, 1.25), rtol=1e-6)
    expected = resampled(sheared.volume, upright.volume)
    inside = expected > -1100
    inside[:, :3] = inside[:, -3:] = False
    assert inside.mean() > 0.6
    assert np.abs(upright.volume.values - expected)[inside].max() < 3


@pytest.mark.data
def test_straightened_phantom_agrees_with_splines_through_the_sheared_grid(data_file, tmp_path):
    """A head phantom scanned with the gantry tilted by 18.5 degrees; every second slice of ten."""
    with zipfile.ZipFile(data_file("dicom_headphantom_philips_tilt-18p5.zip")) as archive:
        names = [n for n in archive.namelist() if not n.endswith("/")]
        archive.extractall(tmp_path, names)
    whole = read_series(tmp_path)
    upright = read_series(tmp_path, resample_tilt=True).volume
    geometry = upright.geometry
    normal = np.cross(geometry.direction[:, 0], geometry.direction[:, 1])
    assert abs(abs(normal @ geometry.direction[:, 2]) - 1) < 1e-9
    part = (slice(20, 30), slice(None), slice(180, 300))
    crop = type(upright)(upright.values[part], geometry.crop(part), upright.unit)
    expected = resampled(whole.volume, crop)
    difference = np.abs(crop.values - expected)[expected > -900]
    # Both interpolate; they differ at the sharp edges of the bone only.
    assert np.median(difference) < 3
    assert np.quantile(difference, 0.99) < 60
