"""Leaving a view out tells a true volume from one that only fits the views it saw."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import Cancelled, UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.physics.operators import XrayOperator
from ctrestorelib.quality.result import Verdict
from ctrestorelib.recon.left_out_view import inner_views, left_out_score


def test_the_true_volume_predicts_every_view_to_within_its_noise(rods, scan_of):
    scan = scan_of(rods, views=8, i0=1e5)
    score = left_out_score(scan, lambda _: rods, views=range(8))
    assert 0.5 < score.chi_squared < 1.2  # the assumed variance counts voxel edges in
    assert score.percent < 0.3
    assert score.verdict is Verdict.GREEN
    assert score.neighbours_percent > 3.0
    assert "holds from directions" in score.sentence


def test_a_volume_that_holds_only_along_its_views_is_found_out(rods, scan_of):
    scan = scan_of(rods, views=8)

    def smeared(part):
        """Plain backprojection, scaled to the right sum: streaks that fit nothing in between."""
        operator = XrayOperator(part.geometry, rods.geometry)
        back = operator.to_numpy(operator.T(operator.asarray(part.values)))
        return rods.with_values(back * rods.values.sum() / back.sum())

    score = left_out_score(scan, smeared)
    assert score.verdict is Verdict.RED
    assert score.percent > 10
    assert score.to_measure().verdict is Verdict.RED


def test_the_reconstruction_never_sees_the_view(rods, scan_of):
    scan = scan_of(rods, views=6)
    seen = []

    def reconstruct(part):
        seen.append([float(a) for a in part.geometry.angles_rad])
        return rods

    score = left_out_score(scan, reconstruct, views=(1, 4))
    assert [v.view for v in score.views] == [1, 4]
    angles = scan.geometry.angles_rad
    for left, without in zip((1, 4), seen, strict=True):
        assert without == [float(a) for n, a in enumerate(angles) if n != left]


def test_a_known_error_is_measured(rods, scan_of):
    scan = scan_of(rods, views=6, i0=1e7)
    brighter = rods.with_values(1.03 * rods.values)
    score = left_out_score(scan, lambda _: brighter)
    assert score.percent == pytest.approx(3.0, abs=0.3)
    assert score.verdict is Verdict.AMBER
    assert score.to_json()["views"][0]["percent"] == pytest.approx(3.0, abs=0.3)


def test_a_blend_of_neighbours_weighs_them_by_nearness(rods, scan_of):
    scan = scan_of(rods, views=6)
    step = np.arange(6.0)[:, None, None] * np.ones(scan.values.shape) + 1.0
    even = left_out_score(scan.replace(values=step), lambda _: rods, views=[3])
    assert even.neighbours_percent < 1e-4
    uneven = scan.replace(values=step)[[0, 1, 2, 4, 5]]
    # Between views 1 and 4, view 2 is at a third of the way.
    assert left_out_score(uneven, lambda _: rods, views=[2]).neighbours_percent < 1e-4


def test_ends_of_an_open_arc_are_never_left_out(rods, scan_of):
    scan = scan_of(rods, views=6)
    for count in (1, 2, 4, 9):
        chosen = inner_views(scan, count)
        assert len(set(chosen)) == len(chosen) == min(count, 4)
        assert not {0, 5} & set(chosen)


def test_nonsense_is_refused_and_cancel_is_heard(rods, scan_of):
    scan = scan_of(rods, views=6)
    with pytest.raises(UsageError, match="at least 4"):
        left_out_score(scan[:3], lambda _: rods)
    with pytest.raises(UsageError, match="0 to 5"):
        left_out_score(scan, lambda _: rods, views=[6])
    answers = iter([False])
    job = Job(is_cancelled=lambda: next(answers, True))
    with pytest.raises(Cancelled), job.stage("Left out", 1.0) as stage:
        left_out_score(scan, lambda _: rods, stage=stage)
