"""The settings as they were at one moment, for work that waits in a queue (layer: mrml)."""

from __future__ import annotations

from typing import Any

from ctrestorelib.mrml.parameters import NodeField, ParameterStore
from ctrestorelib.mrml.scene import Node


class Snapshot(ParameterStore):
    """Reads the settings as they were when it was taken; writes go to the live parameter node.

    Nodes are kept by ID. One that was removed from the scene since then reads as None, and whoever
    asked for it finds it in :attr:`gone`: a job must not lose its region or mask in silence.

    Parameters
    ----------
    store
        The live settings, or an earlier snapshot of them.
    """

    def __init__(self, store: ParameterStore) -> None:
        super().__init__(store.node, {name: store.setting(name) for name in store.names()})
        self._scene = store.node.GetScene()
        self._values: dict[str, Any] = {}
        self._nodes: dict[str, tuple[str, str]] = {}
        self._gone: dict[str, str] = {}
        for name in store.names():
            value = store.get(name)
            if not isinstance(store.setting(name), NodeField):
                self._values[name] = value
            elif value is not None:
                self._nodes[name] = (value.GetID(), value.GetName())

    def get(self, name: str) -> Any:
        """Return the value of that moment; None for a node that is gone."""
        if name in self._nodes:
            return self._node(name)
        self.setting(name)
        return self._values.get(name)

    @property
    def gone(self) -> list[str]:
        """One sentence for each node that was asked for and is no longer in the scene."""
        return list(self._gone.values())

    def _node(self, name: str) -> Node | None:
        node_id, called = self._nodes[name]
        node = self._scene.GetNodeByID(node_id)
        if node is None:
            label = self.setting(name).label  # type: ignore[union-attr]
            self._gone[name] = f"{called} ({label}) is no longer in the scene."
        return node
