"""What the measurements say about a reconstruction: the reprojection residual (layer: recon).

Chi-squared per reading is about 1 where the volume explains the data as well as the noise allows,
larger where something is missing (motion, truncation, wrong geometry, too few iterations), smaller
where noise was fitted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.recon.view_misfit import view_misfit


def residual_report(
    residual: NDArray[np.float32], data: NDArray[np.float32], weights: NDArray[np.float32]
) -> dict[str, Any]:
    """Return the residual's figures as plain numbers.

    Parameters
    ----------
    residual
        Reprojection minus data, [view, row, col].
    data
        Line integrals, same shape.
    weights
        One over the variance; readings of weight 0 are left out.
    """
    fit = view_misfit(residual, data, weights)
    per_view = np.where(np.array(fit.readings) > 0, fit.chi_squared, 0.0)
    used = weights > 0
    readings = max(sum(fit.readings), 1)
    squares = float(np.square(residual[used], dtype=np.float64).sum())
    size = float(np.square(data[used], dtype=np.float64).sum())
    return {
        "chi_squared_per_reading": fit.overall,
        "chi_squared_per_view": [round(float(c), 4) for c in per_view],
        "worst_view": int(per_view.argmax()),
        "rms_line_integral": (squares / readings) ** 0.5,
        "relative_residual": (squares / max(size, 1e-30)) ** 0.5,
        "readings_used": readings,
        "readings_left_out": int(residual.size - sum(fit.readings)),
        **fit.to_json(),
    }
