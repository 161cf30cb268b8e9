"""Total variation from coarse to fine reaches what the plain steps reach, much sooner."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import Cancelled
from ctrestorelib.core.job import Job
from ctrestorelib.physics import backend
from ctrestorelib.recon import tv_pyramid
from ctrestorelib.recon.session import open_session, typical_contrast
from ctrestorelib.recon.solver import solve
from ctrestorelib.recon.tv import TotalVariation
from ctrestorelib.recon.tv_stage import NOISE_FACTOR
from ctrestorelib.restorer.plan import Plan, PlannedStage
from ctrestorelib.restorer.protocol import Inputs

PLAN = Plan("auto", "cpu", 1, 0, 1.0, (PlannedStage("All", 1.0),))


def rmse(session, values, truth):
    return float(np.sqrt(np.mean((session.operator.to_numpy(values) - truth) ** 2)))


def run(inputs, job=None, **options):
    job = job or Job()
    with job.stage("TV", 1.0) as stage:
        return tv_pyramid.tv_pyramid(inputs, PLAN, job, stage, **options)


def test_it_ends_near_the_minimum_that_many_plain_steps_find(rods, scan_of, monkeypatch):
    monkeypatch.setattr(tv_pyramid, "COARSEST", 12)
    inputs = Inputs(projections=scan_of(rods, views=8, i0=2e4), grid=rods.geometry)
    found = run(inputs)
    session = open_session(inputs, PLAN, Job())
    first = session.problem.first_estimate() + float(rods.values.mean())
    contrast = typical_contrast(first, session.operator.to_numpy)
    solver = TotalVariation(target=NOISE_FACTOR, contrast_per_mm=contrast, balance=2.0)
    with Job().stage("TV", 1.0) as stage:
        plain = solve(solver, session.starting_at(first).problem, stage, iterations=300).values
    best, reached = rmse(session, plain, rods.values), rmse(session, found.values, rods.values)
    assert reached < 1.05 * best
    misfit = found.session.problem.misfit(
        found.session.operator(found.values) - found.session.problem.data
    )
    assert misfit < 1.2


def test_levels_of_numpy_arrays_and_of_tensors_agree(rods, scan_of, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(tv_pyramid, "COARSEST", 12)
    inputs = Inputs(projections=scan_of(rods, views=8, i0=2e4), grid=rods.geometry)
    plain = run(inputs)
    monkeypatch.setattr(backend, "NUMPY_VOXELS", rods.values.size - 1)
    mixed = run(inputs)
    assert isinstance(plain.values, np.ndarray)
    assert isinstance(mixed.values, torch.Tensor)
    expected = plain.session.operator.to_numpy(plain.values)
    assert rmse(mixed.session, mixed.values, expected) < 1e-3 * float(expected.max())


def test_levels_halve_down_to_the_coarsest():
    assert tv_pyramid.level_shapes((128, 64, 128)) == [(32, 16, 32), (64, 32, 64), (128, 64, 128)]
    assert tv_pyramid.level_shapes((30, 30, 30)) == [(30, 30, 30)]


def test_progress_preview_and_cancel(rods, scan_of):
    inputs = Inputs(projections=scan_of(rods, views=6), grid=rods.geometry)
    seen, steps = [], []
    job = Job(lambda event: seen.append(event.get("fraction")))
    run(inputs, job, watch=lambda _session: lambda step, _x: steps.append(step.iteration))
    fractions = [f for f in seen if f is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert steps == list(range(1, len(steps) + 1))
    asked = iter([False] * 5 + [True] * 10)
    with pytest.raises(Cancelled):
        run(inputs, Job(is_cancelled=lambda: next(asked)))
