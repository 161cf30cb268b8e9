"""The image gradient in 1/mm, its adjoint, and total variation (layer: recon).

Forward differences; the difference across the last face of each axis is zero. Voxel sizes are
respected, so that an edge costs the same whichever way it runs, also in anisotropic volumes. A
gradient is a list of three volumes (along k, j, i), each in the memory order of its image.
"""

from __future__ import annotations

from ctrestorelib.recon.arrays import Array, namespace

Spacing = tuple[float, float, float]


def empty_gradient(x: Array) -> list[Array]:
    """Return three arrays of zeros like ``x``."""
    return [x * 0.0 for _ in range(3)]


def gradient(x: Array, spacing_mm: Spacing, out: list[Array]) -> list[Array]:
    """Write the differences of ``x[k, j, i]`` along k, j, i per mm to ``out``."""
    for axis, h in enumerate(spacing_mm):
        low, high, last = _faces(axis)
        out[axis][low] = x[high]
        out[axis][low] -= x[low]
        out[axis][last] = 0.0
        out[axis] *= 1.0 / h
    return out


def add_gradient_adjoint(q: list[Array], spacing_mm: Spacing, out: Array, scratch: Array) -> Array:
    """Add the adjoint of :func:`gradient` (minus the divergence) of ``q`` to ``out``.

    ``scratch`` is an array like ``out`` that is overwritten.
    """
    for axis, (d, h) in enumerate(zip(q, spacing_mm, strict=True)):
        low, high, _ = _faces(axis)
        scratch[:] = d
        scratch *= 1.0 / h
        out[low] -= scratch[low]
        out[high] += scratch[low]
    return out


def magnitude(q: list[Array], floor: float = 0.0) -> Array:
    """Return ``sqrt(|q|^2 + floor^2)`` at every voxel."""
    total = q[0] * q[0]
    total += q[1] * q[1]
    total += q[2] * q[2]
    if floor:
        total += floor * floor
    total **= 0.5
    return total


def total_variation(x: Array, spacing_mm: Spacing) -> float:
    """Return the sum of gradient lengths over all voxels (per mm)."""
    xp = namespace(x)
    return float(xp.sum(magnitude(gradient(x, spacing_mm, empty_gradient(x)))))


def _faces(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...], tuple[slice, ...]]:
    """Return the voxels before a face, after a face, and of the last layer along ``axis``."""
    whole = [slice(None)] * 3
    parts = []
    for piece in (slice(None, -1), slice(1, None), slice(-1, None)):
        parts.append((*whole[:axis], piece, *whole[axis + 1 :]))
    return parts[0], parts[1], parts[2]
