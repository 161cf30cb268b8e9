"""Window, colours and interpolation of nodes."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.mrml import display
from ctrestorelib.mrml.volumes import new_volume_node


@pytest.fixture
def pair(context, small_ct):
    """Return two nodes, neither shown yet."""
    return (new_volume_node(context, "A", small_ct), new_volume_node(context, "B", small_ct))


def test_a_window_is_set_for_good(pair):
    node, _ = pair
    assert display.window_of(node) is None
    display.set_window(node, 40, 400)
    assert display.window_of(node) == (40, 400)
    assert not node.GetDisplayNode().GetAutoWindowLevel()


@pytest.mark.parametrize(("level", "width"), [(0, 0), (0, -1), (np.nan, 1), (0, np.inf)])
def test_an_impossible_window_is_refused(pair, level, width):
    with pytest.raises(UsageError, match="window"):
        display.set_window(pair[0], level, width)
    assert pair[0].GetDisplayNode() is None


@pytest.mark.parametrize("name", list(display.CT_PRESETS))
def test_presets_show_what_they_promise(pair, name):
    node, _ = pair
    window = display.set_preset(node, name)
    assert display.window_of(node) == pytest.approx(window)
    assert window.width > 0


def test_an_unknown_preset_lists_those_there_are(pair):
    with pytest.raises(UsageError, match="lung"):
        display.set_preset(pair[0], "teeth")


def test_the_automatic_window_ignores_a_few_wild_values():
    values = np.random.default_rng(1).uniform(100, 200, (20, 30, 40))
    values[0, 0, :5] = 1e6
    values[1, 0, :5] = np.nan
    window = display.auto_window(values)
    assert window.level == pytest.approx(150, abs=3)
    assert window.width == pytest.approx(99, abs=3)


def test_the_automatic_window_of_a_constant_is_not_empty():
    assert display.auto_window(np.full((4, 4, 4), 7.0)) == (7.0, 1.0)


def test_no_finite_value_no_window():
    with pytest.raises(InputError, match="finite"):
        display.auto_window(np.full((2, 2, 2), np.nan))


def test_same_display_copies_all_that_is_seen(pair):
    source, target = pair
    display.set_window(source, -550, 1500)
    shown = source.GetDisplayNode()
    shown.SetAndObserveColorNodeID("vtkMRMLColorTableNodeInvertedGrey")
    shown.InterpolateOff()
    shown.ApplyThresholdOn()
    display.same_display(source, target)
    seen = target.GetDisplayNode()
    assert seen is not shown
    assert display.window_of(target) == (-550, 1500)
    assert seen.GetColorNodeID() == shown.GetColorNodeID()
    assert not seen.GetInterpolate()
    assert not seen.GetApplyThreshold()
    assert not seen.GetAutoWindowLevel()
    assert shown.GetApplyThreshold()


def test_an_automatic_window_becomes_fixed_numbers_on_the_copy(pair, small_ct):
    source, target = pair
    source.CreateDefaultDisplayNodes()
    assert source.GetDisplayNode().GetAutoWindowLevel()
    display.same_display(source, target)
    assert display.window_of(target) == display.window_of(source)
    other = small_ct.with_values(small_ct.values * 3)
    from ctrestorelib.mrml.volumes import set_volume

    set_volume(target, other)
    assert display.window_of(target) == display.window_of(source)


def test_an_unseen_source_gives_an_automatic_window(pair):
    source, target = pair
    display.same_display(source, target)
    assert source.GetDisplayNode() is None
    assert display.window_of(target) == pytest.approx(
        display.auto_window(display.view_of(target)), rel=1e-6
    )


def test_grey_values_of_a_fossil_get_a_window_of_their_own(context):
    values = np.random.default_rng(2).uniform(20_000, 40_000, (8, 9, 10))
    grid = VolumeGeometry.from_spacing(values.shape, (0.02, 0.02, 0.02))
    node = new_volume_node(context, "Skull of a fossil", Volume(values, grid, Unit.GREY))
    window = display.set_preset(node, "dental/fossil")
    assert 20_000 < window.level < 40_000
