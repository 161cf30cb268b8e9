"""CGLS as a method (layer: methods)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ctrestorelib.core.params import Param
from ctrestorelib.recon.cgls import Cgls as CglsSolver
from ctrestorelib.recon.footprint import Footprint
from ctrestorelib.recon.iterative import Answer, IterativeReconstructor, Runner
from ctrestorelib.recon.session import Session
from ctrestorelib.recon.solver import Discrepancy
from ctrestorelib.restorer.spec import Kind, Needs, Reference, RestorerSpec, Role


@dataclass(frozen=True, kw_only=True)
class CglsParams:
    """Settings of CGLS; None chooses by views and dose."""

    iterations: Annotated[
        int | None,
        Param(
            "Iterations",
            "Conjugate-gradient steps, at most. More is sharper, and soon noisier.",
            bounds=(1, 500),
        ),
    ] = None
    tau: Annotated[
        float,
        Param(
            "Stop at residual",
            "Stops when the residual falls to this many times the noise level; 0 never stops.",
            bounds=(0.0, 100.0),
            advanced=True,
        ),
    ] = 1.02
    noise_weighted: Annotated[
        bool,
        Param(
            "Weight by noise",
            "Let readings count by their own noise. Better at very low dose, slower otherwise.",
            advanced=True,
        ),
    ] = False


class Cgls(IterativeReconstructor[CglsParams]):
    """Least squares by conjugate gradients, stopped at the noise level."""

    Params = CglsParams
    footprint = Footprint(volumes=6.0, projections=8.0)
    nonnegative = False
    spec = RestorerSpec(
        id="cgls",
        title="CGLS (least squares)",
        summary=(
            "Finds the volume whose projections differ least from the measurements, and stops at "
            "their noise level. Fast; linear, so noise stays noise, but with few views streaks "
            "and negative values remain."
        ),
        kind=Kind.RECONSTRUCTOR,
        needs=Needs(required=(Role.PROJECTIONS,), optional=(Role.MASK,)),
        references=(
            Reference(
                "M. R. Hestenes, E. Stiefel, Methods of conjugate gradients for solving linear "
                "systems, J. Res. Natl. Bur. Stand. 49 (1952) 409.",
                "10.6028/jres.049.044",
            ),
            Reference(
                "P. C. Hansen, Rank-deficient and discrete ill-posed problems, SIAM 1998 "
                "(discrepancy principle).",
                "10.1137/1.9780898719697",
            ),
        ),
        presets={
            "few-views": {"iterations": 25},
            "few-views-low-dose": {"iterations": 15},
            "sparse-views": {"iterations": 25},
            "sparse-views-low-dose": {"iterations": 15},
            "many-views": {"iterations": 25},
            "many-views-low-dose": {"iterations": 15},
        },
    )

    def is_weighted(self, params: CglsParams) -> bool:
        """Whether readings count by their own noise."""
        return params.noise_weighted

    def stages(self, params: CglsParams) -> tuple[tuple[str, int], ...]:
        """One stage of iterations."""
        return (("Minimise the residual", params.iterations or 1),)

    def run(self, session: Session, params: CglsParams, runner: Runner) -> Answer:  # noqa: ARG002
        """Iterate until the discrepancy principle stops."""
        return Answer(runner(CglsSolver(), rules=(Discrepancy(tau=params.tau),)))


RESTORER = Cgls()
