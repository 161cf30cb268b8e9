"""The noise level of projections, the weights, the presets and the residual report."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry, equal_angles
from ctrestorelib.methods.os_sart import RESTORER, OsSartParams
from ctrestorelib.recon.noise_level import NoiseSource, data_noise, measured_i0
from ctrestorelib.recon.presets import preset_name, resolved
from ctrestorelib.recon.residual import residual_report


def cylinder_lines(shape=(8, 64, 96)):
    u = np.linspace(-1.1, 1.1, shape[2])
    return np.broadcast_to(4.0 * np.sqrt(np.clip(1 - u**2, 0, 1)), shape).astype(np.float64)


def noisy(i0, electronic_sd=0.0, seed=1):
    rng = np.random.default_rng(seed)
    lines = cylinder_lines()
    counts = rng.poisson(i0 * np.exp(-lines)) + rng.normal(0, electronic_sd, lines.shape)
    return lines, -np.log(np.maximum(counts, 1) / i0)


def as_set(values, i0=None, electronic_sd=0.0):
    geometry = ConeBeamGeometry.circular(
        sod_mm=800,
        sdd_mm=1200,
        angles_rad=equal_angles(len(values), 180),
        detector_shape=values.shape[1:],
        pixel_mm=(2, 2),
    )
    return ProjectionSet(values, geometry, ProjectionKind.LINE_INTEGRAL, i0, electronic_sd)


@pytest.mark.parametrize("i0", [1e4, 1e5, 1e6])
def test_i0_is_measured_from_noise(i0):
    assert measured_i0(noisy(i0)[1].astype(np.float32)) == pytest.approx(i0, rel=0.2)


def test_i0_is_measured_on_a_single_row():
    assert measured_i0(noisy(1e5)[1][:, :1].astype(np.float32)) == pytest.approx(1e5, rel=0.4)


def test_clean_projections_have_next_to_no_noise():
    assert measured_i0(cylinder_lines().astype(np.float32)) > 1e8
    assert measured_i0(np.zeros((2, 8, 8), dtype=np.float32)) == 1e10


@pytest.mark.parametrize("electronic_sd", [0.0, 30.0])
def test_variance_is_that_of_the_readings(electronic_sd):
    lines, values = noisy(1e5, electronic_sd)
    noise = data_noise(as_set(values, 1e5, electronic_sd))
    assert noise.source is NoiseSource.DOSE
    flat = np.s_[:, :, 30:66]  # no slope: quantum and electronic noise alone
    chi = np.square(values - lines)[flat] * noise.weights[flat]
    assert chi.mean() == pytest.approx(1.0, abs=0.08)


def test_edges_are_trusted_less():
    values = np.zeros((2, 20, 40), dtype=np.float32)
    values[:, :, 20:] = 2.0
    noise = data_noise(as_set(values, 1e7))
    assert noise.variance[0, 10, 20] > 20 * noise.variance[0, 10, 30]


def test_without_i0_the_noise_is_measured():
    noise = data_noise(as_set(noisy(3e4)[1]))
    assert noise.source is NoiseSource.MEASURED
    assert noise.i0 == pytest.approx(3e4, rel=0.2)


def test_presets_follow_views_and_dose():
    assert preset_name(10) == "few-views"
    assert preset_name(24, 1e5) == "sparse-views"
    assert preset_name(180, 1e4) == "many-views-low-dose"
    chosen = resolved(OsSartParams(sweeps=3), RESTORER.spec.presets, 10, 1e5)
    assert chosen.sweeps == 3
    assert chosen.subsets == RESTORER.spec.presets["few-views"]["subsets"]


def test_residual_report_counts_only_used_readings():
    residual = np.full((3, 4, 5), 0.1, dtype=np.float32)
    residual[1] = 0.3
    weights = np.full_like(residual, 100.0)
    weights[2, 0] = 0.0
    residual[2, 0] = 99.0
    report = residual_report(residual, np.ones_like(residual), weights)
    np.testing.assert_allclose(report["chi_squared_per_view"], [1.0, 9.0, 1.0], rtol=1e-4)
    assert report["worst_view"] == 1
    assert report["readings_left_out"] == 5
    assert report["chi_squared_per_reading"] == pytest.approx((20 + 9 * 20 + 15) / 55, rel=1e-5)
    assert report["relative_residual"] == pytest.approx(((0.2 + 1.8 + 0.15) / 55) ** 0.5, rel=1e-4)
