"""The views over a real scene, without a browser: what they draw, link, refuse and give back.

A scene's views are one set for a process, so they are driven in a process of their own.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

_ABSENT = [n for n in ("slicer", "trame_slicer") if not importlib.util.find_spec(n)]
pytestmark = pytest.mark.skipif(bool(_ABSENT), reason=f"needs {', '.join(_ABSENT)}")
PROBE = Path(__file__).with_name("views_probe.py")


@pytest.fixture(scope="module")
def seen():
    done = subprocess.run(
        [sys.executable, str(PROBE)], capture_output=True, text=True, timeout=300, check=False
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("SEEN")]
    assert found, done.stderr[-3000:]
    assert "Task exception was never retrieved" not in done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(found[-1][4:])


def test_four_views_open_with_the_sizes_of_the_browser(seen):
    assert seen["tags"] == ["Red", "1", "Green", "Yellow"]
    assert seen["layout"] == 3
    assert seen["dimensions"] == [200, 160, 1]
    assert seen["sized_once_before_repeat"] == 1


def test_a_value_is_drawn_as_the_window_says(seen):
    # 250 HU in the window -500 to 500 is three quarters of white.
    assert seen["centre"] == pytest.approx([191] * 3, abs=1)
    assert seen["corner"] == [0, 0, 0]
    assert seen["soft"] == [40.0, 400.0]
    assert seen["dark"] == [0, 0, 0]
    assert seen["automatic"] == "automatic"


def test_a_wrong_window_is_refused_and_changes_nothing(seen):
    assert all("width" in note for note in seen["notes"])
    assert seen["after_wrong"] == [750.0, 400.0]


def test_the_patients_sides_stand_at_the_edges(seen):
    """Left, right, top, bottom of the picture, as radiologists look at a patient."""
    assert seen["letters"] == {"Red": "RLAP", "Green": "RLSI", "Yellow": "APSI"}


def test_two_volumes_side_by_side_move_together(seen):
    assert seen["compare_layout"] == 0
    assert seen["side"] == [0, 255]
    assert seen["linked"] == [4.0, 4.0]
    assert seen["red_offset"] != 4.0  # Slicer's own views stay where they are
    assert seen["kept_offset"] == 4.0


def test_a_wipe_shows_both_and_is_dragged_by_the_browsers_mouse(seen):
    assert seen["wipe"] == [0, 255]
    assert seen["dragged"] == pytest.approx(0.3, abs=0.01)


def test_a_blend_mixes_both_by_half(seen):
    assert seen["blend"] == pytest.approx(127, abs=2)


def test_layouts_with_rows_and_with_charts(seen):
    assert seen["all"] == 6
    assert seen["with_charts"] == 2
    assert seen["chart_places"] == 2


def test_removed_noise_keeps_a_window_of_its_own(seen):
    assert seen["windowed"] == ["first", "second"]


def test_another_layout_closes_the_comparison(seen):
    assert seen["closed"] == [None, ["Red"]]


def test_a_view_opened_later_draws_segments_as_bright(seen):
    before, after = seen["segment"]
    assert before == after
    assert max(before) - min(before) > 40  # the segment's colour lies over the grey


def test_volume_rendering_uses_a_hidden_copy_and_gives_it_back(seen):
    assert seen["preview"] == [1, 0]
    with_volume, without = seen["spread_3d"]
    assert with_volume > without + 10
    assert not seen["preview_left"]
    assert not seen["rendered_after_removal"]
    assert seen["previews"] == 0


def test_a_3d_preset_is_chosen_by_name_only(seen):
    assert seen["preset"] == "CT-MIP"
    assert "nonsense" in seen["no_preset"]


def test_the_coarse_copy_lies_where_the_volume_lies(seen):
    """Means of a linear ramp are its values in the middles of the blocks."""
    assert seen["coarse_error"] <= 0.5  # rounded to whole HU
    assert seen["coarse_voxels"] <= 2000
    assert seen["coarse_finite"]


def test_table_nodes_become_rows(seen):
    assert seen["rows"][1] == ["HU drift, bone", "-9", "HU", "", "not safe", "Moved."]
    headers, items = seen["data_table"]["headers"], seen["data_table"]["items"]
    assert [h["title"] for h in headers][:2] == ["Measure", "Value"]
    assert items[0][headers[4]["key"]] == "good"


def test_drift_is_drawn_from_the_quality_table(seen):
    assert seen["drift"].count("<circle") == 2
    assert seen["drift"].count("class='whisker'") == 1
    assert "✕ not safe" in seen["drift"]


def test_a_profile_is_drawn_from_its_chart_node(seen):
    assert seen["chart"].count("<polyline") == 2
    assert "Distance [mm]" in seen["chart"]
    assert "Knee phantom, noisy" in seen["chart"]


def test_the_quality_page_holds_everything_escaped(seen):
    page = seen["page"]
    assert "Line profile" in page
    assert "HU drift of each tissue" in page
    assert "Kept &lt;b&gt;." in page
    assert "Segments <i>" not in page


def test_the_views_outlive_the_scenes_closing(seen):
    assert seen["after_close"][1] is True
    assert seen["again"] == pytest.approx([191] * 3, abs=1)
    assert seen["mouse"] is True
    assert seen["mouse_off"] is True


def test_what_cannot_be_shown_is_refused_in_words(seen):
    assert "is not a volume" in seen["no_volume"]
    assert "987654" in seen["no_layout"]


def test_a_very_fine_screen_gets_an_enlarged_picture(seen):
    pixels, ratio = seen["large"]
    assert pixels <= seen["most_pixels"]
    assert ratio == pytest.approx(4 / 3, abs=0.01)
    assert seen["not_tiny"]
