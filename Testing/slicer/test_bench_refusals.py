"""What a desktop would ignore or only print, the bench refuses; a good file passes."""

from __future__ import annotations

import pytest
from bench.report import BenchError
from bench_sample import MODULE, UI, connection, write_module


def load(bench, folder, ui=UI, extra=""):
    return bench.load_module(write_module(folder, MODULE.replace("# EXTRA", extra), ui))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'name="showChildNodeTypes"',
            'name="showChildNodeType"',
            "no property 'showChildNodeType'",
        ),
        ('<property name="toolTip">', '<property name="tooltip">', "no property 'tooltip'"),
        ('class="ctkSliderWidget"', 'class="ctkSliderWidgett"', "ctkSliderWidgett"),
        ('name="outputSelector"', 'name="inputSelector"', "used twice"),
        ("toggled(bool)", "toggled2(bool)", "no signal"),
        ("setDisabled(bool)", "setDisable(bool)", "no slot"),
        (connection("inputSelector"), connection("inputSelectr"), "no object 'inputSelectr'"),
        (connection("inputSelector"), connection("inputSelector", "setScene()"), "no slot"),
        ("<class>ctkPathLineEdit</class>", "<class>ctkOther</class>", "ctkOther has no stand-in"),
        ('class="QCheckBox"', 'class="QCheckBoxx"', "unknown widget class QCheckBoxx"),
    ],
)
def test_a_wrong_designer_file_is_refused(bench, tmp_path, old, new, said):
    assert old in UI
    with pytest.raises(BenchError, match=said.replace("(", r"\(")):
        load(bench, tmp_path, UI.replace(old, new))
    assert bench.problems
    bench.problems.clear()


def test_a_forgotten_scene_connection_is_reported(bench, tmp_path):
    load(bench, tmp_path, UI.replace(connection("inputSelector"), ""))
    assert [p.kind for p in bench.problems] == ["scene"]
    assert "inputSelector" in bench.problems[0].text
    bench.problems.clear()


def test_an_undeclared_custom_widget_is_refused(bench, tmp_path):
    start = UI.index("<customwidget><class>ctkPathLineEdit")
    end = UI.index("</customwidget>", start) + len("</customwidget>")
    with pytest.raises(BenchError, match="not declared"):
        load(bench, tmp_path, UI[:start] + UI[end:])
    bench.problems.clear()


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [
        ("self.ui.applyButton.colour = 1", AttributeError, "colour is unknown"),
        ("self.ui.strengthSlider.maximun = 1", AttributeError, "maximun is unknown"),
        ("self.ui.applyButton.click = 1", AttributeError, "method or signal"),
        ("self.ui.inputSelector.currentNode = None", AttributeError, "method or signal"),
        ("self.ui.applyButton.clicked = 1", AttributeError, "method or signal"),
        ("self.ui.applyButton.text()", TypeError, "not callable"),
        ("self.ui.strengthSlider.value()", TypeError, "not callable"),
        ("self.ui.applyButton.width = 5", AttributeError, "read-only"),
        ("self.ui.applyButton.noSuchThing", AttributeError, "noSuchThing"),
        ("self.ui.applyButton.connect('clicked(int)', print)", BenchError, "no signal"),
        ("self.ui.applyButton.connect('clicked', print)", BenchError, "is no signature"),
        ("self.ui.applyButton.connect('clicked()', None)", BenchError, "callable"),
        ("self.ui.inputSelector.currentNodeChanged.connect(print)", BenchError, "several"),
        ("self.ui.strengthSlider.connect('valueChanged(int)', print)", BenchError, "no signal"),
        ("qt.QFileDialog.getOpenFileName(None, 'Open')", BenchError, "gave no answer"),
        ("qt.QMessageBox().exec_()", BenchError, "gave no answer"),
        ("import ctk; ctk.ctkNoSuchWidget()", BenchError, "no stand-in"),
        ("qt.QNoSuchClass", AttributeError, "QNoSuchClass"),
        ("slicer.modules.nosuch.logic()", AttributeError, "not on the bench"),
        ("slicer.app.layoutManager().setLayout(987654)", BenchError, "no layout 987654"),
        ("_(42)", BenchError, "text"),
    ],
)
def test_a_wrong_line_of_a_module_is_refused(bench, tmp_path, line, error, said):
    with pytest.raises(error, match=said):
        load(bench, tmp_path, extra=line)
    bench.problems.clear()


@pytest.mark.parametrize(
    "line",
    [
        "self.ui.applyButton.enabled = False; assert self.ui.applyButton.enabled is False",
        "self.ui.applyButton.name = 'other'; assert self.ui.applyButton.objectName == 'other'",
        "self.ui.applyButton.setText('x'); assert self.ui.applyButton.text == 'x'",
        "assert self.ui.strengthSlider.className() == 'ctkSliderWidget'",
        "assert self.ui.inputSelector.nodeTypes == ('vtkMRMLScalarVolumeNode',)",
        "assert self.ui.pathEdit.filters == 0x22",
        "self.ui.applyButton.clicked.connect(lambda: None); self.ui.applyButton.click()",
        "self.ui.applyButton.connect('clicked(bool)', lambda on: None)",
        "self.ui.inputSelector.connect('currentNodeIDChanged(QString)', lambda i: None)",
        "self.ui.inputSelector.connect('currentNodeChanged(bool)', lambda on: None)",
        "t = qt.QTimer(); t.connect('timeout()', print); t.setInterval(5); assert t.interval == 5",
        "w = qt.QWidget(); w.setLayout(qt.QVBoxLayout()); assert w.layout().count() == 0",
        "assert slicer.app.majorVersion == 5 and not slicer.app.testingEnabled()",
        "assert slicer.util.settingsValue('a/b', 3, converter=int) == 3",
        "self.mine = qt.QLabel('x'); self.other = 1",
        "class L(qt.QLabel): pass\n        x = L(); x.anything = 1; assert x.anything == 1",
    ],
)
def test_a_right_line_of_a_module_passes(bench, tmp_path, line):
    load(bench, tmp_path, extra=line)


def test_slots_get_what_the_signature_says(bench, tmp_path):
    widget = load(bench, tmp_path)
    got = []
    button = widget.ui.applyButton
    button.connect("clicked()", lambda *values: got.append(("none", values)))
    button.connect("clicked(bool)", lambda *values: got.append(("bool", values)))
    button.connect("clicked(bool)", lambda: got.append(("fewer", ())))
    button.click()
    assert got == [("none", ()), ("bool", (False,)), ("fewer", ())]


def test_disconnect_needs_the_same_function(bench, tmp_path):
    widget = load(bench, tmp_path)
    button, slot = widget.ui.applyButton, widget.onApply
    assert button.disconnect("clicked(bool)", slot)
    button.click()
    assert widget.clicks == []
    assert not button.disconnect("clicked(bool)", slot)
    assert bench.problems
    bench.problems.clear()


def test_other_modules_keep_their_own_rules(bench, tmp_path):
    """VTK's and trame's Python code must not meet PythonQt's rules."""
    from bench import pythonqt
    from PySide6.QtWidgets import QSpinBox

    spin = QSpinBox()
    spin.value = 4
    assert spin.value == 4
    pythonqt._names[__name__] = False
    assert spin.value() == 4
    spin.note = "free"
    assert spin.note == "free"
    pythonqt.speak(__name__)


def test_dialogs_are_answered_beforehand(bench, tmp_path):
    bench.dialogs.answers.append(("QFileDialog.getOpenFileName", "/x.nrrd"))
    extra = "self.path = qt.QFileDialog.getOpenFileName(None, 'Open', '', 'All (*)')"
    assert load(bench, tmp_path, extra=extra).path == "/x.nrrd"
    assert bench.dialogs.shown == [("QFileDialog.getOpenFileName", "Open |  | All (*)")]
