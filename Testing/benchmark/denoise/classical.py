"""The classical methods at their best: smoothing and strength chosen with the answer in hand.

Nobody can choose so well on a real scan. The oracle favours these methods on purpose: whoever
beats them here, beats them at any setting of the grid.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from common.choice import walk
from numpy.typing import NDArray

from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import Volume
from ctrestorelib.methods.registry import all_methods, method
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs
from ctrestorelib.restorer.spec import Kind
from denoise.cases import Case
from denoise.scores import at_strength, best_strength

Floats = NDArray[np.float32]
FACTORS = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
BUDGET = Budget(host_bytes=8 * 2**30, threads=1)


def classical_ids() -> list[str]:
    """Return the denoisers that are tuned by one smoothing factor and have no weights."""
    return [
        i for i, r in all_methods().items()
        if r.spec.kind is Kind.DENOISER and not r.spec.weights and has_field(r.Params, "factor")
    ]  # fmt: skip


def learned_ids() -> list[str]:
    """Return the denoisers that bring weights."""
    return [i for i, r in all_methods().items() if r.spec.kind is Kind.DENOISER and r.spec.weights]


def has_field(params: type, name: str) -> bool:
    """Return whether a method has a parameter of this name."""
    return any(f.name == name for f in fields(params))


def restore(method_id: str, volume: Volume, values: dict[str, Any], seed: int = 0) -> Floats:
    """Run a registered denoiser with these parameters on one core; return the restored values."""
    restorer = method(method_id)
    params = restorer.Params(**values)
    inputs = Inputs(volume=volume)
    plan = restorer.plan(inputs.shapes(), params, BUDGET)
    return restorer.restore(inputs, params, plan, Job(seed=seed)).volume.values


def best_classical(method_id: str, case: Case) -> tuple[Floats, dict[str, float]]:
    """Return the result with the smallest error over the grid, and its settings.

    The grid is walked upwards from the automatic factor, then downwards, as long as it helps.
    """
    tried: dict[int, tuple[float, Floats, float]] = {}

    def error(index: int) -> float:
        if not 0 <= index < len(FACTORS):
            return np.inf
        if index not in tried:
            out = restore(method_id, case.noisy, {"factor": FACTORS[index]})
            strength = best_strength(case, out)
            mixed = at_strength(case, out, strength)
            off = float(((mixed - case.reference.values)[case.body].astype(float) ** 2).mean())
            tried[index] = (off, mixed, strength)
        return tried[index][0]

    best = walk(error, FACTORS.index(1.0))
    _, values, strength = tried[best]
    return values, {"factor": FACTORS[best], "strength": round(strength, 3)}
