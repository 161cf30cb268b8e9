"""Task, method and settings of a method: the same rows for denoising and reconstruction."""

import qt
from slicer.i18n import tr as _
from slicer.i18n import translate

from CTRestorePanels.binding import STRINGS
from CTRestorePanels.method_form import MethodForm

FILES = "CTRestore (*.json)"


class MethodChoice:
    """Preset, method and generated form.

    Parameters
    ----------
    desk, ui
        ``ui`` has ``presetCombo``, ``presetLabel``, ``savePresetButton``, ``loadPresetButton``,
        ``methodCombo``, ``methodLabel``, ``methodForm``.
    kind
        ``"denoiser"`` or ``"reconstructor"``.
    available
        Returns the roles that could be filled now; methods that need others are greyed.
    """

    def __init__(self, desk, ui, kind, available):
        from ctrestorelib.restorer.spec import Kind

        self._desk, self._ui, self._available = desk, ui, available
        self._kind = Kind(kind)
        self._prefix = "denoise_" if self._kind is Kind.DENOISER else "reconstruct_"
        self._form = MethodForm(desk, ui.methodForm)
        self._pulling = False
        self._fillMethods()
        self._fillPresets()
        ui.methodCombo.setToolTip(_("Which method runs. Greyed entries say what they lack."))
        ui.presetCombo.setToolTip(_("Settings made for a task. You can change them afterwards."))
        ui.methodCombo.connect("currentIndexChanged(int)", self._onMethod)
        ui.presetCombo.connect("currentIndexChanged(int)", self._onPreset)
        ui.savePresetButton.connect("clicked(bool)", self._onSave)
        ui.loadPresetButton.connect("clicked(bool)", self._onLoad)

    def _fillMethods(self):
        from ctrestorelib.methods.registry import menu_of, method

        for method_id in menu_of(self._kind):
            spec = method(method_id).spec
            self._ui.methodCombo.addItem(translate(STRINGS, spec.title), method_id)

    def _fillPresets(self):
        from ctrestorelib.jobs.presets import all_presets

        self._presets = {p.name: p for p in all_presets(self._kind)}
        self._pulling = True
        self._ui.presetCombo.clear()
        self._ui.presetCombo.addItem(_("My own settings"), "")
        for preset in self._presets.values():
            self._ui.presetCombo.addItem(translate(STRINGS, preset.title), preset.name)
        self._pulling = False

    def refresh(self):
        """Show method, preset and form as stored; grey what cannot run."""
        from ctrestorelib.mrml.settings import method_prefix
        from ctrestorelib.mrml.tasks.task import chosen_method

        store = self._desk.store
        restorer = chosen_method(store, self._prefix + "method", self._kind)
        self._pulling = True
        self._ui.methodCombo.setCurrentIndex(self._ui.methodCombo.findData(restorer.spec.id))
        name = store.get(self._prefix + "preset")
        self._ui.presetCombo.setCurrentIndex(max(0, self._ui.presetCombo.findData(name)))
        self._pulling = False
        self._grey()
        self._ui.methodLabel.setText(self._aboutMethod(restorer))
        preset = self._presets.get(name)
        self._ui.presetLabel.setText(translate(STRINGS, preset.summary) if preset else "")
        self._ui.presetLabel.setVisible(preset is not None)
        self._form.show(store.names(method_prefix(restorer.spec.id)))
        self._form.pull()

    def _grey(self):
        from ctrestorelib.methods.registry import method

        combo, roles = self._ui.methodCombo, self._available()
        for index in range(combo.count):
            needs = method(combo.itemData(index)).spec.needs
            why = needs.unmet(roles) if not set(needs.required) <= roles else ""
            why = why or _torchProblem(needs.packages)
            combo.model().item(index).setEnabled(not why)
            combo.setItemData(index, why, qt.Qt.ToolTipRole)

    def _aboutMethod(self, restorer):
        from ctrestorelib.mrml.tasks.task import missing_packages

        lacks = missing_packages(restorer)
        asks = _("{what} Apply will ask to install it.").format(what=lacks) if lacks else ""
        return f"{translate(STRINGS, restorer.spec.summary)} {asks}".strip()

    def _onMethod(self, index):
        if not self._pulling and index >= 0:
            self._desk.change(
                {
                    self._prefix + "method": self._ui.methodCombo.itemData(index),
                    self._prefix + "preset": "",
                }
            )

    def _onPreset(self, index):
        if self._pulling or index < 0:
            return
        name = self._ui.presetCombo.itemData(index)
        if name:
            self._apply(self._presets[name])
        self._desk.change({self._prefix + "preset": name})

    def _apply(self, preset):
        from ctrestorelib.core.errors import CTRestoreError
        from ctrestorelib.mrml.tasks.task import set_params

        try:
            set_params(self._desk.store, preset.method, dict(preset.params))
        except CTRestoreError as error:
            self._desk.report(str(error))
            return
        values = {self._prefix + "method": preset.method}
        if self._prefix == "denoise_":
            values["denoise_strength"] = preset.strength
        self._desk.change(values)

    def _onSave(self, *_args):
        from ctrestorelib.jobs.presets import user_preset_folder

        folder = str(user_preset_folder())
        path = qt.QFileDialog.getSaveFileName(None, _("Save preset"), folder, FILES)
        if path:
            self.savePreset(path)

    def savePreset(self, path):
        """Write the present settings to a preset file."""
        from pathlib import Path

        from ctrestorelib.core.errors import CTRestoreError
        from ctrestorelib.jobs.presets import Preset, save_preset
        from ctrestorelib.mrml.tasks.task import chosen_method, params_of

        store = self._desk.store
        restorer = chosen_method(store, self._prefix + "method", self._kind)
        path = Path(path).with_suffix(".json")
        preset = Preset(
            name=path.stem,
            title=path.stem,
            summary=_("Your own settings."),
            method=restorer.spec.id,
            params=params_of(store, restorer.spec.id),
            strength=store.get("denoise_strength") if self._prefix == "denoise_" else 1.0,
        )
        try:
            save_preset(preset, path)
        except CTRestoreError as error:
            self._desk.report(str(error))
            return
        self._fillPresets()
        self._desk.change({self._prefix + "preset": preset.name})
        self.refresh()

    def _onLoad(self, *_args):
        from ctrestorelib.jobs.presets import user_preset_folder

        folder = str(user_preset_folder())
        path = qt.QFileDialog.getOpenFileName(None, _("Load preset"), folder, FILES)
        if path:
            self.loadPreset(path)

    def loadPreset(self, path):
        """Take the settings of a preset file."""
        from pathlib import Path

        from ctrestorelib.core.errors import CTRestoreError
        from ctrestorelib.jobs.presets import load_preset
        from ctrestorelib.methods.registry import method

        try:
            preset = load_preset(Path(path))
        except CTRestoreError as error:
            self._desk.report(str(error))
            return
        if method(preset.method).spec.kind is not self._kind:
            self._desk.report(_("This preset belongs to the other panel."))
            return
        self._apply(preset)


def _torchProblem(packages):
    from CTRestorePanels.environment import torchProblem

    return torchProblem() if "torch" in packages else ""
