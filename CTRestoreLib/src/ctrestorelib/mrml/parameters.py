"""Typed values in a parameter node, saved with the scene (layer: mrml).

One node holds every setting of the module. Values are stored as Slicer's own
``parameterNodeWrapper`` stores them (numbers and texts as text, ``"True"``/``"False"``, nodes as an
empty text plus a node reference of the same name), so a wrapper class, the desktop panel and the
browser page can share the node. *Automatic* (None) is an empty text.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import vtk

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.params import ParamField, to_plain
from ctrestorelib.mrml.scene import Node

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class NodeField:
    """A setting that names a node of the scene.

    Parameters
    ----------
    name
        Name in the parameter node; also the reference role.
    label, doc
        As in :class:`~ctrestorelib.core.params.Param`.
    node_class
        MRML class that is accepted, subclasses included.
    """

    name: str
    label: str
    doc: str
    node_class: str = "vtkMRMLScalarVolumeNode"

    def check(self, node: Node | None) -> Node | None:
        """Return ``node`` if it has the right class; raises :class:`UsageError` otherwise."""
        if node is None or node.IsA(self.node_class):
            return node
        message = f"{self.label} must be a {self.node_class}; got a {node.GetClassName()}."
        raise UsageError(message, hint=self.doc)


Setting = ParamField | NodeField


class ParameterStore:
    """Reads and writes declared settings in a parameter node.

    Parameters
    ----------
    node
        A ``vtkMRMLScriptedModuleNode``.
    settings
        What may be stored, by name.
    """

    def __init__(self, node: Node, settings: Mapping[str, Setting]) -> None:
        self.node = node
        self._settings = dict(settings)

    def setting(self, name: str) -> Setting:
        """Return the declaration of ``name``; KeyError for a name that nobody declared."""
        if name not in self._settings:
            message = f"There is no setting called {name!r}."
            raise KeyError(message)
        return self._settings[name]

    def names(self, prefix: str = "") -> list[str]:
        """Return the declared names that begin with ``prefix``."""
        return [name for name in self._settings if name.startswith(prefix)]

    def get(self, name: str) -> Any:
        """Return the stored value, or the default if there is none or it is no longer allowed."""
        setting = self.setting(name)
        if isinstance(setting, NodeField):
            node = self.node.GetNodeReference(name)
            return node if node is None or node.IsA(setting.node_class) else None
        if not self.node.HasParameter(name):
            return to_plain(setting.default)
        try:
            return to_plain(setting.check(_decoded(setting, self.node.GetParameter(name))))
        except (UsageError, ValueError):
            _LOG.warning("The saved value of %s is not allowed any more; using the default.", name)
            return to_plain(setting.default)

    def is_default(self, name: str) -> bool:
        """Return whether a value was never set, or set to its default."""
        setting = self.setting(name)
        default = None if isinstance(setting, NodeField) else to_plain(setting.default)
        return bool(self.get(name) == default)

    def set(self, name: str, value: Any) -> None:
        """Store a value; the node fires only if it changes.

        Raises
        ------
        UsageError
            If the value has the wrong type, choice, bounds or node class; nothing is stored.
        """
        setting = self.setting(name)
        if isinstance(setting, NodeField):
            self._set_node(name, setting.check(value))
            return
        text = _encoded(setting.check(value))
        if not self.node.HasParameter(name) or self.node.GetParameter(name) != text:
            self.node.SetParameter(name, text)

    def _set_node(self, name: str, node: Node | None) -> None:
        if self.node.HasParameter(name) and self.node.GetNodeReference(name) is node:
            return
        was = self.node.StartModify()
        try:
            self.node.SetParameter(name, "")
            self.node.SetNodeReferenceID(name, None if node is None else node.GetID())
        finally:
            self.node.EndModify(was)

    def update(self, values: Mapping[str, Any]) -> None:
        """Store several values at once; either all are valid or none is stored."""
        for name, value in values.items():
            self.setting(name).check(value)
        was = self.node.StartModify()
        try:
            for name, value in values.items():
                self.set(name, value)
        finally:
            self.node.EndModify(was)

    def reset(self, names: Iterable[str]) -> None:
        """Give these settings their defaults back."""
        was = self.node.StartModify()
        try:
            for name in names:
                self.node.UnsetParameter(name)
                if isinstance(self.setting(name), NodeField):
                    self.node.RemoveNodeReferenceIDs(name)
        finally:
            self.node.EndModify(was)

    def observe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` on every change; return the function that stops it."""
        tag = self.node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: callback())
        node = self.node
        return lambda: node.RemoveObserver(tag)


def wrapper_annotations(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """Return ``{name: (annotation, default)}`` for a class under Slicer's parameterNodeWrapper.

    Values that can be *automatic* are declared as text there, because the wrapper refuses None.
    """
    import slicer

    plain = {"bool": bool, "int": int, "float": float}
    out: dict[str, Any] = {}
    for name, setting in settings.items():
        if isinstance(setting, NodeField):
            out[name] = (getattr(slicer, setting.node_class), None)
        elif setting.optional or setting.kind not in plain:
            out[name] = (str, _encoded(setting.default))
        else:
            out[name] = (plain[setting.kind], setting.default)
    return out


def _encoded(value: Any) -> str:
    plain = to_plain(value)
    return "" if plain is None else str(plain)


def _decoded(setting: ParamField, text: str) -> Any:
    if text == "" and setting.optional:
        return None
    if setting.kind == "bool":
        return {"True": True, "False": False}[text] if text in ("True", "False") else text
    return {"int": int, "float": float}.get(setting.kind, str)(text)
