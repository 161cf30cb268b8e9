"""The page: panels on one side, views on the other (layer: apps)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trame.app import get_server
from trame.ui.vuetify3 import VAppLayout
from trame.widgets import html
from trame.widgets import vuetify3 as v3

from ctrestorelib.apps.web.session.desk import Desk
from ctrestorelib.apps.web.session.jobs_panel import JobsPanel
from ctrestorelib.apps.web.session.panels.compare import ComparePanel
from ctrestorelib.apps.web.session.panels.denoise import DenoisePanel
from ctrestorelib.apps.web.session.panels.dicom import DicomPanel
from ctrestorelib.apps.web.session.panels.log import LogPanel
from ctrestorelib.apps.web.session.panels.panel import Panel
from ctrestorelib.apps.web.session.panels.reconstruct import ReconstructPanel
from ctrestorelib.apps.web.session.panels.save import SavePanel
from ctrestorelib.apps.web.session.panels.scan import ScanPanel
from ctrestorelib.apps.web.session.panels.segment import SegmentPanel
from ctrestorelib.apps.web.session.panels.volume import VolumePanel
from ctrestorelib.apps.web.session.scene_host import SceneHost
from ctrestorelib.apps.web.session.views import build_views
from ctrestorelib.apps.web.session.words import RESEARCH_ONLY

PANELS: tuple[type[Panel], ...] = (
    VolumePanel,
    DenoisePanel,
    ScanPanel,
    ReconstructPanel,
    ComparePanel,
    SegmentPanel,
    SavePanel,
    DicomPanel,
    LogPanel,
)
"""From top to bottom, as in the desktop module."""

SERVED = "__ctrestore"
ASSETS = Path(__file__).with_name("serve")
COLOURS = {"primary": "#8fc7ff", "surface": "#1b1f24", "background": "#101316"}


class Page:
    """Everything of one page; made inside the server's event loop.

    Parameters
    ----------
    folder
        The person's own folder.
    roots
        Folders from which files may be opened by path.
    server
        The trame server; a new one if not given.
    """

    def __init__(self, folder: Path, roots: Sequence[Path] = (), server: Any = None) -> None:
        self.server = get_server(client_type="vue3") if server is None else server
        self._prepare(self.server)
        self.host = SceneHost()
        self.desk = Desk(self.server, self.host, folder, roots)
        self.desk.panels = [panel(self.desk) for panel in PANELS]
        self.jobs = JobsPanel(self.desk)
        self.desk.views = build_views(self.server, self.host.app, self.host.context)
        self.layout = self._build()
        self.desk.panels.append(self.jobs)
        self.desk.refresh()

    def open(self, paths: Sequence[Path]) -> None:
        """Open files in the background, from the event loop."""
        volume: VolumePanel = self.desk.panels[0]
        volume.open_paths(list(paths))

    async def close(self) -> None:
        """Stop what runs and let the scene go."""
        self.desk.close()
        self.desk.views.close()
        await asyncio.sleep(0)

    def _prepare(self, server: Any) -> None:
        served = {"serve": {SERVED: str(ASSETS)}, "scripts": [f"{SERVED}/page.js"],
                  "styles": [f"{SERVED}/page.css"]}  # fmt: skip
        server.enable_module(served)
        state = server.state
        state.trame__title = "CTRestore"
        state.trame__favicon = f"{SERVED}/icon.svg"
        state.ui_sections = ["volume", "denoise"]
        theme = {"dark": True, "colors": COLOURS}
        state.trame__vuetify3_config = {
            "theme": {"defaultTheme": "ctr", "themes": {"ctr": theme}},
            "defaults": {"VBtn": {"class": "text-none"}},
        }

    def _build(self) -> Any:
        with VAppLayout(self.server) as layout:
            layout.root.theme = "ctr"
            with html.Div(classes="pg-page"):
                with html.Main(classes="pg-panels", aria_label="Panels",
                               __properties=["aria_label"]):  # fmt: skip
                    html.P(RESEARCH_ONLY, classes="pg-notice", role="note")
                    self._build_panels()
                    with html.Section(classes="pg-jobs", aria_label=self.jobs.title,
                                      __properties=["aria_label"]):  # fmt: skip
                        self.jobs.build()
                with html.Section(classes="pg-viewers", aria_label="Views",
                                  __properties=["aria_label"]):  # fmt: skip
                    self.desk.views.ui()
            self._build_message()
            html.Div("Drop to open", id="pg-overlay", classes="pg-overlay", aria_hidden="true",
                     __properties=["aria_hidden"])  # fmt: skip
        return layout

    def _build_panels(self) -> None:
        with v3.VExpansionPanels(
            v_model=("ui_sections",), multiple=True, variant="accordion", classes="pg-sections"
        ):
            for panel in self.desk.panels:
                with v3.VExpansionPanel(value=panel.key):
                    with html.H2():
                        v3.VExpansionPanelTitle(panel.title)
                    with v3.VExpansionPanelText(), html.Div(classes="pg-form"):
                        panel.build()

    def _build_message(self) -> None:
        with v3.VSnackbar(
            v_model=("ui_message_shown",),
            timeout=("ui_message_failed ? 15000 : 5000",),
            color=("ui_message_failed ? '#7a1f1f' : '#1f4d2b'",),
            role="alert",
            multi_line=True,
            location="bottom right",
        ):
            html.Span("{{ ui_message }}")
            with v3.Template(v_slot_actions=True):
                v3.VBtn("Close", click="ui_message_shown = false", variant="text")
