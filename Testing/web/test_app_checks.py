"""A reconstruction is checked on the page: real program, real gateway, real Chromium."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from story_files import write_case
from story_page import ABSENT, CHROMIUM, Person, chromium, served

pytestmark = pytest.mark.skipif(
    bool(ABSENT) or CHROMIUM is None or sys.platform == "win32",
    reason=f"needs {', '.join(ABSENT) or 'Chromium (Debian package chromium) and POSIX signals'}",
)
PANEL = ".v-expansion-panel"
STATUS = f"{PANEL} .pg-status"


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    """Return somebody before the page; at the end nothing may have gone wrong in it."""
    folder = tmp_path_factory.mktemp("app")
    with served(folder) as program, chromium() as browser:
        somebody = Person(browser, program.link, tmp_path_factory.mktemp("pictures"))
        somebody.sees_page()
        yield somebody
        wrong = list(somebody.wrong)
        somebody.leaves(program)
        assert wrong == []
        assert "Traceback" not in program.said, program.said[-3000:]


@pytest.fixture(scope="module")
def scanned(person, tmp_path_factory):
    """Let the person load a small rod and take eight views of it."""
    path = tmp_path_factory.mktemp("case") / "rod.nii.gz"
    write_case(path, (12, 32, 32))
    person.sends(path)
    person.reads("32 x 32 x 12 voxels")
    person.closes_all()
    scan(person, 8)
    return person


def scan(person: Person, views: int) -> None:
    person.opens("3. Try X-ray")
    person.enters("scan__views", views)
    person.reads(f"{views} views over 360 degrees")
    person.presses("scan", "apply")
    person.reads(rf"Done in .*\({views} views\)", STATUS)
    person.closes_all()
    person.opens("4. Reconstruct")
    person.reads(rf"{views} views of \d+ x \d+ pixels")


def tick(person: Person, setting: str, *, on: bool) -> None:
    person.tab.locator(f"[data-setting='{setting}'] input").first.set_checked(on)


def colourfulness(person: Person) -> float:
    """Return the largest distance between red, green and blue in the first view's picture."""
    script = "() => { const i = document.querySelectorAll('.ctr-picture img')[0]; \
const c = document.createElement('canvas'); c.width = i.naturalWidth; c.height = i.naturalHeight; \
const g = c.getContext('2d'); g.drawImage(i, 0, 0); \
const d = g.getImageData(c.width / 4, c.height / 4, c.width / 2, c.height / 2).data; \
let most = []; for (let n = 0; n < d.length; n += 4) most.push(\
Math.max(d[n], d[n+1], d[n+2]) - Math.min(d[n], d[n+1], d[n+2])); return most; }"
    return float(np.mean(person.tab.evaluate(script)))


def test_lights_map_and_misfit_of_a_checked_result(scanned):
    person = scanned
    person.chooses_labelled("4. Reconstruct", "Method", "SIRT")
    tick(person, "reconstruct_check", on=True)
    tick(person, "reconstruct_calibrate", on=True)
    person.presses("reconstruct", "apply")
    person.reads(r"Geometry looked at in .*Done in .*Checked in ", STATUS, 300)
    person.reads(r"Checked: rod \(8 views\)")
    lights = person.tab.inner_text(f"{PANEL} .pg-lights").replace("\u00a0", " ")
    for title in ("Fit of the views:", "Left-out view:", "Measured share:", "Scan geometry:"):
        assert title in lights
    person.reads(r"Of details of [\d.]+ mm about \d+ % was measured")
    person.shot("checked")

    plain = colourfulness(person)
    person.presses("reconstruct", "measured")
    person.reads("Hide what was measured")
    person.sees_views(4)
    person.settled()
    assert colourfulness(person) > plain + 20
    person.reads(r"inferred\s+0\s+%.*100\s+%\s+measured", ".pg-legend")
    person.shot("map")

    person.presses("reconstruct", "misfit")
    person.reads("Misfit of every view", ".pg-table caption")
    assert person.tab.locator(f"{PANEL} .pg-tall tbody tr").count() == 8
    assert person.tab.locator(f"{PANEL} .pg-chart svg.chart").count() == 1
    person.tab.locator("[data-button='reconstruct-misfit']").scroll_into_view_if_needed()
    person.shot("misfit")

    person.tab.locator(".pg-results summary").first.click()
    person.tab.locator(".pg-results button", has_text="Discard").first.click()
    person.tab.wait_for_selector(f"{PANEL} .pg-lights", state="detached")
    person.settled()
    assert colourfulness(person) < plain + 5, "the map went with its result"
    person.shot("discarded")


def test_too_few_views_are_explained_in_the_words_of_the_command_line(scanned):
    person = scanned
    scan(person, 4)
    tick(person, "reconstruct_check", on=True)
    tick(person, "reconstruct_calibrate", on=True)
    told = "Self-calibration needs at least 6 views; this scan has 4."
    person.reads(re.escape(told), f"{PANEL} .pg-problem")
    assert person.tab.locator("[data-button='reconstruct-apply']").is_disabled()
    person.shot("refused")
