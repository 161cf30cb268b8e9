"""See what changed: linked views, profile, numbers."""

import qt
from slicer.i18n import tr as _

from CTRestorePanels.panel import Panel
from CTRestorePanels.views import ViewsOfSlicer

VISIBLE_IN = {"blend": ("blendSlider",), "wipe": ("wipeSlider", "wipeCombo"),
              "checkerboard": ("divisionsSpin",)}  # fmt: skip


class ComparePanel(Panel):
    """Volumes, layout, window, measurements."""

    uiFile = "Compare.ui"

    def setup(self):
        """Connect the buttons."""
        from ctrestorelib.mrml.actions.comparing import AUTOMATIC
        from ctrestorelib.mrml.comparison.session import Comparison

        self.comparison = Comparison(self.desk.context, ViewsOfSlicer())
        self.comparison.on_wipe = self._wipeDragged
        self._shown = None
        self._noticed = ""
        self._judge = None
        self._profile = None
        buttons = {
            self.ui.compareButton: self.onCompare,
            self.ui.boneButton: lambda *_args: self._window("bone"),
            self.ui.softButton: lambda *_args: self._window("soft tissue"),
            self.ui.lungButton: lambda *_args: self._window("lung"),
            self.ui.autoButton: lambda *_args: self._window(AUTOMATIC),
            self.ui.profileButton: self.onProfile,
            self.ui.statisticsButton: self.onStatistics,
            self.ui.qualityButton: self.onQuality,
            self.ui.noiseButton: self.onNoise,
            self.ui.noiseMapButton: lambda *_args: self.onNoise(withMap=True),
            self.ui.removedButton: self.onRemovedNoise,
            self.ui.differenceButton: self.onDifference,
            self.ui.mixButton: self.onMix,
        }
        for button, slot in buttons.items():
            button.connect("clicked(bool)", slot)

    def refresh(self):
        """Show settings; follow them in the open comparison."""
        from ctrestorelib.mrml.actions.comparing import problem_of

        super().refresh()
        store = self.desk.store
        mode = store.get("compare_mode")
        for owner, names in VISIBLE_IN.items():
            for name in names:
                self._setRowVisible(name, owner == mode)
        problem = problem_of(store)
        self._say(problem or self._noticed)
        self.ui.compareButton.setEnabled(not problem or self.open)
        self.ui.compareButton.setText(_("Close comparison") if self.open else _("Show comparison"))
        for button in (self.ui.removedButton, self.ui.differenceButton, self.ui.mixButton,
                       self.ui.qualityButton):  # fmt: skip
            button.setEnabled(not problem)
        for button in (self.ui.noiseButton, self.ui.noiseMapButton):
            button.setEnabled(store.get("compare_a") is not None)
        self.ui.profileButton.setEnabled(not problem and store.get("compare_line") is not None)
        self.ui.statisticsButton.setEnabled(not problem and store.get("compare_roi") is not None)
        self._showVerdict()
        if self.open and not problem:
            self._follow()

    @property
    def open(self):
        """Whether the comparison is on the screen."""
        return self.comparison.mode is not None

    def onCompare(self, *_args):
        """Open the comparison, or close it and give the person's layout back."""
        if self.open:
            self.comparison.close()
        else:
            self._show()
        self.desk.refreshLater()

    def leave(self):
        """Give the person's layout back while they work in another module."""
        self._closeProfile()
        self.comparison.close()

    def cleanup(self):
        """Give the person's layout back."""
        self.leave()

    def _closeProfile(self):
        if self._profile is not None:
            self._profile.close()
        self._profile = None

    def _show(self, charts=False):
        from ctrestorelib.mrml.actions.comparing import show_comparison

        store = self.desk.store
        if charts and not store.get("compare_charts"):
            self.desk.change({"compare_charts": True})
        self._shown = self._state()
        qt.QTimer.singleShot(0, self.comparison.settle)
        self._try(
            lambda: show_comparison(
                self.desk.context, self.comparison, store,
                with_charts=store.get("compare_charts"),
            )
        )  # fmt: skip

    def _follow(self):
        from ctrestorelib.mrml.actions.comparing import (
            adjust_comparison,
            chosen_volumes,
            set_interpolation,
        )

        if self._shown != self._state():
            self._show()
            return
        self._try(lambda: adjust_comparison(self.comparison, self.desk.store))
        set_interpolation(
            chosen_volumes(self.desk.store), smooth=self.desk.store.get("compare_interpolate")
        )

    def _state(self):
        """Return what an open comparison must be built again for."""
        store = self.desk.store
        names = ("compare_a", "compare_b", "compare_c", "compare_d")
        nodes = [store.get(name) for name in names]
        ids = tuple(None if node is None else node.GetID() for node in nodes)
        plain = ("compare_mode", "compare_plane", "compare_charts")
        return ids + tuple(store.get(name) for name in plain)

    def _wipeDragged(self, position):
        """Keep where the person dragged the border to."""
        if self.desk.store is not None:
            self.desk.change({"compare_wipe": position})

    def _window(self, preset):
        from ctrestorelib.mrml.actions.comparing import set_window_preset

        self._try(lambda: set_window_preset(self.desk.store, preset))

    def onProfile(self, *_args):
        """Chart the values along the line, and keep the chart true while the line moves."""
        from ctrestorelib.mrml.actions.measuring import show_profile

        self._show(charts=True)
        self._closeProfile()
        self._profile = self._try(lambda: show_profile(self.desk.context, self.desk.store))

    def onStatistics(self, *_args):
        """Measure mean, noise and contrast in the box."""
        from ctrestorelib.mrml.actions.measuring import show_statistics

        self._show(charts=True)
        notes = self._try(lambda: show_statistics(self.desk.context, self.desk.store))
        self.ui.measureLabel.setText(notes or "")

    def onQuality(self, *_args):
        """Judge the second volume against the first without a reference; press again to cancel."""
        from ctrestorelib.mrml.tasks.quality import QualityTask

        session = self.desk.session
        if self._judging:
            session.cancel()
            return
        self._judge = QualityTask(self.desk.context, self.desk.store)
        self.desk.start(lambda: [self._judge], self._judge, packages=("skimage",))
        self.refreshRun()

    def onNoise(self, *_args, withMap=False):
        """Measure what noise the first volume has; its map becomes a volume on request."""
        from ctrestorelib.mrml.tasks.noise import NoiseTask

        if self._judging:
            return
        self._judge = NoiseTask(self.desk.context, self.desk.store, with_map=withMap)
        self.desk.start(lambda: [self._judge], self._judge)
        self.refreshRun()

    @property
    def _judging(self):
        session = self.desk.session
        return session.busy and session.task is not None and session.task is self._judge

    def refreshRun(self):
        """Show how far the judging is."""
        if self._judging:
            self.ui.qualityButton.setText(_("Cancel"))
            self.ui.measureLabel.setText(self.desk.session.sentence)

    def _showVerdict(self):
        """Show the verdict once it is there, and its table."""
        if self._judge is None or self._judging:
            return
        judge, self._judge = self._judge, None
        self.ui.qualityButton.setText(_("Judge the result"))
        self.ui.measureLabel.setText(judge.verdict or self.desk.session.sentence)
        if judge.verdict:
            from ctrestorelib.mrml.actions.comparing import problem_of
            from ctrestorelib.mrml.comparison.charts import open_chart
            from ctrestorelib.mrml.comparison.tables import open_table

            if not problem_of(self.desk.store):  # noise is told of a single volume too
                self._show(charts=True)
            node = self.desk.context.node(self.desk.session.outcome.node_ids[-1])
            open_table(self.desk.context.scene, node)
            chart = self.desk.context.node(getattr(judge, "chart_id", ""))
            if chart is not None:
                open_chart(self.desk.context.scene, chart)

    def onRemovedNoise(self, *_args):
        """Make the removed noise as a volume."""
        from ctrestorelib.mrml.actions.comparing import chosen_volumes, removed_noise_of

        volumes = chosen_volumes(self.desk.store)
        self._made(lambda: removed_noise_of(self.desk.context, volumes[0], volumes[1]))

    def onDifference(self, *_args):
        """Make second minus first as a volume."""
        from ctrestorelib.mrml.actions.comparing import chosen_volumes
        from ctrestorelib.mrml.derived import difference_node

        volumes = chosen_volumes(self.desk.store)
        self._made(lambda: difference_node(self.desk.context, volumes[1], volumes[0]))

    def onMix(self, *_args):
        """Make the blend as a volume."""
        from ctrestorelib.mrml.actions.comparing import chosen_volumes
        from ctrestorelib.mrml.derived import blend_node

        volumes = chosen_volumes(self.desk.store)
        share = self.desk.store.get("compare_blend")
        self._made(lambda: blend_node(self.desk.context, volumes[0], volumes[1], share))

    def _made(self, make):
        node = self._try(make)
        if node is not None:
            self._noticed = _("Made {name}.").format(name=node.GetName())
        self.desk.refreshLater()

    def _try(self, act):
        from ctrestorelib.core.errors import CTRestoreError

        self._noticed = ""
        try:
            return act()
        except CTRestoreError as error:
            self._noticed = str(error)
            self._say(str(error))
            return None

    def _say(self, text):
        self.ui.compareProblemLabel.setText(text)
        self.ui.compareProblemLabel.setVisible(bool(text))

    def _setRowVisible(self, name, visible):
        getattr(self.ui, name).setVisible(visible)
        getattr(self.ui, name + "Label").setVisible(visible)
