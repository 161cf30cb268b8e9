"""Wipe, checkerboard and divider in the pixels of real slice views."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import vtk

sys.path.insert(0, str(Path(__file__).parent))
import view_host

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.mrml.comparison.divider import GRAB_PX
from ctrestorelib.mrml.comparison.layouts import Mode
from ctrestorelib.mrml.comparison.session import Comparison
from ctrestorelib.mrml.display import set_window
from ctrestorelib.mrml.volumes import new_volume_node

pytestmark = pytest.mark.skipif(not view_host.OSMESA, reason=view_host.NO_OSMESA)
TAG = "CTRestoreCompareOverAxial"
SIZE = (360, 240)
LINE = np.array([255, 217, 76])


def oblique(shape, spacing, degrees, shift=(0.0, 0.0, 0.0)):
    """Return a grid turned about two axes."""
    a, b = np.deg2rad(degrees)
    about_z = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(about_z) @ about_x * spacing
    matrix[:3, 3] = np.array(shift) - matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return VolumeGeometry(shape, matrix)


def values(shape, seed):
    """Return blocks of random grey values, each a few voxels wide."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(20, 230, [n // 4 + 1 for n in shape]).astype(np.float32)
    return np.kron(small, np.ones((4, 4, 4), np.float32))[tuple(slice(n) for n in shape)]


def add(context, name, geometry, seed):
    node = new_volume_node(context, name, Volume(values(geometry.shape, seed), geometry, Unit.GREY))
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().InterpolateOff()
    set_window(node, 127.5, 255)
    return node


@pytest.fixture
def host(slicer_app):
    return view_host.shared_host(slicer_app, SIZE)


@pytest.fixture
def comparison(context, host):
    opened = Comparison(context, host)
    yield opened
    opened.close()


SAME = VolumeGeometry.from_spacing((12, 40, 48), (1, 1, 2))
GRIDS = {
    "same grid": (SAME, SAME),
    "finer and smaller grid": (SAME, VolumeGeometry.from_spacing((20, 50, 60), (0.5, 0.5, 1))),
    "oblique grids": (
        oblique((16, 40, 48), 1.0, (25, 10)),
        oblique((20, 44, 40), 0.8, (-15, 20), (5, 3, 1)),
    ),
}


@pytest.fixture(params=GRIDS)
def pair(request, context):
    first, second = GRIDS[request.param]
    return add(context, "A", first, 1), add(context, "B", second, 2)


def alone(host, volume):
    """Return the pixels of the view when it shows nothing but this volume."""
    composite = host.slice_view(TAG).composite
    before = composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()
    composite.SetBackgroundVolumeID(volume.GetID())
    composite.SetForegroundVolumeID(None)
    pixels = host.grab(TAG)
    composite.SetBackgroundVolumeID(before[0])
    composite.SetForegroundVolumeID(before[1])
    return pixels


def middle(pixels):
    """Return the rows without captions."""
    return pixels[36:-36]


def scroll(host, step):
    logic = host.slice_view(TAG).logic
    logic.SetSliceOffset(logic.GetSliceOffset() + step)


def zoom(host, _):
    node = host.slice_view(TAG).node
    across, up, depth = node.GetFieldOfView()
    node.SetFieldOfView(across * 0.6, up * 0.6, depth)


def pan(host, _):
    host.slice_view(TAG).node.SetXYZOrigin(4, -3, 0)


def resize(host, _):
    host.resize((301, 223))


def window(host, _):
    a = host.app.scene.GetFirstNodeByName("A")
    set_window(a, 90, 120)


CHANGES = {
    "as opened": lambda host, _: None,
    "scroll": scroll,
    "zoom": zoom,
    "pan": pan,
    "resize": resize,
    "window": window,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("vertical", [False, True])
def test_a_wipe_shows_each_volume_on_its_side(host, comparison, pair, change, vertical):
    ids = [v.GetID() for v in pair]
    comparison.show(ids, Mode.WIPE)
    comparison.set_wipe(0.4, vertical=vertical)
    host.grab(TAG)
    CHANGES[change](host, 2.0)
    wiped = host.grab(TAG)
    comparison.show(ids, Mode.BLEND)
    a, b = alone(host, pair[0]), alone(host, pair[1])
    assert a.shape == wiped.shape
    assert (middle(a) != middle(b)).any(axis=-1).mean() > 0.25
    axis = 0 if vertical else 1
    place = round(0.4 * wiped.shape[axis])
    first, second = slice(36, place - 2), slice(place + 2, -36)
    if vertical:
        np.testing.assert_array_equal(wiped[first], a[first])
        np.testing.assert_array_equal(wiped[second], b[second])
    else:
        np.testing.assert_array_equal(middle(wiped)[:, first], middle(a)[:, first])
        np.testing.assert_array_equal(middle(wiped)[:, second], middle(b)[:, second])
    along = wiped[place - 1 : place + 2] if vertical else wiped[:, place - 1 : place + 2]
    gold = (np.abs(along.astype(int) - LINE).max(axis=-1) < 3).any(axis=axis)
    assert gold[2:-2].all()


def test_the_ends_of_a_wipe_show_one_volume_only(host, comparison, pair):
    ids = [v.GetID() for v in pair]
    pictures = []
    for position in (0.0, 1.0):
        comparison.show(ids, Mode.WIPE)
        comparison.set_wipe(position)
        pictures.append(middle(host.grab(TAG))[:, 3:-3])
    comparison.show(ids, Mode.BLEND)
    np.testing.assert_array_equal(pictures[0], middle(alone(host, pair[1]))[:, 3:-3])
    np.testing.assert_array_equal(pictures[1], middle(alone(host, pair[0]))[:, 3:-3])


@pytest.mark.parametrize("divisions", [2, 4, 7])
def test_a_checkerboard_alternates(host, comparison, pair, divisions):
    ids = [v.GetID() for v in pair]
    comparison.show(ids, Mode.CHECKERBOARD)
    comparison.set_checker(divisions)
    board = host.grab(TAG)
    comparison.show(ids, Mode.BLEND)
    a, b = alone(host, pair[0]), alone(host, pair[1])
    field = min(SIZE) / divisions
    across, up = round(SIZE[0] / field), divisions
    for n in range(across):
        for m in range(up):
            # Fields are counted from the lower left corner; keep clear of their edges.
            x = int((n + 0.5) * SIZE[0] / across)
            y = SIZE[1] - 1 - int((m + 0.5) * SIZE[1] / up)
            part = slice(y - 8, y + 8), slice(x - 8, x + 8)
            if 36 + 8 <= y < SIZE[1] - 36 - 8:
                wanted = a if (n + m) % 2 == 0 else b
                np.testing.assert_array_equal(board[part], wanted[part])


def test_places_without_data_stay_empty(context, host, comparison):
    large = add(context, "A", SAME, 1)
    small = add(context, "B", VolumeGeometry.from_spacing((12, 10, 10), (1, 1, 2)), 2)
    comparison.show([large.GetID(), small.GetID()], Mode.WIPE)
    host.slice_view(TAG).renderer.SetBackground(0.0, 0.2, 0.4)
    host.slice_view(TAG).node.Modified()
    right = middle(host.grab(TAG))[:, SIZE[0] // 2 + 3 :]
    assert (right == [0, 51, 102]).all(axis=-1).mean() > 0.5
    host.slice_view(TAG).renderer.SetBackground(0, 0, 0)


def test_segments_stay_above_the_overlay(context, host, comparison, pair):
    segmentation = context.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    display = segmentation.GetDisplayNode()
    display.SetVisibility2DFill(True)  # whatever other tests of the process left as a default
    display.SetOpacity2DFill(0.5)
    ball = vtk.vtkSphereSource()
    ball.SetRadius(9)
    ball.SetThetaResolution(24)
    ball.SetPhiResolution(24)
    ball.Update()
    segmentation.AddSegmentFromClosedSurfaceRepresentation(ball.GetOutput(), "ball", (1, 0, 0))
    ids = [v.GetID() for v in pair]
    comparison.show(ids, Mode.WIPE)
    host.slice_view(TAG).logic.FitSliceToAll()
    wiped = middle(host.grab(TAG)).astype(int)
    comparison.show(ids, Mode.BLEND)
    half = SIZE[0] // 2
    left, right = slice(0, half - 3), slice(half + 3, None)
    for volume, side in ((pair[0], left), (pair[1], right)):
        wanted = middle(alone(host, volume)).astype(int)[:, side]
        red = (wanted[..., 0] - wanted[..., 1:].max(axis=-1)) > 60
        assert red.sum() > 300
        np.testing.assert_array_equal(wiped[:, side], wanted)


def mouse(host, event, x, y):
    interactor = host.slice_view(TAG).interactor
    interactor.SetEventInformation(x, y, 0, 0, chr(0), 0, None)
    interactor.InvokeEvent(event)


@pytest.mark.parametrize("vertical", [False, True])
def test_the_mouse_drags_the_line_and_nobody_else_hears_of_it(host, comparison, pair, vertical):
    comparison.show([v.GetID() for v in pair], Mode.WIPE)
    comparison.set_wipe(0.5, vertical=vertical)
    host.grab(TAG)
    heard = []
    interactor = host.slice_view(TAG).interactor
    tags = [
        interactor.AddObserver(event, lambda _o, e: heard.append(e), 1.0)
        for event in ("LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent")
    ]
    x, y = (50, SIZE[1] // 2 + GRAB_PX) if vertical else (SIZE[0] // 2 - GRAB_PX, 50)
    to = (50, SIZE[1] // 4) if vertical else (SIZE[0] // 4, 200)
    mouse(host, "LeftButtonPressEvent", x, y)
    mouse(host, "MouseMoveEvent", *to)
    mouse(host, "LeftButtonReleaseEvent", *to)
    assert heard == []
    assert comparison.look.wipe == pytest.approx(0.75 if vertical else 0.25)
    mouse(host, "MouseMoveEvent", 30, 30)
    assert comparison.look.wipe == pytest.approx(0.75 if vertical else 0.25)
    mouse(host, "LeftButtonPressEvent", 150, 170)
    mouse(host, "MouseMoveEvent", 10, 10)
    mouse(host, "LeftButtonReleaseEvent", 10, 10)
    assert heard.count("LeftButtonPressEvent") == 1
    assert heard.count("LeftButtonReleaseEvent") == 1
    assert comparison.look.wipe == pytest.approx(0.75 if vertical else 0.25)
    for tag in tags:
        interactor.RemoveObserver(tag)


def test_a_drag_beyond_the_view_stops_at_its_edge(host, comparison, pair):
    comparison.show([v.GetID() for v in pair], Mode.WIPE)
    comparison.set_wipe(0.5, vertical=False)
    mouse(host, "LeftButtonPressEvent", SIZE[0] // 2, 100)
    mouse(host, "MouseMoveEvent", SIZE[0] + 80, 100)
    assert comparison.look.wipe == 1.0
    mouse(host, "MouseMoveEvent", -5, 100)
    assert comparison.look.wipe == 0.0
    mouse(host, "LeftButtonReleaseEvent", -5, 100)


def test_nothing_is_left_in_the_view(host, comparison, pair):
    ids = [v.GetID() for v in pair]
    comparison.show(ids, Mode.BLEND)
    handle = host.slice_view(TAG)
    host.grab(TAG)
    comparison.close()
    props = handle.renderer.GetViewProps().GetNumberOfItems()
    observed = [handle.interactor.HasObserver(e) for e in ("LeftButtonPressEvent",)]
    for mode in (Mode.WIPE, Mode.CHECKERBOARD, Mode.WIPE, Mode.BLEND):
        comparison.show(ids, mode)
        assert handle.renderer.GetViewProps().GetNumberOfItems() > props
    comparison.close()
    assert handle.renderer.GetViewProps().GetNumberOfItems() == props
    assert [handle.interactor.HasObserver(e) for e in ("LeftButtonPressEvent",)] == observed


def test_impossible_settings_are_refused_in_words(comparison):
    with pytest.raises(UsageError, match=r"share between 0 and 1; got 1\.5"):
        comparison.set_wipe(1.5)
    with pytest.raises(UsageError, match=r"share between 0 and 1; got -0\.1"):
        comparison.set_blend(-0.1)
    with pytest.raises(UsageError, match="2 to 32 fields"):
        comparison.set_checker(1)
    with pytest.raises(UsageError, match="share between 0 and 1; got nan"):
        comparison.set_wipe(float("nan"))
