"""Keep libraries from printing header values: they may name a patient (layer: io)."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache


@cache
def read_errors() -> tuple[type[BaseException], ...]:
    """Return what pydicom and its decoders raise on damaged or hostile files.

    A RecursionError (endlessly nested sequences) is a RuntimeError and so among them.
    """
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (
        OSError, EOFError, ImportError, ValueError, TypeError, KeyError, IndexError,
        AttributeError, NotImplementedError, RuntimeError, OverflowError, AssertionError,
        struct.error, zlib.error, BytesLengthException, InvalidDicomError,
    )  # fmt: skip


@contextmanager
def quiet() -> Generator[None, None, None]:
    """Silence pydicom's warnings and log inside the block.

    Their texts quote header values such as names and dates, which must not reach a log file or a
    terminal.
    """
    logger = logging.getLogger("pydicom")
    level, propagate, disabled = logger.level, logger.propagate, logger.disabled
    logger.disabled, logger.propagate = True, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled, logger.propagate = disabled, propagate
        logger.setLevel(level)
