"""What the browser test and the benchmark of the views share: the page's process and Chromium."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

CHROMIUM = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
PAGE = Path(__file__).with_name("views_page.py")
PICTURE = "(n) => document.querySelectorAll('.ctr-picture img')[n]?.src ?? ''"
CHANGED = "([n, old]) => { const i = document.querySelectorAll('.ctr-picture img')[n]; \
return i !== undefined && i.src !== '' && i.src !== old; }"
HARMLESS = "405 (Method Not Allowed)"
"""trame's client first asks for a launcher, which a page of its own has not."""


@contextlib.contextmanager
def served(*shape):
    """Run the page; yield its process and port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(PAGE), str(port), *map(str, shape)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        until = time.monotonic() + 120
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(process.stderr.read().decode()[-2000:])
            time.sleep(0.2)
        yield process, port
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def chromium():
    """Run Chromium; yield it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def visited(browser, port, size=(1400, 860)):
    """Open the page as a new visitor; yield the tab, what went wrong, what left the machine."""
    wrong, outside = [], []
    visitor = browser.new_context(viewport={"width": size[0], "height": size[1]})
    tab = visitor.new_page()
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda m: wrong.append(m.text) if _is_wrong(m) else None)
    tab.on("request", lambda r: outside.append(r.url) if _leaves(r.url) else None)
    tab.goto(f"http://127.0.0.1:{port}/")
    yield tab, wrong, outside
    visitor.close()


@contextlib.contextmanager
def opened(port, size=(1400, 860)):
    """Open the page in a Chromium of its own; yield what :func:`visited` yields."""
    with chromium() as browser, visited(browser, port, size) as found:
        yield found


def shown(tab, views):
    """Wait until so many views have their pictures."""
    script = "n => { const i = [...document.querySelectorAll('.ctr-picture img')]; \
return i.length === n && i.every(p => p.src && p.naturalWidth > 50); }"
    tab.wait_for_function(script, arg=views, timeout=30000)


def settled(tab, number=0, seconds=0.6):
    """Wait until a picture has not changed for a while."""
    old, since = tab.evaluate(PICTURE, number), time.monotonic()
    until = since + 20
    while time.monotonic() - since < seconds and time.monotonic() < until:
        tab.wait_for_timeout(60)
        new = tab.evaluate(PICTURE, number)
        if new != old:
            old, since = new, time.monotonic()
    return old


def middle(tab, number, across=0.5, up=0.5):
    """Return a point of a view on the page."""
    box = tab.locator(".ctr-picture").nth(number).bounding_box()
    return box["x"] + across * box["width"], box["y"] + up * box["height"]


def _answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _is_wrong(message):
    return message.type == "error" and HARMLESS not in message.text


def _leaves(url):
    return "//127.0.0.1:" not in url and not url.startswith(("data:", "blob:"))
