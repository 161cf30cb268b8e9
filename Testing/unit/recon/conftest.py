"""Small operators with known answers, and a small noisy scan."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.job import Job
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry, equal_angles
from ctrestorelib.physics.operators import XrayOperator
from ctrestorelib.recon.solver import Problem, solve


class DenseOperator:
    """A matrix with the X-ray operator's interface: exact and in double precision."""

    def __init__(self, matrix, domain, view_shape):
        self.matrix = matrix
        self.domain = domain
        self.range = (matrix.shape[0] // int(np.prod(view_shape)), *view_shape)

    def __call__(self, x):
        return (self.matrix @ x.reshape(-1)).reshape(self.range)

    def T(self, y):
        return (self.matrix.T @ y.reshape(-1)).reshape(self.domain)

    def subset(self, views):
        rows = self.matrix.reshape(self.range[0], -1, self.matrix.shape[1])[list(views)]
        return DenseOperator(rows.reshape(-1, self.matrix.shape[1]), self.domain, self.range[1:])

    def zeros_domain(self):
        return np.zeros(self.domain)

    def zeros_range(self):
        return np.zeros(self.range)


def random_operator(domain=(3, 4, 5), views=6, view_shape=(4, 5)):
    rng = np.random.default_rng(3)
    shape = (views * int(np.prod(view_shape)), int(np.prod(domain)))
    matrix = rng.random(shape) * (rng.random(shape) < 0.3)
    return DenseOperator(matrix, domain, view_shape)


class IdentityOperator:
    """One reading for each voxel: reconstruction becomes denoising."""

    def __init__(self, shape):
        self.domain = self.range = shape

    def __call__(self, x):
        return x + 0.0

    T = __call__

    def zeros_domain(self):
        return np.zeros(self.domain)

    zeros_range = zeros_domain


@pytest.fixture
def operator():
    return random_operator()


@pytest.fixture
def identity():
    return IdentityOperator


@pytest.fixture
def pose():
    """Return a function that poses a problem with equal weights."""

    def build(operator, data, *, sd=1.0, **changes):
        weights = np.full(operator.range, 1.0 / sd**2)
        return Problem(operator, data, weights, (1.0, 1.0, 1.0), **changes)

    return build


@pytest.fixture
def run():
    """Return a function that runs a solver in a job of one stage."""

    def go(solver, problem, iterations, rules=(), job=None):
        with (job or Job()).stage("Solve", 1.0) as stage:
            return solve(solver, problem, stage, iterations=iterations, rules=rules)

    return go


GRID = VolumeGeometry.from_spacing((24, 24, 24), (2.0, 2.0, 2.0))


def rods_per_mm():
    """Water with a bone rod and an air hole, in air; 1/mm."""
    k, j, i = np.mgrid[:24, :24, :24].astype(np.float32)
    values = np.zeros((24,) * 3, dtype=np.float32)
    values[(np.hypot(j - 11.5, i - 11.5) < 9) & (abs(k - 11.5) < 9)] = 0.0192
    values[(np.hypot(j - 9, i - 14) < 2.5) & (abs(k - 11.5) < 9)] = 0.035
    values[(np.hypot(j - 15, i - 9) < 2) & (abs(k - 11.5) < 9)] = 0.0
    return values


@pytest.fixture(scope="session")
def rods():
    return Volume(rods_per_mm(), GRID, Unit.PER_MM)


@pytest.fixture(scope="session")
def scan_of():
    """Return a function that scans a volume over half a turn, with noise if ``i0`` is given."""

    def scan(volume, views=12, i0=None, cols=40, seed=4):
        geometry = ConeBeamGeometry.circular(
            sod_mm=400,
            sdd_mm=600,
            angles_rad=equal_angles(views, 180),
            detector_shape=(32, cols),
            pixel_mm=(3.0, 3.0),
        )
        operator = XrayOperator(geometry, volume.geometry)
        lines = operator.to_numpy(operator(operator.asarray(volume.values)))
        if i0 is not None:
            counts = np.random.default_rng(seed).poisson(i0 * np.exp(-lines.astype(float)))
            lines = -np.log(np.maximum(counts, 1) / i0)
        return ProjectionSet(lines, geometry, ProjectionKind.LINE_INTEGRAL, i0)

    return scan
