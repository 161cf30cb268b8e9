"""Apply with plan, reasons, percent, time left and Cancel (layer: apps)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from trame.widgets import html

from ctrestorelib.apps.web.session.panels.panel import Panel
from ctrestorelib.mrml.outcome import Outcome
from ctrestorelib.mrml.session import State
from ctrestorelib.mrml.tasks.task import missing_packages

IDLE = {"running": False, "cancelling": False, "percent": 0, "waits": False, "failed": False}


class RunRow:
    """The lower rows of a panel that runs something.

    Parameters
    ----------
    panel
        Its texts hold those of the row, its buttons ``apply`` and ``cancel``.
    make_task
        Returns the task for the current settings.
    make_tasks
        Returns all tasks of a press on Apply (batches); one task if not given.
    """

    texts = ("plan", "problem", "status")
    buttons = ("apply", "cancel")

    def __init__(
        self,
        panel: Panel,
        make_task: Callable[[], Any],
        make_tasks: Callable[[], Sequence[Any]] | None = None,
    ) -> None:
        self._panel, self._make_task = panel, make_task
        self._make_tasks = make_tasks or (lambda: [make_task()])
        self._mine: list[Any] = []
        self._was_running = self._failed = False
        panel.show(run=dict(IDLE))

    @property
    def running(self) -> bool:
        """Whether what runs was started here."""
        task: Any = self._panel.desk.session.task
        asked = getattr(task, "leader", task)
        return asked is not None and any(asked is mine for mine in self._mine)

    def build(self) -> None:
        """Draw the rows."""
        panel, run = self._panel, f"{self._panel.state_key}.run"
        panel.line("plan", classes="pg-plan")
        panel.line("problem", classes="pg-problem", role="status")
        with html.Div(classes="pg-row"):
            panel.button("apply", f"{{{{ {run}.waits ? 'Add to the queue' : 'Apply' }}}}",
                         self.apply, "Starts in the background; you can go on working.",
                         color="primary", variant="flat")  # fmt: skip
            panel.button("cancel", f"{{{{ {run}.cancelling ? 'Cancelling ...' : 'Cancel' }}}}",
                         self.cancel, "Stops the run. Nothing is changed.",
                         v_if=f"{run}.running")  # fmt: skip
        progress_bar(run, "Progress of the run")
        shown = f"{{'pg-status': true, 'pg-failed': {run}.failed}}"
        panel.line("status", classes=(shown,), role="status", aria_live="polite")

    def apply(self) -> None:
        """Start, or queue, what the settings say now."""
        tasks = list(self._make_tasks())
        self._mine += tasks
        self._panel.desk.enqueue(tasks)

    def cancel(self) -> None:
        """Stop the run of this panel."""
        if self.running:
            self._panel.desk.session.cancel()

    def refresh(self) -> None:
        """Show what a press would do, or what is going on."""
        task = self._make_task()
        problem = " ".join(task.problems() or lacking(task))
        plan = "" if problem else task.plan().sentence()
        self._panel.show(plan=plan, problem=problem, why_apply=problem)
        self.refresh_run()

    def refresh_run(self) -> None:
        """Show percent and time left, and once it is over how it ended."""
        session = self._panel.desk.session
        cancelling = self.running and session.state is State.CANCELLING
        run = {**IDLE, "waits": session.busy}
        if self.running:
            run |= {"running": True, "cancelling": cancelling,
                    "percent": round(100 * session.fraction)}  # fmt: skip
            self._failed = False
            self._panel.show(status=session.sentence)
        elif self._was_running and session.outcomes:
            self._ended(session.outcomes[-1], session.waiting)
        self._was_running = self.running
        why = "It is being cancelled." if cancelling else ""
        self._panel.show(run={**run, "failed": self._failed}, why_cancel=why)

    def _ended(self, outcome: Outcome, waiting: Sequence[Any]) -> None:
        self._failed = outcome.failed
        self._panel.show(status=outcome.text)
        self._mine = [t for t in self._mine if any(t is other for other in waiting)]


def progress_bar(run: str, label: str) -> None:
    """Draw a bar with its percent inside, from a state entry like :data:`IDLE`."""
    with html.Div(
        v_if=f"{run}.running",
        classes="pg-bar",
        role="progressbar",
        aria_label=label,
        aria_valuemin=0,
        aria_valuemax=100,
        aria_valuenow=(f"{run}.percent",),
    ):
        html.Div(classes="pg-bar-done", style=(f"{{width: {run}.percent + '%'}}",))
        html.Span(f"{{{{ {run}.percent }}}} %")


def lacking(task: Any) -> list[str]:
    """Return which Python packages the task's method lacks in this installation."""
    restorer = getattr(task, "restorer", None)
    lacks = "" if restorer is None else missing_packages(restorer)
    return [f"{lacks} Whoever runs this page has to install it."] if lacks else []
