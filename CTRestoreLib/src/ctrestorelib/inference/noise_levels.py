"""What denoisers do where the noise cannot be measured, or is not there (layer: inference)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import Volume
from ctrestorelib.restorer.protocol import Estimate


def require_measured(level: float) -> None:
    """Refuse a noise level that is not a number.

    Raises
    ------
    InputError
        If the level could not be measured.
    """
    if not np.isfinite(level):
        message = "The noise level of this volume could not be measured."
        raise InputError(message, hint="Give the noise level (sigma) yourself.")


def unchanged(volume: Volume, report: dict[str, Any], job: Job) -> Estimate:
    """Return a copy of a volume without noise, and tell so."""
    job.warn("no-noise", "No noise was found; the volume was returned as it is.")
    return Estimate(volume.with_values(volume.values.copy()), report=report)
