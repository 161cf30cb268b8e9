"""PythonQt's rules over PySide6, for the modules that speak PythonQt only.

PySide6 reads `w.value()`, PythonQt `w.value`. So every QObject class gets its own attribute hooks,
which look at the module that asks: Slicer modules get PythonQt's rules, everybody else PySide6's.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets
from PySide6.QtCore import QMetaMethod, QObject, SignalInstance

from .report import refuse
from .slots import connect_slot, disconnect_slot

QT_MODULES = (QtCore, QtGui, QtWidgets, QtUiTools)
STAND_IN = "_bench_stand_in"
"""Class attribute of a widget that stands for a C++ one."""

_plain_get = QObject.__getattribute__
_HERE = Path(__file__).resolve().parent
_folders: list[Path] = []
_names: dict[str, bool] = {}
_by_name: set[str] = set()
_installed: list[bool] = []


def speak_in(folder) -> None:
    """Give PythonQt's rules to every module whose file lies below `folder` (not to the bench)."""
    folder = Path(folder).resolve()
    if folder not in _folders:
        _folders.append(folder)
    _names.clear()


def speak(name: str) -> None:
    """Give PythonQt's rules to one module by name."""
    _by_name.add(name)
    _names[name] = True


def forget(name: str) -> None:
    """Ask again about a module that is loaded anew."""
    _names.pop(name, None)


def _speaks(depth: int = 2) -> bool:
    names = sys._getframe(depth).f_globals
    name = names.get("__name__", "")
    if name not in _names:
        file = names.get("__file__")
        path = Path(file).resolve() if file else None
        inside = path is not None and _HERE not in path.parents
        inside = inside and any(folder in path.parents for folder in _folders)
        _names[name] = inside or name in _by_name
    return _names[name]


def stands_for_cpp(cls: type) -> bool:
    """Whether PythonQt would see this class as C++ (unknown names cannot be set on it)."""
    return cls.__module__.startswith("PySide6") or STAND_IN in vars(cls)


def signal_of(obj, signature: str) -> SignalInstance:
    """Return the signal with this C++ signature; refuse one that does not exist."""
    wanted = bytes(QtCore.QMetaObject.normalizedSignature(signature).data()).decode()
    attribute = _declared(obj).get(wanted)
    if attribute is not None:
        return _plain_get(obj, attribute)
    meta = _plain_get(obj, "metaObject")()
    if wanted.startswith("_") or meta.indexOfSignal(wanted) < 0:
        known = ", ".join(sorted(signatures(obj)))
        refuse("signal", f"{meta.className()} has no signal {wanted!r}; it has: {known}")
    name, _, types = wanted.partition("(")
    signal = _plain_get(obj, name)
    try:
        return signal[types.rstrip(")")] if types != ")" else signal
    except (KeyError, IndexError, TypeError):
        return signal


def signatures(obj) -> set[str]:
    """Return the C++ signatures of all signals of an object."""
    meta = _plain_get(obj, "metaObject")()
    methods = [meta.method(i) for i in range(meta.methodCount())]
    found = {
        bytes(m.methodSignature().data()).decode()
        for m in methods
        if m.methodType() == QMetaMethod.MethodType.Signal
    }
    hidden = set(_declared(obj).values())
    plain = {s for s in found if s[0] != "_" and s.partition("(")[0] not in hidden}
    return plain | set(_declared(obj))


def _declared(obj) -> dict[str, str]:
    """Return C++ signature -> Python attribute, as the stand-ins declare them."""
    tables = [vars(cls).get("_signals", {}) for cls in type(obj).__mro__]
    return {key: value for table in reversed(tables) for key, value in table.items()}


class Signal:
    """`w.clicked`: connect, disconnect, emit, and a call that emits."""

    def __init__(self, owner, name):
        self._owner, self._name = owner, name

    def _signature(self) -> str:
        found = sorted(s for s in signatures(self._owner) if s.partition("(")[0] == self._name)
        # clicked(bool = false) is listed as clicked() too: the longest says what slots may take
        longest = max(found, key=lambda s: len(s.split(",")) * (s[-2:] != "()"))
        rest = [s for s in found if s != longest and s[-2:] != "()"]
        if rest:
            refuse("signal", f"{self._name} has several signatures, name one: {', '.join(found)}")
        return longest

    def connect(self, slot):
        return connect_slot(self._owner, signal_of(self._owner, self._signature()), slot, None)

    def disconnect(self, slot=None):
        return disconnect_slot(self._owner, signal_of(self._owner, self._signature()), slot)

    def emit(self, *values):
        signal_of(self._owner, self._signature()).emit(*values)

    __call__ = emit


def _connect(obj):
    def connect(signature, *rest):
        if len(rest) != 1 or signature[:1].isdigit():
            # PySide6's own C++ asks here, in the name of the caller (QTimer.singleShot does)
            return _plain_get(obj, "connect")(signature, *rest)
        if "(" not in signature:
            refuse("signal", f"{signature!r} is no signature; write for example 'clicked(bool)'")
        most = _argument_count(signature)
        return connect_slot(obj, signal_of(obj, signature), rest[0], most)

    return connect


def _disconnect(obj):
    return lambda signature, slot=None: disconnect_slot(obj, signal_of(obj, signature), slot)


def _argument_count(signature: str) -> int:
    inside = signature.partition("(")[2].rpartition(")")[0].strip()
    return len(inside.split(",")) if inside else 0


_SPECIAL = {
    "connect": _connect,
    "disconnect": _disconnect,
    "className": lambda obj: lambda: _plain_get(obj, "metaObject")().className(),
    "exec_": lambda obj: _plain_get(obj, "exec"),
}


def _make_get(original):
    def get(self, name):
        if name[0] == "_" or not _speaks():
            return original(self, name)
        if name == "name":
            name = "objectName"
        special = _SPECIAL.get(name)
        if special is not None and (name != "exec_" or hasattr(type(self), "exec")):
            return special(self)
        meta = _plain_get(self, "metaObject")()
        if meta.indexOfProperty(name) >= 0 or name.encode() in _dynamic(self):
            value = _plain_get(self, "property")(name)
            return tuple(value) if isinstance(value, list) else value
        if any(s.partition("(")[0] == name for s in _declared(self)):
            return Signal(self, name)
        found = original(self, name)
        return Signal(self, name) if isinstance(found, SignalInstance) else found

    return get


def _dynamic(obj) -> list[bytes]:
    return [bytes(name.data()) for name in _plain_get(obj, "dynamicPropertyNames")()]


def _set(self, name, value):
    if name[0] != "_" and _speaks():
        if name == "name":
            name = "objectName"
        if _write_property(self, name, value):
            return
        cls = type(self)
        if stands_for_cpp(cls):
            what = "is a method or signal and cannot be set" if hasattr(cls, name) else "is unknown"
            text = f"{cls.__name__}.{name} {what} (value {value!r})"
            raise AttributeError(text)
    found = getattr(type(self), name, None)
    if hasattr(found, "__set__"):
        found.__set__(self, value)
    else:
        _plain_get(self, "__dict__")[name] = value


def _write_property(obj, name, value) -> bool:
    """Write a Qt property; False where there is none."""
    meta = _plain_get(obj, "metaObject")()
    index = meta.indexOfProperty(name)
    if index < 0:
        if name.encode() not in _dynamic(obj):
            return False
        _plain_get(obj, "setProperty")(name, value)
        return True
    if not meta.property(index).isWritable():
        text = f"{meta.className()}.{name} is read-only"
        raise AttributeError(text)
    setter = f"set{name[0].upper()}{name[1:]}"
    if isinstance(getattr(type(obj), name, None), QtCore.Property):
        _plain_get(obj, setter)(value)  # an exception of the setter is raised, not printed by Qt
    elif not _plain_get(obj, "setProperty")(
        name, list(value) if isinstance(value, tuple) else value
    ):
        kind = meta.property(index).typeName()
        text = f"{meta.className()}.{name} of type {kind} does not accept {value!r}"
        raise ValueError(text)
    return True


def install() -> None:
    """Put the hooks on every QObject class (once)."""
    if _installed:
        return
    _installed.append(True)
    # Each class keeps its own getter: one shared getter crashes on classes with static methods.
    found = [(cls, cls.__getattribute__) for cls in _classes()]
    for cls, original in found:
        cls.__getattribute__ = _make_get(original)
        cls.__setattr__ = _set
    speak("slicer.util")


def _classes():
    """Yield the QObject classes; `dir`, because PySide6 makes them when they are asked for."""
    seen = set()
    for module in QT_MODULES:
        for name in dir(module):
            found = getattr(module, name, None)
            if isinstance(found, type) and issubclass(found, QObject) and found not in seen:
                seen.add(found)
                yield found
