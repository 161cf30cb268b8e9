"""Which archive has acknowledged which instance: a file that survives a crash (layer: pacs).

One JSON object a line, appended and flushed to the disk before the next instance is sent, so the
journal never claims more than an archive has said. It holds UIDs and the archive's address, no
patient data, and only its owner can read it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ctrestorelib.core.errors import InputError, ResourceError
from ctrestorelib.pacs.results import InstanceResult

FORMAT = "ctrestore-sent"


def journal_beside(folder: Path) -> Path:
    """Return the usual place: ``knee`` -> ``knee.sent.jsonl`` in the same parent folder."""
    whole = folder.resolve()
    return whole.with_name(whole.name + ".sent.jsonl")


class Journal:
    """Acknowledgements of one folder, by any number of archives.

    Parameters
    ----------
    path
        The file; made with the first record.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def acknowledged(self, peer: str) -> frozenset[str]:
        """Return the SOP instance UIDs that a peer has acknowledged.

        Raises
        ------
        InputError
            If the file is not a journal of ours.
        """
        return frozenset(str(r["uid"]) for r in self._records() if r["peer"] == peer)

    def add(self, peer: str, result: InstanceResult) -> None:
        """Record that a peer has acknowledged an instance.

        Raises
        ------
        ResourceError
            If the file cannot be written.
        """
        record = {
            "format": FORMAT, "peer": peer, "uid": result.instance.uid, "status": result.status,
        }  # fmt: skip
        try:
            self._append(json.dumps(record))
        except OSError as error:
            message = f"The journal of the transfer cannot be written: {error.strerror or error}."
            hint = "Give a file in a folder that you may write to with --journal."
            raise ResourceError(message, hint=hint) from error

    def _append(self, line: str) -> None:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            end = os.lseek(handle, 0, os.SEEK_END)
            if end:
                os.lseek(handle, end - 1, os.SEEK_SET)
                # A crash may have left half a line; it must not swallow this one.
                line = line if os.read(handle, 1) == b"\n" else "\n" + line
            os.write(handle, (line + "\n").encode("ascii"))
            os.fsync(handle)
        finally:
            os.close(handle)

    def _records(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        try:
            lines = self.path.read_text(encoding="ascii").split("\n")
        except (OSError, UnicodeDecodeError):
            raise self._foreign() from None
        for number, line in enumerate(lines):
            record = _parsed(line)
            if record is not None:
                yield record
            elif line and number == 0 and len(lines) > 1:
                raise self._foreign()

    def _foreign(self) -> InputError:
        message = f"The file {self.path.suffix or 'given'} is no journal of a transfer."
        return InputError(message, hint="Give another file with --journal, or remove it.")


def _parsed(line: str) -> dict[str, Any] | None:
    """Return a line's record; None for half a line or a foreign one."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    usable = isinstance(record, dict) and record.get("format") == FORMAT
    return record if usable and {"peer", "uid"} <= record.keys() else None
