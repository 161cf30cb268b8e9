"""A small scripted module with its Designer file, for the tests of the bench."""

from __future__ import annotations

MODULE = """
import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin


class Sample(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Sample")
        self.parent.categories = ["Filtering"]
        self.started = 0
        slicer.app.connect("startupCompleted()", self.onStartup)

    def onStartup(self):
        self.started += 1


class SampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.seen, self.clicks, self.values, self.closed = [], [], [], 0

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/Sample.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        self.ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onNode)
        self.ui.strengthSlider.connect("valueChanged(double)", self.onValue)
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onClose)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        # EXTRA

    def cleanup(self):
        self.removeObservers()

    def enter(self):
        self.ui.statusLabel.text = "entered" if self.parent.isEntered else "?"

    def onNode(self, node):
        if node is not None:
            self.seen.append(node.GetName())

    def onValue(self, value):
        self.values.append(value)
        self.ui.statusLabel.text = f"{self.ui.strengthSlider.value:.2f}"

    def onApply(self):
        self.clicks.append(self.ui.applyButton.text)

    def onClose(self, caller, event):
        self.closed += 1


class SampleLogic(ScriptedLoadableModuleLogic):
    pass
"""


def _selector(name: str, more: str) -> str:
    return f"""
   <item><widget class="qMRMLNodeComboBox" name="{name}">
    <property name="toolTip"><string>A volume.</string></property>
    <property name="nodeTypes">
     <stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist>
    </property>
    <property name="showChildNodeTypes"><bool>false</bool></property>
    <property name="addEnabled"><bool>false</bool></property>
    <property name="removeEnabled"><bool>false</bool></property>{more}
   </widget></item>"""


def _custom(name: str, base: str, container: bool = False) -> str:
    extra = "<container>1</container>" if container else ""
    inner = f"<class>{name}</class><extends>{base}</extends><header>{name}.h</header>{extra}"
    return f"\n  <customwidget>{inner}</customwidget>"


def connection(receiver: str, slot: str = "setMRMLScene(vtkMRMLScene*)") -> str:
    """Return the XML that hands the scene to a selector."""
    return (
        "\n  <connection><sender>Sample</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>"
        f"<receiver>{receiver}</receiver><slot>{slot}</slot></connection>"
    )


UI = f"""<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0">
 <class>Sample</class>
 <widget class="qMRMLWidget" name="Sample">
  <layout class="QVBoxLayout" name="verticalLayout">
   <item><widget class="ctkCollapsibleButton" name="inputBox">
    <property name="text"><string>Input</string></property>
    <layout class="QFormLayout" name="form">
     <item row="0" column="0"><widget class="QLabel" name="nameLabel">
      <property name="text"><string>Name:</string></property></widget></item>
     <item row="0" column="1"><widget class="QLineEdit" name="nameEdit"/></item>
    </layout></widget></item>
   {_selector("inputSelector", "")}
   {_selector("outputSelector", '<property name="noneEnabled"><bool>true</bool></property>')}
   <item><widget class="ctkSliderWidget" name="strengthSlider">
    <property name="toolTip"><string>How strong.</string></property>
    <property name="maximum"><double>1.0</double></property>
    <property name="singleStep"><double>0.01</double></property>
    <property name="value"><double>0.5</double></property>
    <property name="SlicerParameterName" stdset="0"><string>strength</string></property>
   </widget></item>
   <item><widget class="ctkPathLineEdit" name="pathEdit">
    <property name="filters"><set>ctkPathLineEdit::Files|ctkPathLineEdit::Writable</set></property>
   </widget></item>
   <item><widget class="QCheckBox" name="moreBox">
    <property name="text"><string>Advanced</string></property></widget></item>
   <item><widget class="QLabel" name="statusLabel"/></item>
   <item><widget class="QPushButton" name="applyButton">
    <property name="text"><string>Apply</string></property></widget></item>
  </layout>
 </widget>
 <customwidgets>{_custom("qMRMLWidget", "QWidget", container=True)}
  {_custom("qMRMLNodeComboBox", "QWidget")}{_custom("ctkSliderWidget", "QWidget")}
  {_custom("ctkCollapsibleButton", "QWidget", container=True)}
  {_custom("ctkPathLineEdit", "QWidget")}
 </customwidgets>
 <connections>{connection("inputSelector")}{connection("outputSelector")}
  <connection><sender>moreBox</sender><signal>toggled(bool)</signal>
   <receiver>pathEdit</receiver><slot>setDisabled(bool)</slot></connection>
 </connections>
</ui>
"""


def write_module(folder, module: str = MODULE, ui: str = UI):
    """Write the two files and return the path of the module."""
    place = folder / "Sample" / "Resources" / "UI"
    place.mkdir(parents=True, exist_ok=True)
    (place / "Sample.ui").write_text(ui)
    path = folder / "Sample" / "Sample.py"
    path.write_text(module)
    return path
