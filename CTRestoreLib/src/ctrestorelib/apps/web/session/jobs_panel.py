"""What runs, what waits, and what came out, with how it was made (layer: apps)."""

from __future__ import annotations

from typing import Any

from trame.widgets import html

from ctrestorelib.apps.web.session.panels.log import discard
from ctrestorelib.apps.web.session.panels.panel import Panel
from ctrestorelib.apps.web.session.panels.run_row import progress_bar
from ctrestorelib.apps.web.session.words import seconds_left
from ctrestorelib.core.errors import CTRestoreError
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.mrml.records import record_of, title_of
from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.session import Outcome, State


class JobsPanel(Panel):
    """The queue and the results; always in sight below the panels."""

    key = "jobs"
    title = "Runs and results"
    texts = ("now", "stage", "left")
    buttons = ("cancel",)

    def setup(self) -> None:
        """Begin idle."""
        idle = {"running": False, "percent": 0}
        self.show(run=idle, waiting=[], results=[], count=0)

    def build(self) -> None:
        """Draw what runs, what waits and what came out."""
        with html.Div(v_if="ui_jobs.run.running", classes="pg-now"):
            self.line("now", role="status")
            progress_bar("ui_jobs.run", "Progress of all that was started")
            with html.Div(classes="pg-row"):
                html.Span("{{ ui_jobs.stage }} {{ ui_jobs.left }}", classes="pg-grow pg-about")
                self.button("cancel", "Cancel", self.desk.session.cancel,
                            "Stops this run; what waits comes next.", size="small")  # fmt: skip
        with (
            html.Ol(v_if="ui_jobs.waiting.length", classes="pg-waiting", title="Waiting"),
            html.Li(v_for="title, n in ui_jobs.waiting", key="n"),
        ):
            html.Span("{{ title }}")
            html.Button("Do not run", type="button", classes="pg-plain",
                        click=(self._withdraw, "[n]"))  # fmt: skip
        with html.Details(classes="pg-more pg-results", v_if="ui_jobs.results.length"):
            html.Summary("Results ({{ ui_jobs.count }})")
            with html.Ul(), html.Li(v_for="result, n in ui_jobs.results", key="n"):
                html.Strong("{{ result.title }}")
                html.P("{{ result.text }}", classes=("result.failed ? 'pg-problem' : ''",))
                with html.Details(v_if="result.record"):
                    html.Summary("How it was made")
                    html.Pre("{{ result.record }}")
                with html.Div(classes="pg-row", v_if="result.ids.length"):
                    html.Button("Compare", type="button", classes="pg-plain",
                                click=(self._compare, "[result.ids]"))  # fmt: skip
                    html.Button("Discard", type="button", classes="pg-plain",
                                click=(self._discard, "[result.ids]"))  # fmt: skip

    def refresh(self) -> None:
        """Show queue and results."""
        session = self.desk.session
        results = [self._entry(outcome) for outcome in reversed(session.outcomes)]
        self.show(
            waiting=[task.title for task in session.waiting],
            results=results,
            count=sum(bool(entry["ids"]) for entry in results),
        )
        self.refresh_run()

    def refresh_run(self) -> None:
        """Show percent, stage and time left."""
        session = self.desk.session
        task, cancelling = session.task, session.state is State.CANCELLING
        percent = round(100 * session.fraction)
        self.show(
            now="" if task is None else task.title,
            stage="Cancelling ..." if cancelling else session.stage,
            left="" if cancelling else seconds_left(session.seconds_left),
            run={"running": session.busy, "percent": percent},
            why_cancel="It is being cancelled." if cancelling else "",
        )

    def _entry(self, outcome: Outcome) -> dict[str, Any]:
        nodes = [self.desk.context.node(i) for i in outcome.node_ids]
        alive = [node for node in nodes if node is not None]
        gone = " Discarded." if outcome.node_ids and not alive else ""
        return {
            "title": outcome.title,
            "text": f"{outcome.text}{gone}",
            "failed": outcome.failed,
            "record": "\n".join(filter(None, map(described, alive))),
            "ids": [node.GetID() for node in alive],
        }

    def _withdraw(self, number: int) -> None:
        session = self.desk.session
        if 0 <= int(number) < len(session.waiting):
            session.withdraw(session.waiting[int(number)])

    def _compare(self, ids: list[str]) -> None:
        node = self.desk.context.node(ids[0]) if ids else None
        if node is not None and node.IsA("vtkMRMLScalarVolumeNode"):
            self.desk.change({"compare_b": node})

    def _discard(self, ids: list[str]) -> None:
        made = {i for outcome in self.desk.session.outcomes for i in outcome.node_ids}
        discard(self.desk, [i for i in ids if i in made])
        self.desk.refresh_later()


def described(node: Node) -> str:
    """Return how a node was made, one fact a line; "" where there is no record."""
    try:
        record = record_of(node)
    except CTRestoreError as error:
        return str(error)
    return "" if record is None else "\n".join(_facts(record))


def _facts(record: Provenance) -> list[str]:
    params = ", ".join(f"{name} {_said(value)}" for name, value in record.params.items())
    facts = [
        f"Method: {title_of(record)}, version {record.method_version}",
        f"Settings: {params or 'none'}; strength {record.strength:g}; seed {record.seed}",
        f"Made in {record.seconds:.1f} s by CTRestore "
        f"{record.environment.get('ctrestorelib', 'of unknown version')}",
    ]
    return facts + [f"Note: {warning.get('text', '')}" for warning in record.warnings]


def _said(value: Any) -> str:
    return "automatic" if value is None else str(value)
