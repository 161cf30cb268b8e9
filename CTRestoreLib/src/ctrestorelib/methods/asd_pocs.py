"""ASD-POCS as a method (layer: methods)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ctrestorelib.core.params import Param
from ctrestorelib.recon.asd_pocs import AsdPocs as AsdPocsSolver
from ctrestorelib.recon.footprint import Footprint
from ctrestorelib.recon.iterative import Answer, IterativeReconstructor, Runner, subsets_of
from ctrestorelib.recon.presets import by_views
from ctrestorelib.recon.session import Session, typical_contrast
from ctrestorelib.recon.sirt import Sart
from ctrestorelib.recon.solver import Stagnation
from ctrestorelib.recon.tv_stage import AllowedMisfit
from ctrestorelib.recon.warm_start import START_SUBSETS, START_SWEEPS, START_TITLE, first_sweeps
from ctrestorelib.restorer.spec import Kind, Needs, Reference, RestorerSpec, Role


@dataclass(frozen=True, kw_only=True)
class AsdPocsParams:
    """Settings of ASD-POCS; None chooses by views and dose."""

    sweeps: Annotated[
        int | None,
        Param(
            "Sweeps",
            "Rounds of correction and smoothing, at most.",
            bounds=(1, 1000),
        ),
    ] = None
    noise_factor: AllowedMisfit = 1.0
    strength: Annotated[
        float,
        Param(
            "Smoothing strength",
            "Length of the first smoothing steps against the corrections.",
            bounds=(0.001, 1.0),
            advanced=True,
        ),
    ] = 0.2
    descent_steps: Annotated[
        int,
        Param("Smoothing steps", "Steps in each round.", bounds=(1, 100), advanced=True),
    ] = 20


class AsdPocs(IterativeReconstructor[AsdPocsParams]):
    """Adaptive steepest descent on total variation, with projections onto convex sets."""

    Params = AsdPocsParams
    footprint = Footprint(volumes=20.0, projections=16.0, volume_passes=500.0)
    spec = RestorerSpec(
        id="asd-pocs",
        title="ASD-POCS (corrections and smoothing in turn)",
        summary=(
            "Alternates OS-SART corrections with smoothing that spares edges, down to the noise of "
            "the measurements. A widely published alternative to total variation for few views."
        ),
        kind=Kind.RECONSTRUCTOR,
        needs=Needs(required=(Role.PROJECTIONS,), optional=(Role.MASK,)),
        references=(
            Reference(
                "E. Y. Sidky, X. Pan, Image reconstruction in circular cone-beam computed "
                "tomography by constrained, total-variation minimization, Phys. Med. Biol. 53 "
                "(2008) 4777.",
                "10.1088/0031-9155/53/17/021",
            ),
        ),
        presets=by_views({"sweeps": 40}, {"sweeps": 30}, {"sweeps": 20}),
    )

    def stages(self, params: AsdPocsParams) -> tuple[tuple[str, int], ...]:
        """Return the first estimate, then the rounds."""
        return ((START_TITLE, START_SWEEPS), ("Correct and smooth in turn", params.sweeps or 1))

    def run(self, session: Session, params: AsdPocsParams, runner: Runner) -> Answer:
        """Alternate until data and smoothness balance."""
        first = first_sweeps(session, runner)
        solver = AsdPocsSolver(
            Sart(subsets_of(session, START_SUBSETS), 1.0, 0.995),
            target=params.noise_factor,
            strength=params.strength,
            descent_steps=params.descent_steps,
            contrast_per_mm=typical_contrast(first.values, session.operator.to_numpy),
        )
        rules = (Stagnation(6e-4, 3, 1.5 * params.noise_factor),)
        solution = runner(solver, start=first.values, rules=rules)
        return Answer(solution, {"first_estimate_sweeps": first.iterations})


RESTORER = AsdPocs()
