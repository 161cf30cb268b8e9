"""What the header of a volume node's DICOM series says about its reconstruction (layer: mrml)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ctrestorelib.io.dicom_facts import reconstruction_facts
from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.volumes import sop_instance_uids

FileOf = Callable[[str], str]
"""Gives the file of a SOP Instance UID, "" where it is not known: every host has its own."""


def no_file(uid: str) -> str:
    """Know no file; for hosts without a database."""
    del uid
    return ""


def header_facts(node: Node, file_of: FileOf) -> dict[str, str]:
    """Return DICOM keywords and values that tell how a volume node was reconstructed.

    One header is read, without its pixels. Empty for a volume that did not come from DICOM, or
    whose files are gone; that is no error, since only cautions are made of it.

    Parameters
    ----------
    node
        A scalar volume.
    file_of
        Gives the file of an instance.
    """
    uids = sop_instance_uids(node)
    first = next((file for file in map(file_of, uids[:_TRIED]) if file), "")
    return reconstruction_facts(Path(first), uids) if first else {}


_TRIED = 3  # a host that knows no file of three instances knows none of the series
