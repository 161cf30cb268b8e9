"""Say in a sentence that memory ran out (layer: io)."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from ctrestorelib.core.errors import ResourceError


@contextmanager
def memory_told() -> Generator[None, None, None]:
    """Turn a MemoryError inside the block into a :class:`ResourceError`."""
    try:
        yield
    except MemoryError:
        message = "What the DICOM files claim to hold does not fit into the memory that is free."
        hint = "Close other programs, or open fewer files; if the files are small, distrust them."
        raise ResourceError(message, hint=hint) from None
