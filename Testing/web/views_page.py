"""A small page with the views alone and a synthetic knee: for the browser test and the benchmark.

python Testing/web/views_page.py PORT [K J I]
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkOSOpenGLRenderWindow")

import numpy as np
import slicer
from trame.app import get_server
from trame.ui.vuetify3 import VAppLayout
from trame.widgets import html
from trame_slicer.core.slicer_app import SlicerApp

from ctrestorelib.apps.web.session.views import build_views
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.mrml.comparison.layouts import Mode
from ctrestorelib.mrml.display import set_window
from ctrestorelib.mrml.samples import add_knee
from ctrestorelib.mrml.scene import SceneContext
from ctrestorelib.mrml.volumes import new_volume_node, volume_from_node


def enlarged(context, nodes, shape):
    """Return the volumes repeated to `shape` with noise of their own, and drop the small ones."""
    out = []
    for number, node in enumerate(nodes):
        volume = volume_from_node(node).volume
        times = [-(-n // m) for n, m in zip(shape, volume.shape, strict=True)]
        values = volume.values
        for axis, count in enumerate(times):
            values = np.repeat(values, count, axis)
        values = values[tuple(slice(n) for n in shape)].astype(np.float32)
        rng = np.random.default_rng(number)
        for k in range(shape[0]):
            values[k] += rng.normal(0, 5 + 30 * number, shape[1:]).astype(np.float32)
        geometry = VolumeGeometry.from_spacing(shape, (0.3, 0.3, 0.5))
        big = type(volume)(values, geometry, volume.unit)
        name = node.GetName()
        context.scene.RemoveNode(node)
        out.append(new_volume_node(context, name, big))
        set_window(out[-1], 100.0, 1000.0)
    return out


def main(port, shape):
    """Serve the page until the process is ended."""
    app = SlicerApp()
    slicer.mrmlScene = app.scene
    context = SceneContext(app.scene, app.volumes_logic, app.segmentations_logic)
    server = get_server(client_type="vue3")
    views = build_views(server, app, context)
    clean, noisy = add_knee(context)
    if shape:
        clean, noisy = enlarged(context, (clean, noisy), shape)

    @server.trigger("compare")
    def compare(mode):
        views.comparison.show([noisy.GetID(), clean.GetID()], Mode(mode))

    @server.trigger("single")
    def single():
        views.show_volume(noisy)

    with VAppLayout(server, full_height=True), html.Div(style="display: flex; height: 100vh"):
        with html.Div(style="width: 120px"):
            for mode in ("side_by_side", "wipe", "checkerboard", "blend"):
                html.Button(mode, id=mode, click=f"trigger('compare', ['{mode}'])", style=_BLOCK)
            html.Button("single", id="single", click="trigger('single', [])", style=_BLOCK)
        with html.Div(style="flex: 1; min-width: 0; display: flex"):
            views.ui()
    views.show_volume(noisy)
    server.start(port=port, host="127.0.0.1", open_browser=False, timeout=0)


_BLOCK = "display: block; margin: 6px"

if __name__ == "__main__":
    main(int(sys.argv[1]), tuple(int(n) for n in sys.argv[2:5]))
