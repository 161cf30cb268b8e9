"""Reconstruct a volume from a stack of X-ray views (layer: mrml)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.core.params import params_from
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.field_of_view import default_grid
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import RunningJob
from ctrestorelib.mrml.adopt import adopt_result
from ctrestorelib.mrml.parameters import ParameterStore
from ctrestorelib.mrml.regions import grid_in_roi
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.stacks import is_stack, looks_like_projections, projections_of, scan_of
from ctrestorelib.mrml.tasks.reconstruct_checks import CalibrateTask, CheckTask
from ctrestorelib.mrml.tasks.task import (
    chosen_method,
    params_of,
    sentence_of,
    short_title,
)
from ctrestorelib.mrml.volumes import volume_from_node, world_geometry_of
from ctrestorelib.recon.calibration_limits import require_enough_views
from ctrestorelib.restorer.plan import Budget, InputShapes, Plan
from ctrestorelib.restorer.protocol import Inputs, Restorer
from ctrestorelib.restorer.spec import Kind, Role

CHECK_COSTS = 2.0
"""Time of the checks, in reconstructions: two views are left out in turn."""


class ReconstructTask:
    """Reads its settings when asked.

    Parameters
    ----------
    context, store
        Scene and settings.
    """

    def __init__(self, context: SceneContext, store: ParameterStore) -> None:
        self.context, self.store = context, store
        self._source_id = ""
        self._into_id: str | None = None
        self._prepared: JobRequest | None = None
        self._check: CheckTask | None = None

    def steps(self) -> list[Any]:
        """Return what runs, as the settings stand: the geometry first, the checks last."""
        before = [CalibrateTask(self)] if self.store.get("reconstruct_calibrate") else []
        if self.store.get("reconstruct_check"):
            self._check = CheckTask(self)
        after = [] if self._check is None else [self._check]
        return [*before, self, *after]

    @property
    def restorer(self) -> Restorer[Any]:
        """The chosen method."""
        return chosen_method(self.store, "reconstruct_method", Kind.RECONSTRUCTOR)

    @property
    def stack(self) -> Node | None:
        """The chosen projections."""
        return self.store.get("reconstruct_stack")

    @property
    def title(self) -> str:
        """What is done to which node, for the status line."""
        name = self.stack.GetName() if self.stack is not None else ""
        return f"{self.restorer.spec.title}: {name}"

    def problems(self) -> list[str]:
        """Return why it cannot start."""
        if self._prepared is not None:
            return []
        if self.stack is None:
            return ["Choose projections: open a file, or make a virtual scan."]
        if not is_stack(self.stack):
            seen = looks_like_projections(self.stack)
            about = f" {seen}" if seen else ""
            return [
                f"{self.stack.GetName()} has no scan geometry.{about} Say where source and "
                "detector were: choose its geometry file."
            ]
        return sentence_of(self.plan)

    def plan(self) -> Plan:
        """Return what it will cost, with the checks that are wished."""
        plan = self._plan()
        if not self.store.get("reconstruct_check"):
            return plan
        return replace(plan, seconds=(1.0 + CHECK_COSTS) * plan.seconds)

    def grid(self, scan: ConeBeamGeometry) -> VolumeGeometry:
        """Return the voxel grid of the result: of a volume, or the field of view; cut to the ROI.

        Raises
        ------
        GeometryError
            If the region lies outside.
        """
        like = self.store.get("reconstruct_like")
        if like is not None:
            grid = world_geometry_of(like)
        else:
            grid = default_grid(scan, self.store.get("reconstruct_spacing_mm"))
        roi = self.store.get("reconstruct_roi")
        return grid if roi is None else grid_in_roi(roi, grid)

    def request(self) -> JobRequest:
        """Return the request as the settings stand now.

        Raises
        ------
        CTRestoreError
            If a node or a parameter cannot be used.
        """
        projections = self._projections()
        grid = self.grid(projections.geometry)
        restorer = self.restorer
        mu_water = self.store.get("reconstruct_mu_water_per_mm")
        return JobRequest(
            restorer.spec.id,
            Inputs(projections=projections, grid=grid, prior=self._prior(grid, mu_water)),
            params=params_of(self.store, restorer.spec.id),
            output_unit=Unit(self.store.get("reconstruct_unit")),
            mu_water_per_mm=mu_water,
        )

    def prepare(self) -> JobRequest:
        """Return the request, and remember, by ID, where its result belongs.

        Raises
        ------
        CTRestoreError
            If a node or a parameter cannot be used.
        """
        request = self.request()
        output = self.store.get("reconstruct_output")
        self._source_id = self.stack.GetID()  # type: ignore[union-attr]
        self._into_id = None if output is None else output.GetID()
        return request

    def take(self, request: JobRequest) -> None:
        """Run this request, which an earlier step made from :meth:`prepare`, at :meth:`start`."""
        self._prepared = request

    def start(self) -> RunningJob:
        """Start the child process."""
        request, self._prepared = self._prepared or self.prepare(), None
        return RunningJob(request)

    def adopt(self, child: RunningJob) -> list[Node]:
        """Take the result into the scene and put it up for comparison."""
        result = child.result()
        node = adopt_result(
            self.context,
            result,
            source_id=self._source_id,
            title=short_title(child.request.restorer),
            into_id=self._into_id,
        )
        scanned = self.store.get("scan_volume")
        first = scanned if scanned is not None else self.store.get("compare_a")
        self.store.update({"compare_a": first, "compare_b": node, "export_volume": node})
        if self._check is not None:
            self._check.take(node, child.request, result)
        return [node]

    def _plan(self) -> Plan:
        scan = self._scan()
        restorer = self.restorer
        prior = self._prior_node()
        needs = restorer.spec.needs
        if Role.PRIOR_VOLUME in needs.required and prior is None:
            message = f"{restorer.spec.title} needs an earlier volume of the same patient."
            raise InputError(message, hint="Choose it below, or take another method.")
        if scan.views < needs.min_views:
            message = f"{restorer.spec.title} needs at least {needs.min_views} views."
            raise InputError(message, hint=f"This scan has {scan.views}.")
        if self.store.get("reconstruct_calibrate"):
            require_enough_views(scan)
        shapes = InputShapes(scan=scan, grid=self.grid(scan), has_prior=prior is not None)
        params: Any = params_from(restorer.Params, params_of(self.store, restorer.spec.id))
        return restorer.plan(shapes, params, Budget.detect())

    def _scan(self) -> ConeBeamGeometry:
        """Return the geometry of the views used; the projections are not touched."""
        scan = scan_of(self.stack)
        return scan[self._used(scan.views)]

    def _projections(self) -> ProjectionSet:
        projections = projections_of(self.stack)
        return projections[self._used(projections.views)]

    def _used(self, views: int) -> Any:
        wanted: int | None = self.store.get("reconstruct_views")
        if wanted is None or wanted >= views:
            return slice(None)
        return np.arange(wanted) * views // wanted

    def _prior_node(self) -> Node | None:
        optional = self.restorer.spec.needs
        uses = Role.PRIOR_VOLUME in (*optional.required, *optional.optional)
        return self.store.get("reconstruct_prior") if uses else None

    def _prior(self, grid: VolumeGeometry, mu_water_per_mm: float) -> Volume | None:
        node = self._prior_node()
        if node is None:
            return None
        prior = volume_from_node(node, harden=True).volume.to_unit(Unit.PER_MM, mu_water_per_mm)
        if not prior.geometry.matches(grid):
            message = f"{node.GetName()} does not lie on the voxel grid of the result."
            hint = "Choose it also under 'Same voxels as', or resample it."
            raise GeometryError(message, hint=hint)
        return prior
