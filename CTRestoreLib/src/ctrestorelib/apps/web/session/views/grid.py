"""The views of a layout as boxes of the page (layer: apps)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

from trame.widgets import client, html

MAXIMIZED = "views_maximized"
"""State: tag of the view that fills the area for a while; empty for none."""


@dataclass(frozen=True)
class Box:
    """A part of a layout: either one view, or boxes in a row or column.

    Parameters
    ----------
    tag
        Of the view; empty for a row or column.
    flat
        Whether inner boxes lie side by side.
    items, shares
        Inner boxes and their shares of the length.
    xml
        The view's own description.
    """

    tag: str
    flat: bool = True
    items: tuple[Box, ...] = ()
    shares: tuple[int, ...] = ()
    xml: str = ""

    def views(self) -> tuple[Box, ...]:
        """Return all boxes that are views, in reading order."""
        if self.tag:
            return (self,)
        return tuple(view for item in self.items for view in item.views())


KINDS = ("vtkMRMLSliceNode", "vtkMRMLViewNode")


def boxes_of(xml: str) -> Box:
    """Return the boxes of a Slicer layout description; charts and tables of it are left out."""
    return _box(ET.fromstring(xml))


def show_boxes(box: Box, share: int = 1) -> None:
    """Write boxes into the current place of the page."""
    if box.tag:
        cell = html.Div(
            classes=(f"['ctr-cell', {MAXIMIZED} === '{box.tag}' ? 'ctr-max' : '']",),
            style=f"flex-grow: {share}",
            key=box.tag,
        )
        with cell:
            client.ServerTemplate(name=box.tag)
        return
    name = "ctr-row" if box.flat else "ctr-column"
    with html.Div(classes=name, style=f"flex-grow: {share}"):
        for item, own in zip(box.items, box.shares, strict=True):
            show_boxes(item, own)


def _box(element: ET.Element) -> Box:
    if element.tag == "view":
        return Box(element.get("singletontag", ""), xml=ET.tostring(element, "unicode"))
    pairs = [(_box(item[0]), int(item.get("splitSize", "1"))) for item in element if _shown(item)]
    items, shares = zip(*pairs, strict=True) if pairs else ((), ())
    return Box("", element.get("type") == "horizontal", items, shares)


def _shown(item: ET.Element) -> bool:
    return any(view.get("class") in KINDS for view in item.iter("view"))
