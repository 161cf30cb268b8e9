"""Settings and page state, tied both ways under the same names (layer: apps)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ctrestorelib.core.errors import CTRestoreError
from ctrestorelib.core.params import ParamField
from ctrestorelib.mrml.parameters import NodeField, ParameterStore, Setting


def shown(setting: Setting, value: Any) -> Any:
    """Return a stored value as the page holds it: a node as its ID, no node as ""."""
    if isinstance(setting, NodeField):
        return "" if value is None else value.GetID()
    return value


class StateLink:
    """Keeps the page's state and the parameter node equal.

    What a person enters is stored if it is allowed; otherwise they are told why, and the field
    shows the stored value again.

    Parameters
    ----------
    state
        The trame state; it has one key for each setting.
    store
        The settings.
    refused
        Receives the sentence about a value that was not allowed.
    """

    def __init__(self, state: Any, store: ParameterStore, refused: Callable[[str], None]) -> None:
        self._state, self._refused = state, refused
        self.store = store
        self._pulling = False
        self.pull()
        state.change(*store.names())(self._changed)

    def pull(self) -> None:
        """Show the stored values."""
        self._pulling = True
        try:
            for name in self.store.names():
                value = shown(self.store.setting(name), self.store.get(name))
                if name not in self._state or self._state[name] != value:
                    self._state[name] = value
        finally:
            self._pulling = False

    def push(self, name: str, value: Any) -> None:
        """Store what a person entered; a refused value is explained and taken back."""
        setting = self.store.setting(name)
        try:
            self.store.set(name, self._meant(setting, value))
        except CTRestoreError as error:
            self._refused(str(error))
        self._state[name] = shown(setting, self.store.get(name))

    def _changed(self, **_state: Any) -> None:
        if self._pulling:
            return
        for name in self._state.modified_keys & set(self.store.names()):
            value = self._state[name]
            if value != shown(self.store.setting(name), self.store.get(name)):
                self.push(name, value)

    def _meant(self, setting: Setting, value: Any) -> Any:
        if isinstance(setting, NodeField):
            return self.store.node.GetScene().GetNodeByID(value) if value else None
        if value is None and not setting.optional:  # an emptied field
            return self.store.get(setting.name)
        return _number(setting, value)


def _number(setting: ParamField, value: Any) -> Any:
    """Return a number that a text field sent as text; anything else as it is."""
    if setting.kind not in ("int", "float") or not isinstance(value, str):
        return value
    try:
        return float(value.replace(",", "."))
    except ValueError:
        return value
