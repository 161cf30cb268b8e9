"""The stand-ins behave as the ctk and qMRML widgets that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QVBoxLayout


@pytest.fixture
def ctk(bench):
    import ctk

    return ctk


def heard(widget, signature):
    """Return the list that fills with what a signal carries."""
    got = []
    widget.connect(signature, lambda *values: got.append(values))
    return got


def ct(values=(-1000.0, 3000.0)):
    node = slicer.util.addVolumeFromArray(np.linspace(*values, 8**3).reshape(8, 8, 8))
    node.CreateDefaultDisplayNodes()
    return node


def test_range_widget_never_crosses(ctk):
    widget = ctk.ctkRangeWidget()
    widget.setRange(-1000, 3000)
    both = heard(widget, "valuesChanged(double,double)")
    widget.setValues(2000, 100)
    assert (widget.minimumValue, widget.maximumValue) == (100, 2000)
    widget.minimumValue = 5000
    assert (widget.minimumValue, widget.maximumValue) == (2000, 2000)
    widget.maximumValue = -5000
    assert widget.maximumValue == 2000
    assert both[0] == (100, 2000)
    assert len(both) == 2


def test_range_widget_keeps_its_values_inside_new_limits(ctk):
    widget = ctk.ctkRangeWidget()
    widget.setRange(0, 10)
    widget.setValues(2, 9)
    widget.maximum = 5
    assert (widget.minimumValue, widget.maximumValue) == (2, 5)


def test_slider_keys_and_limits(ctk):
    slider = ctk.ctkSliderWidget()
    slider.minimum, slider.maximum, slider.decimals = -10, 10, 1
    slider.suffix = " HU"
    got = heard(slider, "valueChanged(double)")
    slider.value = 3.14159
    assert slider.value == 3.1
    slider.maximum = 2
    assert slider.value == 2
    slider.value = 2
    assert got == [(3.1,), (2.0,)], "a value that does not change is not announced"


def test_slider_without_tracking_tells_while_it_moves(ctk):
    slider = ctk.ctkSliderWidget()
    slider.tracking = False
    changed = heard(slider, "valueChanged(double)")
    moving = heard(slider, "valueIsChanging(double)")
    slider._on_drag(5000)
    assert (changed, moving) == ([], [(50.0,)])


def test_collapsible_button_hides_and_remembers(ctk, bench):
    box = ctk.ctkCollapsibleButton()
    box.text = "Advanced"
    QVBoxLayout(box)
    shown, hidden = QLabel("a", box), QLabel("b", box)
    for label in (shown, hidden):
        box.layout().addWidget(label)
    hidden.hide()
    box.show()
    got = heard(box, "contentsCollapsed(bool)")
    box.collapsed = True
    assert not shown.visible
    box.click()
    assert not box.collapsed
    assert (shown.visible, hidden.visible) == (True, False)
    assert got == [(True,), (False,)]
    box.collapsed = True
    late = QLabel("c", box)
    box.layout().addWidget(late)
    late.visible = True
    bench.pump()
    assert not late.visible, "what is added to a folded box stays folded"
    box.collapsed = False
    assert late.visible
    box.close()


def test_a_click_below_the_header_does_not_fold(ctk, bench):
    box = ctk.ctkCollapsibleButton()
    QVBoxLayout(box).addWidget(QLabel("text\n\n\n", box))
    box.resize(200, 200)
    box.show()
    QTest.mouseClick(box, Qt.MouseButton.LeftButton, pos=box.rect.center())
    assert not box.collapsed
    QTest.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(5, 5))
    assert box.collapsed
    box.close()


def test_path_field_knows_valid_paths(ctk, tmp_path):
    field = ctk.ctkPathLineEdit()
    paths, valid = (
        heard(field, "currentPathChanged(QString)"),
        heard(field, "validInputChanged(bool)"),
    )
    field.currentPath = str(tmp_path)
    field.currentPath = str(tmp_path / "missing")
    assert [p for (p,) in paths] == [str(tmp_path), str(tmp_path / "missing")]
    assert valid == [(True,), (False,)]
    field.addCurrentPathToHistory()
    assert field.comboBox().count == 1


def test_browse_asks_the_test(ctk, bench):
    button = ctk.ctkDirectoryButton()
    bench.dialogs.answers.append(("ctkDirectoryButton.browse", "/data"))
    chosen = heard(button, "directorySelected(QString)")
    button.browse()
    assert button.directory == "/data"
    assert chosen == [("/data",)]


def test_window_level_widget_and_display_node_agree(bench):
    node = ct()
    widget = slicer.qMRMLWindowLevelWidget()
    assert not widget.enabled
    widget.setMRMLVolumeNode(node)
    display = node.GetDisplayNode()
    got = heard(widget, "windowLevelValuesChanged(double,double)")
    widget.setWindowLevel(400, 40)
    assert (display.GetWindow(), display.GetLevel()) == (400, 40)
    assert not display.GetAutoWindowLevel()
    display.SetWindowLevel(1000, 300)
    assert (widget.window, widget.level) == (1000, 300)
    assert got[-1] == (1000, 300)


def test_threshold_widget_and_display_node_agree(bench):
    node = ct()
    widget = slicer.qMRMLVolumeThresholdWidget()
    widget.setMRMLVolumeNode(node)
    assert widget.isOff()
    got = heard(widget, "thresholdValuesChanged(double,double)")
    widget.setThreshold(250, 3000)
    assert (widget.lowerThreshold, widget.upperThreshold) == (250, 3000)
    assert got[-1] == (250, 3000)
    assert node.GetDisplayNode().GetLowerThreshold() == 250
    assert widget.autoThreshold == widget.Manual


def test_segment_selector_follows_the_segmentation(bench):
    widget = slicer.qMRMLSegmentSelectorWidget()
    widget.setMRMLScene(bench.scene)
    chosen = heard(widget, "currentSegmentChanged(QString)")
    node = bench.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    first = node.GetSegmentation().AddEmptySegment("bone", "bone")
    second = node.GetSegmentation().AddEmptySegment("skin", "skin")
    assert widget.currentNode() is node
    assert widget.currentSegmentID() == first
    widget.setCurrentSegmentID(second)
    node.GetSegmentation().RemoveSegment(second)
    assert widget.currentSegmentID() == first
    bench.scene.RemoveNode(node)
    assert (widget.currentNode(), widget.currentSegmentID()) == (None, "")
    assert [s for (s,) in chosen] == [first, second, first, ""]


def test_checkable_selector(bench):
    widget = slicer.qMRMLCheckableNodeComboBox()
    widget.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    widget.setMRMLScene(bench.scene)
    first, second = ct(), ct()
    got = heard(widget, "checkedNodesChanged()")
    widget.setCheckState(second, Qt.CheckState.Checked)
    widget.setCheckState(second, Qt.CheckState.Checked)
    assert widget.checkedNodes() == (second,)
    assert widget.uncheckedNodes() == (first,)
    assert len(got) == 1
    bench.scene.RemoveNode(second)
    assert widget.noneChecked()


def test_child_types_and_hidden_nodes(bench):
    widget = slicer.qMRMLNodeComboBox()
    widget.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    widget.setMRMLScene(bench.scene)
    labels = bench.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    assert widget.currentNode() is labels, "a label map is a scalar volume"
    widget.hideChildNodeTypes = ["vtkMRMLLabelMapVolumeNode"]
    assert widget.currentNode() is None
    volume = ct()
    volume.SetHideFromEditors(1)
    assert widget.nodeCount() == 0
    widget.showHidden = True
    assert widget.nodeFromIndex(0) is volume


def test_batch_changes_are_seen_once_at_the_end(bench):
    widget = slicer.qMRMLNodeComboBox()
    widget.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    widget.setMRMLScene(bench.scene)
    got = heard(widget, "currentNodeChanged(vtkMRMLNode*)")
    bench.scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    ct()
    ct()
    assert widget.nodeCount() == 0
    bench.scene.EndState(slicer.vtkMRMLScene.BatchProcessState)
    assert (widget.nodeCount(), len(got)) == (2, 1)


def test_a_deleted_widget_no_longer_watches_the_scene(bench):
    widget = slicer.qMRMLNodeComboBox()
    widget.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    widget.setMRMLScene(bench.scene)
    widget.deleteLater()
    bench.pump()
    ct()
