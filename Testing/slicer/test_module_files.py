"""The module's files: packaged, translatable, quick to load; and the rules find faults."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import module_lint
from bench_sample import MODULE, UI, connection
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QSlider,
    QWidget,
)

FOLDER = Path(__file__).parents[2] / "CTRestore"
RULES = {
    "packaging": module_lint.packaging,
    "plain_text": module_lint.plain_text,
    "designer": module_lint.designer,
    "start_up": module_lint.start_up,
    "translation": module_lint.translation,
    "pythonqt": module_lint.pythonqt,
}
INPUTS = (QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QSlider)
CMAKE = """
# Sample.py and comments do not count: Lost.py
set(MODULE_PYTHON_SCRIPTS
  Sample.py
  SamplePanels/__init__.py
  SamplePanels/panel.py
  )
set(MODULE_PYTHON_RESOURCES Resources/UI/${MODULE_NAME}.ui)
if(BUILD_TESTING)
  slicer_add_python_unittest(SCRIPT ${MODULE_NAME}.py)
endif()
"""
PANEL = '''"""A panel."""

import slicer
from slicer.i18n import tr as _

WORDS = {"a": _("Automatic")}
"""Notes below a constant are no words on the screen."""


def fill(label, count):
    """Say how many."""
    import scipy.ndimage

    label.setText(_("{count} volumes of {size} MB").format(count=count, size=3))
    slicer.util.showStatusMessage(_("Done."))
'''


@pytest.mark.parametrize("rule", RULES)
def test_the_module_keeps_the_rule(rule):
    assert RULES[rule](FOLDER) == []


def test_every_control_of_the_module_explains_itself(bench):
    """Tooltips come from the Designer file or from the declared setting; none may be missing."""
    bench.load_module(FOLDER / "CTRestore.py")
    children = bench.panel.findChildren(QWidget)
    controls = [w for w in children if isinstance(w, INPUTS) or w.className()[:3] in ("ctk", "qMR")]
    named = [w for w in controls if w.objectName and not w.objectName.startswith("qt_")]
    heads = ("ctkCollapsibleButton", "qMRMLWidget")
    told = [w for w in named if w.className() not in heads]
    assert len(told) > 20
    assert [w.objectName for w in told if not w.toolTip] == []


def test_the_panel_fits_beside_the_views(bench):
    bench.load_module(FOLDER / "CTRestore.py")
    assert bench.least_width() <= 500, "Slicer's module panel is narrow on a laptop"


# ----- the rules themselves, on a small module


@pytest.fixture
def sample(tmp_path):
    """Return the folder of a module without faults."""
    folder = tmp_path / "Sample"
    (folder / "Resources" / "UI").mkdir(parents=True)
    (folder / "SamplePanels").mkdir()
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "old.py").write_text("")
    (folder / "CMakeLists.txt").write_text(CMAKE)
    (folder / "Sample.py").write_text(MODULE)
    (folder / "SamplePanels" / "__init__.py").write_text("")
    (folder / "SamplePanels" / "panel.py").write_text(PANEL)
    (folder / "Resources" / "UI" / "Sample.ui").write_text(UI)
    return folder


@pytest.mark.parametrize("rule", RULES)
def test_a_good_module_has_no_findings(sample, rule):
    assert RULES[rule](sample) == []


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  SamplePanels/panel.py\n", "", "panel.py is not in CMakeLists.txt"),
        ("panel.py", "gone.py", "names SamplePanels/gone.py"),
        ("Resources/UI/${MODULE_NAME}.ui", "", "Sample.ui is not in CMakeLists.txt"),
    ],
)
def test_packaging_finds(sample, old, new, said):
    change(sample / "CMakeLists.txt", old, new)
    assert any(said in text for text in module_lint.packaging(sample))


def test_packaging_finds_a_loose_script(sample):
    (sample / "helper.py").write_text("")
    assert any("takes it for a module" in text for text in module_lint.packaging(sample))


def test_plain_text_finds(sample):
    (sample / "SamplePanels" / "panel.py").write_bytes("# 5 \u00b5m\r\n".encode())
    found = module_lint.plain_text(sample)
    assert len(found) == 2
    assert "not ASCII" in found[0]
    assert "line ends" in found[1]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name="outputSelector"', 'name="inputSelector"', "used twice"),
        ("<container>1</container>", "", "is a container"),
        ("<header>ctkSliderWidget.h</header>", "", "without header"),
        ("<class>ctkSliderWidget</class>", "<class>ctkOther</class>", "not declared"),
        ("<class>ctkSliderWidget</class>", "<class>ctkOther</class>", "not used"),
        (connection("inputSelector"), "", "inputSelector never gets the scene"),
        (connection("inputSelector"), connection("inputSelector", "setScene()"), "never gets"),
        (connection("inputSelector"), connection("inputSelectr"), "unknown receiver"),
        ("<signal>toggled(bool)</signal>", "", "incomplete connection"),
        ('class="qMRMLWidget" name="Sample"', 'class="QWidget" name="Sample"', "top widget"),
        (
            '<widget class="QLabel" name="statusLabel"/>',
            '<widget class="QLabel" name="statusLabel"><property name="buddy">'
            "<cstring>nobody</cstring></property></widget>",
            "buddy 'nobody'",
        ),
        (
            '<property name="toolTip"><string>How strong.</string></property>',
            '<property name="styleSheet"><string>color: red</string></property>',
            "dark style",
        ),
        (
            '<property name="text"><string>Apply</string></property>',
            '<property name="shortcut"><string>A</string></property>',
            "single-key",
        ),
    ],
)
def test_designer_finds(sample, old, new, said):
    change(sample / "Resources" / "UI" / "Sample.ui", old, new)
    assert any(said in text for text in module_lint.designer(sample))


def test_a_module_without_a_designer_file_is_an_error(sample):
    (sample / "Resources" / "UI" / "Sample.ui").unlink()
    with pytest.raises(FileNotFoundError):
        module_lint.designer(sample)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("Sample.py", "import torch"),
        ("Sample.py", "import ctrestorelib.core"),
        ("Sample.py", "from SamplePanels import panel"),
        ("Sample.py", "try:\n    import scipy.ndimage\nexcept ImportError:\n    pass"),
        ("SamplePanels/panel.py", "from scipy import ndimage"),
        ("SamplePanels/panel.py", "class A:\n    import SimpleITK"),
    ],
)
def test_start_up_finds(sample, file, line):
    path = sample / file
    path.write_text(path.read_text() + "\n" + line + "\n")
    assert len(module_lint.start_up(sample)) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("qt.QSpinBox(minimum=1)", "no keywords"),
        ("label.setAlignment(qt.Qt.AlignmentFlag.AlignLeft)", "write qt.Qt.AlignLeft"),
        ("changed = qt.Signal()", "qt.Signal does not exist"),
    ],
)
def test_pythonqt_finds(sample, line, said):
    path = sample / "SamplePanels" / "panel.py"
    path.write_text(path.read_text() + f"    {line}\n")
    (found,) = module_lint.pythonqt(sample)
    assert said in found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('label.setText("Choose a volume first")', "not inside _()"),
        ('label.toolTip = "Removes noise, slowly"', "not inside _()"),
        ('raise ValueError("No volume chosen")', "not inside _()"),
        ('label.setText("Apply")', "not inside _()"),
        ('_(f"{count} volumes")', "plain text"),
        ("_(label)", "plain text"),
        ('translate("Context", f"{count} volumes")', "f-string"),
        ('_("{count} volumes").format(number=1)', "places"),
        ('_("{} volumes").format(1)', "places"),
    ],
)
def test_translation_finds(sample, line, said):
    path = sample / "SamplePanels" / "panel.py"
    path.write_text(path.read_text() + f"    {line}\n")
    found = module_lint.translation(sample)
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(
    "line",
    [
        'logging.warning("Worker ended early")',
        'node.SetAttribute("CTRestore.Method", "nlm")',
        'label.setObjectName("applyButton")',
        '_("A {b} c {d:.2f}").format(b=1, d=2)',
        'slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")',
    ],
)
def test_translation_lets_pass(sample, line):
    path = sample / "SamplePanels" / "panel.py"
    path.write_text(path.read_text() + f"    {line}\n")
    assert module_lint.translation(sample) == []
