"""What shall be done: a method, its parameters and its inputs (layer: jobs)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.core.params import params_from
from ctrestorelib.core.units import MU_WATER_PER_MM, Unit, check_mu_water
from ctrestorelib.methods.registry import method
from ctrestorelib.restorer.blend import check_strength
from ctrestorelib.restorer.plan import Budget, Plan
from ctrestorelib.restorer.protocol import Inputs, Restorer
from ctrestorelib.restorer.spec import Kind

Region = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class JobRequest:
    """One restoration to run.

    Parameters
    ----------
    method_id
        Id of a registered method.
    inputs
        What it works on.
    params
        Plain values by parameter name; names not given keep their defaults.
    strength
        0 (the original, bit-exact) to 1; denoisers only.
    region_kji
        ``((k0, k1), (j0, j1), (i0, i1))``, half-open voxel ranges outside which the original stays;
        denoisers only.
    output_unit, mu_water_per_mm
        Unit of a reconstruction, HU or 1/mm.
    seed
        Root of all random numbers.
    budget
        Memory and cores; measured at the start of the run if None.
    sop_instance_uids
        DICOM identity of the input volume, for the provenance.
    notes
        What reading the input had to assume, as ``{"code", "text"}``; kept in the provenance.
    facts
        How the input was reconstructed, by DICOM keyword, where that is known: for warnings only.

    Raises
    ------
    UsageError, InputError
        If the method is unknown, a parameter is invalid or an input is missing.
    """

    method_id: str
    inputs: Inputs
    params: Mapping[str, Any] = field(default_factory=dict)
    strength: float = 1.0
    region_kji: Region | None = None
    output_unit: Unit = Unit.HU
    mu_water_per_mm: float = MU_WATER_PER_MM
    seed: int = 0
    budget: Budget | None = None
    sop_instance_uids: tuple[str, ...] = ()
    notes: tuple[dict[str, str], ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_strength(self.strength)
        check_mu_water(self.mu_water_per_mm)
        self.resolved_params()
        scan = self.inputs.projections
        unmet = self.restorer.spec.needs.unmet(self.inputs.roles(), scan.views if scan else None)
        if unmet:
            message = f"{self.restorer.spec.title} cannot run: {unmet}"
            raise InputError(message)
        if self.is_reconstruction:
            self._check_reconstruction()
        elif self.region_kji is not None and self.inputs.volume is not None:
            check_region(self.region_kji, self.inputs.volume.shape)

    def _check_reconstruction(self) -> None:
        if self.inputs.grid is None:
            message = "A reconstruction needs an output grid."
            raise InputError(message, hint="Give --like VOLUME, or --shape and --spacing.")
        if self.strength != 1.0 or self.region_kji is not None:
            message = "Strength and region belong to denoisers; a reconstruction has no original."
            raise UsageError(message)
        if self.output_unit is Unit.GREY:
            message = "A reconstruction has physical units: choose HU or 1/mm."
            raise UsageError(message)

    @property
    def restorer(self) -> Restorer[Any]:
        """The registered method."""
        return method(self.method_id)

    @property
    def is_reconstruction(self) -> bool:
        """Whether the method is a reconstructor."""
        return self.restorer.spec.kind is Kind.RECONSTRUCTOR

    def resolved_params(self) -> Any:
        """Return the validated parameter object of the method."""
        return params_from(self.restorer.Params, self.params)

    def plan(self, budget: Budget | None = None) -> Plan:
        """Return how the run would go; raises :class:`DoesNotFit` if it cannot."""
        chosen = budget or self.budget or Budget.detect()
        return self.restorer.plan(self.inputs.shapes(), self.resolved_params(), chosen)


def check_region(region: Region, shape: tuple[int, int, int]) -> None:
    """Raise :class:`UsageError` if a region is empty or leaves the volume."""
    for axis, (start, stop), size in zip("kji", region, shape, strict=True):
        if not 0 <= start < stop <= size:
            message = (
                f"The region must lie inside the volume: along {axis} expected "
                f"0 <= start < stop <= {size}, got {start}:{stop}."
            )
            raise UsageError(message)
