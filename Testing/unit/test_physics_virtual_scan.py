"""The virtual scan: right against formulas, right way round, honest about noise and limits."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import DoesNotFit, GeometryError, InputError, UnitError, UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.core.params import fields_of, params_from, params_to_json
from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionKind
from ctrestorelib.geometry.resampling import block_mean, refined, refined_grid
from ctrestorelib.geometry.scan import Beam
from ctrestorelib.physics import virtual_scan as module
from ctrestorelib.physics.noise import ELECTRONIC_SD
from ctrestorelib.physics.virtual_scan import ScanProtocol, plan_scan, virtual_scan
from ctrestorelib.restorer.plan import Budget

RADII_MM = np.array([30.0, 22.0, 26.0])
GRID = VolumeGeometry.from_spacing((40, 40, 40), (2.0, 2.0, 2.0))


def rotation(degrees):
    a, b = np.deg2rad(degrees), np.deg2rad(degrees / 2)
    about_z = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    return np.array(about_z) @ np.array(about_x)


def oblique(grid, shift_mm=(0.0, 0.0, 0.0), degrees=25.0):
    """The grid turned about its centre and moved: the same space seen by a tilted stack."""
    matrix = np.array(grid.ijk_to_lps)
    turn = rotation(degrees)
    matrix[:3, :3] = turn @ matrix[:3, :3]
    matrix[:3, 3] = turn @ matrix[:3, 3] + shift_mm
    return VolumeGeometry(grid.shape, matrix)


def water_ellipsoid(grid, centre_mm=(0.0, 0.0, 0.0)):
    """A water ellipsoid in air, voxels averaged over 4^3 points."""
    fine = refined_grid(grid, 4)
    k, j, i = np.meshgrid(*(np.arange(n) for n in fine.shape), indexing="ij")
    points = fine.to_world(np.stack([i, j, k], axis=-1)) - centre_mm
    inside = ((points / RADII_MM) ** 2).sum(axis=-1) <= 1
    hu = np.where(inside, 0.0, -1000.0)
    return block_mean(Volume(hu, fine, Unit.HU), 4).with_values(
        block_mean(Volume(hu, fine, Unit.HU), 4).values
    )


def exact_line_integrals(geometry, centre_mm=(0.0, 0.0, 0.0), rays=1):
    """Line integrals of the ellipsoid by formula; pixels average ``rays``^2 intensities."""
    rows, cols = geometry.detector_shape
    fine = geometry.replace(
        u_mm=geometry.u_mm / rays,
        v_mm=geometry.v_mm / rays,
        detector_shape=(rows * rays, cols * rays),
    )
    out = []
    for view in range(fine.views):
        pixel = fine.pixel_positions_mm(view)
        source = fine.source[view]
        step = source - pixel if fine.beam is Beam.CONE else np.broadcast_to(source, pixel.shape)
        step = step / np.linalg.norm(step, axis=-1, keepdims=True)
        a = ((step / RADII_MM) ** 2).sum(-1)
        from_centre = (pixel - centre_mm) / RADII_MM
        b = (from_centre * step / RADII_MM).sum(-1)
        c = (from_centre**2).sum(-1) - 1
        chord = 2 * np.sqrt(np.maximum(b**2 - a * c, 0)) / a
        intensity = np.exp(-MU_WATER_PER_MM * chord)
        out.append(-np.log(intensity.reshape(rows, rays, cols, rays).mean(axis=(1, 3))))
    return np.array(out)


def relative_error(values, exact):
    return float(np.sqrt(((values - exact) ** 2).mean() / (exact**2).mean()))


@pytest.mark.parametrize("beam", ["cone", "fan", "parallel"])
@pytest.mark.parametrize("orientation", ["patient", "world"])
def test_projections_match_the_formula(beam, orientation):
    protocol = ScanProtocol(
        views=5, start_deg=10, beam=beam, orientation=orientation, sod_mm=300, sdd_mm=450
    )
    scan = virtual_scan(water_ellipsoid(GRID), protocol)
    exact = exact_line_integrals(scan.geometry, rays=4)
    assert scan.kind is ProjectionKind.LINE_INTEGRAL
    assert exact.max() > 0.5
    assert relative_error(scan.values, exact) < 0.02


@pytest.mark.parametrize("shift", [(0, 0, 0), (120.0, -340.0, 815.0)])
def test_off_centre_and_oblique_volumes_match_the_formula(shift):
    grid = oblique(GRID, shift)
    protocol = ScanProtocol(views=4, start_deg=20, sod_mm=300, sdd_mm=450)
    scan = virtual_scan(water_ellipsoid(grid, shift), protocol)
    exact = exact_line_integrals(scan.geometry, shift, rays=4)
    assert relative_error(scan.values, exact) < 0.02


def test_left_handed_grid_gives_the_same_projections():
    volume = water_ellipsoid(GRID)
    matrix = np.array(GRID.ijk_to_lps)
    matrix[:, 0] *= -1
    matrix[0, 3] *= -1
    mirrored = Volume(volume.values[:, :, ::-1], VolumeGeometry(GRID.shape, matrix), Unit.HU)
    protocol = ScanProtocol(views=3, sod_mm=300, sdd_mm=450)
    np.testing.assert_allclose(
        virtual_scan(mirrored, protocol).values, virtual_scan(volume, protocol).values, atol=2e-5
    )


def marker_position(offset_lps_mm, angle_deg, **settings):
    """Column and row, in mm from the detector's middle, of a small marker's shadow."""
    centre = np.array([40.0, -25.0, 300.0])
    grid = VolumeGeometry.from_spacing(
        (40, 40, 40), (2, 2, 2), origin_lps_mm=centre - 39 * np.ones(3)
    )
    values = np.full(grid.shape, -1000.0)
    i, j, k = np.rint(grid.to_ijk(centre + np.array(offset_lps_mm))).astype(int)
    values[k, j, i] = 3000
    marker_mm = grid.to_world([i, j, k]) - centre
    protocol = ScanProtocol(
        views=1,
        start_deg=angle_deg,
        sod_mm=500,
        sdd_mm=750,
        rows=80,
        cols=80,
        pixel_mm=2,
        **settings,
    )
    image = virtual_scan(Volume(values, grid, Unit.HU), protocol).values[0]
    rows, cols = np.mgrid[:80, :80]
    where = [(axis * image).sum() / image.sum() for axis in (cols, rows)]
    return (where[0] - 39.5) * 2, (where[1] - 39.5) * 2, marker_mm


LEFT, FRONT, HEAD = (21.0, 1.0, 1.0), (1.0, -21.0, 1.0), (1.0, 1.0, 21.0)


@pytest.mark.parametrize("offset", [LEFT, FRONT, HEAD])
def test_view_at_0_looks_from_the_front(offset):
    u, v, (x, y, z) = marker_position(offset, 0)
    magnification = 750 / (500 + y)  # the source stands in front, at -y
    assert u == pytest.approx(x * magnification, abs=0.25)  # columns run to the patient's left
    assert v == pytest.approx(z * magnification, abs=0.25)  # rows run to the head


@pytest.mark.parametrize("offset", [LEFT, FRONT, HEAD])
def test_view_at_90_looks_from_the_left(offset):
    u, v, (x, y, z) = marker_position(offset, 90)
    magnification = 750 / (500 - x)
    assert u == pytest.approx(y * magnification, abs=0.25)  # columns run to the back
    assert v == pytest.approx(z * magnification, abs=0.25)


def test_world_orientation_turns_about_y():
    u, v, (x, y, z) = marker_position((3.0, 21.0, 5.0), 0, orientation="world")
    magnification = 750 / (500 - z)
    assert u == pytest.approx(x * magnification, abs=0.25)
    assert v == pytest.approx(y * magnification, abs=0.25)


def test_isocentre_at_the_origin():
    grid = VolumeGeometry.from_spacing((8, 8, 8), (2, 2, 2), origin_lps_mm=(13, -7, -7))
    at_origin = ScanProtocol(views=2, isocentre="origin").geometry_for(grid)
    np.testing.assert_allclose(at_origin.source[0], (0, -1000, 0), atol=1e-9)
    at_volume = ScanProtocol(views=2).geometry_for(grid)
    np.testing.assert_allclose(at_volume.source[0], (20, -1000, 0), atol=1e-9)


def test_more_rays_per_pixel_come_closer_to_the_truth():
    volume = water_ellipsoid(GRID)
    errors = []
    for rays in (1, 3):
        protocol = ScanProtocol(
            views=2, sod_mm=300, sdd_mm=450, pixel_mm=12, oversample=rays, start_deg=30
        )
        scan = virtual_scan(volume, protocol)
        errors.append(relative_error(scan.values, exact_line_integrals(scan.geometry, rays=12)))
    assert errors[1] < 0.5 * errors[0]


# -- noise --------------------------------------------------------------------------------------
NOISY = ScanProtocol(views=24, sod_mm=300, sdd_mm=450, i0=2e4, electronic_sd=20, pixel_mm=4,
                     oversample=1, refine=1)  # fmt: skip


def noise_free(protocol):
    return params_from(ScanProtocol, {**params_to_json(protocol), "i0": None})


def test_noise_has_the_variance_of_photons_and_electronics():
    volume = water_ellipsoid(GRID)
    noisy, clean = virtual_scan(volume, NOISY), virtual_scan(volume, noise_free(NOISY))
    p = clean.values.astype(float)
    expected = np.exp(p) / 2e4 + (20 * np.exp(p) / 2e4) ** 2
    score = (noisy.values - p) / np.sqrt(expected)
    for part in (p < 0.01, p > 0.5):
        assert part.sum() > 1500
        assert score[part].std() == pytest.approx(1, abs=0.06)
        assert abs(score[part].mean()) < 0.1
    assert (noisy.i0, noisy.electronic_sd) == (2e4, 20)
    assert (clean.i0, clean.electronic_sd) == (None, 0)


def test_bowtie_makes_the_rim_noisier_and_leaves_the_mean():
    air = Volume(np.full(GRID.shape, -1000.0), GRID, Unit.HU)
    with_bowtie = params_from(ScanProtocol, {**params_to_json(NOISY), "bowtie": True})
    plain, bowtie = virtual_scan(air, NOISY).values, virtual_scan(air, with_bowtie).values
    middle = plain.shape[2] // 2
    rim = bowtie[:, :, [2, -3]].std() / plain.std()
    assert rim > 1.15
    assert bowtie[:, :, middle].std() < rim * plain.std() / 1.1
    assert abs(bowtie.mean()) < 0.002


def test_same_seed_same_projections_whatever_the_blocks(monkeypatch):
    volume = water_ellipsoid(GRID)
    protocol = params_from(ScanProtocol, {**params_to_json(NOISY), "refine": 2})
    first = virtual_scan(volume, protocol, Job(seed=5))
    assert np.abs(virtual_scan(volume, protocol, Job(seed=6)).values - first.values).max() > 0.01
    np.testing.assert_array_equal(virtual_scan(volume, protocol, Job(seed=5)).values, first.values)
    monkeypatch.setattr(module, "_SLAB_VOXELS", 40 * 40 * 8 * 7)
    monkeypatch.setattr(module, "_CHUNK_RAYS", 1)
    clean = noise_free(protocol)
    blocks = virtual_scan(volume, clean)
    monkeypatch.undo()
    np.testing.assert_allclose(blocks.values, virtual_scan(volume, clean).values, atol=1e-5)


def test_view_noise_does_not_depend_on_the_other_views():
    air = Volume(np.full(GRID.shape, -1000.0), GRID, Unit.HU)
    few = params_from(ScanProtocol, {**params_to_json(NOISY), "views": 3})
    np.testing.assert_array_equal(
        virtual_scan(air, NOISY).values[:3], virtual_scan(air, few).values
    )


def test_counts_are_line_integrals_before_the_logarithm():
    volume = water_ellipsoid(GRID)
    as_counts = params_from(ScanProtocol, {**params_to_json(NOISY), "as_counts": True})
    counts = virtual_scan(volume, as_counts)
    assert counts.kind is ProjectionKind.COUNTS
    np.testing.assert_allclose(
        counts.to_line_integrals().values, virtual_scan(volume, NOISY).values, atol=1e-4
    )
    with pytest.raises(UsageError, match="Counts need i0"):
        virtual_scan(volume, ScanProtocol(views=1, as_counts=True))


# -- hidden misalignment ------------------------------------------------------------------------
def test_hidden_shift_moves_the_image_but_not_the_geometry():
    volume = water_ellipsoid(GRID)
    base = {"views": 3, "sod_mm": 300.0, "sdd_mm": 450.0, "pixel_mm": 3.0}
    straight = virtual_scan(volume, ScanProtocol(**base))
    job = Job()
    shifted = virtual_scan(volume, ScanProtocol(**base, shift_u_mm=3.0), job)
    np.testing.assert_allclose(shifted.values[..., :-1], straight.values[..., 1:], atol=1e-4)
    np.testing.assert_array_equal(shifted.geometry.matrices, straight.geometry.matrices)
    assert [w["code"] for w in job.warnings] == ["misaligned-scan"]


def test_hidden_angle_error_differs_by_seed_only():
    volume = water_ellipsoid(GRID)
    protocol = ScanProtocol(views=3, sod_mm=300, sdd_mm=450, pixel_mm=4, angle_jitter_deg=3)
    a, b, c = (virtual_scan(volume, protocol, Job(seed=s)).values for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1e-3


# -- limits -------------------------------------------------------------------------------------
def codes(volume, protocol):
    job = Job()
    virtual_scan(volume, protocol, job)
    return [w["code"] for w in job.warnings]


def test_automatic_detector_covers_the_volume_without_warning():
    volume = water_ellipsoid(GRID)
    for offset in (0.0, 25.0):
        protocol = ScanProtocol(views=8, sod_mm=300, sdd_mm=450, pixel_mm=4, offset_mm=offset)
        assert codes(volume, protocol) == []
    full = ScanProtocol(views=1, sod_mm=300, sdd_mm=450).geometry_for(GRID).detector_shape
    half = ScanProtocol(views=1, sod_mm=300, sdd_mm=450, offset_mm=25).geometry_for(GRID)
    assert half.detector_shape[1] < full[1]


def test_small_detector_is_named_truncation():
    volume = water_ellipsoid(GRID)
    narrow = ScanProtocol(views=4, sod_mm=300, sdd_mm=450, pixel_mm=2, rows=60, cols=20)
    assert codes(volume, narrow) == ["lateral-truncation"]
    short = ScanProtocol(views=4, sod_mm=300, sdd_mm=450, pixel_mm=2, rows=10, cols=70)
    assert codes(volume, short) == ["axial-truncation"]


def test_padding_is_air_and_is_told():
    volume = water_ellipsoid(GRID)
    padded = volume.values.copy()
    padded[volume.values == -1000] = -3024
    protocol = ScanProtocol(views=2, sod_mm=300, sdd_mm=450, pixel_mm=4)
    job = Job()
    scan = virtual_scan(volume.with_values(padded), protocol, job)
    np.testing.assert_array_equal(scan.values, virtual_scan(volume, protocol).values)
    assert [w["code"] for w in job.warnings] == ["padding-as-air"]


def test_source_or_detector_inside_the_object_is_refused():
    volume = water_ellipsoid(GRID)
    with pytest.raises(GeometryError, match="source turns at 20 mm"):
        virtual_scan(volume, ScanProtocol(views=2, sod_mm=20, sdd_mm=400))
    fixed = {"rows": 8, "cols": 8, "pixel_mm": 4.0}
    with pytest.raises(GeometryError, match="source turns at 25 mm"):
        virtual_scan(volume, ScanProtocol(views=2, sod_mm=25, sdd_mm=400, **fixed))
    with pytest.raises(GeometryError, match="detector is only 15 mm away"):
        virtual_scan(volume, ScanProtocol(views=2, sod_mm=300, sdd_mm=315, **fixed))
    with pytest.raises(GeometryError, match="SOD"):
        virtual_scan(volume, ScanProtocol(views=2, sod_mm=400, sdd_mm=300))


def test_bad_volumes_are_refused():
    volume = water_ellipsoid(GRID)
    protocol = ScanProtocol(views=1)
    with pytest.raises(UnitError, match="grey"):
        virtual_scan(Volume(volume.values, GRID, Unit.GREY), protocol)
    broken = volume.values.copy()
    broken[3, 4, 5] = np.nan
    with pytest.raises(InputError, match="not numbers"):
        virtual_scan(volume.with_values(broken), protocol)


def test_plan_grows_with_the_scan_and_refuses_what_does_not_fit():
    roomy = Budget(host_bytes=2**40, threads=2)
    plans = [plan_scan(GRID, ScanProtocol(views=n), roomy) for n in (10, 100, 1000)]
    assert plans[0].peak_host_bytes < plans[1].peak_host_bytes < plans[2].peak_host_bytes
    assert plans[0].seconds < plans[1].seconds < plans[2].seconds
    with pytest.raises(DoesNotFit, match="GB of memory"):
        plan_scan(GRID, ScanProtocol(views=100), Budget(host_bytes=2**20))


def test_a_given_geometry_is_followed():
    volume = water_ellipsoid(GRID)
    protocol = ScanProtocol(views=3, sod_mm=300, sdd_mm=450, pixel_mm=4)
    geometry = protocol.geometry_for(GRID)[[2, 0]]
    scan = virtual_scan(volume, ScanProtocol(), geometry=geometry)
    np.testing.assert_allclose(
        scan.values, virtual_scan(volume, protocol).values[[2, 0]], atol=1e-6
    )


def test_cancel_stops_the_scan():
    from ctrestorelib.core.errors import Cancelled

    with pytest.raises(Cancelled):
        virtual_scan(water_ellipsoid(GRID), ScanProtocol(views=2), Job(is_cancelled=lambda: True))


def test_electronic_noise_is_that_of_the_noise_model():
    assert ScanProtocol().electronic_sd == ELECTRONIC_SD


def test_protocol_is_checked_and_round_trips():
    protocol = ScanProtocol(views=7, beam="fan", i0=1e4)
    assert params_from(ScanProtocol, params_to_json(protocol)) == protocol
    assert {f.name for f in fields_of(ScanProtocol)} == set(params_to_json(protocol))
    with pytest.raises(UsageError, match="Views"):
        ScanProtocol(views=0)
    with pytest.raises(UsageError, match="one of cone, fan, parallel"):
        ScanProtocol(beam="helical")


# -- finer volumes ------------------------------------------------------------------------------
def test_refined_is_exact_for_parabolas_inside():
    k, j, i = np.mgrid[:8, :9, :10].astype(np.float32)
    values = 0.3 * k**2 - j * 0.5 + 0.1 * i**2
    fine = refined(values, 2)
    fk, fj, fi = ((np.mgrid[:16, :18, :20] + 0.5) / 2 - 0.5).astype(np.float32)
    exact = 0.3 * fk**2 - fj * 0.5 + 0.1 * fi**2
    inner = (slice(4, -4),) * 3
    np.testing.assert_allclose(fine[inner], exact[inner], atol=1e-4)
    np.testing.assert_array_equal(refined(values, 1), values)


def test_refined_slabs_join_without_a_seam():
    values = np.random.default_rng(2).random((9, 5, 6), dtype=np.float32)
    whole = refined(values, 3)
    parts = [
        refined(values[:5], 3, halo=(0, 2)),
        refined(values[1:7], 3, halo=(2, 2)),
        refined(values[4:9], 3, halo=(1, 0)),
    ]
    np.testing.assert_allclose(parts[0], whole[:9], atol=1e-6)
    np.testing.assert_allclose(parts[1], whole[9:15], atol=1e-6)
    np.testing.assert_allclose(parts[2][3:], whole[18:], atol=1e-6)
