"""Every real scan is read, centred, and turned in its true sense."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.geometry.field_of_view import default_grid
from ctrestorelib.geometry.projections import ProjectionKind
from ctrestorelib.geometry.scan import Beam
from ctrestorelib.io.projections import read_projections

HTC = ("solid", "ta", "tc", "td")


def htc(data_file, name):
    return read_projections(data_file(f"proj_htc2022_{name}_fanbeam_30deg.mat"))


@pytest.mark.data
@pytest.mark.parametrize(("name", "start_deg"), list(zip(HTC, (181, 299, 32, 92), strict=True)))
def test_htc_fan_beam(data_file, name, start_deg):
    read = htc(data_file, name)
    scan = read.projections
    assert scan.values.shape == (61, 1, 560)
    assert (scan.kind, scan.geometry.beam) == (ProjectionKind.LINE_INTEGRAL, Beam.CONE)
    np.testing.assert_allclose(scan.geometry.sod_mm, 410.66)
    np.testing.assert_allclose(scan.geometry.sdd_mm, 553.74)
    np.testing.assert_allclose(scan.geometry.pixel_mm, 0.2)
    turned = np.rad2deg(np.unwrap(scan.geometry.angles_rad))
    np.testing.assert_allclose(turned - turned[0], np.arange(61) / 2, atol=1e-9)
    assert turned[0] % 360 == pytest.approx(start_deg)
    assert 1.9 < scan.values.max() < 2.5
    assert read.notes == ()
    grid = default_grid(scan.geometry)
    assert grid.shape == (1, 558, 558)
    assert grid.spacing_mm[0] == pytest.approx(0.14832, abs=1e-5)


def disc_edges(scan, *, sense, level=0.4):
    """Return equations ``normal . centre + side * radius = offset`` of the rays at disc edges."""
    left, right = [], []
    for view in range(scan.views):
        p = scan.values[view, 0]
        inside = np.flatnonzero(p > level)
        source, u = scan.geometry.source[view] * [sense, 1, 1], scan.geometry.u_mm[view]
        middle = scan.geometry.detector_centre_mm[view]
        for side, last, beyond in ((1, inside[0], inside[0] - 1), (-1, inside[-1], inside[-1] + 1)):
            part = (p[last] - level) / (p[last] - p[beyond])
            col = last + (beyond - last) * part - (len(p) - 1) / 2
            # Turned in the other sense, the set-up is mirrored but not its columns.
            pixel = middle * [sense, 1, 1] + col * u * [1, 1, sense]
            ray = (pixel - source)[[0, 2]]
            normal = np.array([ray[1], -ray[0]]) / np.hypot(*ray)
            left.append([*normal, side])
            right.append(normal @ source[[0, 2]])
    return np.array(left), np.array(right)


@pytest.mark.data
def test_htc_discs_are_round_only_in_the_true_sense(data_file):
    scans = [htc(data_file, name).projections for name in HTC]
    misfit = {}
    for sense in (1, -1):
        rows, offsets = [], []
        for number, scan in enumerate(scans):
            left, right = disc_edges(scan, sense=sense)
            row = np.zeros((len(left), 2 * len(scans) + 1))
            row[:, 2 * number : 2 * number + 2], row[:, -1] = left[:, :2], left[:, 2]
            rows.append(row)
            offsets.append(right)
        system, target = np.concatenate(rows), np.concatenate(offsets)
        found = np.linalg.lstsq(system, target, rcond=None)[0]
        misfit[sense] = np.sqrt(np.mean((system @ found - target) ** 2))
        if sense == 1:
            # All discs have a diameter of 70 mm; the edge at this level lies a little inside.
            assert found[-1] == pytest.approx(34.6, abs=0.3)
            assert np.abs(found[:-1]).max() < 2.0  # and stand in the middle of the table
    assert misfit[1] < 0.04
    assert misfit[-1] > 2.5 * misfit[1]


def backprojected(scan, row, spacing, size):
    """Return a filtered backprojection of one detector row of a parallel scan, (size, size)."""
    p = scan.values[:, row].astype(np.float64)
    cols = p.shape[1]
    ramp = np.abs(np.fft.fftfreq(2 * cols))
    padded = np.pad(p, ((0, 0), (0, cols)), mode="edge")
    filtered = np.fft.ifft(np.fft.fft(padded) * ramp).real[:, :cols]
    half = (size - 1) / 2
    z, x = np.meshgrid(np.arange(size) - half, np.arange(size) - half, indexing="ij")
    places = np.stack([x.ravel(), np.zeros(x.size), -z.ravel()], axis=1) * spacing
    at = scan.geometry.project(places)[..., 0]
    out = np.zeros(x.size)
    for view in range(scan.views):
        out += np.interp(at[view], np.arange(cols), filtered[view])
    return out.reshape(size, size) * np.pi / scan.views


@pytest.mark.data
def test_tooth(data_file):
    read = read_projections(data_file("proj_tooth_parallel.h5"))
    scan = read.projections
    assert scan.values.shape == (181, 2, 640)
    assert (scan.kind, scan.geometry.beam) == (ProjectionKind.LINE_INTEGRAL, Beam.PARALLEL)
    origin = scan.geometry.project([[0.0, 0.0, 0.0]])[:, 0, 0]
    np.testing.assert_allclose(origin, 296.0, atol=0.5)
    assert scan.i0 == pytest.approx(4.3e4, rel=0.1)
    # Air on both sides reads zero, the tooth does not.
    assert abs(np.median(scan.values[:, :, :40])) < 0.02
    assert scan.values.max() > 1.5
    codes = {n.code for n in read.notes}
    assert {"dose-measured", "pixel-size-assumed", "centre-found", "sense-assumed"} <= codes


@pytest.mark.data
def test_tooth_is_sharpest_about_the_axis_that_was_found(data_file):
    path = data_file("proj_tooth_parallel.h5")
    found = read_projections(path).projections
    contrast = {}
    for shift in (-6, 0, 6):
        scan = found if shift == 0 else read_projections(path, centre=295.9 + shift).projections
        picture = backprojected(scan, 0, 4.0, 120)
        contrast[shift] = picture.std()
        if shift == 0:
            k, i = np.mgrid[:120, :120] - 59.5
            outside = np.hypot(k, i) > 57
            assert picture[~outside].max() > 10 * np.abs(picture[outside]).mean()
    assert contrast[0] > max(contrast[-6], contrast[6])


@pytest.mark.data
def test_dendrites(data_file):
    read = read_projections(data_file("proj_dendrites_parallel.mat"), pixel_mm=0.001)
    scan = read.projections
    assert scan.values.shape == (360, 1, 1260)
    assert 0.2 < scan.values.min() < scan.values.max() < 2.2
    steps = np.rad2deg(np.diff(np.unwrap(scan.geometry.angles_rad)))
    np.testing.assert_allclose(steps, 0.5, atol=2e-3)
    # Seen by eye in reconstructions: dendrites are single at column 628, double at 640 and beyond.
    origin = scan.geometry.project([[0.0, 0.0, 0.0]])[:, 0, 0]
    np.testing.assert_allclose(origin, 628.3, atol=1.5)
    assert {n.code for n in read.notes} == {"values-scaled", "centre-found", "sense-assumed"}


@pytest.mark.data
def test_every_scan_of_the_folder_is_tested(data_file):
    folder = data_file("README.md").parent
    there = {p.name for p in folder.glob("proj_*")}
    tested = {f"proj_htc2022_{n}_fanbeam_30deg.mat" for n in HTC}
    assert there == tested | {"proj_tooth_parallel.h5", "proj_dendrites_parallel.mat"}
