"""How soon the page of ``ctrestore app`` is there, how fast it scrolls, how much it holds.

python Testing/benchmark/app_page.py [--shape 300 512 512] [--steps 20] [--starts 3] [--json FILE]

Runs the real program with its gateway and headless Chromium beside it on a synthetic case. *Ready*
is from the start of the program to four painted views; Chromium itself runs before. A step of
scrolling is one notch of the mouse wheel until the new picture is in the page. The case is denoised
in the page by the quickest method, so that original and result are held together.
The load of the machine is printed: other work on it counts into every number.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "web"))
from story_page import Person, chromium, served

BARS = {"ready_s": 6.0, "median_ms": 150.0, "memory_mb": 3000.0}
CHANGED = "([n, old]) => { const i = document.querySelectorAll('.ctr-picture img')[n]; \
return i !== undefined && i.src !== '' && i.src !== old; }"


def ready_seconds(browser, folder: Path) -> float:
    """Return seconds from the start of the program to the first painted views."""
    with served(folder) as app:
        person = Person(browser, app.link)
        person.sees_page()
        seconds = time.perf_counter() - app.begun
        person.leaves(app)
    return seconds


def write_big_case(path: Path, shape: tuple[int, int, int]) -> None:
    """Write a noisy ellipse with a rod, slice by slice alike but for the noise."""
    import SimpleITK as sitk

    rng = np.random.default_rng(5)
    j, i = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape[1:])
    flat = np.where(np.hypot(j[:, None], i) < 0.8, 40.0, -1000.0).astype(np.float32)
    flat[np.hypot(j[:, None] - 0.1, i - 0.2) < 0.2] = 700.0
    array = np.empty(shape, np.int16)
    for k in range(shape[0]):
        array[k] = flat + rng.normal(0, 20 + 0.01 * k, shape[1:])
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.6, 0.6, 0.8))
    sitk.WriteImage(image, str(path))


def scrolled(person: Person, looked_at: int, steps: int) -> list[float]:
    """Return milliseconds from each notch over the first view to a new picture in a view."""
    box = person.tab.locator(".ctr-picture").first.bounding_box()
    place = box["x"] + 0.45 * box["width"], box["y"] + 0.6 * box["height"]
    person.tab.mouse.move(*place)
    out = []
    for step in range(steps):
        old = person.settled(looked_at, 0.45)
        begun = time.perf_counter()
        person.tab.mouse.wheel(0, 120 if step % 10 < 5 else -120)
        person.tab.wait_for_function(CHANGED, arg=[looked_at, old], polling="raf", timeout=20000)
        out.append(1000 * (time.perf_counter() - begun))
    return out


def memory_mb(app) -> float:
    """Return megabytes of the page process alone; restorations run in processes of their own."""
    return max(p.memory_info().rss for p in app.page_processes()) / 2**20


def measure_case(browser, folder: Path, shape, steps: int, patience_s: float) -> dict:
    """Open the case, denoise it, scroll through it; return what that showed."""
    found: dict = {}
    case = folder / "case.nii.gz"
    write_big_case(case, shape)
    with served(folder / "app", case) as app:
        person = Person(browser, app.link)
        person.sees_page()
        found["empty_mb"] = memory_mb(app)
        person.reads(" x ".join(map(str, shape[::-1])))
        person.sees_structure()
        found["one_volume_mb"] = memory_mb(app)
        times = {"three planes": scrolled(person, 0, steps)}
        _tell(f"one volume: {found['one_volume_mb']:.0f} MB; denoising ...")
        person.chooses_labelled("2. Remove noise", "Method", "wavelet")
        person.presses("denoise", "apply")
        person.reads(r"Done in .*", ".v-expansion-panel .pg-status", patience_s)
        person.opens("5. Compare")
        person.presses("compare", "show")
        person.sees_views(2)
        times["side by side, hovered"] = scrolled(person, 0, steps)
        times["side by side, linked"] = scrolled(person, 1, steps)
        found["memory_mb"] = memory_mb(app)
        found["errors"], found["outside"] = person.wrong, person.outside(app)
        person.leaves(app)
    found["median_ms"] = {name: statistics.median(ms) for name, ms in times.items()}
    found["p95_ms"] = {name: float(np.percentile(ms, 95)) for name, ms in times.items()}
    return found


def measure(shape, steps: int, starts: int, patience_s: float) -> dict:
    """Return all numbers."""
    found = {"shape": list(shape), "load_before": psutil.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        folder = Path(name)
        found["starts_s"] = [ready_seconds(browser, folder / f"start{n}") for n in range(starts)]
        found["ready_s"] = statistics.median(found["starts_s"])
        _tell(f"starts: {found['starts_s']}")
        found |= measure_case(browser, folder, shape, steps, patience_s)
    found["load_after"] = psutil.getloadavg()[0]
    return found


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def missed(found: dict) -> list[str]:
    """Return the bars that were not reached."""
    reached = {"ready_s": found["ready_s"], "memory_mb": found["memory_mb"],
               "median_ms": max(found["median_ms"].values())}  # fmt: skip
    return [name for name, bar in BARS.items() if reached[name] >= bar]


def main() -> int:
    """Print the table; return 1 if a bar is missed."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512),
                       metavar=("K", "J", "I"))  # fmt: skip
    words.add_argument("--steps", type=int, default=20)
    words.add_argument("--starts", type=int, default=3)
    words.add_argument("--patience-s", type=float, default=900.0)
    words.add_argument("--json", type=Path)
    chosen = words.parse_args()
    found = measure(tuple(chosen.shape), chosen.steps, chosen.starts, chosen.patience_s)
    starts = ", ".join(f"{s:.1f}" for s in found["starts_s"])
    print(f"page ready                 {found['ready_s']:6.1f} s    (starts: {starts})")
    for name, median in found["median_ms"].items():
        late = found["p95_ms"][name]
        print(f"scroll, {name:22}{median:5.0f} ms   95th percentile {late:.0f} ms")
    sizes = f"empty {found['empty_mb']:.0f}, one volume {found['one_volume_mb']:.0f}"
    print(f"memory of the page process {found['memory_mb']:6.0f} MB   ({sizes})")
    print(f"load {found['load_before']:.1f} before, {found['load_after']:.1f} after")
    print(f"errors {found['errors'] or 'none'}; outside {found['outside'] or 'none'}")
    print(f"bars missed: {', '.join(missed(found)) or 'none'}")
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 1 if missed(found) else 0


if __name__ == "__main__":
    sys.exit(main())
