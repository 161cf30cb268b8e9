"""Items made in processes: a killed training leaves none behind."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import os, sys, time
from pathlib import Path
from ctrestorelib.training.stored_items import run_tasks

def work(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(120)

if __name__ == "__main__":
    run_tasks(work, sys.argv[1:], 2)
"""


def _until(reached, seconds=60):
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc which processes live")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "make.py"
    script.write_text(SCRIPT)
    files = [tmp_path / "a", tmp_path / "b"]
    parent = subprocess.Popen([sys.executable, str(script), *map(str, files)])
    try:
        _until(lambda: all(f.exists() and f.read_text() for f in files))
    finally:
        parent.kill()
        parent.wait()
    workers = [f.read_text() for f in files]
    _until(lambda: not any(_lives(pid) for pid in workers))


def _lives(pid: str) -> bool:
    """Return whether a process runs; one that ended and that nobody collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.rpartition(")")[2].split()[0] != "Z"
