"""The field fitted to one scan: its grids, its hand-made gradient, and what the fit gives."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ctrestorelib.core.job import Job
from ctrestorelib.core.units import Unit
from ctrestorelib.methods.registry import method
from ctrestorelib.recon.field_fit.adam import Adam
from ctrestorelib.recon.field_fit.field import FEATURES, SLAB_POINTS, Field, Reader
from ctrestorelib.recon.field_fit.fit import Explained, FieldFit
from ctrestorelib.recon.field_fit.levels import (
    COARSEST_NODES,
    GROWTH,
    level_shapes,
    linear_weights,
    node_count,
    readout,
)
from ctrestorelib.recon.solver import Step, StopReason
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs

BUDGET = Budget(host_bytes=8 * 2**30, threads=1)
SHAPE = (5, 12, 14)


def as_float32(values):
    return np.asarray(values, dtype=np.float32)


@pytest.fixture
def field() -> Field:
    """A field whose features are large enough to see."""
    shapes = (SHAPE, (4, 9, 11), (2, 5, 6))
    made = Field.new(shapes, as_float32, np.random.default_rng(3))
    rng = np.random.default_rng(4)
    made.grids = [g + rng.normal(0, 1, g.shape).astype(np.float32) for g in made.grids]
    return made


def test_levels_thin_out_from_the_voxels_by_one_factor():
    levels = level_shapes((128, 128, 128), (1.0, 1.0, 1.0))
    assert levels[0] == (128, 128, 128)
    sides = [shape[0] for shape in levels]
    assert sides[-1] >= COARSEST_NODES
    for finer, coarser in pairwise(sides):
        assert (finer - 1) / (coarser - 1) == pytest.approx(GROWTH, rel=0.06)
    assert node_count(levels) < 2 * 128**3


def test_thick_slices_are_thinned_out_later_and_a_single_slice_stays():
    levels = level_shapes((20, 64, 64), (4.0, 1.0, 1.0))
    assert levels[1][0] == levels[3][0] == 20
    assert levels[-1][0] < 20
    assert {shape[0] for shape in level_shapes((1, 64, 64), (1.0, 1.0, 1.0))} == {1}


def test_a_level_is_read_linearly_and_its_ends_hold():
    weights = linear_weights(5, np.array([-0.1, 0.0, 0.3, 1.0, 1.2]))
    nodes = np.array([0.0, 1.0, 2.0, 3.0, 4.0], dtype=np.float32)
    np.testing.assert_allclose(weights @ nodes, [0.0, 0.0, 1.2, 4.0, 4.0], atol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)


def test_the_finest_level_is_the_voxels_themselves():
    assert readout(SHAPE, SHAPE, SHAPE).matrices == (None, None, None)
    coarse = readout((5, 9, 11), SHAPE, SHAPE)
    assert coarse.matrices[0] is None
    assert coarse.matrices[1].shape == (12, 9)


def test_slabs_give_what_the_whole_gives(field, monkeypatch):
    reader = Reader(field, SHAPE, as_float32)
    whole = reader.read(0, SHAPE[0])
    monkeypatch.setattr("ctrestorelib.recon.field_fit.field.SLAB_POINTS", 2 * 12 * 14)
    slabs = list(reader.slabs())
    assert slabs == [(0, 2), (2, 4), (4, 5)]
    parts = np.concatenate([reader.read(*s) for s in slabs])
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-5)
    assert SLAB_POINTS > 2 * 12 * 14


def test_the_gradient_is_that_of_automatic_differentiation(field):
    torch = pytest.importorskip("torch")
    reader = Reader(field, SHAPE, as_float32)
    slope = np.random.default_rng(5).normal(0, 1, SHAPE).astype(np.float32)
    mine = [np.zeros_like(p) for p in field.parameters]
    for first, end in ((0, 2), (2, 5)):
        reader.send_back(first, end, slope[first:end], mine)

    parameters = [torch.tensor(p, requires_grad=True) for p in field.parameters]
    levels = len(field.grids)
    features = []
    for grid, shape in zip(parameters[:levels], field.shapes, strict=True):
        how = zip(readout(shape, SHAPE, SHAPE).matrices, SHAPE, strict=True)
        matrices = [torch.eye(n) if m is None else torch.from_numpy(m) for m, n in how]
        features.append(torch.einsum("fabc,ka,jb,ic->fkji", grid, *matrices))
    w1, b1, w2, b2, w3 = parameters[levels:]
    hidden = torch.relu(w1 @ torch.cat(features).reshape(levels * FEATURES, -1) + b1)
    value = (w3 @ torch.relu(w2 @ hidden + b2)).reshape(SHAPE)
    np.testing.assert_allclose(reader.read(0, 5), value.detach().numpy(), rtol=1e-4, atol=1e-4)
    (value * torch.from_numpy(slope)).sum().backward()
    for own, parameter in zip(mine, parameters, strict=True):
        scale = float(parameter.grad.abs().max())
        np.testing.assert_allclose(own, parameter.grad.numpy(), atol=1e-4 * scale)


def test_adam_steps_by_the_rate_whatever_the_size_of_the_gradient():
    values = [np.zeros(3, np.float32), np.zeros(2, np.float32)]
    adam = Adam(values, floor=1e-3)
    adam.step([as_float32([5.0, -0.5, 0.0]), as_float32([1.0, 1e-9])], [0.1, 0.2])
    np.testing.assert_allclose(values[0], [-0.1, 0.1, 0.0], rtol=5e-3)
    # Rounding noise is no direction.
    np.testing.assert_allclose(values[1], [-0.2, 0.0], rtol=5e-3, atol=1e-5)


def test_adam_finds_the_lowest_point():
    at = [as_float32([3.0, -2.0])]
    adam = Adam(at, floor=1e-3)
    for step in range(300):
        adam.step([2.0 * (at[0] - as_float32([1.0, 1.0])) * as_float32([1.0, 20.0])],
                  [0.1 * (1 - step / 300)])  # fmt: skip
    np.testing.assert_allclose(at[0], 1.0, atol=0.02)


def test_it_stops_when_the_measurements_are_explained_but_not_at_once():
    rule = Explained(target=0.8, at_least=3)
    history = [Step(1, 0.5, 0.1), Step(2, 0.9, 0.1), Step(3, 0.7, 0.1)]
    assert rule(history[:1]) is None
    assert rule(history[:2]) is None
    assert rule(history) is StopReason.DISCREPANCY
    assert rule([*history, Step(4, 0.9, 0.1)]) is None


def fitted(volume, scan, backend=None, **settings):
    restorer = method("naf")
    params = restorer.Params(**settings)
    inputs = Inputs(projections=scan, grid=volume.geometry)
    plan = restorer.plan(inputs.shapes(), params, BUDGET)
    plan = plan if backend is None else replace(plan, backend=backend)
    return restorer.restore(inputs, params, plan, Job())


def error(estimate, volume):
    return float(np.sqrt(np.mean((estimate.volume.values - volume.values) ** 2)))


def test_the_fit_is_nearer_to_the_truth_than_os_sart(rods, scan_of):
    scan = scan_of(rods, views=8, i0=1e5)
    made = fitted(rods, scan, iterations=60)
    sart = method("os-sart")
    inputs = Inputs(projections=scan, grid=rods.geometry)
    plan = sart.plan(inputs.shapes(), sart.Params(), BUDGET)
    other = sart.restore(inputs, sart.Params(), plan, Job())
    assert error(made, rods) < 0.9 * error(other, rods)
    assert made.volume.unit is Unit.PER_MM
    assert made.volume.values.min() >= 0.0
    assert made.report["levels"] >= 2


def test_without_torch_the_numbers_are_the_same(rods, scan_of, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr("ctrestorelib.physics.backend.NUMPY_VOXELS", 0)
    scan = scan_of(rods, views=6, i0=1e5)
    usual = fitted(rods, scan, iterations=12)
    plain = fitted(rods, scan, backend="numpy", iterations=12)
    size = float(rods.values.max())
    np.testing.assert_allclose(plain.volume.values, usual.volume.values, atol=0.01 * size)


def test_more_views_are_taken_in_subsets_and_all_are_used(rods, scan_of):
    scan = scan_of(rods, views=12, i0=1e5)
    made = fitted(rods, scan, iterations=24, subsets=3)
    assert made.report["subsets_used"] == 3
    assert max(made.report["residual"]["chi_squared_per_view"]) < 30


def test_a_field_of_size_zero_for_an_empty_scan(rods, scan_of):
    empty = scan_of(rods, views=4, i0=1e5)
    empty = empty.replace(values=np.zeros_like(empty.values))
    made = fitted(rods, empty, iterations=6)
    np.testing.assert_array_equal(made.volume.values, 0.0)


def test_the_solver_keeps_its_settings(field):
    fit = FieldFit(field, as_float32, ((0,),), 0.02, 10, 0.8)
    rates = fit._rates(5)
    assert len(rates) == len(field.parameters)
    assert rates[0] == pytest.approx(fit._rates(0)[0] / 2)
    assert fit._rates(10)[0] == pytest.approx(0.0)
