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
        Of the view; empty for a row or column, and for a chart or table.
    flat
        Whether inner boxes lie side by side.
    items, shares
        Inner boxes and their shares of the length.
    xml
        The view's own description.
    page
        State entry with the HTML of a chart or table; empty for anything else.
    """

    tag: str
    flat: bool = True
    items: tuple[Box, ...] = ()
    shares: tuple[int, ...] = ()
    xml: str = ""
    page: str = ""

    def views(self) -> tuple[Box, ...]:
        """Return all boxes that are views, in reading order."""
        if self.tag:
            return (self,)
        return tuple(view for item in self.items for view in item.views())


PICTURES = ("vtkMRMLSliceNode", "vtkMRMLViewNode")
PAGES = {"vtkMRMLPlotViewNode": "views_plot", "vtkMRMLTableViewNode": "views_table"}
"""Charts and tables are no pictures: the state entries with their HTML."""


def boxes_of(xml: str) -> Box:
    """Return the boxes of a Slicer layout description."""
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
    if box.page:
        html.Div(classes="ctr-cell ctr-quality", style=f"flex-grow: {share}", v_html=(box.page,))
        return
    name = "ctr-row" if box.flat else "ctr-column"
    with html.Div(classes=name, style=f"flex-grow: {share}"):
        for item, own in zip(box.items, box.shares, strict=True):
            show_boxes(item, own)


def _box(element: ET.Element) -> Box:
    if element.tag == "view":
        page = PAGES.get(element.get("class", ""), "")
        tag = "" if page else element.get("singletontag", "")
        return Box(tag, xml=ET.tostring(element, "unicode"), page=page)
    pairs = [(_box(item[0]), int(item.get("splitSize", "1"))) for item in element if _shown(item)]
    items, shares = zip(*pairs, strict=True) if pairs else ((), ())
    return Box("", element.get("type") == "horizontal", items, shares)


def _shown(item: ET.Element) -> bool:
    known = (*PICTURES, *PAGES)
    return any(view.get("class") in known for view in item.iter("view"))
