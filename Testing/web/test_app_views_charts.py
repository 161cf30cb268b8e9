"""Charts of the page: numbers in, SVG text out; and when a view sends its pictures."""

from __future__ import annotations

import asyncio
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

pytest.importorskip("slicer")
pytest.importorskip("trame_slicer")

from ctrestorelib.apps.web.session.views.charts import (
    Bar,
    Line,
    bars_html,
    curves_html,
    pill_html,
    verdict_of,
)
from ctrestorelib.apps.web.session.views.grid import boxes_of
from ctrestorelib.apps.web.session.views.preview import coarse, coarse_step
from ctrestorelib.apps.web.session.views.streams import Pace, Stream
from ctrestorelib.apps.web.session.views.tables import TableRows, drift_html, table_html
from ctrestorelib.mrml.comparison.layouts import Mode, comparison_layout
from ctrestorelib.quality.result import Verdict

EVIL = "<script>alert('x')</script>&\""


def line(label="one", volume=0, y=(1.0, 4.0, 2.0)):
    return Line(label, volume, np.arange(len(y), dtype=float), np.array(y, float))


def test_a_chart_is_well_formed_and_holds_no_foreign_markup():
    text = curves_html(EVIL, EVIL, EVIL, [line(EVIL)])
    ET.fromstring(text)
    assert "<script" not in text
    ET.fromstring(bars_html(EVIL, EVIL, [Bar(EVIL, 1.0, (0.5, 1.5), Verdict.RED)]))
    ET.fromstring(table_html(EVIL, TableRows((EVIL, "Verdict"), ((EVIL, "good"),), 1)))


def test_nothing_in_a_chart_is_loaded_from_elsewhere():
    text = curves_html("Noise", "f", "P", [line(), line("two", 1)])
    assert not re.search(r"https?:|url\(|href|src=|<image|<style", text)


def test_higher_values_are_drawn_higher():
    points = re.search(r"points='([^']+)'", curves_html("t", "x", "y", [line()])).group(1)
    heights = [float(p.split(",")[1]) for p in points.split()]
    assert heights[1] < heights[2] < heights[0]


def test_a_gap_in_the_numbers_is_a_gap_in_the_curve():
    text = curves_html("t", "x", "y", [line(y=(1.0, 2.0, np.nan, 3.0, np.inf, 4.0))])
    assert text.count("<polyline") == 3
    assert "nan" not in text
    assert text.count("<li>") == 1  # one name for all its pieces


def test_a_chart_without_numbers_says_so():
    assert "no numbers" in curves_html("t", "x", "y", [line(y=(np.nan,))])
    assert bars_html("t", "HU", []) == ""
    assert bars_html("t", "HU", [Bar("a", np.nan, None, Verdict.NONE)]) == ""


def test_bars_lie_on_their_side_of_zero():
    bars = [Bar("low", -4.0, (-5, -3), Verdict.AMBER), Bar("high", 2.0, (1, 3), Verdict.GREEN)]
    root = ET.fromstring(bars_html("Drift", "HU", bars))
    zero = float(root.find(".//line[@class='zero']").get("x1"))
    low, high = (float(c.get("cx")) for c in root.iter("circle"))
    assert low < zero < high
    assert (zero - low) / (high - zero) == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_verdicts_have_a_word_and_a_sign(verdict):
    text = pill_html(verdict)
    assert verdict_of(verdict.word) is verdict
    if verdict is Verdict.NONE:
        assert text == ""
    else:
        assert verdict.word in text
        assert re.search(r"<b[^>]*>[^<\s]</b>", text)


def test_signs_differ_between_verdicts():
    texts = [re.search(r"<b[^>]*>(.)</b>", pill_html(v)).group(1) for v in Verdict if v.word]
    assert len(set(texts)) == 3


def test_drift_needs_its_columns_only():
    rows = (("HU drift, fat", "2", "1 to 3", "good"), ("Noise", "5", "", ""))
    table = TableRows(("Measure", "Value", "95 % interval", "Verdict"), rows, 2)
    assert drift_html(table).count("<circle") == 1
    assert drift_html(TableRows(("Measure",), (("HU drift, fat",),), 1)) == ""


def test_a_long_table_says_what_it_leaves_out():
    assert "9 more rows" in table_html("T", TableRows(("a",), (("1",),), 10))


@pytest.mark.parametrize("mode", list(Mode))
def test_layouts_become_boxes_with_all_their_views(mode):
    names = ["one", "two", "three"][: mode.volumes[-1]] if mode is Mode.THREE_UP else ["one", "two"]
    layout = comparison_layout(mode, names, ("Axial", "Sagittal"), with_charts=True)
    box = boxes_of(layout.xml)
    assert [view.tag for view in box.views()] == [cell.tag for cell in layout.cells]
    assert box.shares == (650, 350)
    assert [item.page for item in box.items[1].items] == ["views_plot", "views_table"]


def test_a_layout_of_unknown_views_is_empty():
    assert (
        boxes_of("<layout type='vertical'><item><view class='Other'/></item></layout>").views()
        == ()
    )


@pytest.mark.parametrize("shape", [(300, 512, 512), (40, 64, 64), (1, 4000, 4000), (900, 90, 900)])
def test_a_coarse_copy_is_small_and_even(shape):
    step = coarse_step(shape)
    counts = [n // s for n, s in zip(shape, step, strict=True)]
    assert np.prod(counts) <= 8_000_000
    assert min(counts) >= 1
    if np.prod(shape) <= 8_000_000:
        assert step == (1, 1, 1)


def test_coarse_copies_keep_small_numbers_exact():
    values = np.linspace(0, 0.04, 64, dtype=np.float32).reshape(4, 4, 4)
    assert np.allclose(coarse(values, (1, 1, 1)), values)
    assert coarse(1000 * values + 500, (2, 2, 2)).dtype == np.int16


class Window:
    """Draws the number of its picture."""

    def __init__(self):
        self.value, self.drawn, self.moving = 0, 0, False
        self.rough = []

    @property
    def img_cols_rows(self):
        self.drawn += 1
        self.rough.append(self.moving)
        return np.full((16, 16, 3), self.value, np.uint8), 16, 16


def streamed(act, pace=None):
    """Run `act(window, stream)`; return the window and the pictures that were sent."""
    sent = []

    async def run():
        window = Window()
        stream = Stream(window, pace or Pace(100.0, 50, 90, 0.05))
        stream.set_push_callback(lambda content, meta: sent.append(meta["quality"]))
        await act(window, stream)
        await stream.close()
        return window

    return asyncio.run(run()), sent


def test_many_requests_make_one_rough_and_one_fine_picture():
    async def act(window, stream):
        window.value = 7
        for _ in range(50):
            stream.schedule_render()
        await asyncio.sleep(0.4)

    window, sent = streamed(act)
    assert sent == [50, 90]
    assert window.rough == [True, False]


def test_an_unchanged_picture_is_not_sent_again_except_to_a_new_browser():
    async def act(window, stream):
        for again in (False, False, True):
            if again:
                stream.reset()
            stream.schedule_render()
            await asyncio.sleep(0.3)

    window, sent = streamed(act)
    assert window.drawn == 6
    assert sent == [50, 90, 50, 90]


def test_a_slow_view_leaves_time_to_others():
    import time

    class Slow(Window):
        @property
        def img_cols_rows(self):
            time.sleep(0.05)
            self.value = (self.value + 1) % 250
            return super().img_cols_rows

    async def run():
        window = Slow()
        stream = Stream(window, Pace(1000.0, 50, 90, 0.05))
        free, until = 0.0, time.monotonic() + 1.0
        while time.monotonic() < until:
            stream.schedule_render()
            begun = time.monotonic()
            await asyncio.sleep(0.001)
            gone = time.monotonic() - begun
            free += gone if gone < 0.03 else 0.0
        await stream.close()
        return free

    assert asyncio.run(run()) > 0.2
