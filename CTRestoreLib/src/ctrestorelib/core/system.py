"""What to ask of the operating system: free memory and processes (layer: core; standard library).

Slicer brings no psutil, so the answers come from the system itself where psutil is absent.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from ctrestorelib.core.errors import ResourceError

_MEMINFO = Path("/proc/meminfo")


def available_memory_bytes() -> int:
    """Return the memory that programs can take now without swapping, in bytes.

    Raises
    ------
    ResourceError
        If the system does not tell.
    """
    if importlib.util.find_spec("psutil"):
        import psutil

        return int(psutil.virtual_memory().available)
    return _memory_without_psutil()


def _memory_without_psutil() -> int:
    if sys.platform == "win32":
        return _windows_memory()
    try:
        if sys.platform == "darwin":
            return memory_from_vm_stat(_output_of("vm_stat"))
        if _MEMINFO.exists():
            return memory_from_meminfo(_MEMINFO.read_text(encoding="ascii"))
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        message = f"The system does not tell how much memory is free: {error}."
        hint = "Install the Python package psutil, or give the memory that may be used yourself."
        raise ResourceError(message, hint=hint) from error


def memory_from_meminfo(text: str) -> int:
    """Return the available memory in bytes from the text of Linux' ``/proc/meminfo``."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE)
    if found is None:
        message = "no line MemAvailable"
        raise ValueError(message)
    return int(found[1]) * 1024


def memory_from_vm_stat(text: str) -> int:
    """Return the available memory in bytes from macOS' ``vm_stat``: free and inactive pages."""
    page = re.search(r"page size of (\d+) bytes", text)
    pages = [re.search(rf"^Pages {kind}:\s+(\d+)\.?$", text, re.M) for kind in ("free", "inactive")]
    if page is None or None in pages:
        message = "vm_stat speaks another language"
        raise ValueError(message)
    return int(page[1]) * sum(int(found[1]) for found in pages if found)


def cpu_flags() -> frozenset[str]:
    """Return what the processor can do, by Linux' names; empty where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def process_exists(pid: int) -> bool:
    """Return whether a process runs under this number; one that ended but is unburied does not."""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return _windows_process_exists(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, but there
        return True
    return not _is_zombie(pid)


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with all it started, and wait for its end.

    On POSIX systems a process that leads a session of its own takes its whole group with it.
    """
    if sys.platform == "win32":
        _kill_windows_tree(process)
    else:
        kill_group(process.pid)
    with contextlib.suppress(OSError):
        process.kill()
    process.wait()


def kill_group(pid: int) -> None:
    """Kill all processes of the group that ``pid`` leads or led (POSIX; nothing elsewhere).

    Nothing happens if there is no such group, so a process in its parent's group is left alone.
    """
    if sys.platform != "win32" and pid != os.getpgrp():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _is_zombie(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no /proc on this system, or just gone
        return False
    return text.rpartition(")")[2].split()[:1] == ["Z"]


def _output_of(program: str) -> str:
    done = subprocess.run([program], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout


def _kill_windows_tree(process: subprocess.Popen[bytes]) -> None:
    command = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(command, capture_output=True, check=False, timeout=10)


def _windows_memory() -> int:
    import ctypes

    class Status(ctypes.Structure):
        """MEMORYSTATUSEX of the Windows API."""

        _fields_ = [("length", ctypes.c_uint32), ("load", ctypes.c_uint32)] + [
            (name, ctypes.c_uint64)
            for name in ("total", "available", "page_total", "page_free", "virtual_total",
                         "virtual_free", "extended_free")
        ]  # fmt: skip

    status = Status(length=ctypes.sizeof(Status))
    if not ctypes.CDLL("kernel32").GlobalMemoryStatusEx(ctypes.byref(status)):
        message = "Windows does not tell how much memory is free."
        raise ResourceError(message, hint="Give the memory that may be used yourself.")
    return int(status.available)


def _windows_process_exists(pid: int) -> bool:
    import ctypes

    query, still_active = 0x1000, 259
    kernel = ctypes.CDLL("kernel32")  # a 64-bit system has one calling convention only
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(query, False, pid)
    if not handle:
        return bool(kernel.GetLastError() == 5)  # access denied: somebody else's, but there
    code = ctypes.c_uint32()
    kernel.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(code))
    kernel.CloseHandle(ctypes.c_void_p(handle))
    return code.value == still_active
