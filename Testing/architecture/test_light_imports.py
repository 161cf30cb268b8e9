"""Knowing is cheaper than doing: listing and describing load no heavy library."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {"torch", "numba", "scipy", "skimage", "SimpleITK", "pydicom", "h5py", "onnxruntime", "itk"}


def loaded_by(code: str) -> set[str]:
    """Return the heavy packages in sys.modules after running code in a fresh interpreter."""
    script = f"{code}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    return {name.split(".")[0] for name in json.loads(out.splitlines()[-1])} & HEAVY


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import ctrestorelib") == set()


def test_listing_and_describing_methods_loads_nothing_heavy():
    code = (
        "from ctrestorelib.methods.registry import all_methods\n"
        "[r.spec.to_json(r.Params) for r in all_methods().values()]"
    )
    assert loaded_by(code) == set()


def test_the_list_command_loads_nothing_heavy():
    code = (
        "from ctrestorelib.apps.cli.main import cli\n"
        "cli.main(['list', '--json'], standalone_mode=False)"
    )
    assert loaded_by(code) == set()


def test_planning_a_denoiser_does_not_load_torch():
    code = (
        "from ctrestorelib.methods.registry import all_methods\n"
        "from ctrestorelib.restorer.plan import Budget, InputShapes\n"
        "[r.plan(InputShapes(volume=(64, 64, 64)), r.Params(), Budget(2**34)) "
        "for r in all_methods().values() if r.spec.kind.value == 'denoiser']"
    )
    assert "torch" not in loaded_by(code)
