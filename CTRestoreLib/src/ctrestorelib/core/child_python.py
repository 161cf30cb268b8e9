"""Which Python runs a child process, and in what surroundings (layer: core; standard library).

In a terminal it is the Python that runs the host. Inside Slicer the host may be the application
itself; its Python is then the program PythonSlicer beside it. ``CTRESTORE_PYTHON`` names another.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import ctrestorelib
from ctrestorelib.core.errors import ResourceError

_THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                  "NUMBA_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")  # fmt: skip


def module_command(module: str) -> list[str]:
    """Return the program and arguments that run a module of this library.

    Parameters
    ----------
    module
        Dotted name, such as ``"ctrestorelib.jobs.worker"``.

    Raises
    ------
    ResourceError
        If ``CTRESTORE_PYTHON`` names no program, or the host is Slicer and PythonSlicer is missing.
    """
    return [_python(), "-m", module]


def child_environment(threads: int) -> dict[str, str]:
    """Return the host's environment, changed so that a child finds this very library.

    Parameters
    ----------
    threads
        How many threads the numerical libraries may use.
    """
    package_folder = str(Path(ctrestorelib.__file__).resolve().parents[1])
    paths = [package_folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        **dict.fromkeys(_THREAD_LIMITS, str(threads)),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        # A file random.py in the folder where the host was started must not shadow Python's own.
        "PYTHONSAFEPATH": "1",
    }


def _python() -> str:
    wished = os.environ.get("CTRESTORE_PYTHON")
    if wished:
        return _wished(wished)
    name = Path(sys.executable or "").name.lower()
    if name.startswith("python"):
        return sys.executable
    beside = Path(sys.executable).parent if sys.executable else None
    found = _beside(beside) or shutil.which("PythonSlicer")
    if found:
        return found
    if not name or "slicer" in name:
        message = "The program PythonSlicer, which runs the work for Slicer, was not found."
        hint = (
            "Set the environment variable CTRESTORE_PYTHON to a Python with CTRestore's packages."
        )
        raise ResourceError(message, hint=hint)
    return sys.executable


def _wished(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        message = f"CTRESTORE_PYTHON names {Path(program).name}, which is not a program here."
        raise ResourceError(message, hint="Give the full path of a Python, or unset it.")
    return found


def _beside(folder: Path | None) -> str | None:
    """Look where Slicer keeps it: beside the application, or in the ``bin`` of the installation."""
    if folder is None:
        return None
    places = (folder, folder / "bin", folder.parent / "bin")
    return next((p for f in places if (p := shutil.which("PythonSlicer", path=str(f)))), None)
