"""Writing files so that nothing is ever half-written (layer: core; standard library only)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ctrestorelib.core.errors import ResourceError


@contextmanager
def atomic_path(path: Path) -> Generator[Path, None, None]:
    """Yield a temporary path beside ``path``; rename it into place when the block succeeds.

    The temporary file keeps all suffixes of the target (writers choose the format by them). If the
    block fails, the temporary file is removed and an existing target stays as it was.

    Raises
    ------
    ResourceError
        If the folder cannot be written to or the disk is full.
    """
    suffixes = "".join(path.suffixes[-2:])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".ctrestore-", suffix=suffixes, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _disk_error(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        _keep_umask(temporary)
        temporary.replace(path)
    except OSError as error:
        raise _disk_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _disk_error(path: Path, error: OSError) -> ResourceError:
    message = f"Cannot write {path.name}: {error.strerror or error}."
    hint = "Check free space and write permission of the output folder; nothing was changed."
    return ResourceError(message, hint=hint)


def _keep_umask(path: Path) -> None:
    # mkstemp makes private files; a result should get the permissions of any new file.
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)
