"""From files to nodes: reading beside the page's event loop, nodes inside it (layer: apps)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ctrestorelib.apps.web.session.desk import Desk
from ctrestorelib.apps.web.session.files import (
    Opened,
    SeriesChoice,
    is_geometry,
    places_of,
    read_place,
)
from ctrestorelib.core.errors import CTRestoreError, InputError
from ctrestorelib.core.volume import Volume
from ctrestorelib.mrml.display import auto_window, set_window
from ctrestorelib.mrml.hierarchy import item_of
from ctrestorelib.mrml.samples import add_knee
from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.stacks import attach_geometry_file, stack_node
from ctrestorelib.mrml.volumes import UIDS_ATTRIBUTE, new_volume_node


class Loader:
    """Opens what a person sends or names, one thing after the other.

    Parameters
    ----------
    desk
        Scene and settings.
    ask
        Called with a :class:`SeriesChoice` when the person has to say which series is meant.
    presets
        Called with each ``.json`` or ``.xml`` file first; True if it was taken.
    """

    def __init__(
        self,
        desk: Desk,
        ask: Callable[[SeriesChoice], None],
        presets: Callable[[Path], bool] = lambda _path: False,
    ) -> None:
        self._desk, self._ask, self._presets = desk, ask, presets
        self._turn = asyncio.Lock()

    async def open(self, paths: Sequence[Path], series: str | None = None) -> list[Node]:
        """Open files and folders; what cannot be read is told, the others are opened.

        Parameters
        ----------
        paths
            Inside the uploads, or checked against the allowed folders before.
        series
            Number of the DICOM series wanted.

        Returns
        -------
        list of nodes
            Those that were made.
        """
        made: list[Node] = []
        async with self._turn:
            try:
                for place in await asyncio.to_thread(places_of, list(paths)):
                    made += await self._open_one(place, series)
            finally:
                self._say("")
        return made

    async def _open_one(self, place: Path, series: str | None) -> list[Node]:
        desk = self._desk
        self._say(f"Reading {place.name} ...")
        try:
            if is_geometry(place):
                self._take_geometry(place)
                return []
            read = await asyncio.to_thread(read_place, place, series)
            if isinstance(read, SeriesChoice):
                self._ask(read)
                return []
            return [self._adopt(read)]
        except CTRestoreError as error:
            desk.report(str(error))
        return []

    def _adopt(self, read: Opened) -> Node:
        """Make a node, choose it and show it."""
        desk = self._desk
        for note in read.notes:
            desk.session.note(f"{read.name}: {note.text}")
        if not isinstance(read.content, Volume):
            node = stack_node(desk.context, read.content, read.name)
            desk.store.set("reconstruct_stack", node)
        else:
            node = new_volume_node(desk.context, read.name, read.content)
            item_of(node)
            set_window(node, *auto_window(read.content.values))
            if read.sop_instance_uids:
                node.SetAttribute(UIDS_ATTRIBUTE, " ".join(read.sop_instance_uids))
            desk.instances.update(read.instances)
            desk.store.set("input_volume", node)
        desk.show_volume(node)
        desk.report(f"Opened {node.GetName()}.", failed=False)
        return node

    def _take_geometry(self, path: Path) -> None:
        if self._presets(path):
            return
        desk = self._desk
        stack = desk.store.get("reconstruct_stack")
        if stack is None:
            message = f"{path.name} may be a scan geometry, but no projections are chosen."
            raise InputError(message, hint="Open the projections first, or both together.")
        attach_geometry_file(desk.context, stack, path)
        desk.report(f"{stack.GetName()} has its scan geometry now.", failed=False)

    def _say(self, text: str) -> None:
        with self._desk.state as state:
            state.ui_loading = text


def open_phantom(desk: Desk) -> tuple[Any, Any]:
    """Make the synthetic knee, choose and show its noisy version; return both nodes."""
    clean, noisy = add_knee(desk.context)
    desk.store.update({"input_volume": noisy, "scan_volume": clean})
    desk.show_volume(noisy)
    return clean, noisy
