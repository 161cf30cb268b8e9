"""Milliseconds from the mouse wheel to the new picture in the browser, and memory.

python Testing/benchmark/app_views.py [--shape 300 512 512] [--steps 20] [--json FILE]

Runs the views of the page in a process of their own and headless Chromium beside it. A step is one
notch of the wheel; its end is the new picture in the page. The bars: a median under 150 ms on 2
cores, and less than 3 GB for a case of 512 x 512 x 300 voxels (here two such volumes of 32 bits).
The load of the machine is printed: other work on it counts into every number.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "web"))
from browser_views import CHANGED, middle, opened, served, settled, shown

BAR_MS, BAR_MB = 150.0, 3000.0
WAYS = {
    "three planes, axial": (None, 4, 0, 0),
    "side by side": ("side_by_side", 2, 0, 0),
    "side by side, linked view": ("side_by_side", 2, 0, 1),
    "wipe": ("wipe", 1, 0, 0),
    "blend": ("blend", 1, 0, 0),
}
"""Button of the layout, its views, which of them is scrolled, and which is looked at."""


def notches(tab, hovered, looked_at, steps):
    """Return milliseconds from each notch over one view to a new picture in another (or it)."""
    tab.mouse.move(*middle(tab, hovered, 0.45, 0.6))
    out = []
    for step in range(steps):
        old = settled(tab, looked_at, 0.5)
        begun = time.perf_counter()
        tab.mouse.wheel(0, 120 if step % 10 < 5 else -120)
        tab.wait_for_function(CHANGED, arg=[looked_at, old], polling="raf")
        out.append(1000 * (time.perf_counter() - begun))
    return out


def frames_3d(tab, seconds=3.0):
    """Return pictures per second while the 3D view is turned."""
    tab.evaluate(
        "() => { window.frames3d = 0; new MutationObserver(() => window.frames3d++)"
        ".observe(document.querySelectorAll('.ctr-picture img')[1], {attributes: true}); }"
    )
    x, y = middle(tab, 1)
    tab.mouse.move(x, y)
    tab.mouse.down()
    begun = time.perf_counter()
    while (gone := time.perf_counter() - begun) < seconds:
        tab.mouse.move(x + 40 * gone, y + 15 * gone)
        tab.wait_for_timeout(20)
    frames = tab.evaluate("window.frames3d")
    tab.mouse.up()
    return frames / gone


def measure(shape, steps):
    """Return what one run showed."""
    found = {"shape": list(shape), "load_before": psutil.getloadavg()[0]}
    with served(*shape) as (process, port):
        memory = psutil.Process(process.pid).memory_info
        begun = time.perf_counter()
        with opened(port) as (tab, wrong, outside):
            shown(tab, 4)
            found["ready_s"] = time.perf_counter() - begun
            found["median_ms"], found["worst_ms"] = {}, {}
            for name, (button, views, hovered, looked_at) in WAYS.items():
                if button is not None:
                    tab.click(f"#{button}")
                shown(tab, views)
                times = notches(tab, hovered, looked_at, steps)
                found["median_ms"][name] = statistics.median(times)
                found["worst_ms"][name] = max(times)
            found["memory_mb"] = memory().rss / 2**20
            tab.click("#single")
            shown(tab, 4)
            tab.click("[aria-label='Volume rendering in 3D']")
            tab.wait_for_function("() => document.querySelector('[aria-label=\"Volume rendering in "
                                  "3D\"]').getAttribute('aria-pressed') === 'true'")  # fmt: skip
            settled(tab, 1)
            found["frames_3d_per_s"] = frames_3d(tab)
            found["memory_with_3d_mb"] = memory().rss / 2**20
            found["errors"], found["requests_outside"] = wrong, outside
    found["load_after"] = psutil.getloadavg()[0]
    return found


def main():
    """Print the table; end with 1 if a bar is missed."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument(
        "--shape", type=int, nargs=3, default=(300, 512, 512), metavar=("K", "J", "I")
    )
    words.add_argument("--steps", type=int, default=20)
    words.add_argument("--json", type=Path)
    chosen = words.parse_args()
    found = measure(tuple(chosen.shape), chosen.steps)
    for name, median in found["median_ms"].items():
        print(f"{name:28} {median:6.0f} ms   worst {found['worst_ms'][name]:6.0f} ms")
    print(f"page with four pictures      {found['ready_s']:6.1f} s")
    print(f"3D while turned              {found['frames_3d_per_s']:6.1f} pictures/s")
    print(f"memory                       {found['memory_mb']:6.0f} MB, with 3D "
          f"{found['memory_with_3d_mb']:.0f} MB")  # fmt: skip
    print(f"load {found['load_before']:.1f} before, {found['load_after']:.1f} after")
    print(f"errors {found['errors'] or 'none'}")
    print(f"requests outside {found['requests_outside'] or 'none'}")
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    scrolls = max(found["median_ms"].values()) <= BAR_MS
    return 0 if scrolls and found["memory_with_3d_mb"] <= BAR_MB else 1


if __name__ == "__main__":
    sys.exit(main())
