"""PICCS, reconstruction with a prior volume, as a method (layer: methods)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from ctrestorelib.core.errors import GeometryError, InputError, UnitError
from ctrestorelib.core.params import Param
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.recon.footprint import Footprint
from ctrestorelib.recon.iterative import Answer, IterativeReconstructor, Runner
from ctrestorelib.recon.session import Session
from ctrestorelib.recon.tv import Term
from ctrestorelib.recon.tv_stage import NOISE_FACTOR, TV_PRESETS, TvIterations, run_tv, tv_stages
from ctrestorelib.restorer.spec import Kind, Maturity, Needs, Reference, RestorerSpec, Role


@dataclass(frozen=True, kw_only=True)
class PiccsParams:
    """Settings of PICCS; None chooses from noise, views and dose."""

    prior_share: Annotated[
        float,
        Param(
            "Trust in the prior",
            "0 ignores the prior volume, towards 1 it decides whatever the views do not show.",
            bounds=(0.0, 0.99),
        ),
    ] = 0.5
    iterations: TvIterations = None
    noise_factor: Annotated[
        float,
        Param(
            "Allowed misfit",
            "Squared residual that may remain, in units of the noise. Higher stays nearer to the "
            "prior.",
            bounds=(0.01, 100.0),
        ),
    ] = NOISE_FACTOR


class Piccs(IterativeReconstructor[PiccsParams]):
    """Prior image constrained compressed sensing."""

    Params = PiccsParams
    footprint = Footprint(volumes=27.0, projections=20.0, volume_passes=80.0)
    spec = RestorerSpec(
        id="piccs",
        title="PICCS (few views with a planning CT)",
        summary=(
            "Starts from an earlier volume of the same patient, aligned with the scan, and "
            "changes only what the new X-ray views demand. Structures of the prior can survive "
            "although they are gone: always look at the difference to the prior."
        ),
        kind=Kind.RECONSTRUCTOR,
        needs=Needs(required=(Role.PROJECTIONS, Role.PRIOR_VOLUME), optional=(Role.MASK,)),
        references=(
            Reference(
                "G.-H. Chen, J. Tang, S. Leng, Prior image constrained compressed sensing (PICCS), "
                "Med. Phys. 35 (2008) 660.",
                "10.1118/1.2836423",
            ),
        ),
        maturity=Maturity.RESEARCH,
        presets=TV_PRESETS,
    )

    def stages(self, params: PiccsParams) -> tuple[tuple[str, int], ...]:
        """Return the first estimate, then the primal-dual steps."""
        return tv_stages(params.iterations or 1)

    def run(self, session: Session, params: PiccsParams, runner: Runner) -> Answer:
        """Minimise both total variations under the data constraint."""
        prior = checked_prior(session.prior, session.grid)
        values = session.operator.asarray(np.maximum(prior.values, 0))
        share = params.prior_share
        terms = (Term(1.0 - share), Term(share, values)) if share > 0 else (Term(),)
        answer = run_tv(session, runner, terms=terms, target=params.noise_factor, start=values)
        found = session.operator.to_numpy(answer.solution.values)
        return Answer(answer.solution, {**answer.report, **_difference(found, prior)})


def checked_prior(prior: Volume | None, grid: VolumeGeometry) -> Volume:
    """Return the prior volume if it can be used on ``grid``.

    Raises
    ------
    InputError, GeometryError, UnitError
        If it is missing or not finite, lies on another grid, or is not in 1/mm.
    """
    if prior is None:
        message = "PICCS needs a prior volume of the same patient on the output grid."
        raise InputError(message, hint="Give the registered planning CT with --prior.")
    if not prior.geometry.matches(grid, tolerance_mm=0.01 * min(grid.spacing_mm)):
        message = "The prior volume does not lie on the output grid."
        raise GeometryError(message, hint="Register and resample it to the output grid first.")
    if prior.unit is not Unit.PER_MM:
        message = f"The prior volume must be in 1/mm; it is in {prior.unit.label}."
        raise UnitError(message, hint="Convert HU with the attenuation of water.")
    prior.require_finite("The prior volume")
    return prior


def _difference(found: np.ndarray[Any, Any], prior: Volume) -> dict[str, Any]:
    change = found - prior.values
    return {
        "difference_to_prior_rms_per_mm": float(np.sqrt(np.mean(np.square(change)))),
        "difference_to_prior_largest_per_mm": float(np.abs(change).max()),
    }


RESTORER = Piccs()
