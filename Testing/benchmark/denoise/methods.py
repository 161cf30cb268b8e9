"""Every method of the benchmark: what it is, what its result depends on, how it is run.

Whoever gets help from the reference is marked: classical methods choose smoothing and strength with
it, peers the strength. The released denoisers get none.
"""

from __future__ import annotations

import dataclasses
import enum
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common.choice import digest, registered_parts
from numpy.typing import NDArray

from ctrestorelib.core.volume import Volume
from ctrestorelib.methods.registry import method
from ctrestorelib.quality.noise import estimate_noise
from denoise import bound
from denoise.cases import VERSION, Case
from denoise.classical import best_classical, classical_ids, learned_ids, restore
from denoise.scores import at_strength, best_strength

Floats = NDArray[np.float32]
DEFAULT = "ctd"
INPUT, CLASSICAL, PEER, LEARNED, BOUND = "input", "classical", "self-supervised", "learned", "bound"
PEERS = ("noise2sim", "neighbor2neighbor", "zs-n2n")
_PEER_VERSION = 2


@dataclass(frozen=True)
class Method:
    """One column of the table.

    Parameters
    ----------
    name, group
        Identifier, and one of the groups of this module.
    registered
        Identifier in the library, "" for what exists in the benchmark only.
    params
        Parameters that differ from the defaults.
    """

    name: str
    group: str
    registered: str = ""
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Effort:
    """How long the networks of the benchmark train: steps of the peers and of the bounds."""

    peer_steps: int = 300
    bound_steps: int = 200


def methods() -> list[Method]:
    """Return all methods in the order of the table."""
    out = [Method("input", INPUT)]
    out += [Method(i, CLASSICAL, i) for i in classical_ids()]
    out += [Method(i, PEER) for i in PEERS]
    for i in learned_ids():
        out += [Method(i, LEARNED, i), *_variants(i)]
    return [*out, Method("supervised bound", BOUND)]


def _variants(method_id: str) -> list[Method]:
    """Return the other networks of a method, and the same with adaptation to the volume."""
    params = method(method_id).Params
    default = params()
    out = []
    for field in dataclasses.fields(params):
        value = getattr(default, field.name)
        if field.name == "variant" and isinstance(value, enum.Enum):
            out += [Method(f"{method_id}-{v.value}", LEARNED, method_id, {"variant": v})
                    for v in type(value) if v is not value]  # fmt: skip
        if field.name.startswith("adapt") and value is False:
            out.append(Method(f"{method_id}-adapted", LEARNED, method_id, {field.name: True}))
    return out


def fingerprint(chosen: Method, effort: Effort) -> str:
    """Return what a cached result depends on besides the case."""
    parts = [str(VERSION), chosen.name]
    if chosen.registered:
        parts += registered_parts(chosen.registered, chosen.params)
    if chosen.group in (LEARNED, BOUND):
        parts.append(bound.noise_map_identity())
    if chosen.group == PEER:
        parts += [str(_PEER_VERSION), str(effort.peer_steps)]
    if chosen.group == BOUND:
        parts += [str(effort.bound_steps), bound.released_identity()]
    return digest(parts)


def restored(
    chosen: Method, case: Case, effort: Effort, folder: Path
) -> tuple[Floats, float, dict[str, Any]]:
    """Run a method on a case; return values, seconds of processor time, and what was chosen how."""
    start = time.process_time()
    if chosen.group == INPUT:
        return case.noisy.values, 0.0, {}
    if chosen.group == CLASSICAL:
        values, chosen_settings = best_classical(chosen.registered, case)
        start = time.process_time()
        restore(chosen.registered, case.noisy, {"factor": chosen_settings["factor"]})
        return values, time.process_time() - start, dict(chosen_settings)
    if chosen.group == PEER:
        full = peer_restored(chosen.name, case.noisy, effort)
        seconds = time.process_time() - start
        strength = best_strength(case, full)
        return at_strength(case, full, strength), seconds, {"strength": round(strength, 3)}
    if chosen.group == BOUND:
        released = bound.released_identity()
        weights = bound.train_bound(case.region, folder, effort.bound_steps, released)
        start = time.process_time()
        values = bound.bounded(case, weights)
        return values, time.process_time() - start, {"start": "released" if released else "scratch"}
    values = restore(chosen.registered, case.noisy, dict(chosen.params))
    return values, time.process_time() - start, {}


def peer_restored(name: str, noisy: Volume, effort: Effort) -> Floats:
    """Return a volume denoised by a self-supervised peer at full strength."""
    import torch

    from denoise.peers import PEERS as functions
    from denoise.peers.common import Settings

    torch.set_num_threads(1)
    sigma = np.float32(max(estimate_noise(noisy).sigma, 1e-6))
    settings = Settings(steps=effort.peer_steps)
    return np.asarray(functions[name](noisy.values / sigma, settings) * sigma)
