"""Numbers of slices beyond the ends of a volume (layer: core)."""

from __future__ import annotations


def mirrored(k: int, slices: int) -> int:
    """Return ``k`` reflected at the first and last of ``slices``; the end is not repeated.

    A repeated slice would bring the same noise twice, which looks like anatomy.
    """
    if slices == 1:
        return 0
    k = abs(k) % (2 * slices - 2)
    return min(k, 2 * slices - 2 - k)
