"""The views in real Chromium: mouse, sizes, layouts; no error and no request to elsewhere."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from browser_views import CHANGED, CHROMIUM, chromium, middle, served, settled, shown, visited

_ABSENT = [n for n in ("slicer", "trame_slicer", "playwright") if not importlib.util.find_spec(n)]
pytestmark = pytest.mark.skipif(
    bool(_ABSENT) or CHROMIUM is None,
    reason=f"needs Chromium and {', '.join(_ABSENT) or 'nothing else'}",
)
NUMBERS = "[...document.querySelectorAll('.ctr-bar input[type=number]')].map(i => +i.value)"
OFFSETS = "[...document.querySelectorAll('.ctr-slide input')].map(i => +i.value)"


@pytest.fixture(scope="module")
def port():
    with served() as (_process, number):
        yield number


@pytest.fixture(scope="module")
def browser():
    with chromium() as program:
        yield program


@pytest.fixture
def tab(browser, port):
    with visited(browser, port) as (page, wrong, outside):
        page.click("#single")
        shown(page, 4)
        settled(page)
        yield page
        assert not wrong
        assert not outside


def test_every_picture_has_the_pixels_of_its_place(tab):
    script = "[...document.querySelectorAll('.ctr-picture img')].map(i => [i.naturalWidth, \
i.naturalHeight, i.clientWidth, i.clientHeight])"
    for wide, high, box_wide, box_high in tab.evaluate(script):
        assert abs(wide - box_wide) <= 2
        assert abs(high - box_high) <= 2


def test_the_wheel_scrolls_one_slice_and_the_slider_follows(tab):
    before, old = tab.evaluate(OFFSETS), settled(tab)
    tab.mouse.move(*middle(tab, 0))
    tab.mouse.wheel(0, 120)
    tab.wait_for_function(CHANGED, arg=[0, old])
    tab.wait_for_function(f"() => {OFFSETS}[0] !== {before[0]}")
    after = tab.evaluate(OFFSETS)
    assert abs(after[0] - before[0]) == pytest.approx(1.5, abs=0.01)
    assert after[1:] == before[1:]


def test_linked_views_scroll_together(tab):
    tab.click("#side_by_side")
    shown(tab, 2)
    old = [settled(tab, 0), settled(tab, 1)]
    tab.mouse.move(*middle(tab, 0))
    tab.mouse.wheel(0, 240)
    for number in (0, 1):
        tab.wait_for_function(CHANGED, arg=[number, old[number]])
    tab.wait_for_function(f"() => {{ const o = {OFFSETS}; return o[0] === o[1] && o[0] !== 0.75 }}")


def test_the_line_of_a_wipe_is_dragged(tab):
    tab.click("#wipe")
    shown(tab, 1)
    old = settled(tab)
    window = tab.evaluate(NUMBERS)
    x, y = middle(tab, 0)
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x - 200, y, steps=8)
    tab.mouse.up()
    tab.wait_for_function(CHANGED, arg=[0, old])
    assert line_of(settled_pixels(tab)) == pytest.approx(_share(tab, x - 200), abs=0.004)
    assert tab.evaluate(NUMBERS) == window


def test_a_drag_elsewhere_changes_the_window(tab):
    window, (x, y) = tab.evaluate(NUMBERS), middle(tab, 0, 0.3, 0.3)
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 60, y + 30, steps=6)
    tab.mouse.up()
    tab.wait_for_function(f"() => {NUMBERS}[1] !== {window[1]}")
    tab.click("text=Soft tissue")
    tab.wait_for_function(f"() => {NUMBERS}.join() === '40,400'")
    assert tab.locator("button[aria-pressed=true]", has_text="Soft tissue").count() == 1


def test_a_window_that_cannot_be_is_refused_in_words(tab):
    tab.click("text=Bone")
    tab.wait_for_function(f"() => {NUMBERS}.join() === '400,2000'")
    tab.fill(".ctr-bar input >> nth=1", "-5")
    tab.keyboard.press("Tab")
    tab.wait_for_function("() => document.querySelector('.ctr-note').textContent.includes('width')")
    assert "positive width" in tab.inner_text(".ctr-note")
    tab.click("text=Bone")
    tab.wait_for_function("() => document.querySelector('.ctr-note').offsetHeight === 0")


def test_a_view_fills_the_area_and_returns(tab):
    wide = tab.evaluate("document.querySelectorAll('.ctr-picture')[2].clientWidth")
    view = tab.locator(".ctr-view").nth(2)
    view.hover()
    view.get_by_title("Large view, and back").click()
    tab.wait_for_function(
        "w => document.querySelectorAll('.ctr-picture img')[2].naturalWidth > 1.8 * w", arg=wide
    )
    view.get_by_title("Large view, and back").click()
    tab.wait_for_function(
        "w => document.querySelectorAll('.ctr-picture img')[2].naturalWidth < 1.1 * w", arg=wide
    )


def test_a_reloaded_page_has_its_pictures_again(tab):
    tab.reload()
    shown(tab, 4)


def settled_pixels(tab):
    """Return the first picture as an array `[row, column, rgb]`."""
    import base64
    import io

    import numpy as np
    from PIL import Image

    settled(tab)
    script = "async () => { const i = document.querySelector('.ctr-picture img'); \
const b = new Uint8Array(await (await fetch(i.src)).arrayBuffer()); \
return btoa(Array.from(b, c => String.fromCharCode(c)).join('')); }"
    data = base64.b64decode(tab.evaluate(script))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def line_of(pixels):
    """Return where the yellow line is, as share of the width."""
    yellow = pixels[..., 0] + pixels[..., 1] - 2 * pixels[..., 2]
    return int(yellow.mean(axis=0).argmax()) / pixels.shape[1]


def _share(tab, x):
    box = tab.locator(".ctr-picture").first.bounding_box()
    return (x - box["x"]) / box["width"]
