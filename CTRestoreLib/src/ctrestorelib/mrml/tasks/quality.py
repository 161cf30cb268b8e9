"""Judge the second compared volume against the first, without a reference (layer: mrml)."""

from __future__ import annotations

from ctrestorelib.core.errors import InputError
from ctrestorelib.jobs.measuring import QualityRequest, RunningMeasure, plan_quality
from ctrestorelib.mrml.actions.comparing import chosen_volumes
from ctrestorelib.mrml.comparison.numbers import show_quality
from ctrestorelib.mrml.derived import require_one_grid
from ctrestorelib.mrml.parameters import ParameterStore
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.tasks.task import sentence_of
from ctrestorelib.mrml.volumes import geometry_of, volume_from_node
from ctrestorelib.quality.result import worst
from ctrestorelib.restorer.plan import Budget, Plan


class QualityTask:
    """Reads the compared volumes from the settings when asked.

    Parameters
    ----------
    context, store
        Scene and settings.
    """

    title = "Quality without a reference"

    def __init__(self, context: SceneContext, store: ParameterStore) -> None:
        self.context, self.store = context, store
        self.verdict = ""

    def problems(self) -> list[str]:
        """Return why it cannot start."""
        if len(chosen_volumes(self.store)) < 2:
            return ["Choose the original and the result first."]
        original, restored = self._pair()
        return sentence_of(lambda: require_one_grid(original, restored)) or sentence_of(self.plan)

    def plan(self) -> Plan:
        """Return what it will cost."""
        original, _ = self._pair()
        return plan_quality(geometry_of(original).voxels, Budget.detect())

    def start(self) -> RunningMeasure:
        """Start the child process."""
        original, restored = (volume_from_node(node).volume for node in self._pair())
        return RunningMeasure(QualityRequest(restored.with_values(restored.values, original.unit),
                                             original))  # fmt: skip

    def adopt(self, child: RunningMeasure) -> list[Node]:
        """Show the measures in a table, and keep the verdict in words."""
        measures = child.result()
        judged = worst([m.verdict for m in measures if m.name != "slice_correlation"])
        reasons = [m.sentence for m in measures if m.verdict is judged and m.sentence]
        self.verdict = f"Verdict: {judged.word or 'no judgement'}. {' '.join(reasons[:3])}"
        return [show_quality(self.context, measures)]

    def _pair(self) -> tuple[Node, Node]:
        volumes = chosen_volumes(self.store)
        if len(volumes) < 2:
            message = "Two volumes are needed."
            raise InputError(message, hint="Choose the original and the result under Compare.")
        return volumes[0], volumes[1]
