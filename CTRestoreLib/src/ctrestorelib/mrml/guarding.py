"""Guard rails beside the session: results are checked, inputs are looked at (layer: mrml).

Both happen in child processes of their own, so that a person can go on working and start the next
run meanwhile. What is found is kept by node until the scene closes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ctrestorelib.core.errors import CTRestoreError, InputError
from ctrestorelib.jobs.cautioning import RunningCautions
from ctrestorelib.jobs.guarding import method_of
from ctrestorelib.jobs.measuring import QualityRequest, RunningMeasure
from ctrestorelib.mrml.actions.comparing import removed_noise_of
from ctrestorelib.mrml.adopt import UNCERTAINTY_ROLE
from ctrestorelib.mrml.comparison.numbers import show_quality
from ctrestorelib.mrml.derived import require_one_grid
from ctrestorelib.mrml.header_facts import FileOf, header_facts, no_file
from ctrestorelib.mrml.records import SOURCE_ROLE, record_of
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.volumes import volume_from_node
from ctrestorelib.quality.lights import Light, lights, summary
from ctrestorelib.quality.result import Measure

_LOG = logging.getLogger(__name__)


class GuardRails:
    """Checks denoised volumes one after the other, and looks at volumes to denoise.

    Parameters
    ----------
    context
        The scene.
    on_change
        Called when a check starts or ends.
    file_of
        Gives the file of a DICOM instance: its header may name the reconstruction.
    """

    def __init__(
        self,
        context: SceneContext,
        on_change: Callable[[], None] = lambda: None,
        file_of: FileOf = no_file,
    ) -> None:
        self.context, self.on_change, self._file_of = context, on_change, file_of
        self._measures: dict[str, tuple[Measure, ...]] = {}
        self._problems: dict[str, str] = {}
        self._cautions: dict[str, tuple[Any, tuple[str, ...]]] = {}
        self._waiting: list[tuple[str, str]] = []
        self._latest = ""
        self._checking: tuple[str, RunningMeasure] | None = None
        self._looking: tuple[str, Any, RunningCautions] | None = None

    @property
    def busy(self) -> bool:
        """Whether something is being checked or looked at."""
        return bool(self._waiting) or self._checking is not None or self._looking is not None

    @property
    def latest(self) -> Node | None:
        """The result that was handed over last, if it is still there."""
        return self.context.node(self._latest) if self._latest else None

    def add(self, source: Node, result: Node) -> None:
        """Check a result against its source, when those before it are done."""
        self._latest = result.GetID()
        self._waiting.append((source.GetID(), self._latest))
        self._start()

    def look_at(self, node: Node | None) -> None:
        """Look at a volume to denoise, unless it was seen as it is now."""
        if node is None or node.GetImageData() is None:
            return
        node_id, state = node.GetID(), node.GetImageData().GetMTime()
        seen = self._cautions.get(node_id)
        under_way = self._looking is not None and self._looking[:2] == (node_id, state)
        if under_way or (seen is not None and seen[0] == state):
            return
        if self._looking is not None:
            self._looking[2].close()
            self._looking = None
        try:
            facts = header_facts(node, self._file_of)
            child = RunningCautions(volume_from_node(node).volume, facts)
        except CTRestoreError:  # what is wrong with it, the input panel tells
            self._cautions[node_id] = (state, ())
            return
        self._looking = (node_id, state, child)

    def cautions_of(self, node: Node | None) -> tuple[str, ...]:
        """Return the sentences about a volume; empty until it was looked at."""
        return () if node is None else self._cautions.get(node.GetID(), (0, ()))[1]

    def lights_of(self, node: Node | None) -> tuple[Light, ...]:
        """Return the lights of a result; empty until it was checked."""
        return () if node is None else lights(self._measures.get(node.GetID(), ()))

    def sentence_of(self, node: Node | None) -> str:
        """Return the lights of a result in one sentence, or how far its check is."""
        if node is None:
            return ""
        node_id = node.GetID()
        if self._checking is not None and self._checking[0] == node_id:
            return f"Checking the result: {100 * self._checking[1].fraction:.0f} % ..."
        if any(result == node_id for _, result in self._waiting):
            return "The result will be checked."
        return self._problems.get(node_id, "") or summary(self.lights_of(node))

    def show_table(self, node: Node) -> Node | None:
        """Put the numbers behind the lights of a result into a table; None before they are there.

        The table is opened where the host shows tables.
        """
        measures = self._measures.get(node.GetID())
        return None if measures is None else show_quality(self.context, measures)

    def removed_noise(self, node: Node) -> Node:
        """Return original minus result as a volume; made once.

        Raises
        ------
        InputError, GeometryError, UnitError
            If the original is gone or the two cannot be subtracted.
        """
        source = node.GetNodeReference(SOURCE_ROLE)
        if source is None:
            message = f"The original of {node.GetName()} is no longer in the scene."
            raise InputError(message, hint="Load it again and denoise it once more.")
        return removed_noise_of(self.context, source, node)

    def poll(self) -> None:
        """Take what has come; never waits."""
        if self._looking is not None:
            self._looking[2].poll()
            if self._looking[2].finished:
                self._looked()
        if self._checking is not None:
            self._checking[1].poll()
            if self._checking[1].finished:
                self._checked()

    def forget(self) -> None:
        """Stop, and forget everything: the scene closes."""
        self._waiting.clear()
        if self._checking is not None:
            self._checking[1].close()
        if self._looking is not None:
            self._looking[2].close()
        self._checking = self._looking = None
        for kept in (self._measures, self._problems, self._cautions):
            kept.clear()

    def _start(self) -> None:
        while self._waiting and self._checking is None:
            source_id, result_id = self._waiting.pop(0)
            source, result = (self.context.node(i) for i in (source_id, result_id))
            if source is None or result is None:  # removed meanwhile: there is nothing to check
                continue
            try:
                self._checking = (result_id, RunningMeasure(_request(source, result)))
            except CTRestoreError as error:
                self._problems[result_id] = f"The result could not be checked: {error}"
        self.on_change()

    def _checked(self) -> None:
        result_id, child = self._checking  # type: ignore[misc]
        try:
            self._measures[result_id] = child.result()
            self._problems.pop(result_id, None)
        except CTRestoreError as error:
            self._problems[result_id] = f"The result could not be checked: {error}"
        child.close()
        self._checking = None
        self._start()

    def _looked(self) -> None:
        node_id, state, child = self._looking  # type: ignore[misc]
        try:
            found = tuple(c.text for c in child.result())
        except CTRestoreError as error:
            _LOG.warning("A volume could not be looked at: %s", error)
            found = ()
        self._cautions[node_id] = (state, found)
        child.close()
        self._looking = None
        self.on_change()


def _request(source: Node, result: Node) -> QualityRequest:
    require_one_grid(source, result)
    original, restored = (volume_from_node(node).volume for node in (source, result))
    said = result.GetNodeReference(UNCERTAINTY_ROLE)
    uncertainty = None if said is None else volume_from_node(said).volume
    if uncertainty is not None:
        uncertainty = uncertainty.with_values(uncertainty.values, original.unit)
    record = record_of(result)
    return QualityRequest(
        restored.with_values(restored.values, original.unit),
        original,
        guards=True,
        uncertainty=uncertainty,
        method=None if record is None else method_of(record.to_json()),
    )
