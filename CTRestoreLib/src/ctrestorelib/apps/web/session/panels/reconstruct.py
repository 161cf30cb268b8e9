"""A volume from few X-ray views (layer: apps)."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from trame.widgets import html

from ctrestorelib.apps.web.session.forms import choose_button, field, form
from ctrestorelib.apps.web.session.marks import new_box
from ctrestorelib.apps.web.session.panels.check_rows import CheckRows
from ctrestorelib.apps.web.session.panels.denoise import taken
from ctrestorelib.apps.web.session.panels.method_choice import MethodChoice
from ctrestorelib.apps.web.session.panels.panel import Panel
from ctrestorelib.apps.web.session.panels.run_row import RunRow
from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.stacks import is_stack, scan_of
from ctrestorelib.mrml.tasks.reconstruct import ReconstructTask
from ctrestorelib.restorer.spec import Kind, Role

GRID_SETTINGS = (
    "reconstruct_views",
    "reconstruct_spacing_mm",
    "reconstruct_unit",
    "reconstruct_mu_water_per_mm",
)


class ReconstructPanel(Panel):
    """Projections, geometry, method, grid, Apply, what the checks found."""

    key = "reconstruct"
    title = "4. Reconstruct from few X-ray views (sparse-view)"
    texts = (*RunRow.texts, *CheckRows.texts, "stack", "preview")
    buttons = (*RunRow.buttons, *CheckRows.buttons, "save", "save_preset", "not_save", "box")

    def setup(self) -> None:
        """Make the rows that the panels share."""
        self.choice = MethodChoice(self, Kind.RECONSTRUCTOR, self._roles)
        self.run = RunRow(self, self._task)
        self.checks = CheckRows(self)

    def build(self) -> None:
        """Draw the panel."""
        field(self.setting("reconstruct_stack"), none="Choose projections")
        self.line("stack", classes="pg-about")
        with html.Div(classes="pg-row"):
            choose_button("Open projections...", "Open a file with X-ray views: MHA, NRRD, TIFF, "
                          "NumPy, HDF5, MAT, Nikon, Skyscan.")  # fmt: skip
            choose_button("Open geometry...", "Give the chosen stack its scan geometry: a JSON "
                          "file of CTRestore or an RTK XML file.")  # fmt: skip
        self.choice.build()
        field(self.setting("reconstruct_like"), none="The scanner's field of view")
        form([self.setting(name) for name in GRID_SETTINGS])
        self.choice.build_settings()
        with html.Details(classes="pg-more"):
            html.Summary("Region, earlier volume and result")
            with html.Div(classes="pg-row"):
                field(self.setting("reconstruct_roi"), "Box (ROI)", none="Everything",
                      classes="pg-grow")  # fmt: skip
                self.button(
                    "box",
                    "New box",
                    self._new_box,
                    "Makes a box in the middle of that volume; drag its handles.",
                )
            field(self.setting("reconstruct_prior"), "Earlier volume", none="None")
            field(self.setting("reconstruct_output"), "Result", none="New volume")
        field(self.setting("reconstruct_calibrate"))
        field(self.setting("reconstruct_check"))
        self.run.build()
        html.Img(
            src=("ui_reconstruct.preview",),
            v_if="ui_reconstruct.preview",
            alt="The result as it grows",
            classes="pg-preview",
        )
        self.checks.build()

    def refresh(self) -> None:
        """Show settings, facts about the stack and what Apply would do."""
        self.choice.refresh()
        store = self.desk.store
        lacks = self._pattern() is None
        self.show(
            stack=describe_stack(store.get("reconstruct_stack")),
            why_box="Choose a volume under 'Same voxels as' first." if lacks else "",
        )
        self.run.refresh()
        self.checks.refresh()

    def refresh_run(self) -> None:
        """Show progress and the latest slice of the growing result."""
        self.run.refresh_run()
        image = self.desk.session.preview() if self.run.running else None
        if image is not None:
            self.show(preview=picture_of(image))
        elif not self.run.running:
            self.show(preview="")

    def take_preset(self, path: Path) -> bool:
        """Take a preset file of this panel; return whether it was one."""
        return taken(self.choice, Kind.RECONSTRUCTOR, path)

    def _task(self) -> ReconstructTask:
        return ReconstructTask(self.desk.context, self.desk.store)

    def _roles(self) -> set[Role]:
        prior = self.desk.store.get("reconstruct_prior")
        return {Role.PROJECTIONS} | (set() if prior is None else {Role.PRIOR_VOLUME})

    def _pattern(self) -> Node | None:
        store = self.desk.store
        return store.get("reconstruct_like") or store.get("scan_volume")

    def _new_box(self) -> None:
        self.desk.change({"reconstruct_roi": new_box(self.desk.context, self._pattern())})


def describe_stack(node: Node | None) -> str:
    """Return the scan in words."""
    if node is None or not is_stack(node):
        return ""
    scan = scan_of(node)
    rows, cols = scan.detector_shape
    return f"{scan.views} views of {rows} x {cols} pixels."


def picture_of(image: Any) -> str:
    """Return a slice ``[j, i]`` as a grey PNG picture in a data address."""
    from PIL import Image

    low, high = np.percentile(image, (1, 99.5))
    grey = np.clip((image - low) / max(high - low, 1e-9) * 255, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
