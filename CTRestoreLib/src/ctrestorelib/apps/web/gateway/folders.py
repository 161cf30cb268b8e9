"""The private folders of all people, and that nothing of them stays (layer: apps).

All folders lie under one folder that belongs to the running gateway. The gateway holds a lock on
a file in it for as long as it lives, so a later gateway can tell a folder in use from one that a
crash left behind, and wipes the latter.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from ctrestorelib.core.errors import ResourceError

PREFIX = "ctrestore-app-"
PARTS = ("uploads", "downloads", "jobs", "tmp")
"""What every person's folder holds."""

_LOCK = "owner.lock"
_YOUNG_S = 60.0  # a folder without a lock this young is being made right now


class DataRoot:
    """The folder over all people's folders; only this user of the machine can look inside.

    Parameters
    ----------
    parent
        Where to make it; the system's temporary folder by default (``TMPDIR``).

    Raises
    ------
    ResourceError
        If the folder cannot be made.
    """

    def __init__(self, parent: Path | None = None) -> None:
        parent = parent or Path(tempfile.gettempdir())
        try:
            sweep(parent)
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))  # mode 0700
            self._lock = _locked(self.path / _LOCK)
        except OSError as error:
            message = f"No folder for the data of the page: {error.strerror or error}."
            hint = "Free some space, or set TMPDIR to a folder that can be written to."
            raise ResourceError(message, hint=hint) from error

    def new_folder(self) -> Path:
        """Return a new private folder with ``uploads/``, ``downloads/``, ``jobs/`` and ``tmp/``."""
        folder = Path(tempfile.mkdtemp(prefix="user-", dir=self.path))
        for name in PARTS:
            (folder / name).mkdir(mode=0o700)
        return folder

    def close(self) -> None:
        """Wipe everything; calling it again does nothing."""
        with contextlib.suppress(OSError):
            os.close(self._lock)
        self._lock = -1
        wipe(self.path)


def wipe(folder: Path) -> None:
    """Remove a folder and all in it; what a dying process still writes is removed as well."""
    for _ in range(5):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def sweep(parent: Path) -> list[Path]:
    """Wipe the folders of gateways that are gone; return them. Other people's are left alone."""
    gone = [folder for folder in parent.glob(f"{PREFIX}*") if _is_abandoned(folder)]
    for folder in gone:
        wipe(folder)
    return gone


def _is_abandoned(folder: Path) -> bool:
    try:
        if folder.is_symlink() or not folder.is_dir() or not _is_ours(folder):
            return False
        lock = folder / _LOCK
        if not lock.exists():
            return time.time() - folder.stat().st_mtime > _YOUNG_S
        return _lock_is_free(lock)
    except OSError:
        return False


def _is_ours(folder: Path) -> bool:
    return sys.platform == "win32" or folder.stat().st_uid == os.getuid()


if sys.platform == "win32":

    def _locked(path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT)

    def _lock_is_free(path: Path) -> bool:
        try:
            path.unlink()  # refused while somebody has it open
        except OSError:
            return False
        return True

else:
    import fcntl

    def _locked(path: Path) -> int:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle

    def _lock_is_free(path: Path) -> bool:
        handle = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(handle)
        return True
