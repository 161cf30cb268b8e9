"""A set of VTK observers that ends as one (layer: mrml)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Reaction = Callable[[Any, str], None]


class Observers:
    """Observers of any VTK objects, all removed by :meth:`clear`."""

    def __init__(self) -> None:
        self._tags: list[tuple[Any, int]] = []

    def add(self, watched: Any, event: str | int, react: Reaction, priority: float = 0.0) -> Any:
        """Call ``react(object, event)`` at each event; return the command, to set its abort flag.

        Parameters
        ----------
        priority
            Higher ones hear first; an observer that sets its abort flag ends the round.
        """
        tag = watched.AddObserver(event, react, priority)
        self._tags.append((watched, tag))
        return watched.GetCommand(tag)

    def clear(self) -> None:
        """Remove all observers."""
        tags, self._tags = self._tags, []
        for watched, tag in tags:
            watched.RemoveObserver(tag)

    def __len__(self) -> int:
        return len(self._tags)
