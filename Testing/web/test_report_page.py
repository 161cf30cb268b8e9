"""The comparison page in a real browser: every control does what it says, nothing leaves the page.

The page is opened in headless Chromium with a script added at its end; the script moves the
controls by real DOM events and writes what it saw into the page, which Chromium then prints.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ctrestorelib.apps.report import ReportEntry, write_compare_report

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from quality_phantoms import ct_noise, leg, volume

CHROMIUM = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed (Debian package 'chromium')"
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,1000",
    "--virtual-time-budget=20000",
    "--dump-dom",
)

SCRIPT = (Path(__file__).parent / "report_page_probe.js").read_text(encoding="utf-8")


TRUTH = leg((10, 144, 144))[0]
NOISY = volume(TRUTH + ct_noise(TRUTH.shape, 0), (0.8, 0.8, 2.0))
SMOOTH = NOISY.with_values(gaussian_filter(NOISY.values, (0, 1, 1)))


def open_page(folder: Path, size: str = "1200,1000", **options) -> dict:
    page = folder / "page.html"
    entries = [ReportEntry("Before", NOISY), ReportEntry("After", SMOOTH)]
    write_compare_report(entries, page, **options)
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", f"<script>{SCRIPT}</script></body>"), encoding="utf-8")
    flags = [f"--window-size={size}" if f.startswith("--window-size") else f for f in FLAGS]
    command = [CHROMIUM, *flags, f"--user-data-dir={folder / 'profile'}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, f"the page did not start: {done.stderr[-2000:]}"
    return json.loads(html.unescape(found.group(1)))


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    return open_page(tmp_path_factory.mktemp("full"))


def test_no_errors_and_nothing_from_outside(seen):
    assert seen["errors"] == []
    assert seen["blocked"] == []
    assert seen["requests"] == []


def test_browser_unpacks_the_very_values(seen):
    shown = NOISY.values[::-1]  # the head comes first
    expected = [shown[0, 0, 0], shown[3, 40, 50], shown[7, 100, 90]]
    assert np.abs(np.array(seen["values"]) - expected).max() <= 0.51
    assert seen["planes_agree"]
    assert seen["world"] == pytest.approx(NOISY.geometry.to_world([0, 0, 9]).tolist())


def test_slices_follow_slider_wheel_and_keys(seen):
    assert seen["at"] == 1
    assert seen["slice_told"].startswith("Axial 2 of 10, S ")
    assert seen["slice_changes_picture"]
    assert (seen["wheel"], seen["arrow"]) == (5, 6)


def test_window_orientation_and_proportions(seen):
    assert seen["preset_changes_picture"]
    assert seen["dark_above"]
    assert seen["letters"] == "HFRL"
    assert seen["pixel_ratio"] == pytest.approx(2.0 / 0.8)


def test_wipe_blink_difference_and_three_planes(seen):
    assert (seen["tiles"], seen["wipe_tiles"], seen["diff_tiles"]) == (2, 1, 3)
    assert seen["wipe_differs"]
    assert seen["blink_differs"]
    assert 100 < seen["diff_mean"] < 155
    assert seen["plane_tiles"] == ["Before, axial", "Before, coronal", "Before, sagittal"]


def test_profile_zoom_and_cursor(seen):
    assert seen["profile"]["curves"] == 2
    assert 20 < seen["profile"]["length"] < 200
    assert seen["profile"]["span"] > 100
    assert "mm long" in seen["profile"]["told"]
    assert seen["zoom"] == "150 %"
    assert re.search(r"Before .*After .*HU.*L, P, S = ", seen["cursor"])


def test_controls_and_pictures_have_names(seen):
    assert seen["unnamed"] == []
    assert seen["unlabelled"] == 0


@pytest.mark.parametrize("size", ["820,1180", "500,900"])
def test_page_fits_tablet_and_phone(tmp_path, size):
    seen = open_page(tmp_path, size)
    assert seen["errors"] == []
    assert seen["overflow"] <= 0


def test_page_with_a_part_of_the_slices_works_too(tmp_path):
    page = tmp_path / "part.html"
    write_compare_report(
        [ReportEntry("Before", NOISY), ReportEntry("After", SMOOTH)], page, budget_bytes=200_000
    )
    check = (
        "addEventListener('ctrestore-ready',()=>{const v=ctrestore.viewer,d=v.data,"
        "k=d.slices.coronal[1],a=d.slice(1,'coronal',k);v.step('axial',1);"
        "const o=document.createElement('pre');o.id='seen';o.textContent=JSON.stringify("
        "{k,value:a[5*d.shape[2]+70],full:d.full,at:d.slices.axial.includes(v.at[0])});"
        "document.body.append(o)})"
    )
    text = page.read_text(encoding="utf-8").replace("</body>", f"<script>{check}</script></body>")
    page.write_text(text, encoding="utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = json.loads(re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL).group(1))
    assert not found["full"]
    assert found["at"]
    assert found["value"] == pytest.approx(SMOOTH.values[::-1][5, found["k"], 70], abs=0.51)
    assert "evenly spread slices" in text
