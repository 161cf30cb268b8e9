"""What may run before and after a reconstruction: geometry and checks (layer: mrml).

Both are steps of a reconstruction, which hands them what they need; see
:func:`ctrestorelib.mrml.session.steps_of`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ctrestorelib.core.errors import InputError
from ctrestorelib.mrml.scan_checks import attach_check
from ctrestorelib.mrml.scene import Node
from ctrestorelib.restorer.plan import Plan

if TYPE_CHECKING:
    from ctrestorelib.jobs.request import JobRequest
    from ctrestorelib.jobs.runner import JobResult
    from ctrestorelib.jobs.running_checks import RunningCalibration, RunningCheck
    from ctrestorelib.mrml.tasks.reconstruct import ReconstructTask


class CalibrateTask:
    """Looks for errors of the geometry and hands the reconstruction the request to run.

    Parameters
    ----------
    leader
        The reconstruction.
    """

    done_word = "Geometry looked at"

    def __init__(self, leader: ReconstructTask) -> None:
        self.leader, self.store = leader, leader.store
        self.said = ""

    @property
    def title(self) -> str:
        """What is done to which node, for the status line."""
        stack = self.leader.stack
        return f"Look for geometry errors: {'' if stack is None else stack.GetName()}"

    def problems(self) -> list[str]:
        """Return why it cannot start: what keeps the reconstruction from starting."""
        return self.leader.problems()

    def plan(self) -> Plan:
        """Return what it will cost at most."""
        return self.leader.plan()

    def start(self) -> RunningCalibration:
        """Start the child process."""
        from ctrestorelib.jobs.running_checks import RunningCalibration

        return RunningCalibration(self.leader.prepare())

    def adopt(self, child: RunningCalibration) -> list[Node]:
        """Hand over the request and keep what was found in words; no node is made."""
        found = child.result()
        self.leader.take(found.request)
        self.said = found.sentence
        return []


@dataclass(frozen=True, eq=False)
class _Made:
    """A finished reconstruction: its node, and what is needed to check it."""

    node_id: str
    name: str
    request: JobRequest
    result: JobResult


class CheckTask:
    """Checks a finished reconstruction against its views.

    Parameters
    ----------
    leader
        The reconstruction; it calls :meth:`take` with its result.
    """

    done_word = "Checked"
    said_if_cancelled = "The check was cancelled; the result stays, unchecked."
    said_before_error = "The result could not be checked: "

    def __init__(self, leader: ReconstructTask) -> None:
        self.leader = leader
        self.said = ""
        self._made: _Made | None = None

    @property
    def title(self) -> str:
        """What is done to which node, for the status line."""
        return f"Check against the views: {self._made.name if self._made else ''}"

    def take(self, node: Node, request: JobRequest, result: JobResult) -> None:
        """Remember what to check."""
        self._made = _Made(node.GetID(), node.GetName(), request, result)

    def problems(self) -> list[str]:
        """Return why it cannot start."""
        return [] if self._made is not None else ["There is no reconstruction to check."]

    def plan(self) -> Plan:
        """Return what each of its reconstructions will cost."""
        return self._require().request.plan()

    def start(self) -> RunningCheck:
        """Start the child process."""
        from ctrestorelib.jobs.running_checks import RunningCheck

        made = self._require()
        return RunningCheck(made.request, made.result.volume, made.result.report)

    def adopt(self, child: Any) -> list[Node]:
        """Keep lights and figures with the result; add the map and the misfit of every view."""
        made, self._made = self._require(), None
        found = child.result()
        node = self.leader.context.require(made.node_id, "reconstruction")
        nodes = attach_check(self.leader.context, node, found.measures, found.measured_percent)
        self.said = found.summary
        return nodes

    def _require(self) -> _Made:
        if self._made is None:
            message = "There is no reconstruction to check."
            raise InputError(message, hint="Reconstruct first.")
        return self._made
