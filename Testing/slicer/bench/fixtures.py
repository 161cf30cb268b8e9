"""Pytest fixtures of the bench."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def slicer_bench(slicer_app):
    """Return the bench of this run (one application, one window)."""
    from .bench import Bench

    return Bench(slicer_app)


@pytest.fixture
def bench(slicer_bench, request):
    """Return the bench, empty; the test speaks PythonQt and fails when problems are left."""
    slicer_bench.reset()
    slicer_bench.speak_in(request.path.parent)
    yield slicer_bench
    found = [str(p) for p in slicer_bench.problems]
    slicer_bench.reset()
    assert not found, "\n".join(["the bench found problems:", *found])
