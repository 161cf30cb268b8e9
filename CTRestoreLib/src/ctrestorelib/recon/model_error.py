"""Weights for rough questions: no reading is trusted beyond the model (layer: recon).

With true variances a dose of 1e5 asks for agreement to a tenth of a percent. Scatter, beam
hardening and large voxels are off by more; questions about what is measured at all, or whether the
geometry is right, must not hang on that.
"""

from __future__ import annotations

import numpy as np

from ctrestorelib.recon.arrays import Array
from ctrestorelib.recon.session import Session

MODEL_ERROR = 0.02
"""Share of the thickest rays' line integral to which readings are trusted at best."""


def cautious_weights(session: Session) -> Array:
    """Return the weights of the session's problem, with the model's error in every variance."""
    weights = session.operator.to_numpy(session.problem.weights)
    error = np.float32(MODEL_ERROR * float(np.quantile(session.scan.values, 0.99)))
    return session.operator.asarray(weights / (1.0 + weights * error**2))
