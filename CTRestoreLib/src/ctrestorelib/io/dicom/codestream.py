"""Read the picture that a compressed frame announces itself (layer: io).

A decoder allocates what the codestream claims, not what the DICOM header says; so the two are
compared before decoding. Markers: ISO/IEC 10918-1 (JPEG), 14495-1 (JPEG-LS), 15444-1 (JPEG 2000).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_JPEG_START, _J2K_START, _JP2_BOX = b"\xff\xd8", b"\xff\x4f\xff\x51", b"jP  "
# Start-of-frame markers SOF0-SOF15 without DHT (C4), JPG (C8), DAC (CC); SOF55 is JPEG-LS.
_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = {0x01, *range(0xD0, 0xDA)}
_MAX_BOXES = 64
# A decoder keeps several kB for every tile; 128 x 128 pixels is the smallest that is in use.
MAX_TILES = 4096


class Picture(NamedTuple):
    """What a codestream announces: size, colour components, bits of a value, number of tiles."""

    rows: int
    columns: int
    components: int
    bits: int
    tiles: int = 1


def picture_of(packed: bytes) -> Picture | None:
    """Return the picture in a JPEG, JPEG-LS or JPEG 2000 codestream, or None if unknown."""
    if packed[:2] == _JPEG_START:
        return _jpeg(packed)
    start = _inside_jp2(packed) if packed[4:8] == _JP2_BOX else 0
    if packed[start : start + 4] == _J2K_START and len(packed) >= start + 45:
        return _jpeg_2000(packed[start : start + 45])
    return None


def _jpeg_2000(head: bytes) -> Picture | None:
    right, bottom, left, top, width, height, tiles_left, tiles_top = struct.unpack(
        ">8L", head[8:40]
    )
    components, bits, step_x, step_y = struct.unpack(">HBBB", head[40:45])
    if not (width and height and step_x == step_y == 1):
        return None
    across, down = -(-(right - tiles_left) // width), -(-(bottom - tiles_top) // height)
    return Picture(bottom - top, right - left, components, (bits & 0x7F) + 1, across * down)


def _inside_jp2(packed: bytes) -> int:
    """Return where the codestream lies in a JP2 file, by its boxes; past the end if nowhere."""
    at = 0
    for _ in range(_MAX_BOXES):
        length, kind = int.from_bytes(packed[at : at + 4], "big"), packed[at + 4 : at + 8]
        if kind == b"jp2c":
            return at + (16 if length == 1 else 8)
        if length < 8:
            break
        at += length
    return len(packed)


def _jpeg(packed: bytes) -> Picture | None:
    at = 2
    while at + 10 <= len(packed) and packed[at] == 0xFF:
        marker = packed[at + 1]
        if marker in _FRAME_MARKERS:
            bits, rows, columns, components = struct.unpack(">BHHB", packed[at + 4 : at + 10])
            return Picture(rows, columns, components, bits)
        if marker == 0xFF:
            at += 1
        elif marker in _BARE_MARKERS:
            at += 2
        else:
            at += 2 + int.from_bytes(packed[at + 2 : at + 4], "big")
    return None
