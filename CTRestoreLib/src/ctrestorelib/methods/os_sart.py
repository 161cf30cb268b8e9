"""OS-SART as a method (layer: methods)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ctrestorelib.core.params import Param
from ctrestorelib.recon.footprint import Footprint
from ctrestorelib.recon.iterative import Answer, IterativeReconstructor, Runner, subsets_of
from ctrestorelib.recon.session import Session
from ctrestorelib.recon.sirt import Sart
from ctrestorelib.recon.solver import Discrepancy
from ctrestorelib.restorer.spec import Kind, Needs, Reference, RestorerSpec, Role

_PRESETS = {
    "few-views": {"sweeps": 40, "subsets": 5, "relaxation": 1.0, "stop_misfit": 0.5},
    "few-views-low-dose": {"sweeps": 25, "subsets": 5, "relaxation": 1.0, "stop_misfit": 0.7},
    "sparse-views": {"sweeps": 25, "subsets": 8, "relaxation": 1.0, "stop_misfit": 1.1},
    "sparse-views-low-dose": {"sweeps": 20, "subsets": 8, "relaxation": 1.0, "stop_misfit": 1.2},
    "many-views": {"sweeps": 16, "subsets": 10, "relaxation": 1.0, "stop_misfit": 1.0},
    "many-views-low-dose": {"sweeps": 15, "subsets": 10, "relaxation": 1.0, "stop_misfit": 1.1},
}


@dataclass(frozen=True, kw_only=True)
class OsSartParams:
    """Settings of OS-SART; None chooses by views and dose."""

    sweeps: Annotated[
        int | None,
        Param(
            "Sweeps",
            "How often all views are used, at most. More is sharper, and noisier at low dose.",
            bounds=(1, 500),
        ),
    ] = None
    subsets: Annotated[
        int | None,
        Param(
            "Subsets",
            "Groups into which the views are split. More groups are faster and less stable; "
            "never more than there are views.",
            bounds=(1, 2000),
            advanced=True,
        ),
    ] = None
    relaxation: Annotated[
        float | None,
        Param(
            "Relaxation",
            "Size of each correction. Lower values are smoother and need more sweeps.",
            bounds=(0.01, 1.9),
            advanced=True,
        ),
    ] = None
    decay: Annotated[
        float,
        Param(
            "Relaxation decay",
            "Factor on the relaxation after each sweep.",
            bounds=(0.5, 1.0),
            advanced=True,
        ),
    ] = 0.98
    stop_misfit: Annotated[
        float | None,
        Param(
            "Stop at misfit",
            "Stops when the squared residual, in units of the noise, falls to this value; "
            "0 does all sweeps.",
            bounds=(0.0, 100.0),
            advanced=True,
        ),
    ] = None


class OsSart(IterativeReconstructor[OsSartParams]):
    """Simultaneous algebraic reconstruction with ordered subsets."""

    Params = OsSartParams
    footprint = Footprint(volumes=9.0, projections=10.0)
    spec = RestorerSpec(
        id="os-sart",
        title="OS-SART (algebraic reconstruction)",
        summary=(
            "Corrects the volume view by view until it explains the measurements. A robust "
            "choice for few X-ray views; streaks are weaker than with FDK but do not vanish."
        ),
        kind=Kind.RECONSTRUCTOR,
        needs=Needs(required=(Role.PROJECTIONS,), optional=(Role.MASK,)),
        references=(
            Reference(
                "A. H. Andersen, A. C. Kak, Simultaneous algebraic reconstruction technique "
                "(SART), Ultrasonic Imaging 6 (1984) 81.",
                "10.1177/016173468400600107",
            ),
            Reference(
                "H. M. Hudson, R. S. Larkin, Accelerated image reconstruction using ordered "
                "subsets of projection data, IEEE Trans. Med. Imaging 13 (1994) 601.",
                "10.1109/42.363108",
            ),
        ),
        presets=_PRESETS,
    )

    def stages(self, params: OsSartParams) -> tuple[tuple[str, int], ...]:
        """One stage of sweeps."""
        return (("Correct the volume view by view", params.sweeps or 1),)

    def run(self, session: Session, params: OsSartParams, runner: Runner) -> Answer:
        """Sweep until the noise is reached."""
        subsets = subsets_of(session, params.subsets or 1)
        solver = Sart(subsets, params.relaxation or 1.0, params.decay)
        stop = Discrepancy(tau=(params.stop_misfit or 0.0) ** 0.5)
        return Answer(runner(solver, rules=(stop,)), {"subsets_used": len(subsets)})


RESTORER = OsSart()
