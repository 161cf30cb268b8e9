"""A field fitted to one scan, as a method (layer: methods)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ctrestorelib.core.params import Param
from ctrestorelib.recon.field_fit.field import Field
from ctrestorelib.recon.field_fit.fit import Explained, FieldFit
from ctrestorelib.recon.field_fit.levels import level_shapes
from ctrestorelib.recon.footprint import Footprint
from ctrestorelib.recon.iterative import Answer, IterativeReconstructor, Runner, subsets_of
from ctrestorelib.recon.presets import by_views
from ctrestorelib.recon.session import Session, typical_contrast
from ctrestorelib.recon.tv_stage import NOISE_FACTOR, AllowedMisfit
from ctrestorelib.recon.warm_start import START_SWEEPS, START_TITLE, first_sweeps
from ctrestorelib.restorer.spec import Kind, Maturity, Needs, Reference, RestorerSpec, Role

LEAST_SHARE = 0.3
"""Share of the steps that is always done."""


@dataclass(frozen=True, kw_only=True)
class NafParams:
    """Settings of the fit; None chooses by views and dose."""

    iterations: Annotated[
        int | None,
        Param(
            "Iterations",
            "Steps of the fit, at most; it stops earlier when the measurements are explained.",
            bounds=(1, 5000),
        ),
    ] = None
    noise_factor: AllowedMisfit = NOISE_FACTOR
    subsets: Annotated[
        int | None,
        Param(
            "Subsets",
            "Groups into which the views are split, one for each step. Fewer are steadier, more "
            "are faster when there are many views.",
            bounds=(1, 2000),
            advanced=True,
        ),
    ] = None


class Naf(IterativeReconstructor[NafParams]):
    """A small network on feature grids of many resolutions, trained on this scan alone."""

    Params = NafParams
    footprint = Footprint(volumes=40.0, projections=14.0, volume_passes=260.0)
    spec = RestorerSpec(
        id="naf",
        title="Field fitted to the scan (NAF, no training data)",
        summary=(
            "Describes the volume by features on grids from coarse to fine and a small network, "
            "and fits both to this scan alone until the measurements are explained to within "
            "their noise. It has seen no other patient and works with any geometry; with few "
            "X-ray views it comes close to total variation, and is slower."
        ),
        kind=Kind.RECONSTRUCTOR,
        maturity=Maturity.RESEARCH,
        needs=Needs(required=(Role.PROJECTIONS,), optional=(Role.MASK,)),
        references=(
            Reference(
                "R. Zha, Y. Zhang, H. Li, NAF: Neural attenuation fields for sparse-view CBCT "
                "reconstruction, MICCAI 2022, LNCS 13436, 442.",
                "10.1007/978-3-031-16446-0_42",
            ),
            Reference(
                "T. Mueller, A. Evans, C. Schied, A. Keller, Instant neural graphics primitives "
                "with a multiresolution hash encoding, ACM Trans. Graph. 41 (2022) 102.",
                "10.1145/3528223.3530127",
            ),
            Reference(
                "D. P. Kingma, J. Ba, Adam: A method for stochastic optimization, ICLR 2015.",
                "10.48550/arXiv.1412.6980",
            ),
        ),
        presets=by_views(
            {"iterations": 150, "subsets": 1},
            {"iterations": 150, "subsets": 2},
            {"iterations": 160, "subsets": 4},
        ),
    )

    def stages(self, params: NafParams) -> tuple[tuple[str, int], ...]:
        """Return the first estimate, then the fit."""
        return ((START_TITLE, START_SWEEPS), ("Fit the field to the scan", params.iterations or 1))

    def run(self, session: Session, params: NafParams, runner: Runner) -> Answer:
        """Start from a few sweeps of OS-SART and fit the rest."""
        first = first_sweeps(session, runner)
        shapes = level_shapes(session.grid.shape, session.problem.spacing_mm)
        asarray, steps = session.operator.asarray, params.iterations or 1
        # The same numbers in every run: they only break the symmetry of the network.
        field = Field.new(shapes, asarray, np.random.default_rng(0))
        subsets = subsets_of(session, params.subsets or 1)
        contrast = typical_contrast(first.values, session.operator.to_numpy)
        is_empty = float(first.values.max()) <= 0.0
        object_per_mm = 0.0 if is_empty else 4.0 * contrast
        fit = FieldFit(field, asarray, subsets, object_per_mm, steps, params.noise_factor)
        rules = (Explained(params.noise_factor, round(LEAST_SHARE * steps)),)
        solution = runner(fit, start=first.values, rules=rules)
        return Answer(solution, {"levels": len(shapes), "subsets_used": len(subsets)})


RESTORER = Naf()
