"""Drives the views without a browser, in a process of its own, and prints what it saw as JSON."""

from __future__ import annotations

import asyncio
import json
import os

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkOSOpenGLRenderWindow")

import numpy as np
import slicer
from trame.app import get_server
from trame_slicer.core.slicer_app import SlicerApp

from ctrestorelib.apps.web.session.views import build_views
from ctrestorelib.apps.web.session.views.factory import MOST_PIXELS
from ctrestorelib.apps.web.session.views.frames import set_offset, told
from ctrestorelib.apps.web.session.views.preview import ATTRIBUTE, coarse, coarse_step, find_preview
from ctrestorelib.apps.web.session.views.tables import chart_html, drift_html, rows_of
from ctrestorelib.apps.web.session.views.windowing import shown_volumes, windowed_volumes
from ctrestorelib.core.errors import CTRestoreError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.mrml.comparison.layouts import FIRST_LAYOUT_ID, Mode
from ctrestorelib.mrml.comparison.numbers import show_quality
from ctrestorelib.mrml.comparison.profile import LineProfile
from ctrestorelib.mrml.derived import removed_noise_node
from ctrestorelib.mrml.display import set_window, window_of
from ctrestorelib.mrml.samples import add_knee
from ctrestorelib.mrml.scene import SceneContext
from ctrestorelib.mrml.segments.table import ATTRIBUTE as SEGMENT_TABLE
from ctrestorelib.mrml.volumes import new_volume_node
from ctrestorelib.quality.result import Measure, Verdict

SHAPE = (24, 40, 40)
SEEN = {}


class Bench:
    """The views on a server that no browser has joined."""

    def __init__(self):
        self.app = SlicerApp()
        slicer.mrmlScene = self.app.scene
        self.context = SceneContext(
            self.app.scene, self.app.volumes_logic, self.app.segmentations_logic
        )
        self.server = get_server("views probe", client_type="vue3")
        self.views = build_views(self.server, self.app, self.context)
        self.host = self.views.host

    def size(self, width=200, height=160):
        """Do what the browser does once the views of a layout are on the page."""
        for tag in self.host.tags:
            self.host.factory.parts(tag).adapter.update_size("page", {"w": width, "h": height})

    def draw(self, tag):
        return self.host.factory.parts(tag).window.img_cols_rows[0].astype(int)

    def means(self):
        return {tag: float(self.draw(tag).mean()) for tag in self.host.tags}

    def flat(self, name, value, shape=SHAPE):
        values = np.full(shape, value, np.float32)
        volume = Volume(values, VolumeGeometry.from_spacing(shape, (1.0, 1.0, 1.0)), Unit.HU)
        node = new_volume_node(self.context, name, volume)
        set_window(node, 0.0, 1000.0)
        return node


def four_up(bench):
    node = bench.flat("one", 250.0)
    bench.views.show_volume(node)
    sized = []
    bench.host.sized.append(lambda: sized.append(1))
    bench.size()
    bench.size()
    SEEN["sized_once_before_repeat"] = len(sized)
    SEEN["tags"] = bench.host.tags
    SEEN["layout"] = bench.host.layout()
    handle = bench.host.slice_view("Red")
    SEEN["dimensions"] = list(handle.node.GetDimensions())
    SEEN["centre"] = bench.draw("Red")[80, 100].tolist()
    SEEN["corner"] = bench.draw("Red")[2, 2].tolist()
    SEEN["letters"] = {t: _letters(bench.host.slice_view(t)) for t in ("Red", "Green", "Yellow")}
    bench.views.choose_window("soft tissue")
    SEEN["soft"] = list(window_of(node))
    bench.views.custom_window("level", "750")
    SEEN["dark"] = bench.draw("Red")[80, 100].tolist()
    for wrong in ("abc", None, "-1", "inf"):
        bench.views.custom_window("width", wrong)
        SEEN.setdefault("notes", []).append(bench.server.state.views_note)
    SEEN["after_wrong"] = list(window_of(node))
    bench.views.choose_window("automatic")
    SEEN["automatic"] = bench.server.state.views_window_name


def _letters(handle):
    found = told(handle)
    return "".join(found[n] for n in ("left", "right", "top", "bottom"))


def comparing(bench):
    first, second = bench.flat("first", -500.0), bench.flat("second", 500.0)
    both = [first.GetID(), second.GetID()]
    show = bench.views.comparison.show
    show(both, Mode.SIDE_BY_SIDE)
    bench.size()
    SEEN["compare_layout"] = bench.host.layout() - FIRST_LAYOUT_ID
    SEEN["side"] = [int(bench.draw(t)[100, 100].mean()) for t in bench.host.tags]
    a, b = bench.host.slice_views
    set_offset(a, 4.0)
    SEEN["linked"] = [a.logic.GetSliceOffset(), b.logic.GetSliceOffset()]
    SEEN["red_offset"] = bench.host.factory.get_view("Red")._logic.GetSliceOffset()
    show(both, Mode.WIPE)
    bench.size()
    SEEN["kept_offset"] = bench.host.slice_views[0].logic.GetSliceOffset()
    picture = bench.draw(bench.host.tags[0])[100]
    SEEN["wipe"] = [int(picture[x].mean()) for x in (70, 130)]
    drag(bench, 100, 60)
    SEEN["dragged"] = bench.views.comparison.look.wipe
    show(both, Mode.BLEND)
    bench.size()
    SEEN["blend"] = int(bench.draw(bench.host.tags[0])[100, 100].mean())
    show(both, Mode.SIDE_BY_SIDE, orientation="All")
    SEEN["all"] = len(bench.host.tags)
    show(both, Mode.SIDE_BY_SIDE, with_charts=True)
    SEEN["with_charts"] = len(bench.host.tags)
    SEEN["chart_places"] = bench.server.state["trame__template_ctr_views"].count("ctr-quality")
    noise = removed_noise_node(bench.context, first, second)
    show([*both, noise.GetID()], Mode.THREE_UP)
    volumes = shown_volumes(bench.context.scene, bench.host)
    SEEN["windowed"] = [v.GetName() for v in windowed_volumes(volumes)]
    bench.views.choose_layout(6)
    SEEN["closed"] = [bench.views.comparison.mode, bench.host.tags]


def drag(bench, start, end):
    adapter = bench.host.factory.parts(bench.host.tags[0]).adapter
    event = {"w": 200, "h": 160, "y": 80, "shiftKey": 0, "ctrlKey": 0, "altKey": 0}
    event |= {"action": "", "key": "", "keyCode": "", "repeatCount": 0}
    for kind, x in (("MouseMove", start), ("LeftButtonPress", start), ("MouseMove", end),
                    ("LeftButtonRelease", end)):  # fmt: skip
        adapter.on_interaction("page", {**event, "type": kind, "x": x})


def segments_lie_above(bench):
    """A slice view that opens over a segmentation draws it as bright as one that was there."""
    from ctrestorelib.mrml.segments.ranges import ThresholdRange
    from ctrestorelib.mrml.segments.threshold import Role, threshold_segment

    node = bench.flat("bright", 500.0)
    bench.views.choose_layout(3)
    bench.views.show_volume(node)
    bench.size()
    wanted = ThresholdRange("all", 100.0, 2000.0, Unit.HU)
    threshold_segment(bench.context, node, wanted, role=Role.ORIGINAL)
    old = bench.draw("Red")[80, 100].tolist()
    bench.views.comparison.show([node.GetID()], Mode.FOUR_UP)
    bench.size()
    SEEN["segment"] = [old, bench.draw(bench.host.tags[0])[80, 100].tolist()]


def three_d(bench):
    bench.context.scene.Clear(0)
    _clean, noisy = add_knee(bench.context, shape=(40, 64, 64))
    bench.views.show_volume(noisy)
    bench.size()
    preview = find_preview(bench.context, noisy.GetID())
    SEEN["preview"] = [preview.GetHideFromEditors(), preview.GetSaveWithScene()]
    with_volume = bench.draw("1").std()
    bench.views.render_volume(False)
    SEEN["spread_3d"] = [float(with_volume), float(bench.draw("1").std())]
    SEEN["preview_left"] = find_preview(bench.context, noisy.GetID()) is not None
    bench.views.render_volume(True)
    bench.views.choose_preset("CT-MIP")
    SEEN["preset"] = bench.views.three_d.preset
    bench.views.choose_preset("nonsense")
    SEEN["no_preset"] = bench.server.state.views_note
    bench.context.scene.RemoveNode(noisy)
    SEEN["rendered_after_removal"] = bench.views.three_d.rendered is not None
    SEEN["previews"] = sum(
        n.GetAttribute(ATTRIBUTE) is not None
        for n in bench.context.scene.GetNodesByClass("vtkMRMLScalarVolumeNode")
    )


def preview_geometry(bench):
    shape = (13, 30, 41)
    k, j, i = np.indices(shape)
    values = (2.0 * i + 3.0 * j + 5.0 * k).astype(np.float32)
    step = coarse_step(shape, 2000)
    small = coarse(values, step)
    centre = [(np.arange(n) * s + (s - 1) / 2) for n, s in zip(small.shape, step, strict=True)]
    kk, jj, ii = np.meshgrid(*centre, indexing="ij")
    SEEN["coarse_error"] = float(np.abs(small - (2 * ii + 3 * jj + 5 * kk)).max())
    SEEN["coarse_voxels"] = int(small.size)
    with_gap = values.copy()
    with_gap[:3, :3, :3] = np.nan
    SEEN["coarse_finite"] = bool(np.isfinite(coarse(with_gap, step)).all())


def measured(bench):
    bench.context.scene.Clear(0)
    clean, noisy = add_knee(bench.context, shape=(12, 48, 48))
    measures = [
        Measure("a", "HU drift, fat", 1.5, "HU", (0.5, 2.5), Verdict.GREEN, "Kept <b>."),
        Measure("b", "HU drift, bone", -9.0, "HU", None, Verdict.RED, "Moved."),
        Measure("c", "Noise", None, "", None, Verdict.NONE, "Not measurable."),
    ]
    table = show_quality(bench.context, measures)
    SEEN["rows"] = rows_of(table).rows
    SEEN["data_table"] = rows_of(table).for_data_table()
    SEEN["drift"] = drift_html(rows_of(table))
    line = bench.context.new_node("vtkMRMLMarkupsLineNode", "Line")
    line.AddControlPoint(-15, 0, 0)
    line.AddControlPoint(15, 0, 0)
    profile = LineProfile(bench.context, line.GetID(), [noisy.GetID(), clean.GetID()])
    SEEN["chart"] = chart_html(profile.chart)
    segment = bench.context.new_node("vtkMRMLTableNode", "Segments <i>")
    segment.SetAttribute(SEGMENT_TABLE, "1")
    bench.views.quality.refresh()
    SEEN["page"] = bench.server.state.views_quality
    profile.close()


def scene_closes(bench):
    bench.views.comparison.close()
    bench.app.scene.Clear(0)
    SEEN["after_close"] = [bench.host.layout(), bench.views.volume is None]
    node = bench.flat("again", 250.0)
    bench.views.show_volume(node)
    bench.size()
    SEEN["again"] = bench.draw(bench.host.tags[0])[80, 100].tolist()
    mouse = bench.app.app_logic.GetInteractionNode()
    SEEN["mouse"] = mouse.GetCurrentInteractionMode() == mouse.AdjustWindowLevel
    bench.views.drag_windows(False)
    SEEN["mouse_off"] = mouse.GetCurrentInteractionMode() == mouse.ViewTransform


def refusals(bench):
    table = bench.context.new_node("vtkMRMLTableNode", "A table")
    for name, act in (
        ("no_volume", lambda: bench.views.show_volume(table)),
        ("no_layout", lambda: bench.host.set_layout(987654)),
    ):
        try:
            act()
            SEEN[name] = ""
        except CTRestoreError as error:
            SEEN[name] = str(error)
    SEEN["most_pixels"] = MOST_PIXELS
    adapter = bench.host.factory.parts(bench.host.tags[0]).adapter
    adapter.update_size("page", {"w": 4000, "h": 3000, "p": 2})
    size = bench.host.size_of(bench.host.tags[0])
    SEEN["large"] = [size[0] * size[1], size[0] / size[1]]
    adapter.update_size("page", {"w": 10, "h": 10})
    SEEN["not_tiny"] = bench.host.size_of(bench.host.tags[0]) == size


async def main():
    bench = Bench()
    for part in (four_up, comparing, segments_lie_above, three_d, preview_geometry, measured,
                 scene_closes, refusals):  # fmt: skip
        part(bench)
    bench.views.close()


asyncio.run(main())
print("SEEN" + json.dumps(SEEN))
