"""The outermost layer of a DICOM file: preamble, transfer syntax, deflation (layer: io).

Deflated files are inflated here under a cap, because pydicom inflates without one; files without
preamble get one, so that everything further in sees ordinary files.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from ctrestorelib.core.errors import InputError
from ctrestorelib.io.dicom.meter import too_many_parts
from ctrestorelib.io.dicom.sources import Source

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
NATIVE = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED)
"""Transfer syntaxes whose pixel values are plain numbers (once a deflated file is inflated)."""

_INFLATE_FLOOR, _INFLATE_RATIO, _INFLATE_CEILING = 64 << 20, 64, 2 << 30
# Files that do not name their encoding are held in memory twice.
_UNNAMED_CEILING = 256 << 20
_MAX_META_ELEMENTS = 1000
_UID = re.compile(r"[0-9.]{0,64}")
_LONG_VRS = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT")


@dataclass(frozen=True)
class Container:
    """An opened DICOM file.

    Parameters
    ----------
    stream
        The file with preamble; inflated where it was deflated.
    transfer_syntax
        UID of the encoding that ``stream`` has.
    assumed
        Whether the encoding is a guess because the file states none.
    """

    stream: BinaryIO
    transfer_syntax: str
    assumed: bool


def open_container(source: Source) -> Container | None:
    """Open a file if it is DICOM, otherwise return None.

    Raises
    ------
    InputError
        If a deflated file would inflate without bound, or a huge file does not name its encoding.
    """
    stream = source.open()
    head = stream.read(132)
    if head[128:] == b"DICM":
        return _with_meta(stream, 132)
    stream.seek(0)
    if _looks_like_dataset(head) and source.size < _UNNAMED_CEILING:
        return _without_preamble(stream.read())
    stream.close()
    return None


def _with_meta(stream: BinaryIO, start: int) -> Container | None:
    syntax, end = _read_meta(stream, start)
    stream.seek(end)
    if syntax == DEFLATED:
        inflated = _inflate(stream.read())
        stream.close()
        return Container(_rebuilt(EXPLICIT_LITTLE, inflated), EXPLICIT_LITTLE, assumed=False)
    if syntax:
        stream.seek(0)
        return Container(stream, syntax, assumed=False)
    body = stream.read(_UNNAMED_CEILING + 1)
    if len(body) > _UNNAMED_CEILING:
        message = "A large DICOM file does not state its encoding (transfer syntax)."
        raise InputError(message, hint="Export the series again.")
    return Container(_rebuilt(_guess(body), body), _guess(body), assumed=True)


def _without_preamble(body: bytes) -> Container | None:
    if body[:2] == b"\x02\x00":
        return _with_meta(io.BytesIO(bytes(128) + b"DICM" + body), 132)
    return Container(_rebuilt(_guess(body), body), _guess(body), assumed=True)


def _read_meta(stream: BinaryIO, start: int) -> tuple[str, int]:
    """Return the transfer syntax and where the data set begins (group 2 is explicit little)."""
    position, syntax = start, ""
    for _ in range(_MAX_META_ELEMENTS):
        stream.seek(position)
        head = stream.read(12)
        if len(head) < 8 or head[:2] != b"\x02\x00":
            return syntax, position
        long_form = head[4:6] in _LONG_VRS
        length = int.from_bytes(head[8:12] if long_form else head[6:8], "little")
        value_at = position + (12 if long_form else 8)
        if head[2:4] == b"\x10\x00" and length <= 64:
            stream.seek(value_at)
            found = stream.read(length).rstrip(b"\0 ").decode("ascii", "replace")
            # What is not a UID must not travel into a message.
            syntax = found if _UID.fullmatch(found) else "0"
        position = value_at + length
    raise too_many_parts()


def _looks_like_dataset(head: bytes) -> bool:
    """Whether bytes without preamble begin like group 2 or 8 of a data set."""
    if len(head) < 16 or head[:2] not in (b"\x02\x00", b"\x08\x00"):
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return explicit or int.from_bytes(head[4:8], "little") < 256


def _guess(body: bytes) -> str:
    explicit = body[4:6].isalpha() and body[4:6].isupper()
    return EXPLICIT_LITTLE if explicit else IMPLICIT_LITTLE


def _rebuilt(syntax: str, body: bytes | bytearray) -> BinaryIO:
    value = syntax.encode("ascii")
    value += b"\0" * (len(value) % 2)
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(value)) + value
    stream = io.BytesIO()
    stream.write(bytes(128) + b"DICM" + meta)
    stream.write(body)
    stream.seek(0)
    return stream


def _inflate(packed: bytes) -> bytearray:
    limit = min(_INFLATE_CEILING, max(_INFLATE_FLOOR, _INFLATE_RATIO * len(packed)))
    engine, out = zlib.decompressobj(-zlib.MAX_WBITS), bytearray()
    for start in range(0, len(packed), 1 << 16):
        data = packed[start : start + (1 << 16)]
        while data and not engine.eof:
            out += engine.decompress(data, 1 << 20)
            data = engine.unconsumed_tail
            if len(out) > limit:
                raise _bomb(len(packed), limit)
    return out


def _bomb(packed: int, limit: int) -> InputError:
    message = (
        f"A deflated DICOM file unpacks from {packed / 1e6:.1f} MB to more than "
        f"{limit / 1e6:.0f} MB, which no CT image does."
    )
    return InputError(message, hint="Do not open the file; ask its sender.")
