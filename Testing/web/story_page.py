"""A person with a browser before ``ctrestore app``: presses, chooses, waits, reads, downloads."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

CHROMIUM = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
ABSENT = [n for n in ("slicer", "trame_slicer", "playwright") if not importlib.util.find_spec(n)]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
         "--no-first-run", "--disable-component-update"]  # fmt: skip
PROGRAM = "from ctrestorelib.apps.cli.main import main; main()"
PICTURES = ".ctr-picture img"
PATIENCE_S = float(os.environ.get("STORY_PATIENCE_S", "90"))
"""For one step; the machine may be busy with other things."""


class App:
    """``ctrestore app`` as a program of its own, with all that it says.

    Parameters
    ----------
    folder
        Where its private folders and its output go.
    arguments
        Further words of the command line.
    """

    def __init__(self, folder: Path, *arguments: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "said.txt"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("CTRESTORE_")}
        words = ["app", "--no-browser", "--debug", *map(str, arguments)]
        self.begun = time.perf_counter()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *words],
                stdout=subprocess.PIPE, stderr=log, env=kept | {"TMPDIR": str(folder)}, text=True,
            )  # fmt: skip
        self.link = self.process.stdout.readline().removeprefix("Open ").strip()
        if not self.link:
            raise RuntimeError(self.said)

    @property
    def address(self) -> str:
        """The page's address without the key."""
        return self.link.partition("?")[0]

    @property
    def said(self) -> str:
        """Everything that program and page processes wrote."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def page_processes(self) -> list:
        """Return the page processes that run now."""
        import psutil

        family = psutil.Process(self.process.pid).children()
        return [p for p in family if "ctrestorelib.apps.web.session" in " ".join(p.cmdline())]

    def end(self) -> int:
        """End it as an operator does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self.process.stdout.close()


@contextlib.contextmanager
def served(folder: Path, *arguments: object):
    """Run the program; yield it."""
    app = App(folder, *arguments)
    try:
        yield app
    finally:
        app.end()


@contextlib.contextmanager
def chromium():
    """Run a headless Chromium; yield it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Person:
    """One browser with cookies of its own.

    Parameters
    ----------
    browser
        A running Chromium.
    address
        What is opened: usually the printed link.
    pictures
        Where screenshots go; none are made without it.
    size
        Of the window, in pixels.
    """

    def __init__(self, browser, address: str, pictures: Path | None = None,
                 size: tuple[int, int] = (1500, 900)) -> None:  # fmt: skip
        width, height = size
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, accept_downloads=True
        )
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self._pictures, self._shots = pictures, 0
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(1000 * PATIENCE_S)
        self.tab.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.tab.on("console", self._console)
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.on("websocket", lambda socket: self.asked.append(socket.url))
        self.answer = self.tab.goto(address)

    # What a person sees

    def sees_page(self) -> None:
        """Wait until the panels are there and every view is painted."""
        self.tab.wait_for_selector("[data-button='volume-phantom']")
        self.sees_views(4)

    def sees_views(self, pictures: int) -> None:
        """Wait until there are so many views and each is painted."""
        script = "n => { const i = [...document.querySelectorAll('.ctr-picture img')]; \
return i.length === n && i.every(p => p.src && p.naturalWidth > 50); }"
        self.tab.wait_for_function(script, arg=pictures)

    def reads(self, text: str, where: str = "body", seconds: float = PATIENCE_S) -> str:
        """Wait until a text that fits this pattern is seen; return the part that fits."""
        script = "([where, text]) => { for (const e of document.querySelectorAll(where)) \
{ const m = e.innerText.match(new RegExp(text)); if (m) return m[0]; } return ''; }"
        try:
            found = self.tab.wait_for_function(
                script, arg=[where, text], timeout=1000 * seconds, polling=50
            )
        except Exception as error:
            raise AssertionError(f"never read {text!r}; told: {self.told()}") from error
        return found.json_value()

    def told(self) -> str:
        """Return the message at the edge of the page and the open panels' texts."""
        script = "[...document.querySelectorAll('.v-snackbar,.pg-problem,.pg-status,.ctr-note')]\
.map(e => e.innerText).filter(t => t.trim()).join(' | ')"
        return self.tab.evaluate(script)

    def grey(self, number: int = 0):
        """Return a view's picture as an array `[row, column]` of its brightness."""
        import io

        import numpy as np
        from PIL import Image

        script = "n => { const i = document.querySelectorAll('.ctr-picture img')[n]; \
const c = document.createElement('canvas'); c.width = i.naturalWidth; c.height = i.naturalHeight; \
c.getContext('2d').drawImage(i, 0, 0); return c.toDataURL('image/png').split(',')[1]; }"
        data = base64.b64decode(self.tab.evaluate(script, number))
        return np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(float)

    def settled(self, number: int = 0, seconds: float = 0.7) -> str:
        """Wait until a view's picture has not changed for a while; return its address."""
        script = "n => document.querySelectorAll('.ctr-picture img')[n]?.src ?? ''"
        old, since = self.tab.evaluate(script, number), time.monotonic()
        until = since + 20
        while time.monotonic() - since < seconds and time.monotonic() < until:
            self.tab.wait_for_timeout(60)
            new = self.tab.evaluate(script, number)
            if new != old:
                old, since = new, time.monotonic()
        return old

    def sees_structure(self, number: int = 0):
        """Wait until a view shows more than one grey; return its picture."""
        until = time.monotonic() + PATIENCE_S
        while (picture := self.grey(number)).std() < 10:
            assert time.monotonic() < until, f"view {number} stays empty; told: {self.told()}"
            self.tab.wait_for_timeout(100)
        return picture

    def shot(self, name: str) -> None:
        """Keep a picture of the whole page."""
        if self._pictures is not None:
            self._shots += 1
            self._pictures.mkdir(parents=True, exist_ok=True)
            self.tab.screenshot(path=self._pictures / f"{self._shots:02d}-{name}.png")

    # What a person does

    def opens(self, title: str) -> None:
        """Open a section of the page by its title, if it is closed."""
        head = self.tab.locator(".v-expansion-panel-title", has_text=title).first
        if head.get_attribute("aria-expanded") != "true":
            head.click()
        self.tab.wait_for_timeout(350)  # it slides

    def closes_all(self) -> None:
        """Close every section."""
        open_ones = ".v-expansion-panel-title[aria-expanded=true]"
        while self.tab.locator(open_ones).count():
            self.tab.locator(open_ones).first.click()
            self.tab.wait_for_timeout(50)

    def presses(self, panel: str, name: str) -> None:
        """Press a button that can be pressed."""
        button = self.tab.locator(f"[data-button='{panel}-{name}']")
        self.tab.wait_for_function(
            "s => document.querySelector(s)?.getAttribute('aria-disabled') !== 'true'",
            arg=f"[data-button='{panel}-{name}']",
        )
        button.click()

    def chooses(self, setting: str, title: str) -> None:
        """Choose an entry of a list by a part of its title."""
        self._chooses(self.tab.locator(f"[data-setting='{setting}']").first, title)

    def chooses_labelled(self, panel: str, label: str, title: str) -> None:
        """Choose an entry of the list with this label in the section with this title."""
        section = self.tab.locator(".v-expansion-panel", has_text=panel).first
        self._chooses(section.locator(".v-select", has_text=label).first, title)

    def enters(self, setting: str, number: float) -> None:
        """Type a number into its field."""
        box = self.tab.locator(f"[data-setting='{setting}'] input").first
        box.fill(f"{number:g}")
        box.press("Enter")
        box.press("Tab")

    def ticks_off(self, setting: str) -> None:
        """Give a number that was left to the program a value of its own."""
        self.tab.locator(f"[data-setting='{setting}-automatic'] input").first.uncheck()

    def sends(self, *paths: Path) -> None:
        """Choose files with the page's button."""
        with self.tab.expect_file_chooser() as chooser:
            self.tab.locator("#pg-drop [data-choose=files]").click()
        chooser.value.set_files([str(p) for p in paths])

    def drops(self, path: Path) -> None:
        """Drop a file onto the page."""
        content = base64.b64encode(path.read_bytes()).decode()
        script = "([name, text]) => { const bytes = Uint8Array.from(atob(text), \
c => c.charCodeAt(0)); const all = new DataTransfer(); all.items.add(new File([bytes], name)); \
const place = document.getElementById('pg-drop'); for (const kind of ['dragenter', 'dragover', \
'drop']) place.dispatchEvent(new DragEvent(kind, {dataTransfer: all, bubbles: true, \
cancelable: true})); }"
        self.tab.evaluate(script, [path.name, content])

    def fetches(self, name: str, folder: Path) -> Path:
        """Download a file by its link under "Save and export"; return where it lies."""
        link = self.tab.locator(".pg-files a", has_text=re.compile(name)).first
        with self.tab.expect_download() as download:
            link.click()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path

    def outside(self, app: App) -> list[str]:
        """Return every address that was asked and is not the program's own."""
        own = app.address.partition("//")[2]
        fine = (f"http://{own}", f"ws://{own}", "data:", "blob:")
        return [url for url in self.asked if not url.startswith(fine)]

    def leaves(self, app: App) -> None:
        """End the session, so that its data are wiped, and close the browser."""
        own = {"Origin": app.address.rstrip("/")}
        self.context.request.post(f"{app.address}session/end", headers=own, max_redirects=0)
        self.context.close()

    def _chooses(self, box, title: str) -> None:
        box.locator(".v-field").click()
        self.tab.locator(".v-overlay--active .v-list-item", has_text=title).first.click()
        self.tab.keyboard.press("Escape")
        self.tab.wait_for_timeout(150)

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type}: {message.text}")
