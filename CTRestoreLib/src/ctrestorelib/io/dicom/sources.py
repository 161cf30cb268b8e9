"""The files that may be DICOM: of a folder, of a zip archive, or one file (layer: io).

Archives are read in memory, member by member; nothing is unpacked to the disk, and the names of
members serve only to tell folders apart.
"""

from __future__ import annotations

import io
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.system import available_memory_bytes

MAX_FILES = 50_000
MAX_MEMBER_BYTES = 4 << 30
MAX_ARCHIVE_BYTES = 64 << 30
_BOMB_RATIO, _BOMB_FLOOR = 100, 64 << 20
# LZMA may ask for 4 GiB of memory before the first byte comes out.
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError,
               LookupError, OverflowError, struct.error, zlib.error, lzma.LZMAError)  # fmt: skip
_MANY_HINT = "Name the folder of one study or of one series."


class Source(Protocol):
    """One file that may be DICOM."""

    @property
    def folder(self) -> str:
        """Where the file lies; tells copies in two folders apart and is never shown."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def open(self) -> BinaryIO:
        """Return a seekable stream whose reads never allocate more than the file holds."""


class BoundedReader(io.BufferedReader):
    """A file whose ``read(n)`` asks for no more than is left, whatever length a header claims."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._size = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most ``size`` bytes, or all that is left."""
        left = max(0, self._size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


@dataclass(frozen=True)
class FileSource:
    """A file on the disk."""

    path: Path
    folder: str
    size: int

    def open(self) -> BinaryIO:
        """Open the file."""
        return BoundedReader(self.path)


@dataclass(frozen=True)
class ZipSource:
    """A member of an open zip archive."""

    archive: zipfile.ZipFile
    member: zipfile.ZipInfo

    @property
    def folder(self) -> str:
        """The member's folder in the archive."""
        return str(PurePosixPath(self.member.filename).parent)

    @property
    def size(self) -> int:
        """Unpacked length that the archive states; reading never gives more."""
        return self.member.file_size

    def open(self) -> BinaryIO:
        """Unpack the member into memory."""
        try:
            with self.archive.open(self.member) as stream:
                return io.BytesIO(stream.read())
        except _ZIP_ERRORS as error:
            message = "A file inside the zip archive cannot be unpacked."
            hint = "It is damaged, encrypted or packed in a rare way; unpack it with another tool."
            raise InputError(message, hint=hint) from error


@contextmanager
def open_sources(path: Path) -> Generator[list[Source], None, None]:
    """Yield the files of a folder (with its subfolders), of a zip archive, or the one file.

    Raises
    ------
    InputError
        If the path does not exist, holds too many files, or is an archive that cannot be read
        safely.
    """
    if not path.exists():
        message = "The DICOM folder or file does not exist."
        raise InputError(message, hint="Check the path.")
    if path.is_dir():
        yield list(_folder_sources(path))
    elif zipfile.is_zipfile(path):
        with _open_zip(path) as archive:
            yield list(_zip_sources(archive))
    else:
        yield [FileSource(path, "", path.stat().st_size)]


def _folder_sources(root: Path) -> Iterator[Source]:
    for path in _limited(_walk(root)):
        yield FileSource(path, str(path.parent), path.stat().st_size)


def _walk(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root, followlinks=False):
        subfolders[:] = sorted(s for s in subfolders if not s.startswith((".", "__MACOSX")))
        for name in sorted(names):
            path = Path(folder) / name
            if not name.startswith(".") and path.is_file():
                yield path


def _limited(paths: Iterable[Path]) -> Iterator[Path]:
    for count, path in enumerate(paths):
        if count >= MAX_FILES:
            message = f"The folder holds more than {MAX_FILES} files."
            raise InputError(message, hint=_MANY_HINT)
        yield path


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except _ZIP_ERRORS as error:
        message = "The zip archive is damaged: its table of contents cannot be read."
        raise InputError(message, hint="Copy or download it again.") from error


def _zip_sources(archive: zipfile.ZipFile) -> Iterator[Source]:
    members = [
        m
        for m in archive.infolist()
        if m.filename and not m.is_dir() and not _is_clutter(m.filename)
    ]
    if len(members) > MAX_FILES:
        message = f"The zip archive holds more than {MAX_FILES} files."
        raise InputError(message, hint=_MANY_HINT)
    if sum(m.file_size for m in members) > MAX_ARCHIVE_BYTES:
        message = f"The zip archive unpacks to more than {MAX_ARCHIVE_BYTES >> 30} GiB."
        raise InputError(message, hint=_MANY_HINT)
    packed = max(_size_of(archive), 1)
    unpacked = sum(m.file_size for m in members)
    if unpacked > _BOMB_FLOOR and unpacked > _BOMB_RATIO * packed:
        raise _bomb(packed, unpacked, "The zip archive")
    for member in members:
        _check_member(member, packed)
        yield ZipSource(archive, member)


def _is_clutter(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return not parts or "__MACOSX" in parts or parts[-1].startswith(".")


def _size_of(archive: zipfile.ZipFile) -> int:
    """Return the length of the archive itself: members may share their packed bytes."""
    return Path(archive.filename).stat().st_size if archive.filename else 0


def _check_member(member: zipfile.ZipInfo, archive_bytes: int) -> None:
    if member.flag_bits & 1:
        message = "The zip archive is encrypted."
        raise InputError(message, hint="Unpack it with its password and name the folder.")
    if member.compress_type not in _PACKINGS:
        message = "The zip archive is packed in a rare way (not by deflate)."
        raise InputError(message, hint="Unpack it with another tool and name the folder.")
    if member.compress_size > archive_bytes:
        message = "The zip archive is damaged: a file in it claims to be larger than the archive."
        raise InputError(message, hint="Copy or download it again.")
    ratio = member.file_size / max(member.compress_size, 1)
    bomb = member.file_size > _BOMB_FLOOR and ratio > _BOMB_RATIO
    if bomb or member.file_size > MAX_MEMBER_BYTES:
        raise _bomb(member.compress_size, member.file_size, "A file in the zip archive")
    if member.file_size > max(_BOMB_FLOOR, available_memory_bytes() // 2):
        message = f"A file in the zip archive needs {member.file_size / 1e9:.1f} GB of memory."
        raise InputError(message, hint="Unpack the archive and name the folder.")


def _bomb(packed: int, unpacked: int, what: str) -> InputError:
    message = (
        f"{what} unpacks from {packed / 1e6:.1f} MB to {unpacked / 1e6:.0f} MB, which no CT "
        "image does."
    )
    return InputError(message, hint="Do not open the archive; ask its sender.")
