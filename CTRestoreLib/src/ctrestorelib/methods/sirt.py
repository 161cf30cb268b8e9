"""SIRT as a method (layer: methods)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ctrestorelib.core.params import Param
from ctrestorelib.recon.footprint import Footprint
from ctrestorelib.recon.iterative import Answer, IterativeReconstructor, Runner, subsets_of
from ctrestorelib.recon.session import Session
from ctrestorelib.recon.sirt import Sart
from ctrestorelib.recon.solver import Discrepancy, Stagnation
from ctrestorelib.restorer.spec import Kind, Needs, Reference, RestorerSpec, Role


@dataclass(frozen=True, kw_only=True)
class SirtParams:
    """Settings of SIRT; None chooses by views and dose."""

    iterations: Annotated[
        int | None,
        Param(
            "Iterations",
            "Corrections from all views at once, at most. More is sharper, and noisier.",
            bounds=(1, 2000),
        ),
    ] = None
    relaxation: Annotated[
        float,
        Param(
            "Relaxation",
            "Size of each correction; up to 1.9 is stable. Lower values need more iterations.",
            bounds=(0.01, 1.9),
            advanced=True,
        ),
    ] = 1.9
    stop_misfit: Annotated[
        float,
        Param(
            "Stop at misfit",
            "Stops when the squared residual, in units of the noise, falls to this value; "
            "0 does all iterations.",
            bounds=(0.0, 100.0),
            advanced=True,
        ),
    ] = 1.0


class Sirt(IterativeReconstructor[SirtParams]):
    """Simultaneous iterative reconstruction from all views at once."""

    Params = SirtParams
    footprint = Footprint(volumes=7.0, projections=12.0)
    spec = RestorerSpec(
        id="sirt",
        title="SIRT (slow, steady algebraic reconstruction)",
        summary=(
            "Corrects the volume with all X-ray views at once. Smooth and very stable, also with "
            "noisy or inconsistent measurements, but needs many iterations."
        ),
        kind=Kind.RECONSTRUCTOR,
        needs=Needs(required=(Role.PROJECTIONS,), optional=(Role.MASK,)),
        references=(
            Reference(
                "J. Gregor, T. Benson, Computational analysis and improvement of SIRT, IEEE Trans. "
                "Med. Imaging 27 (2008) 918.",
                "10.1109/TMI.2008.923696",
            ),
        ),
        presets={
            "few-views": {"iterations": 150},
            "few-views-low-dose": {"iterations": 100},
            "sparse-views": {"iterations": 120},
            "sparse-views-low-dose": {"iterations": 80},
            "many-views": {"iterations": 100},
            "many-views-low-dose": {"iterations": 60},
        },
    )

    def stages(self, params: SirtParams) -> tuple[tuple[str, int], ...]:
        """One stage of iterations."""
        return (("Correct the volume with all views", params.iterations or 1),)

    def run(self, session: Session, params: SirtParams, runner: Runner) -> Answer:
        """Iterate until the noise is reached."""
        solver = Sart(subsets_of(session, 1), params.relaxation)
        rules = (Discrepancy(tau=params.stop_misfit**0.5), Stagnation(1e-4))
        return Answer(runner(solver, rules=rules))


RESTORER = Sirt()
