"""Predicted memory of the operators against what they really allocate."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import ConeBeamGeometry, equal_angles
from ctrestorelib.physics.backend import available
from ctrestorelib.physics.backproject import backproject
from ctrestorelib.physics.memory import backproject_bytes, operator_bytes
from ctrestorelib.physics.operators import XrayOperator

GRID = VolumeGeometry.from_spacing((48, 48, 48), (2.0, 2.0, 2.0))
BACKENDS = [
    "numpy",
    pytest.param(
        "numba", marks=pytest.mark.skipif(not available("numba"), reason="numba is not installed")
    ),
]


def scan(tilt, views=8):
    return ConeBeamGeometry.circular(
        sod_mm=300.0, sdd_mm=450.0, angles_rad=equal_angles(views), detector_shape=(160, 200),
        pixel_mm=(1.0, 1.0), tilt_rad=(0.0, 0.0, tilt),
    )  # fmt: skip


def peak_of(work):
    work()  # machine code and thread pools are there before
    tracemalloc.start()
    result = work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak - 4 * int(np.prod(result.shape))


@pytest.mark.parametrize("tilt", [0.0, 0.1])
@pytest.mark.parametrize("backend", BACKENDS)
def test_operators_need_the_memory_that_was_predicted(backend, tilt):
    A = XrayOperator(scan(tilt), GRID, backend=backend, threads=1)
    x, y = A.zeros_domain() + 1, A.zeros_range() + 1
    measured = max(peak_of(lambda: A(x)), peak_of(lambda: A.T(y)))
    predicted = operator_bytes(A.geometry, GRID, backend)
    room = 2**20
    assert measured < 1.15 * predicted + room
    assert predicted < 2.0 * measured + room


@pytest.mark.parametrize("tilt", [0.0, 0.1])
@pytest.mark.parametrize("backend", BACKENDS)
def test_backprojection_needs_the_memory_that_was_predicted(backend, tilt):
    geometry = scan(tilt)
    values = np.ones((8, 160, 200), np.float32)
    measured = peak_of(lambda: backproject(values, geometry, GRID, backend=backend, threads=1))
    predicted = backproject_bytes(geometry, GRID, backend)
    room = 2**20
    assert measured < 1.15 * predicted + room
    assert predicted < 2.0 * measured + room


@pytest.mark.parametrize("backend", ["numpy", "torch", "numba"])
def test_memory_stays_bounded_as_views_grow(backend):
    if not available(backend):
        pytest.skip(f"{backend} is not installed")
    few, many = (operator_bytes(scan(0.0, n), GRID, backend) for n in (8, 800))
    assert few <= many < few + 2**27
