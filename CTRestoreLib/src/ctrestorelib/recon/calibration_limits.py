"""Which scans say enough to look for errors of their geometry (layer: recon; NumPy only)."""

from __future__ import annotations

import numpy as np

from ctrestorelib.core.errors import UsageError
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.recon.arc import scan_arc

FEWEST = 6
"""With fewer views none can be kept aside to decide."""
LEAST_ARC_DEG = 120.0
"""Over a shorter arc a shifted detector looks like a shifted object, and nothing can be told."""


def require_enough_views(geometry: ConeBeamGeometry) -> None:
    """Raise :class:`UsageError` unless the views are enough for self-calibration.

    Parameters
    ----------
    geometry
        Of the views that would be used: six at least, over 120 degrees or more.
    """
    if geometry.views < FEWEST:
        message = f"Self-calibration needs at least {FEWEST} views; this scan has {geometry.views}."
        raise UsageError(message)
    arc_deg = float(np.rad2deg(scan_arc(geometry, half_turn=False).arc_rad))
    if arc_deg < LEAST_ARC_DEG:
        message = (
            f"Self-calibration needs views over at least {LEAST_ARC_DEG:.0f} degrees; "
            f"these cover {arc_deg:.0f}."
        )
        raise UsageError(message)
