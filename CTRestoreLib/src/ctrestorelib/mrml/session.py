"""One run at a time, for every host: start, watch, cancel, take the result (layer: mrml).

A host owns a timer and a view of the state; everything between Apply and the new node is here. No
step waits: the work runs in a child process, and :meth:`Session.poll` looks at it.

States: idle -> running -> idle, with cancelling on the side. Only idle starts something; what a
person asks for meanwhile can wait in a queue, with the settings as they were then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import slicer

from ctrestorelib.core.errors import Cancelled, CTRestoreError, UsageError
from ctrestorelib.mrml.guarding import GuardRails
from ctrestorelib.mrml.header_facts import FileOf, no_file
from ctrestorelib.mrml.outcome import Outcome, State, duration_text
from ctrestorelib.mrml.scene import SceneContext
from ctrestorelib.mrml.snapshots import Snapshot
from ctrestorelib.mrml.tasks.task import Task

__all__ = ["Outcome", "Session", "State"]

_LOG = logging.getLogger(__name__)


class Session:
    """Runs tasks one after the other in child processes.

    Parameters
    ----------
    context
        The scene. When it closes, the run is stopped and nothing is adopted.
    on_change
        Called when a run starts, is being cancelled or ends. Progress is read while polling.
    file_of
        Gives the file of a DICOM instance; headers are read for cautions only.
    """

    def __init__(
        self,
        context: SceneContext,
        on_change: Callable[[], None] = lambda: None,
        file_of: FileOf = no_file,
    ) -> None:
        self.context = context
        self.on_change = on_change
        self.state = State.IDLE
        self.outcome = Outcome()
        self.stage = ""
        self.log: list[str] = []
        self.history: list[str] = []
        self.waiting: list[Task] = []
        self.guards = GuardRails(context, self.on_change, file_of)
        self.outcomes: list[Outcome] = []
        self._queue: list[Task] = []
        self._total = 0
        self._task: Task | None = None
        self._told_of: Task | None = None
        self._child: Any = None
        close = slicer.vtkMRMLScene.StartCloseEvent
        self._tag = context.scene.AddObserver(close, lambda *_: self._scene_closes())

    @property
    def busy(self) -> bool:
        """Whether a run is under way."""
        return self.state is not State.IDLE

    @property
    def watching(self) -> bool:
        """Whether the host must go on polling: a run, or a check beside it, is under way."""
        return self.busy or self.guards.busy

    @property
    def task(self) -> Task | None:
        """The task that runs."""
        return self._task

    @property
    def fraction(self) -> float:
        """Share done of everything that was started, 0 to 1."""
        if not self.busy or self._total == 0:
            return 0.0
        before = self._total - len(self._queue) - 1
        return float(before + self._child.fraction) / self._total

    @property
    def seconds_left(self) -> float | None:
        """Estimated time left of the running task; None until there is something to judge by."""
        return None if self._child is None else self._child.seconds_left

    @property
    def sentence(self) -> str:
        """What a person should read under the progress bar."""
        if self.state is State.CANCELLING:
            return "Cancelling ..."
        if self.state is State.IDLE:
            return self.outcome.text
        title = self._task.title if self._task else ""
        number = self._total - len(self._queue)
        many = f" ({number} of {self._total})" if self._total > 1 else ""
        left = self.seconds_left
        remaining = "" if left is None else f" About {duration_text(left)} left."
        stage = f" {self.stage}." if self.stage else ""
        return f"{title}{many}.{stage}{remaining}"

    def start(self, tasks: Task | Sequence[Task]) -> None:
        """Start one task, or several one after the other.

        Raises
        ------
        UsageError
            If something runs already.
        CTRestoreError
            If the first task cannot start; the session is idle again and nothing was made.
        """
        if self.busy:
            message = "A restoration is already running."
            raise UsageError(message, hint="Wait for it, or cancel it first.")
        asked = list(tasks) if isinstance(tasks, Sequence) else [tasks]
        problems = _problems_of(asked[0]) if asked else ["There is nothing to do."]
        if problems:
            raise UsageError(" ".join(problems))
        self._queue = [step for task in asked for step in steps_of(task)]
        self._total, self._told_of = len(self._queue), None
        self.outcome = Outcome(title=asked[0].title)
        try:
            self._next()
        except BaseException:
            self._finish()
            raise
        self.on_change()

    def enqueue(self, task: Task) -> None:
        """Start a task, or let it wait for those before it, with the settings as they are now.

        A waiting task that can no longer start is told in :attr:`outcomes`; the next one follows.

        Parameters
        ----------
        task
            Its settings are replaced by a snapshot of them.

        Raises
        ------
        CTRestoreError
            If it cannot start as things stand; it does not wait then.
        """
        if hasattr(task, "store"):
            task.store = Snapshot(task.store)
        if not self.busy:
            self.start(task)
            return
        problems = _problems_of(task)
        if problems:
            raise UsageError(" ".join(problems))
        self.waiting.append(task)
        self._say(f"Waiting: {task.title}")
        self.on_change()

    def withdraw(self, task: Task) -> None:
        """Take a task out of the queue; nothing happens if it does not wait any more."""
        if any(task is other for other in self.waiting):
            self.waiting = [other for other in self.waiting if other is not task]
            self._say(f"Not done: {task.title}")
            self.on_change()

    def poll(self) -> None:
        """Look at the child: take its events, and its result once it ended. Never waits."""
        self.guards.poll()
        if self._child is None:
            return
        for event in self._child.poll():
            self._note(event)
        if self._child.finished:
            self._ended()
            self.on_change()

    def cancel(self) -> None:
        """Ask the run to stop; results of earlier steps stay, what waits comes next."""
        if self.state is not State.RUNNING:
            return
        self.state = State.CANCELLING
        self._queue.clear()
        self._child.cancel()
        self.on_change()

    def close(self) -> None:
        """Stop everything and let the scene go; the session cannot be used afterwards."""
        self.guards.forget()
        self._abandon()
        self.context.scene.RemoveObserver(self._tag)

    def note(self, text: str) -> None:
        """Add a line with the time to the log."""
        self._say(text)

    def preview(self) -> Any:
        """Return the latest preview slice ``[j, i]`` of the running task, or None."""
        preview = getattr(self._child, "preview", None)
        return preview() if preview is not None else None

    def _next(self) -> None:
        self._task = self._queue.pop(0)
        self.stage = ""
        self._say(self._task.title)
        self._child = self._task.start()
        self.state = State.RUNNING

    def _note(self, event: dict[str, Any]) -> None:
        if event["kind"] == "stage":
            self.stage = event["title"]
            self._say(event["title"])
        elif event["kind"] == "warning":
            self._say(f"Note: {event['text']}")

    def _ended(self) -> None:
        task, child = self._task, self._child
        try:
            nodes = task.adopt(child)  # type: ignore[union-attr]
        except Cancelled:
            text = getattr(task, "said_if_cancelled", "Cancelled. Nothing was changed.")
            self._fail(text, failed=False)
        except CTRestoreError as error:
            self._fail_with(error)
        except Exception as error:  # noqa: BLE001 - the host must stay usable, whatever happened
            _LOG.exception("The result could not be taken into the scene")
            self._fail(f"The result could not be taken into the scene ({type(error).__name__}).")
        else:
            self._succeed(nodes, child)
        child.close()
        self._child = None
        if self.state is State.RUNNING and self._queue:
            self._start_next_of_batch()
        else:
            self._finish()
            self.outcomes.append(self.outcome)
            self._start_waiting()

    def _start_waiting(self) -> None:
        while self.waiting and not self.busy:
            task = self.waiting.pop(0)
            try:
                self.start(task)
            except CTRestoreError as error:
                self.outcome = Outcome(str(error), failed=True, title=task.title)
                self.outcomes.append(self.outcome)
                self._say(f"{task.title}: {error}")

    def _start_next_of_batch(self) -> None:
        self._task = self._queue[0]
        try:
            problems = self._task.problems()
            if problems:
                raise UsageError(" ".join(problems))
            self._next()
        except CTRestoreError as error:
            self._fail_with(error)
            self._finish()
            self.outcomes.append(self.outcome)
            self._start_waiting()

    def _succeed(self, nodes: list[Any], child: Any) -> None:
        names = ", ".join(node.GetName() for node in nodes)
        self.outcome.node_ids += [node.GetID() for node in nodes]
        self.history += [node.GetID() for node in nodes]
        source = getattr(self._task, "guarded_source", None)
        if source is not None and nodes:
            self.guards.add(source, nodes[0])
        warned = len(child.warnings)
        notes = f" {warned} {'note' if warned == 1 else 'notes'} in the log." if warned else ""
        made = getattr(self._task, "said", "").rstrip(".") or names
        done = getattr(self._task, "done_word", "Done")
        self._tell(f"{done} in {duration_text(child.seconds)}: {made}.{notes}")

    def _fail_with(self, error: CTRestoreError) -> None:
        self._fail(f"{getattr(self._task, 'said_before_error', '')}{error}")

    def _fail(self, text: str, *, failed: bool = True) -> None:
        self.outcome.failed = failed
        self._queue.clear()
        self._tell(text)

    def _tell(self, text: str) -> None:
        """Say how a step ended, after what the steps of the same task said before it."""
        task: Any = getattr(self._task, "leader", self._task)
        before = f"{self.outcome.text} " if task is not None and task is self._told_of else ""
        self.outcome.text, self._told_of = f"{before}{text}", task
        self._say(text)

    def _finish(self) -> None:
        if self._child is not None:
            self._child.close()
        self._child = self._task = None
        self._queue.clear()
        self.state = State.IDLE

    def _abandon(self) -> None:
        self.waiting.clear()
        if self._child is not None:
            self._child.cancel()
        self._finish()

    def _scene_closes(self) -> None:
        self.history.clear()
        self.outcomes.clear()
        self.guards.forget()
        if self.busy:
            self._abandon()
            self.outcome = Outcome("The scene was closed; the run was stopped.", failed=True)

    def _say(self, text: str) -> None:
        self.log.append(f"{time.strftime('%H:%M:%S')}  {text}")


def steps_of(task: Task) -> list[Task]:
    """Return the runs of which a task consists, in their order; most are a single one.

    Every step but the task itself names it as its ``leader``.
    """
    steps = getattr(task, "steps", None)
    return [task] if steps is None else list(steps())


def _problems_of(task: Task) -> list[str]:
    """Return why a task cannot start; nodes of a snapshot that are gone come first."""
    problems = task.problems()
    store = getattr(task, "store", None)
    return store.gone or problems if isinstance(store, Snapshot) else problems
