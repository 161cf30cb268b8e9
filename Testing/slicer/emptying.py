"""Empty the one scene between tests, but only when something has happened to it.

To close a scene takes its time, most of all with views open; a test that begins right after
another one has cleaned up needs no second closing.
"""

from __future__ import annotations

_when_emptied: dict[str, int] = {}


def empty(scene) -> None:
    """Close the scene unless nothing has happened to it since :func:`keep_in_mind`."""
    if _changes(scene) != _when_emptied:
        scene.Clear(0)


def keep_in_mind(scene) -> None:
    """Remember the scene as it is now, just emptied."""
    _when_emptied.update(_changes(scene))


def _changes(scene) -> dict[str, int]:
    """Return when nodes came or went last, and when one changed last."""
    nodes = scene.GetNodes()
    return {"nodes": nodes.GetMTime(), "latest": max(node.GetMTime() for node in nodes)}
