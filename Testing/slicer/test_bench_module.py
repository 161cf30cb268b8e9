"""The bench runs a small module of its own, and refuses what a desktop would not accept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bench_sample import MODULE, UI, write_module
from PySide6.QtCore import QTimer
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QComboBox


@pytest.fixture
def sample(bench, tmp_path):
    """Return a function that writes the sample module (changed) and loads it."""

    def load(module=MODULE, ui=UI):
        return bench.load_module(write_module(tmp_path, module, ui))

    return load


def volume(scene, name):
    return scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)


def test_selector_follows_the_scene(bench, sample):
    widget = sample()
    combo = widget.ui.inputSelector
    assert combo.currentNode() is None
    first = volume(bench.scene, "knee")
    assert combo.currentNode() is first, "a selector without None takes the first node"
    second = volume(bench.scene, "hip")
    bench.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    assert combo.nodeCount() == 2, "the label map is hidden"
    combo.setCurrentNode(second)
    bench.scene.RemoveNode(second)
    assert combo.currentNode() is first
    assert widget.seen == ["knee", "hip", "knee"]


def test_optional_selector_goes_back_to_none(bench, sample):
    widget = sample()
    node = volume(bench.scene, "knee")
    combo = widget.ui.outputSelector
    assert combo.currentNode() is None
    combo.setCurrentNode(node)
    assert combo.currentNodeID == node.GetID()
    bench.scene.RemoveNode(node)
    assert combo.currentNode() is None
    assert combo.currentNodeID == ""


def test_selector_shows_only_nodes_with_the_attribute(bench, sample):
    combo = sample().ui.inputSelector
    plain, marked = volume(bench.scene, "plain"), volume(bench.scene, "marked")
    marked.SetAttribute("Kind", "stack")
    combo.addAttribute("vtkMRMLScalarVolumeNode", "Kind", "stack")
    assert (combo.nodeCount(), combo.currentNode()) == (1, marked)
    plain.SetAttribute("Kind", "stack")
    combo.addAttribute("vtkMRMLScalarVolumeNode", "Kind", "stack")
    assert combo.nodeCount() == 2


def test_selector_shows_the_new_name(bench, sample):
    widget = sample()
    node = volume(bench.scene, "knee")
    node.SetName("left knee")
    inside = widget.ui.inputSelector.findChild(QComboBox)
    assert inside.itemText(0) == "left knee"


def test_selector_creates_a_node_and_selects_it(bench, sample):
    combo = sample().ui.outputSelector
    combo.baseName = "restored"
    made = combo.addNode()
    assert made.GetName() == "restored"
    assert combo.currentNode() is made
    assert combo.currentNodeID == made.GetID()


def test_slider_and_value_agree_both_ways(bench, sample):
    widget = sample()
    slider = widget.ui.strengthSlider
    assert (slider.value, slider.maximum) == (0.5, 1.0)
    slider.value = 0.25
    slider.setValue(0.75)
    slider.value = 7
    assert widget.values == [0.25, 0.75, 1.0]
    assert widget.ui.statusLabel.text == "1.00"
    assert slider.SlicerParameterName == "strength"


def test_button_calls_its_slot(bench, sample):
    widget = sample()
    widget.ui.applyButton.click()
    assert widget.clicks == ["Apply"]


def test_connection_between_qt_widgets_is_wired(bench, sample):
    widget = sample()
    widget.ui.moreBox.checked = True
    assert not widget.ui.pathEdit.enabled


def test_life_cycle(bench, sample):
    widget = sample()
    assert bench.module.started == 1
    assert widget.ui.statusLabel.text == "entered"
    node = volume(bench.scene, "knee")
    bench.scene.Clear(0)
    assert widget.closed == 1
    assert node.GetScene() is None
    assert widget.ui.inputSelector.currentNode() is None
    path = bench._path
    bench.unload_module()
    bench.scene.Clear(0)
    assert widget.closed == 1, "cleanup removed the observers"
    again = bench.load_module(path)
    assert again is not widget
    assert type(again) is not type(widget), "the file was read again"


def test_an_error_in_a_slot_is_kept_and_does_not_reach_the_sender(bench, sample):
    broken = MODULE.replace("self.clicks.append(self.ui.applyButton.text)", "1 / 0")
    widget = sample(module=broken)
    widget.ui.applyButton.click()
    assert [p.kind for p in bench.problems] == ["exception"]
    assert "ZeroDivisionError" in bench.problems[0].text
    bench.problems.clear()


def test_an_error_in_an_observer_or_timer_is_kept(bench, sample):
    broken = MODULE.replace("self.closed += 1", "1 / 0")
    extra = "qt.QTimer.singleShot(0, lambda: [][1])"
    sample(module=broken.replace("# EXTRA", extra))
    bench.scene.Clear(0)
    bench.pump(0.05)
    found = " ".join(p.text for p in bench.problems)
    assert "ZeroDivisionError" in found
    assert "IndexError" in found
    bench.problems.clear()


def test_a_warning_of_qt_is_kept(bench, sample):
    sample(module=MODULE.replace("# EXTRA", "qt.QVBoxLayout(self.parent)"))
    assert [p.kind for p in bench.problems] == ["qt"]
    assert "already has a layout" in bench.problems[0].text
    bench.problems.clear()


def test_a_process_ends_well_with_an_open_panel(tmp_path):
    """Without the clean-up at exit, Qt and VTK crash when a script ends."""
    path = write_module(tmp_path)
    code = (
        "from trame_slicer.core.slicer_app import SlicerApp\n"
        "from bench.bench import Bench\n"
        f"print(Bench(SlicerApp()).load_module({str(path)!r}).ui.strengthSlider.property('value'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "0.5"), done.stderr


def test_the_logic_has_one_parameter_node(bench, sample):
    sample()
    import Sample

    node = Sample.SampleLogic().getParameterNode()
    assert node is Sample.SampleLogic().getParameterNode()
    assert node.GetAttribute("ModuleName") == "Sample"
    bench.scene.Clear(0)
    assert Sample.SampleLogic().getParameterNode().GetScene() is bench.scene


def test_pump_waits_for_a_condition_or_says_so(bench):
    done = []
    QTimer.singleShot(30, lambda: done.append(1))
    bench.pump(lambda: done, timeout=5)
    with pytest.raises(AssertionError, match="not within"):
        bench.pump(lambda: False, timeout=0.05)


def test_pictures_show_the_panel(bench, sample, tmp_path):
    widget = sample()
    short = QImage(str(bench.grab_panel(tmp_path / "panel.png")))
    widget.ui.inputBox.collapsed = True
    folded = QImage(str(bench.grab_panel(tmp_path / "folded.png")))
    assert not widget.ui.nameEdit.visible
    assert folded.height() < short.height() - 15, "the panel is as high as what it shows"
    window = QImage(str(bench.grab_window(tmp_path / "window.png", 900, 600)))
    assert (window.width(), window.height()) == (900, 600)
    colours = {window.pixelColor(x, y).name() for x in range(0, 900, 7) for y in range(0, 600, 7)}
    assert {"#f34a33", "#6eb04b", "#edd54c"} <= colours, "the bars of the three slice views"
