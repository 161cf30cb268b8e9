"""See what changed: linked views, profile, numbers (layer: apps)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trame.widgets import html

from ctrestorelib.apps.web.session.forms import field, slider
from ctrestorelib.apps.web.session.marks import new_box, new_line
from ctrestorelib.apps.web.session.panels.panel import Panel
from ctrestorelib.apps.web.session.panels.run_row import progress_bar
from ctrestorelib.apps.web.session.tables import build_table, rows_of
from ctrestorelib.mrml.actions import comparing, measuring
from ctrestorelib.mrml.comparison.charts import open_chart
from ctrestorelib.mrml.comparison.tables import open_table
from ctrestorelib.mrml.derived import blend_node, difference_node
from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.tasks.noise import NoiseTask
from ctrestorelib.mrml.tasks.quality import QualityTask

SHOWN_FOR = ("compare_a", "compare_b", "compare_c", "compare_d", "compare_mode", "compare_plane",
             "compare_charts")  # fmt: skip


class ComparePanel(Panel):
    """Volumes, layout, window, measurements."""

    key = "compare"
    title = "5. Compare"
    texts = ("problem", "measured")
    buttons = ("show", "bone", "soft", "lung", "auto", "profile", "statistics", "quality",
               "noise", "noise_map", "line", "box", "background", "removed", "difference",
               "mix")  # fmt: skip

    def setup(self) -> None:
        """Prepare the comparison; the views come later."""
        self._shown: tuple[Any, ...] | None = None
        self._judge: QualityTask | NoiseTask | None = None
        self._profile: Any = None
        self._table = ""
        self.show(open=False, table=rows_of(None), run={"running": False, "percent": 0})

    @property
    def comparison(self) -> Any:
        """The comparison in the page's views."""
        return self.desk.views.comparison

    @property
    def open(self) -> bool:
        """Whether the comparison is on the screen."""
        return self.desk.views is not None and self.comparison.mode is not None

    def build(self) -> None:
        """Draw the panel."""
        field(self.setting("compare_a"), "First (original)", none="Choose a volume")
        field(self.setting("compare_b"), "Second", none="Choose a volume")
        with html.Details(classes="pg-more"):
            html.Summary("More volumes")
            field(self.setting("compare_c"), "Third")
            field(self.setting("compare_d"), "Fourth")
        field(self.setting("compare_mode"), "Layout")
        field(self.setting("compare_plane"), "Slices")
        self._build_look()
        html.Div("Window", classes="pg-label")
        with html.Div(classes="pg-row"):
            for name, label, preset, tip in WINDOWS:
                self.button(name, label, self._window_of(preset), tip)
        field(self.setting("compare_interpolate"), "Smooth display (interpolate)")
        field(self.setting("compare_charts"), "Chart and table below")
        self.button("show", "{{ ui_compare.open ? 'Close comparison' : 'Show comparison' }}",
                    self._toggle, "Opens linked views of the chosen volumes; press again to get "
                    "your own layout back.", color="primary", variant="flat",
                    block=True)  # fmt: skip
        self.line("problem", classes="pg-problem", role="status")
        self._build_measures()
        self._build_derived()

    def refresh(self) -> None:
        """Show settings; follow them in the open comparison."""
        store = self.desk.store
        problem = comparing.problem_of(store)
        line = "" if store.get("compare_line") is not None else "Choose a line, or make one."
        box = "" if store.get("compare_roi") is not None else "Choose a box, or make one."
        none = "" if store.get("compare_a") is not None else problem
        both = dict.fromkeys(("removed", "difference", "mix"), problem)
        one = ("bone", "soft", "lung", "auto", "line", "box", "background", "noise", "noise_map")
        whys = {**both, **dict.fromkeys(one, none),
                "profile": problem or line, "statistics": problem or box,
                "show": "" if self.open else problem,
                "quality": "" if self._judging else problem}  # fmt: skip
        self.show(problem=problem, open=self.open, **{f"why_{n}": w for n, w in whys.items()})
        self._show_verdict()
        node = self.desk.context.node(self._table)
        self.show(table=rows_of(node))
        if self.open and not problem:
            self._follow()

    def refresh_run(self) -> None:
        """Show how far the judging is."""
        session = self.desk.session
        if self._judging:
            self.show(
                measured=session.sentence,
                run={"running": True, "percent": round(100 * session.fraction)},
            )
        elif self.shown["run"]["running"]:
            self.show(run={"running": False, "percent": 0})

    def close(self) -> None:
        """Let go of the profile's line."""
        self._close_profile()

    def _build_look(self) -> None:
        slider(self.setting("compare_blend"), "Blend", v_if="compare_mode === 'blend'")  # type: ignore[arg-type]
        with html.Div(v_if="compare_mode === 'wipe'", classes="pg-form"):
            slider(self.setting("compare_wipe"), "Wipe position")  # type: ignore[arg-type]
            field(self.setting("compare_wipe_direction"), "Wipe direction")
        field(self.setting("compare_divisions"), "Fields", v_if="compare_mode === 'checkerboard'")

    def _build_measures(self) -> None:
        with html.Details(classes="pg-more"):
            html.Summary("Measure")
            for name, label, none, key, make in (
                ("compare_line", "Profile along", "No line", "line", "New line"),
                ("compare_roi", "Measure in", "No box", "box", "New box"),
                ("compare_background", "Contrast to", "No second box", "background", "New box"),
            ):
                with html.Div(classes="pg-row"):
                    field(self.setting(name), label, none=none, classes="pg-grow")
                    self.button(key, make, self._maker(name), "Drag its handles in the views.")
            with html.Div(classes="pg-row"):
                self.button(
                    "profile",
                    "Show",
                    self._show_profile,
                    "Charts the values along the line in every compared volume.",
                )
                self.button(
                    "statistics",
                    "Measure",
                    self._measure,
                    "Mean, noise (SD), "
                    "contrast-to-noise ratio and noise spectrum of every compared volume.",
                )
                label = "{{ ui_compare.run.running ? 'Cancel' : 'Judge the result' }}"
                self.button("quality", label, self._judge_result, "Measures, without a reference, "
                            "what the restoration did to noise and edges and whether it removed "
                            "structure.")  # fmt: skip
            with html.Div(classes="pg-row"):
                self.button("noise", "What noise does this scan have?", self._describe_noise,
                            "Level, texture and what slices share, measured in the first "
                            "volume.")  # fmt: skip
                self.button("noise_map", "Noise map", lambda: self._describe_noise(with_map=True),
                            "The same, and where the noise is how strong, as a new "
                            "volume.")  # fmt: skip
            progress_bar("ui_compare.run", "Progress of the judging")
            self.line("measured", classes="pg-status", role="status")
            build_table("ui_compare.table", "Measured values")

    def _build_derived(self) -> None:
        with html.Details(classes="pg-more"):
            html.Summary("New volumes from both")
            with html.Div(classes="pg-row"):
                self.button("removed", "Removed", lambda: self._made(self._removed),
                            "Original minus result, as a new volume.")  # fmt: skip
                self.button("difference", "Difference", lambda: self._made(self._difference),
                            "Second minus first, as a new volume.")  # fmt: skip
                self.button("mix", "Blend", lambda: self._made(self._mix),
                            "Mixes both by the blend slider, as a new volume.")  # fmt: skip

    def _toggle(self) -> None:
        if self.open:
            self._close_profile()
            self.comparison.close()
            self.desk.views.refresh()
        else:
            self._show()

    def _show(self, *, charts: bool = False) -> None:
        store = self.desk.store
        if charts and not store.get("compare_charts"):
            store.set("compare_charts", True)
        self._shown = self._wanted()
        self.comparison.on_wipe = lambda position: self.desk.change({"compare_wipe": position})
        comparing.show_comparison(
            self.desk.context, self.comparison, store, with_charts=store.get("compare_charts")
        )
        self.desk.views.refresh()

    def _follow(self) -> None:
        if self._shown != self._wanted():
            self.desk.attempt(self._show)
            return
        store = self.desk.store
        self.desk.attempt(lambda: comparing.adjust_comparison(self.comparison, store))
        volumes = comparing.chosen_volumes(store)
        comparing.set_interpolation(volumes, smooth=store.get("compare_interpolate"))

    def _wanted(self) -> tuple[Any, ...]:
        """Return what an open comparison must be built again for."""
        values = (self.desk.store.get(name) for name in SHOWN_FOR)
        return tuple(v.GetID() if hasattr(v, "GetID") else v for v in values)

    def _window_of(self, preset: str) -> Callable[[], None]:
        return lambda: comparing.set_window_preset(self.desk.store, preset)

    def _maker(self, name: str) -> Callable[[], None]:
        def make() -> None:
            context, first = self.desk.context, self.desk.store.get("compare_a")
            maker = new_line if name == "compare_line" else new_box
            self.desk.change({name: maker(context, first)})

        return make

    def _show_profile(self) -> None:
        self._show(charts=True)
        self._close_profile()
        self._profile = measuring.show_profile(self.desk.context, self.desk.store)

    def _close_profile(self) -> None:
        if self._profile is not None:
            self._profile.close()
        self._profile = None

    def _measure(self) -> None:
        self._show(charts=True)
        notes = measuring.show_statistics(self.desk.context, self.desk.store)
        self._table = _open_table_of(self.desk.context.scene)
        self.show(measured=notes or "Measured: see the table.")

    @property
    def _judging(self) -> bool:
        return self._judge is not None and self.desk.session.task is self._judge

    def _judge_result(self) -> None:
        if self._judging:
            self.desk.session.cancel()
            return
        self._judge = QualityTask(self.desk.context, self.desk.store)
        self.desk.enqueue([self._judge])

    def _describe_noise(self, *, with_map: bool = False) -> None:
        if not self._judging:
            self._judge = NoiseTask(self.desk.context, self.desk.store, with_map=with_map)
            self.desk.enqueue([self._judge])

    def _show_verdict(self) -> None:
        """Show the verdict once it is there, and its table."""
        judge, session = self._judge, self.desk.session
        if judge is None or self._judging or any(judge is t for t in session.waiting):
            return
        self._judge = None
        own = [o for o in session.outcomes if o.title == judge.title]
        self.show(measured=judge.verdict or (own[-1].text if own else ""))
        if judge.verdict and own[-1].node_ids:
            self._table = own[-1].node_ids[-1]
            if not comparing.problem_of(self.desk.store):  # noise is told of a single volume too
                self.desk.attempt(lambda: self._show(charts=True))
            open_table(self.desk.context.scene, self.desk.context.node(self._table))
            chart = self.desk.context.node(getattr(judge, "chart_id", ""))
            if chart is not None:
                open_chart(self.desk.context.scene, chart)

    def _made(self, make: Callable[[Any, list[Node]], Node]) -> None:
        node = make(self.desk.context, comparing.chosen_volumes(self.desk.store))
        self.desk.report(f"Made {node.GetName()}.", failed=False)

    def _removed(self, context: Any, volumes: list[Node]) -> Node:
        return comparing.removed_noise_of(context, volumes[0], volumes[1])

    def _difference(self, context: Any, volumes: list[Node]) -> Node:
        return difference_node(context, volumes[1], volumes[0])

    def _mix(self, context: Any, volumes: list[Node]) -> Node:
        return blend_node(context, volumes[0], volumes[1], self.desk.store.get("compare_blend"))


WINDOWS = (
    ("bone", "Bone", "bone", "Window for bone, in both volumes."),
    ("soft", "Soft", "soft tissue", "Window for soft tissue, in both volumes."),
    ("lung", "Lung", "lung", "Window for lung, in both volumes."),
    ("auto", "Auto", comparing.AUTOMATIC, "Window from the values of the first volume."),
)


def _open_table_of(scene: Any) -> str:
    from ctrestorelib.mrml.comparison.layouts import TABLE_TAG

    view = scene.GetSingletonNode(TABLE_TAG, "vtkMRMLTableViewNode")
    return "" if view is None else str(view.GetTableNodeID() or "")
