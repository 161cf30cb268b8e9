"""Short ways to declare the C++ properties of a stand-in."""

from __future__ import annotations

from PySide6.QtCore import Property


def stored(kind, name: str, default, after: str | None = None):
    """Return (property, setter) of a value that the stand-in keeps; `after` is called with it."""

    def get(self):
        return self.__dict__.setdefault("_stored", {}).get(name, default)

    def put(self, value):
        self.__dict__.setdefault("_stored", {})[name] = value
        if after is not None:
            getattr(self, after)(value)

    return Property(kind, get, put), put


def passed(kind, child: str, getter: str, setter: str):
    """Return (property, setter) of a value that a widget inside the stand-in keeps."""

    def get(self):
        return getattr(getattr(self, child), getter)()

    def put(self, value):
        getattr(getattr(self, child), setter)(value)

    return Property(kind, get, put), put
