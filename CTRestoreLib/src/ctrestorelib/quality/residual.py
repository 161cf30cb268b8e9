"""Does the removed noise contain anatomy? (layer: quality; scipy inside).

The residual ``r = original - restored`` of a good denoiser is noise and nothing else. Four tests
look for what noise cannot do, each in blocks of 16 x 16 pixels x 4 slices:

a. its size follows edges of the restored volume, beyond what the local noise level explains;
b. its mean depends on the signed distance to edges (over-smoothing gives a dark-bright pair);
c. it repeats from slice to slice more in structured than in homogeneous regions (noise repeats
   equally everywhere, anatomy more where there is anatomy);
d. its power exceeds that of the original's noise at some frequency (something was invented).

Blocks are the independent units: signs of whole blocks are flipped (wild block bootstrap) or whole
blocks are drawn (block bootstrap) to see what chance alone does. P-values are adjusted for the
number of tests (Holm), and a test fails only if the effect is also large enough to matter: in a
large volume any trace is significant. The tolerances are named in every finding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.blocks import BLOCK_KJI, BlockField, block_field
from ctrestorelib.quality.nps import roi_spectra
from ctrestorelib.quality.pairs import check_pair
from ctrestorelib.quality.residual_tests import (
    Finding,
    block_means,
    coherence_excess,
    edge_profile,
    edge_size,
    power_excess,
)
from ctrestorelib.quality.result import Measure, Verdict, plain
from ctrestorelib.quality.rois import find_rois

_FEWEST_BLOCKS = 16


@dataclass(frozen=True, eq=False)
class ResidualStructure:
    """The answer of the residual-structure test.

    Parameters
    ----------
    verdict
        Green: noise only. Amber: one test fails. Red: two fail, or the mean of a block moved.
    sentence
        The verdict in plain words.
    findings
        One per test, with its adjusted p-value and its effect.
    heat
        How many standard errors each block is off, shape ``(blocks_k, blocks_j, blocks_i)``;
        0 where a block was not examined.
    first_kji, block_kji
        First voxel of each block along each axis, and the size of a block.
    why_not
        Why the test could not be made; empty if it was.
    """

    verdict: Verdict
    sentence: str
    findings: tuple[Finding, ...] = ()
    heat: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    first_kji: tuple[NDArray[np.int64], ...] = ()
    block_kji: tuple[int, int, int] = BLOCK_KJI
    why_not: str = ""

    def worst_blocks(self, count: int = 5) -> list[tuple[tuple[int, int, int], float]]:
        """Return the middle voxel (k, j, i) and deviation of the blocks that are most off."""
        order = np.argsort(self.heat, axis=None)[::-1][:count]
        out = []
        for k, j, i in zip(*np.unravel_index(order, self.heat.shape), strict=True):
            if self.heat[k, j, i] <= 0:
                break
            corner = (self.first_kji[0][k], self.first_kji[1][j], self.first_kji[2][i])
            mk, mj, mi = (int(c) + n // 2 for c, n in zip(corner, self.block_kji, strict=True))
            out.append(((mk, mj, mi), float(self.heat[k, j, i])))
        return out

    def heat_volume(self, like: Volume) -> Volume:
        """Return the heat map on the grid of ``like``, as grey values."""
        from ctrestorelib.core.units import Unit

        values = np.zeros(like.shape, np.float32)
        depth, rows, columns = self.block_kji
        for (a, b, c), heat in np.ndenumerate(self.heat):
            k, j, i = (int(f[n]) for f, n in zip(self.first_kji, (a, b, c), strict=True))
            values[k : k + depth, j : j + rows, i : i + columns] = heat
        return like.with_values(values, Unit.GREY)

    def to_measure(self) -> Measure:
        """Return the test as one line of a table; its value is the smallest p that counts."""
        name, title = "residual_structure", "Is the removed noise only noise?"
        if self.why_not:
            return Measure.missing(name, title, self.why_not)
        # A trace too small to matter does not count, however significant it is.
        counted = [f.p_adjusted if f.effect > f.tolerance else 1.0 for f in self.findings if f.done]
        value = min(counted, default=None)
        return Measure(name, title, value, "p", None, self.verdict, self.sentence,
                       "blocks of 16 x 16 x 4 voxels, block bootstrap, Holm-adjusted",
                       details=self.to_json())  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return everything but the heat map as plain values."""
        result: dict[str, Any] = plain({
            "verdict": self.verdict.value, "sentence": self.sentence, "why_not": self.why_not,
            "findings": [f.to_json() for f in self.findings],
            "worst_blocks_kji": [{"kji": p, "standard_errors": z} for p, z in self.worst_blocks()],
        })  # fmt: skip
        return result


def residual_structure(
    original: Volume, restored: Volume, *, mask: NDArray[np.bool_] | None = None, seed: int = 0
) -> ResidualStructure:
    """Test whether ``original - restored`` contains anatomy.

    Parameters
    ----------
    original, restored
        Volumes on one grid in one unit.
    mask
        Boolean ``[k, j, i]``: look only here.
    seed
        Seed of the bootstrap; equal seeds give equal answers.
    """
    check_pair(restored, original, what="the original")
    blocks = block_field(original, restored, mask)
    if len(blocks) < _FEWEST_BLOCKS:
        return _not_made(f"only {len(blocks)} blocks of 16 x 16 pixels hold removed noise; "
                         f"{_FEWEST_BLOCKS} are needed.")  # fmt: skip
    rng = np.random.default_rng(seed)
    size, size_z = edge_size(blocks, rng)
    profile, profile_z = edge_profile(blocks, rng)
    repeats, repeats_z = coherence_excess(blocks, rng)
    power = _power_finding(original, restored, mask, rng)
    means, means_z = block_means(blocks)
    findings = (*_holm([size, profile, repeats, power]), means)
    heat = np.max(np.stack([size_z, profile_z, repeats_z, means_z]), axis=0)
    verdict = _verdict(findings)
    return ResidualStructure(
        verdict, _sentence(verdict, findings), findings, blocks.spread_out(heat), blocks.first_kji
    )


def _power_finding(
    original: Volume, restored: Volume, mask: NDArray[np.bool_] | None, rng: np.random.Generator
) -> Finding:
    rois = find_rois(original, mask=mask)
    if not len(rois):
        return Finding.missing("power", rois.why_none)
    dx, dy, _ = original.geometry.spacing_mm
    noisy = rois.cut(original.values)
    removed = noisy - rois.cut(restored.values)
    return power_excess(roi_spectra(noisy, dx, dy), roi_spectra(removed, dx, dy), rng)


def _not_made(why: str) -> ResidualStructure:
    return ResidualStructure(Verdict.NONE, f"Not measurable: {why}", why_not=why)


def _holm(findings: list[Finding]) -> list[Finding]:
    """Adjust p-values for the number of tests made (Holm 1979)."""
    done = sorted((f for f in findings if f.done), key=lambda f: f.p)
    adjusted, running = {}, 0.0
    for rank, finding in enumerate(done):
        running = max(running, min(1.0, finding.p * (len(done) - rank)))
        adjusted[finding.name] = running
    return [f.with_adjusted(adjusted.get(f.name, 1.0)) for f in findings]


def _verdict(findings: tuple[Finding, ...]) -> Verdict:
    failed = [f for f in findings if f.failed]
    if len(failed) >= 2 or any(f.name == "block_means" for f in failed):
        return Verdict.RED
    return Verdict.AMBER if failed else Verdict.GREEN


def _sentence(verdict: Verdict, findings: tuple[Finding, ...]) -> str:
    failed = [f.plain_words for f in findings if f.failed]
    if verdict is Verdict.GREEN:
        return "What was removed looks like noise: no trace of anatomy was found in it."
    reasons = "; ".join(failed)
    if verdict is Verdict.AMBER:
        return f"Look closer at the removed noise: {reasons}."
    return f"The removed noise contains anatomy: {reasons}. Use less strength."


__all__ = ["BlockField", "ResidualStructure", "residual_structure"]
