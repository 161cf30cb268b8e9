"""Random signs, with which the diagonal of an operator is felt without its matrix (layer: recon).

For a random vector ``z`` of +1 and -1, the mean of ``z * (H z)`` over many draws is the diagonal of
``H``, and the mean of ``z . H z`` its trace.

Reference: Hutchinson 1990, doi:10.1080/03610919008812866.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.recon.arrays import Array, namespace


def random_signs(like: Array, seed: int) -> Array:
    """Return +1 and -1 at random, in shape, kind, device and memory order of ``like``.

    The same seed gives the same signs with every backend.
    """
    bits = np.random.default_rng(seed).integers(0, 2, size=tuple(like.shape), dtype=np.int8)
    return filled(like, np.asarray(2 * bits - 1, dtype=np.float32))


def filled(like: Array, values: NDArray[np.float32]) -> Array:
    """Return ``values`` as an array of the kind, device and memory order of ``like``."""
    out = like * 0.0
    out += values if isinstance(like, np.ndarray) else namespace(like).from_numpy(values).to(like)
    return out
