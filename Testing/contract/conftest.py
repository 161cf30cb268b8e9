"""Inputs for the contract suite: a noisy phantom, and a small scan of it."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry, equal_angles
from ctrestorelib.physics.operators import XrayOperator
from ctrestorelib.restorer.protocol import Inputs, Restorer
from ctrestorelib.restorer.spec import Kind, Role

SIZE = 32
I0 = 1e5


def phantom_hu() -> np.ndarray:
    """A water cylinder with a bone rod and a fat rod, in air; [k, j, i]."""
    _k, j, i = np.mgrid[:SIZE, :SIZE, :SIZE].astype(np.float32)
    values = np.full((SIZE,) * 3, -1000.0, dtype=np.float32)
    values[np.hypot(j - 15.5, i - 15.5) < 12] = 40.0
    values[np.hypot(j - 12, i - 18) < 3] = 900.0
    values[np.hypot(j - 20, i - 12) < 3] = -100.0
    return values


GRID = VolumeGeometry.from_spacing((SIZE,) * 3, (2.0, 2.0, 2.0))


def noisy_volume() -> Volume:
    noise = np.random.default_rng(3).normal(0, 25, (SIZE,) * 3)
    return Volume(phantom_hu() + noise, GRID, Unit.HU)


def small_scan(volume: Volume | None = None) -> ProjectionSet:
    truth = Volume(phantom_hu(), GRID, Unit.HU) if volume is None else volume
    scan = ConeBeamGeometry.circular(
        sod_mm=400,
        sdd_mm=600,
        angles_rad=equal_angles(24),
        detector_shape=(40, 48),
        pixel_mm=(3.0, 3.0),
    )
    operator = XrayOperator(scan, GRID)
    mu = np.maximum(truth.to_unit(Unit.PER_MM).values, 0)
    lines = operator.to_numpy(operator(operator.asarray(mu)))
    counts = np.random.default_rng(4).poisson(I0 * np.exp(-lines))
    values = -np.log(np.maximum(counts, 1) / I0)
    return ProjectionSet(values, scan, ProjectionKind.LINE_INTEGRAL, i0=I0)


@pytest.fixture(scope="session")
def volume() -> Volume:
    return noisy_volume()


@pytest.fixture(scope="session")
def projections() -> ProjectionSet:
    return small_scan()


@pytest.fixture(scope="session")
def inputs_for(volume, projections):
    """Return a function from a method to inputs that it can run on."""

    def build(restorer: Restorer) -> Inputs:
        needs = restorer.spec.needs
        if restorer.spec.kind is Kind.DENOISER:
            split = (volume, volume) if Role.SPLIT_VOLUMES in needs.required else None
            return Inputs(volume=volume, split_volumes=split)
        prior = None
        if Role.PRIOR_VOLUME in needs.required:
            prior = Volume(phantom_hu(), GRID, Unit.HU).to_unit(Unit.PER_MM)
        return Inputs(projections=projections, grid=GRID, prior=prior)

    return build
