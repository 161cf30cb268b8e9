"""The restorer protocol: what every method offers (layer: restorer)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.restorer.plan import Budget, InputShapes, Plan
from ctrestorelib.restorer.spec import RestorerSpec, Role

P_contra = TypeVar("P_contra", contravariant=True)


@dataclass(frozen=True)
class Inputs:
    """What a method works on.

    Parameters
    ----------
    volume
        The noisy volume of a denoiser.
    split_volumes
        Two reconstructions of complementary view splits on one grid.
    projections, grid
        Line integrals (or counts) of a scan, and the voxel grid to fill. The reconstruction is in
        1/mm.
    prior
        A volume on ``grid`` in 1/mm.
    mask
        Array ``[k, j, i]``, true where the method shall work (denoisers) or where the object can
        be (reconstructors).
    """

    volume: Volume | None = None
    split_volumes: tuple[Volume, Volume] | None = None
    projections: ProjectionSet | None = None
    grid: VolumeGeometry | None = None
    prior: Volume | None = None
    mask: NDArray[np.bool_] | None = None

    def roles(self) -> set[Role]:
        """Return which roles are filled."""
        filled = {
            Role.VOLUME: self.volume,
            Role.SPLIT_VOLUMES: self.split_volumes,
            Role.PROJECTIONS: self.projections,
            Role.PRIOR_VOLUME: self.prior,
            Role.MASK: self.mask,
        }
        return {role for role, value in filled.items() if value is not None}

    def shapes(self) -> InputShapes:
        """Return the sizes for planning."""
        return InputShapes(
            volume=self.volume.shape if self.volume else None,
            scan=self.projections.geometry if self.projections else None,
            grid=self.grid,
            has_prior=self.prior is not None,
            has_mask=self.mask is not None,
        )

    def require_volume(self) -> Volume:
        """Return the volume; :class:`InputError` if there is none."""
        if self.volume is None:
            message = "This method needs a reconstructed volume."
            raise InputError(message)
        return self.volume

    def require_scan(self) -> tuple[ProjectionSet, VolumeGeometry]:
        """Return line integrals and output grid; :class:`InputError` if either is missing."""
        if self.projections is None or self.grid is None:
            message = "This method needs projections with their geometry, and an output grid."
            raise InputError(message)
        return self.projections.to_line_integrals(), self.grid


@dataclass(frozen=True)
class Estimate:
    """What a method returns: the restored volume, and what it knows about it.

    ``report`` holds plain numbers for people and tests (residuals, stop reason, measured noise);
    ``uncertainty`` is a standard deviation per voxel in the volume's unit.
    """

    volume: Volume
    uncertainty: Volume | None = None
    report: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Restorer(Protocol[P_contra]):
    """A denoiser or a reconstructor. One instance serves all calls and keeps no state."""

    spec: ClassVar[RestorerSpec]
    Params: ClassVar[type]

    def plan(self, shapes: InputShapes, params: P_contra, budget: Budget) -> Plan:
        """Return how a run of this size would go: pure, in milliseconds.

        Raises
        ------
        DoesNotFit
            If even the smallest way needs more than ``budget``.
        """
        ...

    def restore(self, inputs: Inputs, params: P_contra, plan: Plan, job: Job) -> Estimate:
        """Run the method. Never writes to its inputs; the same seed gives the same result.

        Raises
        ------
        InputError
            If an input is missing, not finite, or has an unfit unit.
        Cancelled
            When the job was cancelled.
        """
        ...
