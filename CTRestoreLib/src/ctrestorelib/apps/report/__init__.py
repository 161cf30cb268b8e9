"""The comparison page: several volumes in one self-contained HTML file (layer: apps)."""

from ctrestorelib.apps.report.model import (
    Picture,
    PictureSection,
    ReportEntry,
    Section,
    TableSection,
    TextSection,
)
from ctrestorelib.apps.report.page import write_compare_report

__all__ = [
    "Picture",
    "PictureSection",
    "ReportEntry",
    "Section",
    "TableSection",
    "TextSection",
    "write_compare_report",
]
