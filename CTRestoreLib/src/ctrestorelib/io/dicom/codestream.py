"""Read the picture size that a compressed frame states itself (layer: io).

A decoder allocates what the codestream claims, not what the DICOM header says; so the two are
compared before decoding. Markers: ISO/IEC 10918-1 (JPEG), 14495-1 (JPEG-LS), 15444-1 (JPEG 2000).
"""

from __future__ import annotations

_JPEG_START, _J2K_START, _JP2_BOX = b"\xff\xd8", b"\xff\x4f\xff\x51", b"jP  "
# Start-of-frame markers SOF0-SOF15 without DHT (C4), JPG (C8), DAC (CC); SOF55 is JPEG-LS.
_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = {0x01, *range(0xD0, 0xDA)}


def codestream_size(packed: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) of a JPEG, JPEG-LS or JPEG 2000 codestream, or None if unknown."""
    if packed[:2] == _JPEG_START:
        return _jpeg_size(packed)
    start = packed.find(_J2K_START) if packed[4:8] == _JP2_BOX else 0
    if packed[start : start + 4] == _J2K_START and len(packed) >= start + 24:
        fields = [int.from_bytes(packed[start + n : start + n + 4], "big") for n in (8, 12, 16, 20)]
        right, bottom, left, top = fields
        return bottom - top, right - left
    return None


def _jpeg_size(packed: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(packed) and packed[at] == 0xFF:
        marker = packed[at + 1]
        if marker in _FRAME_MARKERS:
            rows, columns = packed[at + 5 : at + 7], packed[at + 7 : at + 9]
            return int.from_bytes(rows, "big"), int.from_bytes(columns, "big")
        if marker == 0xFF:
            at += 1
        elif marker in _BARE_MARKERS:
            at += 2
        else:
            at += 2 + int.from_bytes(packed[at + 2 : at + 4], "big")
    return None
