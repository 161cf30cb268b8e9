"""Total-variation reconstruction as a method (layer: methods)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ctrestorelib.core.params import Param
from ctrestorelib.recon.footprint import Footprint
from ctrestorelib.recon.iterative import Answer, IterativeReconstructor, Runner
from ctrestorelib.recon.session import Session
from ctrestorelib.recon.tv_stage import (
    NOISE_FACTOR,
    TV_PRESETS,
    AllowedMisfit,
    TvIterations,
    run_tv,
    tv_stages,
)
from ctrestorelib.restorer.spec import Kind, Needs, Reference, RestorerSpec, Role


@dataclass(frozen=True, kw_only=True)
class TvParams:
    """Settings of TV; None chooses from noise, views and dose."""

    iterations: TvIterations = None
    noise_factor: AllowedMisfit = NOISE_FACTOR
    weight: Annotated[
        float | None,
        Param(
            "Smoothing weight",
            "Fixed weight of total variation against the noise-weighted residual. "
            "Automatic: found so that the residual equals the noise.",
            unit="mm2",
            bounds=(1e-9, 1e12),
            advanced=True,
        ),
    ] = None


class Tv(IterativeReconstructor[TvParams]):
    """Least total variation among the volumes that explain the measurements."""

    Params = TvParams
    footprint = Footprint(volumes=21.5, projections=15.0, volume_passes=40.0)
    spec = RestorerSpec(
        id="tv",
        title="Total variation (few views, automatic smoothing)",
        summary=(
            "Finds the volume with the fewest edges that still explains the measurements to "
            "within their noise. The best classical choice for few X-ray views; fine texture that "
            "the views do not show becomes flat."
        ),
        kind=Kind.RECONSTRUCTOR,
        needs=Needs(required=(Role.PROJECTIONS,), optional=(Role.MASK,)),
        references=(
            Reference(
                "A. Chambolle, T. Pock, A first-order primal-dual algorithm for convex problems "
                "with applications to imaging, J. Math. Imaging Vis. 40 (2011) 120.",
                "10.1007/s10851-010-0251-1",
            ),
            Reference(
                "T. Pock, A. Chambolle, Diagonal preconditioning for first order primal-dual "
                "algorithms in convex optimization, ICCV 2011, 1762.",
                "10.1109/ICCV.2011.6126441",
            ),
            Reference(
                "E. Y. Sidky, J. H. Jorgensen, X. Pan, Convex optimization problem prototyping for "
                "image reconstruction in computed tomography with the Chambolle-Pock algorithm, "
                "Phys. Med. Biol. 57 (2012) 3065.",
                "10.1088/0031-9155/57/10/3065",
            ),
        ),
        presets=TV_PRESETS,
    )

    def stages(self, params: TvParams) -> tuple[tuple[str, int], ...]:
        """Return the first estimate, then the primal-dual steps."""
        return tv_stages(params.iterations or 1)

    def run(self, session: Session, params: TvParams, runner: Runner) -> Answer:
        """Minimise the total variation under the data constraint."""
        return run_tv(session, runner, target=params.noise_factor, weight=params.weight)


RESTORER = Tv()
