"""Where the pixel data of a file lie and whether they are complete (layer: io)."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

from ctrestorelib.io.dicom.container import EXPLICIT_BIG, IMPLICIT_LITTLE
from ctrestorelib.io.dicom.meter import too_many_parts

_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_UNDEFINED = 0xFFFFFFFF
_MAX_FRAGMENTS = 500_000
_PIXEL_ELEMENTS = (0x0010, 0x0008, 0x0009)  # integers, float32, float64


@dataclass(frozen=True)
class PixelElement:
    """The pixel data element of a file.

    Parameters
    ----------
    is_float
        Whether it is one of the floating-point elements, which CT images do not use.
    offset
        Where its value begins in the (inflated) file.
    length
        Bytes that the element claims; for encapsulated data, the sum of its fragments.
    present
        Bytes of these that the file holds.
    fragments
        Number of compressed fragments without the offset table; 0 for plain numbers.
    is_complete
        Whether nothing is cut off.
    """

    is_float: bool
    word_bytes: int
    offset: int
    length: int
    present: int
    fragments: int
    is_complete: bool


def find_pixels(stream: BinaryIO, transfer_syntax: str) -> PixelElement | None:
    """Read the element header at the stream's position; None if it is not pixel data.

    Raises
    ------
    InputError
        If the compressed pixels lie in countless pieces.
    """
    start = stream.tell()
    end = stream.seek(0, io.SEEK_END)
    stream.seek(start)
    order = ">" if transfer_syntax == EXPLICIT_BIG else "<"
    head = stream.read(12)
    if len(head) < 8:
        return None
    group, element = struct.unpack(order + "HH", head[:4])
    if group != 0x7FE0 or element not in _PIXEL_ELEMENTS:
        return None
    implicit = transfer_syntax == IMPLICIT_LITTLE or not head[4:6].isalpha()
    offset = start + (8 if implicit else 12)
    length = int(struct.unpack(order + "L", head[4:8] if implicit else head[8:12])[0])
    is_float = element != 0x0010
    if length == _UNDEFINED:
        return _encapsulated(stream, offset, end, is_float=is_float)
    present = max(0, min(length, end - offset))
    word = 1 if not implicit and head[4:6] == b"OB" else 2
    return PixelElement(is_float, word, offset, length, present, 0, present == length)


def _encapsulated(stream: BinaryIO, offset: int, end: int, *, is_float: bool) -> PixelElement:
    position, sizes, complete = offset, [], True
    while position < end:
        stream.seek(position)
        head = stream.read(8)
        if head[:4] != _ITEM or len(head) < 8:
            # A missing end mark is harmless as long as the last fragment is whole.
            complete = head[:4] == _SEQUENCE_END
            break
        size = int.from_bytes(head[4:], "little")
        position += 8 + size
        sizes.append(size)
        if len(sizes) > _MAX_FRAGMENTS:
            raise too_many_parts()
        complete = position <= end
    total = sum(sizes[1:])
    present = total if complete else max(0, total - max(0, position - end))
    count = max(0, len(sizes) - 1)
    return PixelElement(is_float, 1, offset, total, present, count, complete)
