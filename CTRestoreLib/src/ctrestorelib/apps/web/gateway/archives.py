"""Unpacking a zip archive that somebody sent (layer: apps; standard library only).

The table of contents is judged before a byte is unpacked, and the bytes are counted while they
come out, since a table can lie. A refusal leaves nothing behind.
"""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ctrestorelib.apps.web.gateway.paths import Names, safe_relative
from ctrestorelib.core.errors import InputError

MAX_FILES = 20_000
"""Most files in one archive or one upload."""

MAX_RATIO = 250
"""Unpacked to packed size above which no CT image is; applies above 64 MiB."""

_RATIO_FLOOR = 64 << 20
_BLOCK = 1 << 20
_HINT = "Nothing was stored. Do not open the archive; ask its sender."
_NESTED = (b"PK\x03\x04", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07")


class TooLarge(InputError):  # noqa: N818 - what is said to the person
    """More bytes than this person may store."""


@dataclass(frozen=True)
class Unpacked:
    """What came out of an archive."""

    files: int
    bytes: int


def check_archive(path: Path, *, max_bytes: int) -> list[zipfile.ZipInfo]:
    """Return the members worth unpacking, after a look at the table of contents alone.

    Raises
    ------
    InputError
        If the archive is damaged, encrypted, a bomb, larger than ``max_bytes`` unpacked, or holds
        links, devices, another archive or names that point outside.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not _is_clutter(m)]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        message = "The zip archive is damaged: its table of contents cannot be read."
        raise InputError(message, hint="Copy it again and send it again.") from error
    if len(members) > MAX_FILES:
        message = f"The zip archive holds more than {MAX_FILES} files."
        raise InputError(message, hint="Send one study or one series.")
    for member in members:
        _check_member(member)
    _check_total(members, packed=path.stat().st_size, max_bytes=max_bytes)
    return members


def _is_clutter(member: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    return "__MACOSX" in parts or (bool(parts) and parts[-1] in (".DS_Store", "Thumbs.db"))


def _check_member(member: zipfile.ZipInfo) -> None:
    safe_relative(member.filename)
    if member.flag_bits & 1:
        message = "The zip archive is encrypted."
        raise InputError(message, hint="Unpack it with its password and send the folder.")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        message = "The zip archive holds a link or a device instead of a file."
        raise InputError(message, hint=_HINT)
    if member.filename.lower().endswith((".zip", ".7z", ".rar")):
        raise _nested()
    if member.file_size > _RATIO_FLOOR and member.file_size > MAX_RATIO * member.compress_size:
        raise _bomb(member.compress_size, member.file_size)


def _check_total(members: list[zipfile.ZipInfo], *, packed: int, max_bytes: int) -> None:
    total = sum(member.file_size for member in members)
    if total > _RATIO_FLOOR and total > MAX_RATIO * packed:
        raise _bomb(packed, total)
    if total > max_bytes:
        raise _too_large(max_bytes)


def unpack(
    path: Path, target: Path, *, max_bytes: int, stopped: Callable[[], bool] = lambda: False
) -> Unpacked:
    """Unpack a zip archive into the new folder ``target``; a failure removes that folder.

    Parameters
    ----------
    path
        The archive.
    target
        Folder that does not exist yet.
    max_bytes
        Most bytes that may come out.
    stopped
        Asked between blocks; True ends the work with a refusal.

    Raises
    ------
    InputError
        See :func:`check_archive`; also if a member holds more than the table says.
    """
    members = check_archive(path, max_bytes=max_bytes)
    target.mkdir(mode=0o700)
    names, total = Names(), 0
    try:
        with zipfile.ZipFile(path) as archive:
            for member in members:
                place = target.joinpath(*names.place(safe_relative(member.filename)))
                total += _unpack_member(archive, member, place, max_bytes - total, stopped)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        shutil.rmtree(target, ignore_errors=True)
        message = "A file inside the zip archive cannot be unpacked."
        hint = "It is damaged or packed in a rare way; unpack it with another tool."
        raise InputError(message, hint=hint) from error
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    return Unpacked(len(members), total)


def _unpack_member(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    place: Path,
    max_bytes: int,
    stopped: Callable[[], bool],
) -> int:
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    written = 0
    with archive.open(member) as packed, place.open("xb") as plain:
        while block := packed.read(_BLOCK):
            if written == 0 and block.startswith(_NESTED):
                raise _nested()
            written += len(block)
            if written > max_bytes:
                raise _too_large(max_bytes)
            if stopped():
                raise InputError("The upload was stopped.", hint="Send it again.")  # noqa: EM101
            plain.write(block)
    return written


def _bomb(packed: int, plain: int) -> InputError:
    message = (
        f"The zip archive unpacks from {packed / 1e6:.1f} MB to {plain / 1e6:.0f} MB, "
        "which no CT image does."
    )
    return InputError(message, hint=_HINT)


def _nested() -> InputError:
    message = "The zip archive holds another archive."
    return InputError(message, hint="Unpack it first and send the folder with the images.")


def _too_large(max_bytes: int) -> TooLarge:
    message = f"The zip archive unpacks to more than the {max_bytes / 1e9:.2f} GB that are left."
    return TooLarge(message, hint="Send one series only, or ask the operator for more room.")
