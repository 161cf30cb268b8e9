"""What happened, and on what (layer: apps)."""

from __future__ import annotations

import importlib.metadata
import platform

from trame.widgets import html

from ctrestorelib import __version__
from ctrestorelib.apps.web.session.panels.panel import Panel

PACKAGES = ("slicer-core", "trame-slicer", "vtk", "numpy", "scipy", "SimpleITK", "pydicom",
            "torch", "numba", "scikit-image", "PyWavelets")  # fmt: skip
LINES = 300


class LogPanel(Panel):
    """Log, versions, discard."""

    key = "log"
    title = "Log and environment"
    texts = ("text", "versions")
    buttons = ("discard", "clear")

    def setup(self) -> None:
        """Look up the versions once."""
        self.show(versions=versions())

    def build(self) -> None:
        """Draw the panel."""
        html.Pre("{{ ui_log.text }}", classes="pg-log", tabindex=0, role="log",
                 title="What was done, with the notes of each run.", id="pg-log",
                 aria_label="Log", __properties=["tabindex", "aria_label"])  # fmt: skip
        with html.Div(classes="pg-row"):
            html.Button("Copy log", type="button", classes="pg-plain", data_copy="pg-log",
                        title="Copies the log and the versions below.",
                        __properties=[("data_copy", "data-copy")])  # fmt: skip
            self.button("discard", "Discard last result", self._discard,
                        "Removes the nodes that the last run made.")  # fmt: skip
            self.button("clear", "Remove everything", self._clear,
                        "Closes the case: removes all volumes, results and settings.")  # fmt: skip
        html.Pre("{{ ui_log.versions }}", classes="pg-versions")

    def refresh(self) -> None:
        """Show the log and whether there is something to discard."""
        self.refresh_run()
        why = "" if self._last() else "There is no result."
        running = "Something runs: cancel it first." if self.desk.busy else ""
        self.show(why_discard=running or why, why_clear=running)

    def refresh_run(self) -> None:
        """Show the newest lines of the log."""
        self.show(text="\n".join(self.desk.session.log[-LINES:]))

    def _discard(self) -> None:
        discard(self.desk, self._last())

    def _clear(self) -> None:
        self.desk.context.scene.Clear(0)
        self.desk.reopen()

    def _last(self) -> list[str]:
        done = [o.node_ids for o in self.desk.session.outcomes if o.node_ids]
        alive = [[i for i in ids if self.desk.context.node(i) is not None] for ids in done]
        return next((ids for ids in reversed(alive) if ids), [])


def discard(desk: object, ids: list[str]) -> None:
    """Remove result nodes; originals are never among them."""
    context = desk.context  # type: ignore[attr-defined]
    for node_id in ids:
        node = context.node(node_id)
        if node is not None:
            context.scene.RemoveNode(node)


def versions() -> str:
    """Return what runs here, for reports of problems."""
    lines = [
        f"CTRestore {__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}",
        "; ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "All work happens on the computer that runs this page; nothing is sent anywhere else.",
    ]
    return "\n".join(lines)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "-"
