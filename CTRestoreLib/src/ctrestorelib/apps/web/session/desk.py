"""What the panels share: scene, settings, runs, views, and who is told what (layer: apps)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ctrestorelib.apps.web.session.forms import LISTS
from ctrestorelib.apps.web.session.scene_host import SceneHost
from ctrestorelib.apps.web.session.state import StateLink
from ctrestorelib.core.errors import CTRestoreError
from ctrestorelib.mrml.scene import Node, SceneContext
from ctrestorelib.mrml.session import Session
from ctrestorelib.mrml.settings import all_settings

_LOG = logging.getLogger(__name__)

POLL_S = 0.1
STACK_MARK = "X-ray views: "


class Desk:
    """Connects panels, parameter node, runs and views of one page.

    Parameters
    ----------
    server
        The trame server.
    host
        The scene.
    folder
        The person's own folder, with ``uploads/`` and ``downloads/``.
    roots
        Folders from which files may be opened by path.

    Attributes
    ----------
    instances
        File of every DICOM instance that was opened, by its SOP Instance UID.
    """

    def __init__(
        self, server: Any, host: SceneHost, folder: Path, roots: Sequence[Path] = ()
    ) -> None:
        self.server, self.host, self.folder, self.roots = server, host, folder, tuple(roots)
        self.state: Any = server.state
        self.context: SceneContext = host.context
        self.settings = all_settings()
        self.panels: list[Any] = []
        self.views: Any = None
        self.instances: dict[str, str] = {}
        self.session = Session(self.context, self._session_changed, self.file_of)
        self.store = host.store()
        self.state.update({"ui_message": "", "ui_message_shown": False, "ui_message_failed": False})
        self.state.ui_nodes = {name: [] for name in LISTS.values()}
        self.state.ui_loading = ""
        self.link = StateLink(self.state, self.store, self.report)
        self._pending = False
        self._polling: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = self.store.observe(self.refresh_later)
        self._tags = self._watch_scene()

    @property
    def downloads(self) -> Path:
        """Where files for the person are written."""
        path = self.folder / "downloads"
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def uploads(self) -> Path:
        """Where the gateway puts what the person sends."""
        return self.folder / "uploads"

    def file_of(self, uid: str) -> str:
        """Return the file of a DICOM instance that was opened here, or ""."""
        return self.instances.get(uid, "")

    @property
    def busy(self) -> bool:
        """Whether something runs or is being loaded; an idle page may be ended."""
        return self.session.busy or bool(self.state.ui_loading)

    def change(self, values: dict[str, Any]) -> None:
        """Store values; a refused one is explained."""
        self.attempt(lambda: self.store.update(values))
        self.refresh_later()

    def report(self, text: str, *, failed: bool = True) -> None:
        """Tell the person a sentence, and keep it in the log."""
        message = {"ui_message": text, "ui_message_shown": True, "ui_message_failed": failed}
        self.state.update(message)
        self.session.note(text)

    def attempt(self, act: Callable[[], Any]) -> Any:
        """Return what ``act`` returns; if it cannot be done, tell why and return None."""
        try:
            return act()
        except CTRestoreError as error:
            self.report(str(error))
        except Exception as error:  # noqa: BLE001 - the page must stay usable, whatever happened
            _LOG.exception("A click could not be answered")
            self.report(f"That did not work ({type(error).__name__}). Nothing was changed.")
        return None

    def enqueue(self, tasks: Sequence[Any]) -> None:
        """Start tasks, or let them wait for their turn, with the settings as they are now."""
        for task in tasks:
            try:
                self.session.enqueue(task)
            except CTRestoreError as error:
                self.report(f"{task.title}: {error}")
        self._wake()
        self.refresh_later()

    def in_background(self, work: Any) -> None:
        """Run a coroutine beside the page; what goes wrong is told."""
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def show_volume(self, node: Node) -> None:
        """Show a volume in the page's views."""
        if self.views is not None:
            self.attempt(lambda: self.views.show_volume(node))

    def refresh_later(self) -> None:
        """Refresh once when the present event is over; many calls are one refresh."""
        if self._pending:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # the page is being built: it is refreshed at the end of that
            return
        self._pending = True
        loop.call_soon(self._refresh_now)

    def refresh(self) -> None:
        """Let everything show the present state."""
        self._pending = False
        self.link.pull()
        self.state.ui_nodes = self._listed()
        for panel in self.panels:
            panel.refresh()

    def reopen(self) -> None:
        """Take the settings of the scene that is there now: it was closed, or another loaded."""
        self._stop()
        self.instances.clear()
        self.store = self.link.store = self.host.store()
        self._stop = self.store.observe(self.refresh_later)
        self.refresh_later()

    def close(self) -> None:
        """Stop the run and let the scene go."""
        self._stop()
        for tag in self._tags:
            self.context.scene.RemoveObserver(tag)
        for panel in self.panels:
            panel.close()
        self.session.close()

    def _refresh_now(self) -> None:
        with self.state:
            self.refresh()

    def _session_changed(self) -> None:
        self._wake()
        self.refresh_later()

    def watch(self) -> None:
        """Poll while something runs or is checked."""
        self._wake()

    def _wake(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if self.session.watching and (self._polling is None or self._polling.done()):
            self._polling = loop.create_task(self._poll())

    async def _poll(self) -> None:
        while self.session.watching:
            self.attempt(self.session.poll)
            with self.state:
                for panel in self.panels:
                    panel.refresh_run()
            await asyncio.sleep(POLL_S)
        self.refresh_later()

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except CTRestoreError as error:
            self.report(str(error))
        except Exception as error:  # noqa: BLE001 - the page must stay usable, whatever happened
            _LOG.exception("Work in the background failed")
            self.report(f"That did not work ({type(error).__name__}).")
        self._refresh_now()

    def _listed(self) -> dict[str, list[dict[str, str]]]:
        return {
            which: [{"title": _called(n), "value": n.GetID()} for n in self.host.nodes(class_name)]
            for class_name, which in LISTS.items()
        }

    def _watch_scene(self) -> list[int]:
        import slicer

        events = slicer.vtkMRMLScene
        later = lambda *_: self.refresh_later()  # noqa: E731
        scene = self.context.scene
        return [
            scene.AddObserver(event, later)
            for event in (events.NodeAddedEvent, events.NodeRemovedEvent, events.EndCloseEvent)
        ]


def _called(node: Node) -> str:
    from ctrestorelib.mrml.stacks import is_stack

    return f"{STACK_MARK}{node.GetName()}" if is_stack(node) else str(node.GetName())
