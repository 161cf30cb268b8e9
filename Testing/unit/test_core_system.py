"""Free memory, processes and which Python works: with psutil and without, in Slicer and outside."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core import child_python, system
from ctrestorelib.core.child_python import child_environment, module_command
from ctrestorelib.core.errors import InputError, ResourceError
from ctrestorelib.core.system import (
    available_memory_bytes,
    kill_group,
    kill_tree,
    memory_from_meminfo,
    memory_from_vm_stat,
    process_exists,
)
from ctrestorelib.recon.arrays import namespace
from ctrestorelib.restorer.plan import Budget

WORKER = "ctrestorelib.jobs.worker"

posix_only = pytest.mark.skipif(os.name == "nt", reason="process groups are a POSIX idea")


def spawn(code: str, **options) -> subprocess.Popen[bytes]:
    script = textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, **options)


def soon(condition, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_both_ways_see_the_same_memory(monkeypatch):
    psutil = pytest.importorskip("psutil")
    with_psutil = available_memory_bytes()
    monkeypatch.setattr(system.importlib.util, "find_spec", lambda _name: None)
    without = available_memory_bytes()
    assert 0 < without < psutil.virtual_memory().total
    assert abs(with_psutil - without) < 0.1 * psutil.virtual_memory().total
    assert Budget.detect().host_bytes > 0


def test_meminfo_is_read():
    text = "MemTotal: 16000 kB\nMemFree:  1000 kB\nMemAvailable:    2048 kB\nCached: 7 kB\n"
    assert memory_from_meminfo(text) == 2048 * 1024
    with pytest.raises(ValueError, match="MemAvailable"):
        memory_from_meminfo("MemTotal: 1 kB\n")


def test_vm_stat_is_read():
    text = textwrap.dedent(
        """\
        Mach Virtual Memory Statistics: (page size of 16384 bytes)
        Pages free:                               10000.
        Pages active:                            300000.
        Pages inactive:                           20000.
        Pages speculative:                         5000.
        """
    )
    assert memory_from_vm_stat(text) == 30000 * 16384
    with pytest.raises(ValueError, match="another language"):
        memory_from_vm_stat("Pages free: 10.\n")


def test_a_system_that_does_not_tell_is_an_error_with_a_way_out(monkeypatch, tmp_path):
    monkeypatch.setattr(system.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(system, "_MEMINFO", tmp_path / "meminfo")
    (tmp_path / "meminfo").write_text("nothing of use\n")
    with pytest.raises(ResourceError, match="does not tell") as caught:
        available_memory_bytes()
    assert "psutil" in caught.value.hint


@posix_only
def test_a_process_exists_until_it_ends():
    assert process_exists(os.getpid())
    assert process_exists(os.getppid())
    assert not process_exists(0)
    assert not process_exists(-1)
    process = spawn("pass")
    assert soon(lambda: not process_exists(process.pid))  # ended, though nobody has waited for it
    process.wait()
    assert not process_exists(process.pid)


@posix_only
def test_killing_takes_grandchildren_along():
    process = spawn(
        """
        import subprocess, sys, time
        inner = "import time; time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", inner])
        print(child.pid, flush=True)
        time.sleep(600)
        """,
        start_new_session=True,
    )
    grandchild = int(process.stdout.readline())
    assert process_exists(grandchild)
    kill_tree(process)
    assert process.returncode is not None
    assert soon(lambda: not process_exists(grandchild))


@posix_only
def test_killing_a_process_in_our_group_spares_the_group():
    process = spawn("import time; time.sleep(600)")
    beside = spawn("import time; time.sleep(600)")
    kill_tree(process)
    assert process.returncode == -9
    assert process_exists(beside.pid)
    kill_group(os.getpgrp())  # our own: nothing happens
    kill_tree(beside)


class TestPython:
    """``module_command`` and ``child_environment``."""

    @pytest.fixture(autouse=True)
    def clean(self, monkeypatch, tmp_path):
        monkeypatch.delenv("CTRESTORE_PYTHON", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))

    @staticmethod
    def program(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return path

    @pytest.mark.parametrize("name", ["python", "python3.12", "Python", "PythonSlicer",
                                      "python-real"])  # fmt: skip
    def test_a_python_host_uses_its_own(self, monkeypatch, tmp_path, name):
        monkeypatch.setattr(sys, "executable", str(tmp_path / name))
        assert module_command(WORKER) == [
            str(tmp_path / name),
            "-m",
            "ctrestorelib.jobs.worker",
        ]

    @pytest.mark.parametrize("host", ["bin/SlicerApp-real", "Slicer"])
    def test_inside_slicer_its_python_is_found(self, monkeypatch, tmp_path, host):
        wanted = self.program(tmp_path / "bin" / "PythonSlicer")
        monkeypatch.setattr(sys, "executable", str(tmp_path / host))
        assert Path(module_command(WORKER)[0]).resolve() == wanted.resolve()

    def test_inside_slicer_the_path_is_searched_too(self, monkeypatch, tmp_path):
        wanted = self.program(tmp_path / "elsewhere" / "PythonSlicer")
        monkeypatch.setenv("PATH", str(wanted.parent))
        monkeypatch.setattr(sys, "executable", str(tmp_path / "app" / "SlicerApp-real"))
        assert module_command(WORKER)[0] == str(wanted)

    @pytest.mark.parametrize("host", ["/opt/Slicer/SlicerApp-real", "", None])
    def test_never_starts_a_second_slicer(self, monkeypatch, host):
        monkeypatch.setattr(sys, "executable", host)
        with pytest.raises(ResourceError, match="PythonSlicer") as caught:
            module_command(WORKER)
        assert "CTRESTORE_PYTHON" in caught.value.hint

    def test_any_other_interpreter_is_taken_as_it_is(self, monkeypatch):
        monkeypatch.setattr(sys, "executable", "/usr/bin/pypy3")
        assert module_command(WORKER)[0] == "/usr/bin/pypy3"

    def test_the_person_may_name_one(self, monkeypatch, tmp_path):
        wanted = self.program(tmp_path / "my" / "interpreter")
        monkeypatch.setenv("CTRESTORE_PYTHON", str(wanted))
        assert module_command(WORKER)[0] == str(wanted)
        monkeypatch.setenv("CTRESTORE_PYTHON", str(tmp_path / "gone"))
        with pytest.raises(ResourceError, match="CTRESTORE_PYTHON names gone") as caught:
            module_command(WORKER)
        assert str(tmp_path) not in str(caught.value)

    def test_the_environment_leads_to_this_library(self, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", "/some/where")
        found = child_environment(3)
        library = Path(child_python.ctrestorelib.__file__).parents[1]
        assert found["PYTHONPATH"] == os.pathsep.join([str(library), "/some/where"])
        assert {found[n] for n in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")} == {"3"}
        assert (found["PYTHONUNBUFFERED"], found["PYTHONIOENCODING"]) == ("1", "utf-8")
        monkeypatch.delenv("PYTHONPATH")
        assert child_environment(1)["PYTHONPATH"] == str(library)
        assert "PYTHONSAFEPATH" not in os.environ


def test_the_library_of_an_array_is_known_without_helpers():
    torch = pytest.importorskip("torch")
    assert namespace(np.zeros(2)) is np
    assert namespace(torch.zeros(2)) is torch
    with pytest.raises(InputError, match="got list"):
        namespace([1, 2])
