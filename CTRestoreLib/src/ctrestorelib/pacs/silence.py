"""Keep the network libraries from logging what they carry (layer: pacs)."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

from ctrestorelib.io.dicom.quiet import quiet

_SILENT = logging.CRITICAL + 1


@contextmanager
def silence() -> Generator[None, None, None]:
    """Silence pynetdicom and pydicom inside the block.

    Their records print data sets, identifiers of queries and file paths.
    """
    logger = logging.getLogger("pynetdicom")
    # Loggers of its modules may have a level of their own, so the records are stopped here as well.
    level, propagate, handlers = logger.level, logger.propagate, list(logger.handlers)
    logger.setLevel(_SILENT)
    logger.propagate, logger.handlers = False, [logging.NullHandler()]
    try:
        with quiet():
            yield
    finally:
        logger.propagate, logger.handlers = propagate, handlers
        logger.setLevel(level)
