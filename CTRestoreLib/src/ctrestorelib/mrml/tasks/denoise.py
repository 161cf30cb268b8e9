"""Denoise a volume node (layer: mrml)."""

from __future__ import annotations

from typing import Any

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.params import params_from
from ctrestorelib.jobs.execute import REGION_MARGIN
from ctrestorelib.jobs.request import JobRequest, Region
from ctrestorelib.jobs.runner import RunningJob
from ctrestorelib.mrml.adopt import adopt_result
from ctrestorelib.mrml.header_facts import FileOf, header_facts, no_file
from ctrestorelib.mrml.parameters import ParameterStore
from ctrestorelib.mrml.regions import mask_from_segment, region_from_roi
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.tasks.task import (
    chosen_method,
    params_of,
    said_unit,
    sentence_of,
    short_title,
)
from ctrestorelib.mrml.volumes import check_input, geometry_of, volume_from_node
from ctrestorelib.restorer.plan import Budget, InputShapes, Plan
from ctrestorelib.restorer.protocol import Inputs, Restorer
from ctrestorelib.restorer.spec import Kind


class DenoiseTask:
    """Reads its settings when asked; ``volume`` overrides the chosen input (for batches).

    Parameters
    ----------
    context, store
        Scene and settings.
    volume
        Node to denoise instead of the one that the settings name.
    file_of
        Gives the file of a DICOM instance: what its header says of the reconstruction goes into
        the cautions of the record.
    """

    def __init__(
        self,
        context: SceneContext,
        store: ParameterStore,
        volume: Node | None = None,
        *,
        file_of: FileOf = no_file,
    ) -> None:
        self.context, self.store, self._volume = context, store, volume
        self._file_of = file_of
        self._source_id = ""
        self._into_id: str | None = None
        self._harden = False

    @property
    def restorer(self) -> Restorer[Any]:
        """The chosen method."""
        return chosen_method(self.store, "denoise_method", Kind.DENOISER)

    @property
    def source(self) -> Node | None:
        """The volume to denoise."""
        return self._volume if self._volume is not None else self.store.get("input_volume")

    @property
    def title(self) -> str:
        """What is done to which node, for the status line."""
        name = self.source.GetName() if self.source is not None else ""
        return f"{self.restorer.spec.title}: {name}"

    @property
    def guarded_source(self) -> Node | None:
        """The volume against which the result is checked; None where no check is wished."""
        return self.context.node(self._source_id) if self.store.get("denoise_guards") else None

    def problems(self) -> list[str]:
        """Return why it cannot start."""
        if self.source is None:
            return ["Choose a volume to denoise."]
        found = sentence_of(lambda: check_input(self.source, harden=self.store.get("input_harden")))
        output = self.store.get("denoise_output")
        if output is not None and output is self.source:
            found.append("The result would replace its own input: choose another output volume.")
        if not found:
            found += sentence_of(self.plan)
        return found

    def plan(self) -> Plan:
        """Return what it will cost."""
        if self.source is None:
            message = "There is no volume to denoise."
            raise InputError(message)
        shape = geometry_of(self.source).shape
        region = self._region(self.source)
        if region is not None:
            k, j, i = (
                min(n, b + REGION_MARGIN) - max(0, a - REGION_MARGIN)
                for (a, b), n in zip(region, shape, strict=True)
            )
            shape = (k, j, i)
        shapes = InputShapes(volume=shape, has_mask=self._mask_node() is not None)
        restorer = self.restorer
        params: Any = params_from(restorer.Params, params_of(self.store, restorer.spec.id))
        return restorer.plan(shapes, params, Budget.detect())

    def request(self) -> JobRequest:
        """Return the request as the settings stand now.

        Raises
        ------
        CTRestoreError
            If a node or a parameter cannot be used.
        """
        source, harden = self.source, self.store.get("input_harden")
        read = volume_from_node(source, unit=said_unit(self.store, source), harden=harden)
        restorer = self.restorer
        return JobRequest(
            restorer.spec.id,
            Inputs(volume=read.volume, mask=self._mask(source)),
            params=params_of(self.store, restorer.spec.id),
            strength=self.store.get("denoise_strength"),
            region_kji=self._region(source),
            sop_instance_uids=read.sop_instance_uids,
            notes=tuple({"code": n.code, "text": n.text} for n in read.notes),
            facts=header_facts(source, self._file_of),
        )

    def start(self) -> RunningJob:
        """Start the child process and remember, by ID, where its result belongs."""
        request = self.request()
        output = self.store.get("denoise_output") if self._volume is None else None
        self._source_id = self.source.GetID()  # type: ignore[union-attr]
        self._into_id = None if output is None else output.GetID()
        self._harden = self.store.get("input_harden")
        return RunningJob(request)

    def adopt(self, child: RunningJob) -> list[Node]:
        """Take the result into the scene and put it up for comparison with its source."""
        node = adopt_result(
            self.context,
            child.result(),
            source_id=self._source_id,
            title=short_title(child.request.restorer),
            into_id=self._into_id,
            hardened=self._harden,
        )
        if self._volume is None:
            source = self.context.node(self._source_id)
            self.store.update({"compare_a": source, "compare_b": node, "export_volume": node})
        return [node]

    def _region(self, source: Node) -> Region | None:
        roi = self.store.get("denoise_roi")
        return None if roi is None else region_from_roi(roi, source)

    def _mask_node(self) -> Node | None:
        return self.store.get("denoise_mask")

    def _mask(self, source: Node) -> Any:
        segmentation = self._mask_node()
        if segmentation is None:
            return None
        segment = self.store.get("denoise_mask_segment")
        if not segment:
            message = "A segmentation restricts the work, but no segment of it is chosen."
            raise InputError(message, hint="Choose the segment, or no segmentation.")
        return mask_from_segment(segmentation, segment, source)
