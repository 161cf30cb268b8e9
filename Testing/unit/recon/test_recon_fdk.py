"""FDK of water is water, for every kind of scan."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import Cancelled, GeometryError, InputError
from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.frames import patient_to_gantry
from ctrestorelib.geometry.phantoms import water_cylinder, water_ellipsoid
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry, equal_angles
from ctrestorelib.recon.fdk import fdk
from ctrestorelib.recon.weights import Weighting

MU = 0.02
CENTRE = (5.0, 0.0, -3.0)
GRID = VolumeGeometry.from_spacing((40, 6, 40), (2.0, 2.0, 2.0))  # k = z, j = y (axis), i = x
FAN_DEG = float(np.rad2deg(2 * np.arctan(96 / 450)))


def scan(angles, **changes):
    fields = {"sod_mm": 300, "sdd_mm": 450, "detector_shape": (14, 96), "pixel_mm": (2, 2)}
    return ConeBeamGeometry.circular(angles_rad=angles, **{**fields, **changes})


def measured(geometry, phantom):
    return ProjectionSet(phantom.project(geometry), geometry, ProjectionKind.LINE_INTEGRAL)


def regions(grid=GRID, radii=(28.0, 22.0), centre=CENTRE):
    """Return masks well inside and well outside an elliptic cylinder along y."""
    k, j, i = np.indices(grid.shape)
    x, _, z = np.moveaxis(grid.to_world(np.stack([i, j, k], axis=-1)), -1, 0)
    r = np.hypot((x - centre[0]) / radii[0], (z - centre[2]) / radii[1])
    return r < 0.8, r > 1.25


def check_water(geometry, *, within=0.005, spread=0.005, **options):
    job = Job()
    phantom = water_ellipsoid((28.0, np.inf, 22.0), centre_lps_mm=CENTRE, value_per_mm=MU)
    volume = fdk(measured(geometry, phantom), GRID, job=job, **options) / MU
    inside, outside = regions()
    assert volume.dtype == np.float32
    assert volume[inside].mean() == pytest.approx(1.0, abs=within)
    assert volume[inside].std() < spread
    assert abs(volume[outside].mean()) < within
    return [w["code"] for w in job.warnings]


@pytest.mark.parametrize("sense", [1, -1])
@pytest.mark.parametrize("arc", [181 + FAN_DEG, 235.0, 300.0])
def test_short_scans_in_both_senses(arc, sense):
    assert check_water(scan(sense * equal_angles(160, arc, 20))) == []


@pytest.mark.parametrize("window", ["ram-lak", "shepp-logan", "cosine", "hamming", "hann"])
def test_full_turn_with_every_window(window):
    assert check_water(scan(equal_angles(180)), window=window, cutoff=0.9, spread=0.01) == []


@pytest.mark.parametrize("offset", [3.0, 12.0, 45.0, -45.0])
def test_shifted_detectors(offset):
    assert check_water(scan(equal_angles(240), offset_mm=(0, offset))) == []


@pytest.mark.parametrize("arc", [180.0, 200.0, 360.0])
def test_parallel_beams(arc):
    assert check_water(scan(equal_angles(180, arc), beam="parallel")) == []


def test_parallel_beam_with_a_shifted_detector():
    assert check_water(scan(equal_angles(240), beam="parallel", offset_mm=(0, 40))) == []


def test_half_a_turn_of_a_parallel_beam_with_the_axis_off_centre():
    shifted = scan(equal_angles(180, 180), beam="parallel", offset_mm=(0, 40))
    assert check_water(shifted) == []


def test_fan_beam():
    fan = scan(equal_angles(180), detector_shape=(1, 96), pixel_mm=(20, 2))
    assert check_water(fan) == []


@pytest.mark.parametrize(
    "tilt", [(0.0, 0.12, 0.0), (0.12, 0.0, 0.0), (0.05, -0.1, 0.0)], ids=["yaw", "pitch", "both"]
)
def test_turned_detectors(tilt):
    wide = scan(equal_angles(180), tilt_rad=tilt, detector_shape=(14, 128), offset_mm=(2, 0))
    assert check_water(wide) == []


def test_a_rolled_detector_is_told():
    assert check_water(scan(equal_angles(180), tilt_rad=(0, 0, 0.05))) == ["detector-roll"]


def test_uneven_and_unsorted_angles():
    random = np.random.default_rng(0)
    halves = np.concatenate([equal_angles(60, 180), equal_angles(180, 180, 180)])
    assert check_water(scan(random.permutation(halves))) == []
    assert check_water(scan(random.uniform(0, 2 * np.pi, 300))) == []


def test_source_distance_may_change_from_view_to_view():
    near, far = scan(equal_angles(90)), scan(equal_angles(90, 360, 2), sod_mm=340, sdd_mm=480)
    both = near.replace(
        **{
            name: np.concatenate([getattr(near, name), getattr(far, name)])
            for name in ("source", "detector_centre_mm", "u_mm", "v_mm")
        }
    )
    assert check_water(both) == []


def test_half_a_turn_of_a_cone_beam_works_and_is_told():
    assert check_water(scan(equal_angles(120, 180)), within=0.02, spread=0.06) == ["limited-angle"]


def test_parker_can_be_refused_by_hand():
    codes = check_water(
        scan(equal_angles(160, 230)), weighting=Weighting.EQUAL, within=0.05, spread=0.2
    )
    assert codes == []


def test_a_sphere_above_the_plane_of_rotation():
    centre = (4.0, 8.0, -6.0)
    geometry = scan(equal_angles(180), detector_shape=(64, 96))
    grid = VolumeGeometry.from_spacing((32, 32, 32), (2, 2, 2))
    phantom = water_ellipsoid((20, 20, 20), centre_lps_mm=centre, value_per_mm=MU)
    volume = fdk(measured(geometry, phantom), grid) / MU
    points = grid.to_world(np.moveaxis(np.indices(grid.shape)[::-1], 0, -1))
    r = np.linalg.norm(points - centre, axis=-1)
    assert volume[r < 16].mean() == pytest.approx(1.0, abs=0.01)


def test_patient_axes_and_a_shifted_isocentre_change_nothing():
    frame = patient_to_gantry((12.0, -7.0, 30.0))
    geometry = scan(equal_angles(120), world_to_gantry=frame)
    phantom = water_cylinder(25.0, axis=2, centre_lps_mm=(12, -7, 0), value_per_mm=MU)
    grid = VolumeGeometry.from_spacing((5, 40, 40), (2, 2, 2), origin_lps_mm=(-27, -46, 26))
    volume = fdk(measured(geometry, phantom), grid) / MU
    _, j, i = np.indices(grid.shape)
    r = np.hypot(i - 19.5, j - 19.5) * 2
    assert volume[r < 20].mean() == pytest.approx(1.0, abs=0.005)
    assert abs(volume[(r > 32) & (r < 38)].mean()) < 0.005


def test_blocks_leave_no_seam(monkeypatch):
    geometry = scan(equal_angles(50))
    data = measured(geometry, water_cylinder(20, value_per_mm=MU))
    whole = fdk(data, GRID)
    monkeypatch.setattr("ctrestorelib.recon.detector.MAX_BLOCK_VIEWS", 7)
    np.testing.assert_allclose(fdk(data, GRID), whole, atol=2e-6 * MU * 50)


@pytest.mark.parametrize("backend", ["torch", "numpy"])
def test_backends_agree(backend):
    data = measured(scan(equal_angles(20)), water_cylinder(20, value_per_mm=MU))
    np.testing.assert_allclose(fdk(data, GRID, backend=backend), fdk(data, GRID), atol=1e-4 * MU)


def test_a_single_view_still_gives_finite_numbers_and_a_warning():
    job = Job()
    volume = fdk(measured(scan([0.3]), water_cylinder(20, value_per_mm=MU)), GRID, job=job)
    assert np.isfinite(volume).all()
    assert [w["code"] for w in job.warnings] == ["limited-angle"]


def test_a_grid_outside_the_beam_is_refused():
    far = VolumeGeometry.from_spacing((4, 4, 4), (1, 1, 1), origin_lps_mm=(0, 500, 0))
    with pytest.raises(GeometryError, match="outside the beam"):
        fdk(measured(scan(equal_angles(9)), water_cylinder(20)), far)


def test_rows_along_the_axis_are_refused():
    turned = scan(equal_angles(30), tilt_rad=(0, 0, np.pi / 2), detector_shape=(96, 96))
    with pytest.raises(GeometryError):
        fdk(measured(turned, water_cylinder(20)), GRID)


def test_not_a_number_is_refused():
    data = measured(scan(equal_angles(9)), water_cylinder(20))
    values = data.values.copy()
    values[3, 2, 1] = np.nan
    with pytest.raises(InputError, match="view, row, col = \\(3, 2, 1\\)"):
        fdk(data.replace(values=values), GRID)


def test_cancel_stops_between_blocks(monkeypatch):
    monkeypatch.setattr("ctrestorelib.recon.detector.MAX_BLOCK_VIEWS", 4)
    asked = iter([False] * 4)
    job = Job(is_cancelled=lambda: next(asked, True))
    with pytest.raises(Cancelled):
        fdk(measured(scan(equal_angles(40)), water_cylinder(20)), GRID, job=job)
    assert 0 < job.fraction < 1


# -- truncation ----------------------------------------------------------------------------------
@pytest.mark.parametrize("radii", [(45.0, 43.0), (60.0, 50.0), (110.0, 80.0)])
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_rows_that_the_object_overfills_are_continued(radii, noise):
    geometry = scan(equal_angles(90), detector_shape=(3, 60))
    phantom = water_ellipsoid((radii[0], np.inf, radii[1]), value_per_mm=MU)
    data = measured(geometry, phantom)
    grain = np.random.default_rng(2).normal(0, noise, data.values.shape)
    data = data.replace(values=data.values + grain)
    grid = VolumeGeometry.from_spacing((36, 1, 36), (2, 2, 2))
    k, _, i = np.indices(grid.shape)
    field_of_view = np.hypot(k - 17.5, i - 17.5) * 2 < 34
    job = Job()
    values = fdk(data, grid, job=job)[field_of_view] / MU
    assert values.mean() == pytest.approx(1.0, abs=0.04)
    assert [w["code"] for w in job.warnings] == ["lateral-truncation"]
    plain = fdk(data, grid, truncation="none")[field_of_view] / MU
    assert abs(plain.mean() - 1) > 3 * abs(values.mean() - 1)


def test_rows_that_end_in_air_are_left_alone():
    data = measured(scan(equal_angles(60)), water_cylinder(20, value_per_mm=MU))
    np.testing.assert_array_equal(fdk(data, GRID), fdk(data, GRID, truncation="none"))
