"""Load a Designer file with stand-ins; refuse what a desktop would silently ignore."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from PySide6 import QtWidgets
from PySide6.QtCore import QBuffer, QByteArray, QMetaObject, QObject
from PySide6.QtUiTools import QUiLoader
from PySide6.QtWidgets import QWidget

from . import ctk_containers, ctk_sliders, ctk_widgets
from .mrml_widgets import all_mrml_widgets
from .pythonqt import STAND_IN, signal_of
from .report import record, refuse

LAYOUT_PROPERTIES = {
    "leftMargin",
    "topMargin",
    "rightMargin",
    "bottomMargin",
    "margin",
    "spacing",
    "horizontalSpacing",
    "verticalSpacing",
    "sizeConstraint",
    "fieldGrowthPolicy",
    "rowWrapPolicy",
    "labelAlignment",
    "formAlignment",
    "objectName",
}


def stand_ins() -> dict[str, type[QWidget]]:
    """Return every custom widget class that a Designer file may name."""
    named = {**vars(ctk_sliders), **vars(ctk_containers), **vars(ctk_widgets)}
    ctk = {k: v for k, v in named.items() if isinstance(v, type) and STAND_IN in vars(v)}
    return {k: v for k, v in ctk.items() if k.startswith("ctk")} | all_mrml_widgets()


class _Loader(QUiLoader):
    def __init__(self):
        super().__init__()
        self._known = stand_ins()

    def createWidget(self, name, parent=None, object_name=""):
        if name not in self._known:
            return super().createWidget(name, parent, object_name)
        widget = self._known[name](parent)
        widget.setObjectName(object_name)
        return widget


def load_ui(path) -> QWidget:
    """Return the widget of a Designer file, checked and wired."""
    root = ET.parse(Path(path)).getroot()
    _check_classes(root, path)
    _check_names(root, path)
    text, held_back = _without_connections(root)
    data = QByteArray(text)
    buffer = QBuffer(data)
    buffer.open(QBuffer.OpenModeFlag.ReadOnly)
    top = _Loader().load(buffer)
    if top is None:
        refuse("ui", f"Qt cannot read {path}")
    objects = {o.objectName(): o for o in [top, *top.findChildren(QObject)] if o.objectName()}
    _check_properties(root, objects, path)
    for name, key, number in held_back:
        objects[name].setProperty(key, number)
    for connection in root.iterfind("connections/connection"):
        _wire(connection, objects, path)
    return top


def _check_classes(root, path):
    custom = {c.findtext("class") for c in root.iterfind("customwidgets/customwidget")}
    known = stand_ins()
    for name in sorted(custom - set(known)):
        refuse("ui", f"{path}: custom widget {name} has no stand-in on the bench")
    for element in root.iter("widget"):
        name = element.get("class")
        if name in known and name not in custom:
            refuse("ui", f"{path}: {name} is used, but not declared under <customwidgets>")
        if name not in known and name != "Line" and not hasattr(QtWidgets, name):
            refuse("ui", f"{path}: unknown widget class {name}")


def _check_names(root, path):
    names = [e.get("name") for e in root.iter("widget")]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice or None in names:
        refuse("ui", f"{path}: object names missing or used twice: {twice}")


def _without_connections(root):
    """Return the XML without what Qt cannot do for stand-ins, and what to set afterwards."""
    copy = ET.fromstring(ET.tostring(root))
    for connections in copy.findall("connections"):
        copy.remove(connections)
    held_back, known = [], stand_ins()
    for element in copy.iter("widget"):
        for prop in element.findall("property"):
            value = next((c for c in prop if c.tag in ("set", "enum")), None)
            text = (value.text or "") if value is not None else ""
            if text.partition("::")[0] not in known:
                continue
            number = 0
            for part in text.split("|"):
                owner, _, member = part.partition("::")
                number |= int(getattr(known[owner], member))
            held_back.append((element.get("name"), prop.get("name"), number))
            element.remove(prop)
    return ET.tostring(copy), held_back


def _check_properties(root, objects, path):
    for element in root.iter("widget"):
        found = objects.get(element.get("name"))
        if found is None:
            refuse("ui", f"{path}: Qt did not make {element.get('name')}")
        for prop in element.findall("property"):
            name = prop.get("name")
            if name == "buddy" and element.get("class") == "QLabel":
                _check_buddy(prop, objects, path)
                continue
            known = found.metaObject().indexOfProperty(name) >= 0
            if not known and prop.get("stdset") != "0":
                where = f"{element.get('class')} {element.get('name')}"
                refuse("ui", f"{path}: {where} has no property {name!r}")
    for element in root.iter("layout"):
        for prop in element.findall("property"):
            if prop.get("name") not in LAYOUT_PROPERTIES:
                refuse("ui", f"{path}: a layout has no property {prop.get('name')!r}")


def _check_buddy(prop, objects, path):
    """Designer's `buddy` is no Qt property: it names the widget that the label's key reaches."""
    name = prop.findtext("cstring")
    if name not in objects:
        refuse("ui", f"{path}: a label's buddy {name!r} does not exist")


def _wire(connection, objects, path):
    parts = {key: connection.findtext(key) for key in ("sender", "signal", "receiver", "slot")}
    for key in ("sender", "receiver"):
        if parts[key] not in objects:
            refuse("ui", f"{path}: connection {parts}: no object {parts[key]!r}")
    receiver = objects[parts["receiver"]]
    signal = signal_of(objects[parts["sender"]], parts["signal"])
    name, count = _slot(receiver, parts["slot"], path)
    signal.connect(lambda *values: getattr(receiver, name)(*values[:count]))


def _slot(receiver, signature, path):
    wanted = bytes(QMetaObject.normalizedSignature(signature).data()).decode()
    declared = {
        k: v for cls in type(receiver).__mro__ for k, v in vars(cls).get("_slots", {}).items()
    }
    types = wanted.partition("(")[2].rstrip(")")
    count = len(types.split(",")) if types else 0
    if wanted in declared:
        return declared[wanted], count
    if receiver.metaObject().indexOfMethod(wanted) < 0:
        refuse("ui", f"{path}: {receiver.objectName()} has no slot {wanted!r}")
    return wanted.partition("(")[0], count


def report_without_scene(top: QWidget) -> None:
    """Report selectors that never got a scene (a forgotten mrmlSceneChanged connection)."""
    for widget in [top, *top.findChildren(QWidget)]:
        selects = type(widget).__name__.startswith("qMRML") and hasattr(widget, "mrmlScene")
        inside = widget.parent() is not None and STAND_IN in vars(type(widget.parent()))
        if not selects or (inside and not widget.objectName()):
            continue
        needs = type(widget).__name__.endswith(("ComboBox", "SelectorWidget"))
        if needs and widget.mrmlScene() is None:
            text = f"{type(widget).__name__} {widget.objectName()!r} never got a scene"
            record("scene", text + " (connect mrmlSceneChanged(vtkMRMLScene*) to it)")
