#!/usr/bin/env python3
"""Set up, demonstrate, test and measure CTRestore on a fresh machine.

    python3 Scripts/dev.py demo    set up, then run the main job offline and show a report
    python3 Scripts/dev.py test    set up, then lint, type check, architecture check and all tests
    python3 Scripts/dev.py app     set up, then open CTRestore in a browser
    python3 Scripts/dev.py setup | lint | bench | docs | pictures

Only the standard library is used here, so that it runs with any Python from 3.11 to 3.13 on Linux,
macOS and Windows. Packages go to ``.venv`` in the versions of ``Scripts/constraints.txt``.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
CONSTRAINTS = ROOT / "Scripts" / "constraints.txt"
PROJECT = ROOT / "CTRestoreLib"
STAMP = VENV / "ctrestore-setup.txt"
EXTRAS = "training,accelerated,codecs,rtk,app,pacs,dev"
SOURCES = ["CTRestoreLib/src", "CTRestore", "Testing", "Scripts"]
SYSTEM_PACKAGES = {
    "chromium": "chromium",
    "libOSMesa.so.8": "libosmesa6",
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libfontconfig.so.1": "libfontconfig1",
    "libdbus-1.so.3": "libdbus-1-3",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf": "fonts-dejavu-core",
    "dciodvfy": "dicom3tools",
    "Orthanc": "orthanc",
    "/usr/share/orthanc/plugins/libOrthancDicomWeb.so": "orthanc-dicomweb",
}
"""Command, library or file -> Debian package that brings it; its tests skip where it is absent."""
TEST_RUN = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "--max-worker-restart", "0",
            "-q"]  # fmt: skip
"""Two workers, whole files, in the order that ``Testing/conftest.py`` gives: long files first."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Both workers keep their cores busy; more threads only wait for each other."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="passed on to the command")
    options = parser.parse_args(arguments)
    return COMMANDS[options.command](options.rest)


def setup(_rest: list[str] | None = None) -> int:
    """Make ``.venv`` as pinned; a second call only compares a stamp."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        print(f"The pinned packages need Python 3.11 to 3.13; this is {sys.version.split()[0]}.")
        return 2
    wanted = _stamp()
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text() == wanted:
        return 0
    print("Setting up .venv (about 2 GB; a few minutes the first time) ...", flush=True)
    if VENV.exists() and not STAMP.exists():
        shutil.rmtree(VENV)  # an interrupted set-up
    if not PYTHON.exists():
        venv.create(VENV, with_pip=True)
    environment = {**os.environ, "PIP_CONSTRAINT": str(CONSTRAINTS)}
    target = f"{PROJECT}[{EXTRAS}]"
    # Python compiles what is imported; to compile all of it beforehand takes more than a minute.
    install = ["install", "--quiet", "--disable-pip-version-check", "--no-compile", "-e", target]
    command = [PYTHON, "-m", "pip", *install]
    code = subprocess.call([str(c) for c in command], env=environment, cwd=ROOT)
    if code == 0:
        STAMP.write_text(wanted)
    return code


def _stamp() -> str:
    digest = hashlib.sha256(sys.version.encode() + EXTRAS.encode() + str(ROOT).encode())
    for path in (CONSTRAINTS, PROJECT / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def system_packages() -> None:
    """Install what only Debian's package manager has, as root; else say what is skipped."""
    missing = [p for name, p in SYSTEM_PACKAGES.items() if not _present(name)]
    if not missing:
        return
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        print(f"Installing {', '.join(missing)} with apt-get ...", flush=True)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.call(["apt-get", "update", "-qq"], env=environment, **quiet)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        if subprocess.call(install, env=environment, **quiet) == 0:
            return
    print(f"Without {', '.join(missing)} the tests that need it are skipped.", flush=True)


def _present(name: str) -> bool:
    """Whether a command is on the path, a file exists or a library can be loaded (Linux)."""
    if name.startswith("/"):
        return Path(name).exists() or not sys.platform.startswith("linux")
    if ".so" not in name:
        return shutil.which(name) is not None
    if not sys.platform.startswith("linux"):
        return True
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def demo(rest: list[str]) -> int:
    """Restore and reconstruct a procedural knee (or --input SCAN), and write a report."""
    return setup() or _run([BIN / "ctrestore", "demo", *rest])


def app(rest: list[str]) -> int:
    """Open CTRestore in a browser (arguments go to 'ctrestore app')."""
    return setup() or _run([BIN / "ctrestore", "app", *rest])


def lint(rest: list[str] | None = None) -> int:
    """Check style, types and layers."""
    return setup() or max(_run(check) for check in _checks(rest or []))


def _checks(rest: list[str]) -> list[list[object]]:
    return [
        [PYTHON, "-m", "ruff", "check", *SOURCES, *rest],
        [PYTHON, "-m", "ruff", "format", "--check", *SOURCES],
        [PYTHON, "-m", "mypy"],
        [BIN / "lint-imports"],
    ]


def test(rest: list[str]) -> int:
    """Check style, types, layers, and run all tests (arguments go to pytest)."""
    with ThreadPoolExecutor(1) as beside:
        system = beside.submit(system_packages)
        code = setup()
        system.result()
        if code:
            return code
        checks = beside.submit(lambda: [_heard(check) for check in _checks([])])
        tests = _run([PYTHON, "-m", "pytest", *TEST_RUN, *rest], {**os.environ, **ONE_THREAD})
    failed = 0
    for check, done in zip(_checks([]), checks.result(), strict=True):
        name = " ".join(map(str, check[1:])) or Path(str(check[0])).name
        print(f"\n{name}\n{done.stdout}", end="")
        failed = max(failed, done.returncode)
    return failed or tests


def bench(rest: list[str]) -> int:
    """Run one benchmark (its name) or list them."""
    folder = ROOT / "Testing" / "benchmark"
    scripts = {p.stem: p for p in folder.glob("*.py") if not p.stem.startswith("_")}
    scripts |= {p.parent.name: p.parent for p in folder.glob("*/__main__.py")}
    if not rest or rest[0] not in scripts:
        names = ", ".join(sorted(scripts))
        print(f"Benchmarks: {names}\nRun: python3 Scripts/dev.py bench NAME")
        return 0 if not rest else 2
    return setup() or _run([PYTHON, scripts[rest[0]], *rest[1:]])


def docs(rest: list[str]) -> int:
    """Write the generated pages of Docs/reference (--check compares only)."""
    return setup() or _run([PYTHON, ROOT / "Scripts" / "generate_docs.py", *rest])


def pictures(rest: list[str]) -> int:
    """Draw the module's panels and the browser page into Docs/pictures/slicer and app."""
    scripts = [ROOT / "Scripts" / name for name in ("slicer_pictures.py", "app_pictures.py")]
    return setup() or max(_run([PYTHON, script, *rest]) for script in scripts)


def _run(command: list[object], environment: dict[str, str] | None = None) -> int:
    sys.stdout.flush()
    return subprocess.call([str(c) for c in command], cwd=ROOT, env=environment)


def _heard(command: list[object]) -> subprocess.CompletedProcess[str]:
    """Run a command and keep what it says for later."""
    words = [str(c) for c in command]
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(words, cwd=ROOT, text=True, check=False, **both)


COMMANDS = {
    "setup": setup,
    "demo": demo,
    "app": app,
    "test": test,
    "lint": lint,
    "bench": bench,
    "docs": docs,
    "pictures": pictures,
}

if __name__ == "__main__":
    sys.exit(main())
