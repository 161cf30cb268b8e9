"""cmake configures the extension, with stand-ins for Slicer's macros: nothing is left out."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAND_IN = Path(__file__).parent / "cmake"
_ABSENT = [tool for tool in ("cmake", "cc", "c++") if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(
    bool(_ABSENT), reason=f"not installed: {_ABSENT} (Debian packages 'cmake', 'g++')"
)


@pytest.fixture(scope="module")
def packaged(tmp_path_factory):
    """Configure the extension; return the packaged files by kind."""
    build = tmp_path_factory.mktemp("build")
    command = ["cmake", "-S", ROOT, "-B", build, f"-DSlicer_DIR={STAND_IN}"]
    done = subprocess.run(
        [*map(str, command), "-DBUILD_TESTING=ON"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (build / "packaged.txt").read_text().splitlines()
    out: dict[str, set[Path]] = {}
    for line in lines:
        kind, path = line.split("\t")
        out.setdefault(kind, set()).add(Path(path))
    return out


def test_the_module_and_its_test_are_packaged(packaged):
    folder = ROOT / "CTRestore"
    wanted = {p for pattern in ("*.py", "*.ui", "*.txt", "*.png", "*.svg")
              for p in folder.rglob(pattern)}  # fmt: skip
    wanted -= {folder / "CMakeLists.txt"}
    assert packaged["module"] == wanted
    assert packaged["test"] == {folder / "CTRestore.py"}


def test_the_whole_backend_is_bundled(packaged):
    source = ROOT / "CTRestoreLib" / "src" / "ctrestorelib"
    files = [p for p in source.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    missing = sorted(str(p.relative_to(source)) for p in set(files) - packaged["backend"])
    assert missing == []
