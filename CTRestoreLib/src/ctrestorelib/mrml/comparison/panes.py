"""One view of a comparison with everything that was put into it (layer: mrml)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ctrestorelib.mrml.comparison.captions import Captions
from ctrestorelib.mrml.comparison.divider import Divider
from ctrestorelib.mrml.comparison.host import SliceViewHandle, request_render
from ctrestorelib.mrml.comparison.layouts import COLOURS, VIEW_GROUP, Cell, Mode
from ctrestorelib.mrml.comparison.overlay import CheckerCut, Overlay, WipeCut


@dataclass
class Look:
    """How overlaid volumes are mixed; kept while the person changes the mode.

    Parameters
    ----------
    blend
        Share of the second volume, 0 to 1.
    wipe, vertical
        Place of the line (0 to 1), and whether it moves up and down.
    divisions
        Fields of the checkerboard along the shorter side.
    """

    blend: float = 0.5
    wipe: float = 0.5
    vertical: bool = False
    divisions: int = 6


class Pane:
    """Fills one slice view and empties it again.

    Parameters
    ----------
    view, cell
        The view and what the layout wants in it.
    volumes
        All compared volume nodes.
    """

    def __init__(self, view: SliceViewHandle, cell: Cell, volumes: Sequence[Any]) -> None:
        self.view = view
        self.cell = cell
        self._mode: Mode | None = None
        self._extras: list[Captions | Overlay | Divider] = []
        view.node.SetViewGroup(VIEW_GROUP)
        composite = view.composite
        composite.SetLinkedControl(0)
        composite.SetHotLinkedControl(0)
        composite.SetDoPropagateVolumeSelection(0)
        composite.SetCompositing(composite.Alpha)
        composite.SetForegroundOpacity(0.0)
        composite.SetLabelVolumeID(None)
        composite.SetBackgroundVolumeID(volumes[cell.background].GetID())
        front = None if cell.foreground is None else volumes[cell.foreground].GetID()
        composite.SetForegroundVolumeID(front)

    def dress(
        self, mode: Mode, look: Look, names: Sequence[str], moved: Callable[[float], None]
    ) -> None:
        """Add names, and the wipe or the checkerboard."""
        # A layout names a view only when it makes it: the next comparison finds it made.
        self.view.node.SetLayoutLabel(self.cell.label)
        shown = [n for n in (self.cell.background, self.cell.foreground) if n is not None]
        if mode is Mode.WIPE:
            overlay = Overlay(self.view, WipeCut())
            self._extras += [overlay, Divider(self.view, overlay, moved)]
        elif mode is Mode.CHECKERBOARD:
            self._extras.append(Overlay(self.view, CheckerCut()))
        texts, colours = [names[n] for n in shown], [COLOURS[n] for n in shown]
        self._extras.append(Captions(self.view, texts, colours))
        self._mode = mode
        self.change(look)

    def link(self) -> None:
        """Let this view and the others of its group move together."""
        self.view.composite.SetHotLinkedControl(1)
        self.view.composite.SetLinkedControl(1)

    def change(self, look: Look) -> None:
        """Mix the volumes in another way."""
        if self._mode is Mode.BLEND:
            self.view.composite.SetForegroundOpacity(look.blend)
        for extra in self._extras:
            if isinstance(extra, Overlay):
                _adjust(extra, look)
            elif isinstance(extra, Divider):
                extra.update()  # after its overlay, which comes first in the list
            else:
                extra.arrange(stacked=self._mode is Mode.WIPE and look.vertical)
        request_render(self.view)

    def clear(self) -> None:
        """Take everything out of the view that was put into it."""
        extras, self._extras = self._extras, []
        for extra in extras:
            extra.remove()
        composite = self.view.composite
        if composite is None:
            return
        composite.SetLinkedControl(0)
        composite.SetHotLinkedControl(0)
        composite.SetBackgroundVolumeID(None)
        composite.SetForegroundVolumeID(None)


def _adjust(overlay: Overlay, look: Look) -> None:
    if isinstance(overlay.cut, WipeCut):
        overlay.cut.position, overlay.cut.vertical = look.wipe, look.vertical
    else:
        overlay.cut.divisions = look.divisions
    overlay.update()
