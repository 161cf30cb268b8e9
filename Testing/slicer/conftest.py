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
_NO_QT = importlib.util.find_spec("PySide6") is None
_ON_THE_BENCH = ["test_bench_*.py", "test_module_*.py"]
collect_ignore_glob = ["test_*.py"] if _ABSENT else _ON_THE_BENCH if _NO_QT else []

sys.path.insert(0, str(Path(__file__).parent))

from bench.fixtures import bench, module, slicer_bench  # noqa: E402, F401
from emptying import empty, keep_in_mind  # noqa: E402


def pytest_report_header():
    """Say at the start of the run what is left out and why."""
    if _ABSENT:
        return f"Testing/slicer is left out: {' and '.join(_ABSENT)} not installed here"
    if _NO_QT:
        return "The module on the Qt test bench is left out: PySide6 not installed here"
    return None


@pytest.fixture(scope="session")
def slicer_app():
    """Return the scene and logics of a Slicer application without Qt (one for the whole run)."""
    import slicer
    from trame_slicer.core.slicer_app import SlicerApp

    app = SlicerApp()
    slicer.mrmlScene = app.scene
    return app


@pytest.fixture(scope="session", autouse=True)
def one_knee_of_a_kind():
    """Compute each synthetic knee once a run; many tests begin with the same one."""
    from ctrestorelib.mrml import samples

    made, compute = {}, samples.knee_phantom

    def knee_phantom(grid, *, seed=0):
        key = (grid.shape, grid.ijk_to_lps.tobytes(), seed)
        if key not in made:
            made[key] = compute(grid, seed=seed)
            made[key].values.setflags(write=False)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "knee_phantom", knee_phantom)
        yield


@pytest.fixture
def context(slicer_app):
    """Return an empty scene with its logics."""
    from ctrestorelib.mrml.scene import SceneContext

    scene = slicer_app.scene
    empty(scene)
    yield SceneContext(scene, slicer_app.volumes_logic, slicer_app.segmentations_logic)
    scene.Clear(0)
    keep_in_mind(scene)


@pytest.fixture
def store(context):
    """Return the settings of the module in an empty scene."""
    from ctrestorelib.mrml.parameters import ParameterStore
    from ctrestorelib.mrml.settings import all_settings

    node = context.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "CTRestore")
    return ParameterStore(node, all_settings())


@pytest.fixture
def session(context, tmp_path, monkeypatch):
    """Return a session whose job folders must be gone at the end."""
    from ctrestorelib.mrml.session import Session

    monkeypatch.setenv("CTRESTORE_JOBS", str(tmp_path / "jobs"))
    made = Session(context)
    yield made
    made.close()
    assert list((tmp_path / "jobs").glob("*")) == [], "a job folder was left behind"
