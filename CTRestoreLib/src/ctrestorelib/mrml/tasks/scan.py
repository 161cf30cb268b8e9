"""X-ray views of a volume node by a virtual scanner (layer: mrml)."""

from __future__ import annotations

from ctrestorelib.core.errors import InputError, UnitError
from ctrestorelib.core.params import fields_of, params_from
from ctrestorelib.core.units import Unit
from ctrestorelib.jobs.scan import RunningScan, ScanRequest
from ctrestorelib.mrml.parameters import ParameterStore
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.settings import SCAN_PREFIX
from ctrestorelib.mrml.stacks import stack_node
from ctrestorelib.mrml.tasks.task import said_unit, sentence_of
from ctrestorelib.mrml.value_units import unit_of
from ctrestorelib.mrml.volumes import check_input, volume_from_node, world_geometry_of
from ctrestorelib.physics.scan_protocol import ScanProtocol
from ctrestorelib.physics.virtual_scan import plan_scan
from ctrestorelib.restorer.plan import Budget, Plan


class ScanTask:
    """Reads its settings when asked.

    Parameters
    ----------
    context, store
        Scene and settings.
    """

    def __init__(self, context: SceneContext, store: ParameterStore) -> None:
        self.context, self.store = context, store
        self._source_id = ""
        self._name = ""

    @property
    def source(self) -> Node | None:
        """The volume to scan: the one chosen for it, or the input volume."""
        chosen = self.store.get("scan_volume")
        return chosen if chosen is not None else self.store.get("input_volume")

    @property
    def title(self) -> str:
        """What is done to which node, for the status line."""
        return f"Virtual scan: {self.source.GetName() if self.source is not None else ''}"

    def protocol(self) -> ScanProtocol:
        """Return the scanner's settings.

        Raises
        ------
        UsageError
            If a setting is out of its range.
        """
        names = [field.name for field in fields_of(ScanProtocol)]
        return params_from(ScanProtocol, {n: self.store.get(SCAN_PREFIX + n) for n in names})

    def problems(self) -> list[str]:
        """Return why it cannot start."""
        if self.source is None:
            return ["Choose a volume to scan."]
        found = sentence_of(lambda: check_input(self.source, harden=True))
        return found or sentence_of(self._check_unit) or sentence_of(self.plan)

    def plan(self) -> Plan:
        """Return what it will cost."""
        if self.source is None:
            message = "There is no volume to scan."
            raise InputError(message)
        return plan_scan(world_geometry_of(self.source), self.protocol(), Budget.detect())

    def start(self) -> RunningScan:
        """Start the child process and remember, by ID, what is scanned."""
        source = self.source
        read = volume_from_node(source, unit=said_unit(self.store, source), harden=True)
        notes = tuple({"code": n.code, "text": n.text} for n in read.notes)
        request = ScanRequest(
            read.volume,
            self.protocol(),
            sop_instance_uids=read.sop_instance_uids,
            notes=notes,
        )
        self._source_id, self._name = source.GetID(), source.GetName()  # type: ignore[union-attr]
        return RunningScan(request)

    def adopt(self, child: RunningScan) -> list[Node]:
        """Put the views into the scene and choose them for reconstruction."""
        result = child.result()
        views = result.projections.views
        node = stack_node(self.context, result.projections, f"{self._name} ({views} views)")
        source = self.context.node(self._source_id)
        self.store.update({"reconstruct_stack": node, "reconstruct_like": source})
        return [node]

    def _check_unit(self) -> None:
        unit = said_unit(self.store, self.source) or unit_of(self.source)[0]
        if unit is Unit.GREY:
            message = "A virtual scan needs HU or attenuation; this volume has grey values."
            raise UnitError(message, hint="Say under Input what the values are.")
