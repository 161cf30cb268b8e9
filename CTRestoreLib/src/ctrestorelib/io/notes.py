"""What a reader or writer assumed, in words a person understands (layer: io)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """One assumption or oddity; shown to the person and kept in the provenance.

    Parameters
    ----------
    code
        Short fixed word such as ``spacing-assumed``, for tests and filters.
    text
        One sentence; it names no person and no folder.
    """

    code: str
    text: str

    def __str__(self) -> str:
        return self.text
