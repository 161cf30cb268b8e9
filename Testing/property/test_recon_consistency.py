"""What holds for the data-consistency step on any scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry, equal_angles
from ctrestorelib.physics.operators import XrayOperator
from ctrestorelib.recon.consistency import consistent, relative_strength
from ctrestorelib.recon.solver import Problem

SCANS = {
    "cone": {},
    "offset": {"offset_mm": (3.0, 8.0)},
    "tilted": {"tilt_rad": (0.05, 0.1, 0.08)},
    "fan": {"detector_shape": (1, 14)},
    "parallel": {"beam": Beam.PARALLEL},
}
every_scan = pytest.mark.parametrize("scan", SCANS)


def geometry_of(scan: str) -> ConeBeamGeometry:
    base = {"sod_mm": 100.0, "sdd_mm": 150.0, "angles_rad": equal_angles(5, 200, 10),
            "detector_shape": (9, 14), "pixel_mm": (3.0, 2.5)}  # fmt: skip
    return ConeBeamGeometry.circular(**{**base, **SCANS[scan]})


def posed(scan: str) -> tuple[Problem, np.ndarray]:
    """Return noisy data of a random volume, and a guess."""
    grid = VolumeGeometry.from_spacing((4, 5, 6), (3.0, 3.0, 3.0))
    operator = XrayOperator(geometry_of(scan), grid, backend="numpy")
    rng = np.random.default_rng(2)
    truth = rng.random(grid.shape, dtype=np.float32)
    data = operator(truth) + rng.normal(0, 0.1, operator.range).astype(np.float32)
    weights = rng.uniform(50, 150, operator.range).astype(np.float32)
    guess = truth + rng.normal(0, 0.2, grid.shape).astype(np.float32)
    problem = Problem(operator, data, weights, (3.0, 3.0, 3.0), nonnegative=False)
    return problem, guess.astype(np.float32)


@every_scan
def test_the_objective_falls_from_step_to_step(scan):
    problem, guess = posed(scan)
    strength = relative_strength(problem, 0.05)

    def objective(x):
        misfit = problem.misfit(problem.operator(x) - problem.data) * problem.readings
        return 0.5 * misfit + 0.5 * strength * float(((x - guess) ** 2).sum())

    values = [objective(consistent(problem, guess, strength=strength, steps=n)) for n in range(6)]
    assert (np.diff(values) < 1e-6 * values[0]).all()
    assert values[-1] < 0.9 * values[0]


@every_scan
def test_only_the_ratio_of_weights_and_strength_matters(scan):
    problem, guess = posed(scan)
    strength = relative_strength(problem, 0.05)
    scaled = replace(problem, weights=8 * problem.weights)
    first = consistent(problem, guess, strength=strength, steps=6)
    second = consistent(scaled, guess, strength=8 * strength, steps=6)
    np.testing.assert_allclose(first, second, atol=1e-5)
    assert relative_strength(scaled, 0.05) == pytest.approx(8 * strength, rel=1e-5)
