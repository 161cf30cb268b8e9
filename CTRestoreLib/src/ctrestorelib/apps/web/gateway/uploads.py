"""``POST /upload``: files and folders that a person drops into the page (layer: apps).

The request is a multipart form: for every file a field ``path`` (its place in the dropped folder)
followed by a field ``file``. All of it is written to a hidden folder that becomes visible whole,
or is removed. One request is one upload, answered as::

    {"id": "0f3c...", "files": 212, "bytes": 110304256,
     "items": [{"id": "0f3c.../0", "kind": "folder", "files": 212, "bytes": 110304256}]}

``paths.find_upload`` turns an id into a path. A top-level ``.zip`` is unpacked and counts as a
folder. The limit holds for all that a person keeps in ``uploads/``, unpacked.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from aiohttp import BodyPartReader, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from ctrestorelib.apps.web.gateway.archives import MAX_FILES, TooLarge, check_archive, unpack
from ctrestorelib.apps.web.gateway.paths import Names, entries_of, safe_relative
from ctrestorelib.apps.web.gateway.sessions import Session
from ctrestorelib.core.errors import CTRestoreError, InputError, ResourceError

T = TypeVar("T")

_BLOCK = 1 << 20
_FORM_BYTES = 1 << 12  # what a form adds for each file: headers, boundaries, the path
_MAX_PATH_BYTES = 1 << 13
_SPARE_DISK = 512 << 20
_STALL_S = 120.0  # a connection that fell asleep must not keep a session from being wiped


@dataclass(frozen=True)
class Limits:
    """What a person may still upload.

    Parameters
    ----------
    max_bytes
        Most bytes in ``uploads/``, the operator's setting.
    left_bytes
        What is left of it, or of the disk.
    """

    max_bytes: int
    left_bytes: int

    def to_json(self) -> dict[str, int]:
        """Return plain values, for the page to refuse early."""
        return {
            "max_bytes": self.max_bytes,
            "left_bytes": self.left_bytes,
            "max_files": MAX_FILES,
        }


def limits_of(folder: Path, max_bytes: int) -> Limits:
    """Return what may still be stored for a person's folder."""
    _files, used = _measure(folder / "uploads")
    free = shutil.disk_usage(folder).free - _SPARE_DISK
    return Limits(max_bytes, max(0, min(max_bytes - used, free)))


def refuse_declared(request: web.Request, limits: Limits) -> None:
    """Refuse a request whose declared length alone is too much; nothing of it is read.

    Raises
    ------
    TooLarge
        If it is.
    """
    declared = request.content_length or 0
    if declared > limits.left_bytes + _FORM_BYTES * MAX_FILES:
        raise _too_large(limits, declared)


async def receive(request: web.Request, session: Session, limits: Limits) -> dict[str, Any]:
    """Store an upload and return what is told about it.

    Raises
    ------
    TooLarge
        If it is larger than what is left; checked while it comes in.
    InputError
        If the form, a name or an archive cannot be accepted.
    ResourceError
        If the disk is full. After any of these nothing of the upload is left.
    """
    uploads = session.folder / "uploads"
    upload_id = secrets.token_hex(8)
    hidden = uploads / f".new-{upload_id}"
    try:
        hidden.mkdir(mode=0o700)
        arrival = _Arrival(hidden, limits, session)
        await arrival.read(request)
        await asyncio.to_thread(arrival.open_archives)
        await asyncio.to_thread(hidden.rename, uploads / upload_id)
    except OSError as error:
        raise storage_error(error) from error
    finally:
        await asyncio.to_thread(shutil.rmtree, hidden, ignore_errors=True)
    return await asyncio.to_thread(_summary, uploads / upload_id)


@dataclass
class _Arrival:
    """The files of one request, on their way into a hidden folder."""

    folder: Path
    limits: Limits
    session: Session
    names: Names = field(default_factory=Names)
    files: int = 0
    bytes: int = 0

    async def read(self, request: web.Request) -> None:
        """Write every file of the form."""
        path = ""
        async for part in _parts_of(request):
            if part.name == "path":
                path = await _text_of(part)
            elif part.name == "file":
                await self._write(part, path or part.filename or "")
                path = ""
            else:
                message = "The upload has a field other than 'path' and 'file'."
                raise InputError(message, hint="Use the upload of the page.")
        if self.files == 0:
            message = "The upload holds no file."
            raise InputError(message, hint="Choose a file or a folder that is not empty.")

    async def _write(self, part: BodyPartReader, path: str) -> None:
        self.files += 1
        if self.files > MAX_FILES:
            message = f"The upload holds more than {MAX_FILES} files."
            raise InputError(message, hint="Send one study or one series.")
        place = self.folder.joinpath(*self.names.place(safe_relative(path)))
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with place.open("xb") as file:
            await self._copy(part, file)

    async def _copy(self, part: BodyPartReader, file: BinaryIO) -> None:
        waiting = bytearray()
        while block := await _in_time(part.read_chunk(1 << 17)):
            self.bytes += len(block)
            if self.bytes > self.limits.left_bytes:
                raise _too_large(self.limits, None)
            self._check_session()
            waiting += block
            if len(waiting) >= _BLOCK:
                await asyncio.to_thread(file.write, bytes(waiting))
                waiting.clear()
        file.write(waiting)

    def _check_session(self) -> None:
        self.session.touch()
        if not self.session.takes_a_place:
            message = "The session ended during the upload."
            raise InputError(message, hint="Start a new session and send the files again.")

    def open_archives(self) -> None:
        """Unpack the zip archives at the top; only look at those deeper down."""
        left = self.limits.left_bytes - self.bytes
        for path in sorted(self.folder.rglob("*")):
            if path.suffix.lower() not in (".zip", ".mrb") or not path.is_file():
                continue
            if path.suffix.lower() == ".mrb" or path.parent != self.folder:
                check_archive(path, max_bytes=self.limits.left_bytes)
                continue
            (name,) = self.names.place((path.stem or "archive",))
            done = unpack(path, self.folder / name, max_bytes=left, stopped=self._is_over)
            left -= done.bytes
            path.unlink()

    def _is_over(self) -> bool:
        return not self.session.takes_a_place


async def _parts_of(request: web.Request) -> AsyncIterator[BodyPartReader]:
    if request.content_type != "multipart/form-data":
        message = "The upload is not a form with files (multipart/form-data)."
        raise InputError(message, hint="Use the upload of the page.")
    reader = await _in_time(request.multipart())
    while (part := await _in_time(reader.next())) is not None:
        if not isinstance(part, BodyPartReader) or hdrs.CONTENT_ENCODING in part.headers:
            raise _broken_form()
        yield part


async def _in_time(reading: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(reading, _STALL_S)
    except asyncio.TimeoutError as error:
        message = f"Nothing of the upload arrived for {_STALL_S:g} seconds."
        raise InputError(message, hint="Check the connection and send the files again.") from error
    except (ValueError, AssertionError, HttpProcessingError) as error:
        raise _broken_form() from error


async def _text_of(part: BodyPartReader) -> str:
    text = b""
    while block := await _in_time(part.read_chunk(1 << 12)):
        text += block
        if len(text) > _MAX_PATH_BYTES:
            raise _broken_form()
    return text.decode("utf-8", errors="replace")


def _summary(upload: Path) -> dict[str, Any]:
    items = []
    for number, entry in enumerate(entries_of(upload)):
        files, size = _measure(entry)
        kind = "folder" if entry.is_dir() else "file"
        items.append({"id": f"{upload.name}/{number}", "kind": kind, "files": files, "bytes": size})
    return {
        "id": upload.name,
        "files": sum(item["files"] for item in items),
        "bytes": sum(item["bytes"] for item in items),
        "items": items,
    }


def _measure(path: Path) -> tuple[int, int]:
    if path.is_file():
        return 1, path.stat().st_size
    files = size = 0
    for folder, _subfolders, names in os.walk(path):
        files += len(names)
        size += sum((Path(folder) / name).lstat().st_size for name in names)
    return files, size


def refusal(error: CTRestoreError) -> web.Response:
    """Return the answer to an upload that is not accepted: a sentence and what to do."""
    status = 413 if isinstance(error, TooLarge) else 507 if error.exit_code == 4 else 422
    response = web.json_response({"error": error.to_json()}, status=status)
    response.force_close()  # the rest of the request is not wanted
    return response


def _too_large(limits: Limits, declared: int | None) -> TooLarge:
    size = "The upload" if declared is None else f"The upload of {declared / 1e9:.2f} GB"
    message = (
        f"{size} is larger than the {limits.left_bytes / 1e9:.2f} GB that are left "
        f"(of {limits.max_bytes / 1e9:.2f} GB for one person). Nothing was stored."
    )
    hint = "Send one series, or ask the operator to raise --max-upload-gb or to name a --root."
    return TooLarge(message, hint=hint)


def _broken_form() -> InputError:
    message = "The upload is damaged: its parts cannot be told apart."
    return InputError(message, hint="Send it again.")


def storage_error(error: OSError) -> ResourceError:
    """Return what to say when the disk does not take an upload."""
    message = f"The upload cannot be stored: {error.strerror or 'the disk refuses it'}."
    return ResourceError(message, hint="Ask the operator to free some disk space.")
