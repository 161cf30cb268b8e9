"""Stop a file that consists of countless small parts (layer: io).

pydicom makes an object of about 1 kB out of every sequence item, which may take 8 bytes in a file;
and it passes over every unknown element one by one. Both are counted while it reads.
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO

from ctrestorelib.core.errors import InputError

MAX_READS = 1_000_000
MAX_ITEMS = 100_000
_ITEM_LITTLE, _ITEM_BIG = b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"


class MeteredStream:
    """A stream that gives up after :data:`MAX_READS` reads or :data:`MAX_ITEMS` sequence items.

    Parameters
    ----------
    stream
        The file to read; stays open.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._reads = self._items = 0

    def read(self, size: int = -1) -> bytes:
        """Read on, or raise :class:`InputError`."""
        data = self._stream.read(size)
        self._reads += 1
        if self._reads > MAX_READS:
            raise too_many_parts()
        if data[:4] in (_ITEM_LITTLE, _ITEM_BIG):
            self._items += 1
            if self._items > MAX_ITEMS:
                raise too_many_parts()
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move on or back."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._stream.tell()


def check_items(value: Any) -> None:
    """Check how many sequence items unparsed bytes can hold at most.

    Raises
    ------
    InputError
        If there are too many.
    """
    if isinstance(value, bytes):
        count = max(value.count(_ITEM_LITTLE), value.count(_ITEM_BIG))
        if count > MAX_ITEMS:
            raise too_many_parts()


def too_many_parts() -> InputError:
    """Return the refusal of a file with too many elements, items or fragments."""
    message = "A DICOM file consists of more single entries than any CT image has."
    return InputError(message, hint="Do not open the file; ask its sender.")
