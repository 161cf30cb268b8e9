"""Pytest fixtures of the bench."""

from __future__ import annotations

from pathlib import Path

import pytest

MODULE = Path(__file__).parents[3] / "CTRestore" / "CTRestore.py"


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


@pytest.fixture
def module(bench, tmp_path, monkeypatch):
    """Return the module's widget object with an empty scene; no job folder may stay behind."""
    monkeypatch.setenv("CTRESTORE_JOBS", str(tmp_path / "jobs"))
    monkeypatch.setenv("CTRESTORE_PRESETS", str(tmp_path / "presets"))
    widget = bench.load_module(MODULE)
    yield widget
    bench.unload_module()
    assert list((tmp_path / "jobs").glob("*")) == []
