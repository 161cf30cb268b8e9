"""What a session is doing and how a run ended, in words (layer: mrml)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


@enum.unique
class State(str, enum.Enum):
    """What the session is doing."""

    IDLE = "idle"
    RUNNING = "running"
    CANCELLING = "cancelling"


@dataclass
class Outcome:
    """How the last run ended, for the status line.

    Parameters
    ----------
    text
        One or two sentences.
    failed
        Whether it is an error.
    node_ids
        Nodes that were made.
    title
        What was done to which node.
    """

    text: str = ""
    failed: bool = False
    node_ids: list[str] = field(default_factory=list)
    title: str = ""


def duration_text(seconds: float) -> str:
    """Return a time in words, as a status line shows it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min"
