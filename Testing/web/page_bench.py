"""The real page in a process of its own, which answers questions about itself.

One Slicer application to a process: the tests therefore ask from outside. Run as a program, it
serves the page and evaluates lines that come in on standard input, inside the event loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkOSOpenGLRenderWindow")


class PageBench:
    """Starts the page and asks it."""

    def __init__(self, folder: Path, roots: list[Path] | None = None) -> None:
        for name in ("uploads", "downloads", "presets", "jobs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        named = {"CTRESTORE_JOBS": "jobs", "CTRESTORE_PRESETS": "presets"}
        environment = os.environ | {name: str(folder / sub) for name, sub in named.items()}
        self.folder = folder
        self._log = (folder / "page.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(folder), *map(str, roots or [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
        )
        self._answer()

    def ask(self, expression: str) -> Any:
        """Return the value of an expression over ``page``, ``desk``, ``state``, ``store``."""
        return self._send("ask", expression)

    def do(self, statements: str) -> None:
        """Run statements inside the event loop, as a message of the browser would."""
        self._send("do", statements)

    def enter(self, **values: Any) -> None:
        """Change state entries as the browser does."""
        self._send("enter", values)

    def press(self, panel: str, button: str) -> None:
        """Press a button of a panel by calling what its click calls."""
        self.do(f"panels[{panel!r}].press({button!r}, acts[{panel!r}, {button!r}])")

    def until(self, expression: str, seconds: float = 60.0) -> Any:
        """Wait until an expression is true; return it."""
        end = time.monotonic() + seconds
        while not (value := self.ask(expression)):
            told = self.ask("state.ui_message")
            assert time.monotonic() < end, f"never true: {expression}; told: {told}"
            time.sleep(0.05)
        return value

    def close(self) -> int:
        """End the page; return its exit code."""
        self._process.stdin.close()  # type: ignore[union-attr]
        code = self._process.wait(20)
        self._process.stdout.close()  # type: ignore[union-attr]
        self._log.close()
        return code

    def _send(self, kind: str, content: Any) -> Any:
        line = json.dumps({"kind": kind, "content": content}) + "\n"
        self._process.stdin.write(line.encode())  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        return self._answer()

    def _answer(self) -> Any:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            text = (self.folder / "page.log").read_text(errors="replace")
            raise AssertionError(text[-3000:])
        record = json.loads(line)
        assert "error" not in record, record["error"]
        return record["value"]


async def _serve(folder: Path, roots: list[Path]) -> None:
    out = os.dup(1)
    os.dup2(2, 1)
    # Recorded while the page is drawn, so that a test can press what a person presses.
    from ctrestorelib.apps.web.session.panels.panel import Panel

    acts: dict[tuple[str, str], Any] = {}
    draw = Panel.button

    def recording(self: Panel, name: str, label: str, act: Any, *more: Any, **options: Any) -> None:
        acts[self.key, name] = act
        draw(self, name, label, act, *more, **options)

    Panel.button = recording  # type: ignore[method-assign]
    from ctrestorelib.apps.web.session.page import Page

    page = Page(folder, roots)
    page.server.state.ready()
    state = page.server.state
    names = {"page": page, "desk": page.desk, "state": state, "Path": Path, "acts": acts,
             "panels": {panel.key: panel for panel in page.desk.panels}}  # fmt: skip

    def say(record: dict[str, Any]) -> None:
        os.write(out, (json.dumps(record) + "\n").encode())

    def answer(kind: str, content: Any) -> Any:
        names["store"] = page.desk.store
        if kind == "ask":
            return eval(content, names)
        with state:
            if kind == "enter":
                state.update(content)
            else:
                exec(content, names)
        return None

    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    threading.Thread(target=_read_lines, args=(loop, lines), daemon=True).start()
    say({"value": "ready"})
    while line := await lines.get():
        record = json.loads(line)
        try:
            say({"value": answer(record["kind"], record["content"])})
        except Exception as error:  # noqa: BLE001 - told to the test, whatever it is
            say({"error": f"{type(error).__name__}: {error}"})
    await page.close()


def _read_lines(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[bytes]) -> None:
    for line in sys.stdin.buffer:
        loop.call_soon_threadsafe(lines.put_nowait, line)
    loop.call_soon_threadsafe(lines.put_nowait, b"")


if __name__ == "__main__":
    sys.argv[1:], _given = [], [Path(text) for text in sys.argv[1:]]
    asyncio.run(_serve(_given[0], _given[1:]))
