"""Real MRML without a window: slicer-core, and real views drawn in memory by Mesa."""

from __future__ import annotations

import os

# Read when VTK and Qt make their first window, so before either is imported.
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkOSOpenGLRenderWindow")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import importlib.util
import sys
from pathlib import Path

import pytest

_ABSENT = [p for p in ("slicer", "trame_slicer") if importlib.util.find_spec(p) is None]
collect_ignore_glob = ["test_*.py"] if _ABSENT else []

sys.path.insert(0, str(Path(__file__).parent))

from bench.fixtures import bench, slicer_bench  # noqa: E402, F401


def pytest_report_header():
    """Say at the start of the run what is left out and why."""
    if _ABSENT:
        return f"Testing/slicer is left out: {' and '.join(_ABSENT)} not installed here"
    return None


@pytest.fixture(scope="session")
def slicer_app():
    """Return the scene and logics of a Slicer application without Qt (one for the whole run)."""
    import slicer
    from trame_slicer.core.slicer_app import SlicerApp

    app = SlicerApp()
    slicer.mrmlScene = app.scene
    return app


@pytest.fixture
def context(slicer_app):
    """Return an empty scene with its logics."""
    from ctrestorelib.mrml.scene import SceneContext

    slicer_app.scene.Clear(0)
    yield SceneContext(slicer_app.scene, slicer_app.volumes_logic, slicer_app.segmentations_logic)
    slicer_app.scene.Clear(0)
