"""What the gateway writes down: method, kind of path, status; nothing about a person or a file."""

from __future__ import annotations

import logging

LOGGER = logging.getLogger("ctrestorelib.gateway")

_EXACT = {
    "/": "page",
    "/index.html": "page",
    "/ws": "socket",
    "/upload": "upload",
    "/limits": "limits",
    "/session/new": "session",
    "/session/end": "session",
    "/paraview/": "socket",
}


def path_class(path: str) -> str:
    """Return the kind of a path; names inside the path never come through."""
    if path in _EXACT:
        return _EXACT[path]
    return "download" if path.startswith("/download/") else "asset"


def log_request(method: str, path: str, status: int) -> None:
    """Write one line about an answered request."""
    known = method if method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS") else "other"
    LOGGER.info("%s %s %d", known, path_class(path), status)
