"""Training subjects and how they are scanned: reproducible, in range, never a validation volume."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.training.clean_volumes import training_files
from ctrestorelib.training.scans.acquisition import (
    ANCHOR_VIEWS,
    anchor_protocol,
    draw_protocol,
    knee_protocol,
)
from ctrestorelib.training.scans.subjects import KINDS, SubjectTask, make_subject, subject_tasks

SPLIT = Path(__file__).resolve().parents[3] / "Scripts" / "training" / "split.json"
CELLS = 32


def _drawn(count: int = 300, cube_mm: float = 409.6, share: float = 0.3):
    rng = np.random.default_rng(5)
    return [draw_protocol(rng, cube_mm, 64, anchor_share=share) for _ in range(count)]


@pytest.fixture(scope="module", params=KINDS)
def a_subject(request):
    task = SubjectTask(4, request.param, None, 9)
    return task, make_subject(task, CELLS)


def test_a_subject_is_a_centred_isotropic_cube_in_hu(a_subject):
    _, volume = a_subject
    assert volume.unit is Unit.HU
    assert volume.shape == (CELLS,) * 3
    step = volume.geometry.spacing_mm[0]
    assert volume.geometry.matches(VolumeGeometry.from_spacing((CELLS,) * 3, (step,) * 3))
    assert 0.35 * 128 < step * CELLS < 3.3 * 128
    assert volume.values.min() >= -1000
    assert volume.values.max() <= 8000
    assert (volume.values > -500).mean() > 0.004


def test_a_subject_stands_in_air(a_subject):
    _, volume = a_subject
    sides = (
        volume.values[:, 0],
        volume.values[:, -1],
        volume.values[..., 0],
        volume.values[..., -1],
    )
    assert max(side.max() for side in sides) == -1000


def test_a_task_gives_the_same_subject_again(a_subject):
    task, volume = a_subject
    assert np.array_equal(make_subject(task, CELLS).values, volume.values)


@pytest.mark.parametrize("kind", ["limb", "spine", "foam"])
def test_other_numbers_and_seeds_give_other_subjects(kind):
    first, number, seed = (
        make_subject(SubjectTask(n, kind, None, s), CELLS).values
        for n, s in ((4, 9), (5, 9), (4, 8))
    )
    assert not np.array_equal(first, number)
    assert not np.array_equal(first, seed)


def test_tasks_are_numbered_and_hold_every_kind():
    tasks = subject_tasks([Path("a.nii"), Path("a.nii")], 300, seed=1)
    assert [t.number for t in tasks] == list(range(302))
    assert [t.kind for t in tasks[:2]] == ["scan", "scan"]
    assert {t.kind for t in tasks[2:]} == set(KINDS)
    assert tasks == subject_tasks([Path("a.nii"), Path("a.nii")], 300, seed=1)
    # More subjects later leave the earlier ones as they were.
    assert subject_tasks([Path("a.nii"), Path("a.nii")], 400, seed=1)[:302] == tasks


def test_bad_requests_are_told():
    with pytest.raises(UsageError, match="cells"):
        make_subject(SubjectTask(0, "foam", None, 0), 8)
    with pytest.raises(UsageError, match="kind"):
        make_subject(SubjectTask(0, "unicorn", None, 0), CELLS)
    with pytest.raises(UsageError, match="cube_mm"):
        anchor_protocol(0.0, 6)


def test_a_scan_becomes_an_object_in_air(data_file):
    path = data_file("knee_sts010_petct.nii.gz")
    first, again, other = (make_subject(SubjectTask(n, "scan", path, 0), 48) for n in (0, 0, 1))
    assert np.array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)
    for volume in (first, other):
        assert volume.values[:, 0].max() == -1000
        assert volume.values.max() > 300  # bone
        assert 0.03 < (volume.values > -500).mean() < 0.9


def test_no_validation_volume_is_ever_a_subject(data_file):
    folder = data_file("knee_sts010_petct.nii.gz").parent
    validation = set(json.loads(SPLIT.read_text())["validation"])
    tasks = subject_tasks(training_files(folder, SPLIT), 5, seed=0)
    names = {t.path.name for t in tasks if t.path is not None}
    assert len(names) > 5
    assert not names & validation


def test_the_anchor_is_the_published_geometry():
    scan = anchor_protocol(409.6, 10)
    assert (scan.sod_mm, scan.sdd_mm) == (800, 1200)
    assert scan.pixel_mm == pytest.approx(2.4)
    assert (scan.rows, scan.cols, scan.views, scan.arc_deg) == (256, 256, 10, 180)
    assert scan.i0 is None
    grid = VolumeGeometry.from_spacing((64,) * 3, (6.4,) * 3)
    angles = np.rad2deg(scan.geometry_for(grid).angles_rad)
    assert np.allclose(angles, np.arange(10) * 18)
    half = anchor_protocol(204.8, 6, 128, i0=1e5)
    assert (half.sod_mm, half.sdd_mm, half.i0) == (400, 600, 1e5)
    assert half.pixel_mm == pytest.approx(2.4)
    knee = knee_protocol(204.8, 8)
    assert (knee.sod_mm, knee.sdd_mm) == (1000, 2000)
    assert knee.pixel_mm == pytest.approx(2.0)


@pytest.mark.parametrize("cube_mm", [50.0, 409.6])
def test_drawn_scans_stay_in_range(cube_mm):
    radius = cube_mm / np.sqrt(2)
    for scan in _drawn(cube_mm=cube_mm):
        assert 4 <= scan.views <= 60
        assert 120 <= scan.arc_deg <= 360
        assert scan.sod_mm > radius
        assert scan.sdd_mm - scan.sod_mm > 0.99 * radius or scan.views in ANCHOR_VIEWS
        assert 1.2 <= scan.magnification <= 2.0 + 1e-9
        assert scan.i0 is None or 1e4 <= scan.i0 <= 1e6
        assert 0 <= scan.electronic_sd <= 20
        width = scan.cols * scan.pixel_mm
        assert abs(scan.offset_mm) <= 0.4 * width + 1e-9
        assert scan.offset_mm == 0 or scan.arc_deg == 360
        assert max(abs(scan.shift_u_mm), abs(scan.shift_v_mm)) <= 0.5 * scan.pixel_mm
        assert max(abs(scan.tilt_deg), scan.angle_jitter_deg) <= 0.2


def test_shares_of_drawn_scans_are_those_stated():
    scans = _drawn(1500)
    anchors = [s for s in scans if s.sdd_mm / s.sod_mm in (1.5, 2.0) and s.start_deg == 0]
    assert len(anchors) / len(scans) == pytest.approx(0.3, abs=0.05)
    free = _drawn(1500, share=0.0)
    assert np.mean([s.is_misaligned for s in free]) == pytest.approx(0.3, abs=0.05)
    assert np.mean([s.i0 is None for s in free]) == pytest.approx(0.3, abs=0.05)
    # Evenly in the logarithm: half of the draws have fewer than the geometric mean.
    assert np.mean([s.views <= 15 for s in free]) == pytest.approx(0.5, abs=0.05)


def test_every_drawn_scan_clears_the_cube():
    grid = VolumeGeometry.from_spacing((8,) * 3, (50.0,) * 3)
    for scan in _drawn(60, cube_mm=400.0):
        geometry = scan.geometry_for(grid)
        assert float(geometry.sod_mm.min()) > 283
        assert float((geometry.sdd_mm - geometry.sod_mm).min()) > 283 or scan.start_deg == 0
