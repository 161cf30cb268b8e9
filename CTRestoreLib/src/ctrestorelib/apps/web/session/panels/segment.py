"""Does the noise change the bone? The same segment in both volumes (layer: apps)."""

from __future__ import annotations

from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from ctrestorelib.apps.web.session.forms import LOOK, field, slider
from ctrestorelib.apps.web.session.marks import segments_of
from ctrestorelib.apps.web.session.panels.panel import Panel
from ctrestorelib.apps.web.session.tables import build_table, rows_of
from ctrestorelib.mrml.actions import segmenting
from ctrestorelib.mrml.actions.comparing import chosen_volumes


class SegmentPanel(Panel):
    """Range or segment, numbers, surfaces, files."""

    key = "segment"
    title = "6. Segment both and compare"
    texts = ("pair", "result", "written")
    buttons = ("segment", "surface", "distance", "save")

    def setup(self) -> None:
        """Begin without a result."""
        self.result: segmenting.SegmentResult | None = None
        self.show(table=rows_of(None), segments=[])

    def build(self) -> None:
        """Draw the panel."""
        self.line("pair", classes="pg-about")
        field(self.setting("segment_by"), "Segment")
        with html.Div(v_if="segment_by === 'own range'", classes="pg-form"):
            field(self.setting("segment_lower"))
            field(self.setting("segment_upper"))
        with html.Div(v_if="segment_by === 'existing segment'", classes="pg-form"):
            field(self.setting("segment_existing"), "Your segmentation")
            v3.VSelect(
                v_model=("segment_existing_id",), items=("ui_segment.segments",),
                label="Its segment", hint="The segment to read in both volumes.", **LOOK,
            )  # fmt: skip
        field(self.setting("segment_smallest_mm3"), "Islands below")
        field(self.setting("segment_largest_only"), "Largest part only")
        self.button("segment", "Segment both and compare", self._segment,
                    "Finds the segment in both volumes and measures how far they agree.",
                    color="primary", variant="flat", block=True)  # fmt: skip
        self.line("result", classes="pg-status", role="status")
        build_table("ui_segment.table", "Agreement of the segments")
        with html.Div(classes="pg-row"):
            self.button("surface", "Show 3D", self._show_surfaces,
                        "Shows both surfaces in the 3D view.")  # fmt: skip
            self.button("distance", "Distance", self._colour, "Colours the surface of the result "
                        "by its distance from that of the original.")  # fmt: skip
        with html.Details(classes="pg-more"):
            html.Summary("Surface files for planning and printing")
            slider(self.setting("segment_smoothing"), "Smoothing")  # type: ignore[arg-type]
            slider(self.setting("segment_decimation"), "Fewer triangles")  # type: ignore[arg-type]
            field(self.setting("segment_format"), "File type")
            self.button("save", "Save surfaces", self._save, "Writes one file for each segment, "
                        "in millimetres (LPS); nothing is overwritten.")  # fmt: skip
            self.line("written", classes="pg-status", role="status")

    def refresh(self) -> None:
        """Show settings and what can be done."""
        store = self.desk.store
        volumes = chosen_volumes(store)
        names = " and ".join(node.GetName() for node in volumes)
        two = len(volumes) > 1
        self._forget_deleted()
        lacks = "" if self.result is not None else "Segment both and compare first."
        alone = self.result is not None and len(self.result.segments) < 2
        self.show(
            pair=f"In {names}." if two else "Choose two volumes under Compare first.",
            segments=segments_of(store.get("segment_existing")),
            why_segment="" if two else "Choose two volumes under Compare first.",
            why_surface=lacks,
            why_distance=lacks or ("A distance needs two segments." if alone else ""),
            why_save=lacks,
        )

    def _segment(self) -> None:
        self.result = None
        self.show(result="", table=rows_of(None))
        self.result = segmenting.segment_both(self.desk.context, self.desk.store)
        self.show(result=" ".join(self.result.sentences), table=_turned(self.result))
        self.desk.views.refresh()

    def _show_surfaces(self) -> None:
        options = segmenting.surface_options(self.desk.store)
        segmenting.show_in_3d(self._made, options)
        self._look_at_3d()

    def _colour(self) -> None:
        options = segmenting.surface_options(self.desk.store)
        segmenting.colour_by_distance(self.desk.context, self._made, options)
        self._look_at_3d()

    def _save(self) -> None:
        store = self.desk.store
        written = segmenting.save_surfaces(
            self._made,
            self.desk.downloads,
            store.get("segment_format"),
            segmenting.surface_options(store),
        )
        self.show(written=" ".join(w.sentence for w in written))

    @property
    def _made(self) -> segmenting.SegmentResult:
        assert self.result is not None, "the buttons ask for it before"
        return self.result

    def _look_at_3d(self) -> None:
        """Bring the surfaces into view; a comparison without a 3D view gives way to one."""
        views = self.desk.views
        if not self.desk.state.views_has_3d:
            views.choose_layout(3)
        views.render_volume(on=False)  # it would hide the surfaces
        views.three_d.fit()
        views.refresh()

    def _forget_deleted(self) -> None:
        if self.result is None:
            return
        scene = self.desk.context.scene
        ids = [s.segmentation.GetID() or "" for s in self.result.segments]
        if any(scene.GetNodeByID(i) is None for i in ids):
            self.result = None
            self.show(table=rows_of(None), result="")


def _turned(result: segmenting.SegmentResult) -> dict[str, Any]:
    """Return the table turned by a quarter: one column a segment."""
    table = rows_of(result.table, turned=True)
    if result.comparison is not None:
        count = len(table["head"]) - 1
        table["head"] = ["", "Original", *(f"Result {n}" for n in range(1, count))]
    return table
